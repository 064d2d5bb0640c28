//! Machines on one cable, as network namespaces: each has its own address, host name and ports, so that what was
//! written for several machines runs as it was written.

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A switch, and machines that are connected to it; gone when dropped. What runs on them must have ended by then.
pub(crate) struct Machines {
    switch: String,
    machines: Vec<Machine>,
    dir: tempfile::TempDir,
}

struct Machine {
    namespace: String,
    home: PathBuf,
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
            self.machines.push(Machine { namespace: namespace.clone(), home });
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
