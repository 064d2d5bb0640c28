//! Machines on one cable, as network namespaces: each has its own address, host name and ports, so that what was
//! written for several machines runs as it was written.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A switch, and machines that are connected to it; gone when dropped. What runs on them must have ended by then.
pub(crate) struct Machines {
    switch: String,
    machines: Vec<Machine>,
    dir: tempfile::TempDir,
}

struct Machine {
    namespace: String,
    home: PathBuf,
    address: String,
}

impl Machines {
    /// One for each (host name, IPv4 address); all know each other's names. None where the system does not let us.
    pub(crate) fn connect(plan: &[(&str, &str)]) -> Option<Self> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let unique = format!("q{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let switch = format!("{unique}-switch");
        if let Err(reason) = ip(&["netns", "add", &switch]) {
            // Not by println: that of a test that passes is not shown.
            let _ = writeln!(
                io::stderr(),
                "SKIPPED: network namespaces need root and iproute2: {reason}"
            );
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("bin")).unwrap();
        for name in ["etcd", "etcdctl", "quorate"] {
            let link = dir.path().join("bin").join(name);
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_quorate"), link).unwrap();
        }
        let mut machines = Self { switch, machines: Vec::new(), dir };
        machines.wire(&unique, plan);
        Some(machines)
    }

    fn wire(&mut self, unique: &str, plan: &[(&str, &str)]) {
        let mut hosts = "127.0.0.1 localhost\n".to_owned();
        let switch = self.switch.clone();
        must(&["-n", &switch, "link", "add", "br0", "type", "bridge"]);
        must(&["-n", &switch, "link", "set", "br0", "up"]);
        for (host, address) in plan {
            let namespace = format!("{unique}-{host}");
            let port = format!("p{}", self.machines.len());
            must(&["netns", "add", &namespace]);
            let home = self.dir.path().join(host);
            std::fs::create_dir(&home).unwrap();
            let address = (*address).to_owned();
            self.machines.push(Machine { namespace: namespace.clone(), home, address });
            let address = &self.machines[self.machines.len() - 1].address;
            let cable = ["link", "add", "eth0", "type", "veth", "peer", "name", &port];
            must(&[&["-n", &namespace], &cable[..], &["netns", &switch]].concat());
            must(&["-n", &switch, "link", "set", &port, "master", "br0", "up"]);
            must(&["-n", &namespace, "address", "add", &format!("{address}/24"), "dev", "eth0"]);
            must(&["-n", &namespace, "link", "set", "lo", "up"]);
            must(&["-n", &namespace, "link", "set", "eth0", "up"]);
            hosts.push_str(&format!("{address} {host}\n"));
        }
        std::fs::write(self.hosts(), hosts).unwrap();
    }

    fn hosts(&self) -> PathBuf {
        self.dir.path().join("hosts")
    }

    /// The working directory of a machine.
    pub(crate) fn home(&self, at: usize) -> &Path {
        &self.machines[at].home
    }

    pub(crate) fn address(&self, at: usize) -> &str {
        &self.machines[at].address
    }

    /// Takes this thread, and every thread and process that it starts from now on, to the switch, where it has this
    /// address: it reaches all machines.
    pub(crate) fn enter(&self, address: &str) {
        must(&["-n", &self.switch, "address", "add", &format!("{address}/24"), "dev", "br0"]);
        must(&["-n", &self.switch, "link", "set", "lo", "up"]);
        let namespace = File::open(Path::new("/run/netns").join(&self.switch)).unwrap();
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }

    /// What happens on a machine to datagrams that come, and to those that leave: nft's statements, a line each. They
    /// replace what was said before.
    pub(crate) fn filter(&self, at: usize, incoming: &str, outgoing: &str) {
        let rules = format!(
            "add table ip faults\ndelete table ip faults\ntable ip faults {{\n\
             chain incoming {{\ntype filter hook input priority 0;\n{incoming}\n}}\n\
             chain outgoing {{\ntype filter hook output priority 0;\n{outgoing}\n}}\n}}\n"
        );
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.machines[at].namespace, "nft", "-f", "-"]);
        let mut nft = command.stdin(Stdio::piped()).spawn().unwrap();
        nft.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
        assert!(nft.wait().unwrap().success(), "nft refuses {rules}");
    }

    /// Words behind `ip link set` and the machine's end of its cable.
    pub(crate) fn cable(&self, at: usize, words: &[&str]) {
        let set = ["-n", &self.machines[at].namespace, "link", "set", "eth0"];
        must(&[&set, words].concat());
    }

    pub(crate) fn log(&self, at: usize) -> PathBuf {
        self.home(at).join("log")
    }

    /// A program with these words on a machine, in its working directory, with none of this shell's settings and with
    /// `quorate` in its path, which is called `etcd` and `etcdctl`, too. The process is the program's own: it can be signalled.
    pub(crate) fn command(&self, at: usize, words: &[impl AsRef<OsStr>]) -> Command {
        let machine = &self.machines[at];
        let programs = self.dir.path().join("bin");
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &machine.namespace, "sh", "-c"])
            .arg("mount --bind \"$0\" /etc/hosts && exec \"$@\"")
            .arg(self.hosts())
            .args(words)
            .current_dir(&machine.home)
            .env_clear()
            .env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", programs.display()));
        command
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        // With a namespace its end of the cable goes, too.
        for machine in &self.machines {
            let _ = ip(&["netns", "del", &machine.namespace]);
        }
        let _ = ip(&["netns", "del", &self.switch]);
    }
}

fn ip(words: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(words).output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

#[track_caller]
fn must(words: &[&str]) {
    ip(words).unwrap_or_else(|reason| panic!("ip {}: {reason}", words.join(" ")));
}
