//! The real etcdctl, 3.4 and 3.6, through all of its commands: the scripts of
//! `tests/interop/etcdctl`, and beside them what it was told by a real etcd.
//!
//! `QUORATE_TRANSCRIPTS_OF=/path/to/etcd cargo test --test it etcdctl` records that anew; the difference is read by eye.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::super::harness::{Seat, free_ports};
use super::super::interop::{is_required, prepared};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/etcdctl");

/// Longest time for a script; on an idle machine each takes less than 30 seconds, but the checks take a minute and a half.
const SCRIPT_MAX: Duration = Duration::from_secs(280);

#[test]
fn etcdctl_3_4_is_told_what_etcd_tells_it() {
    compare("3.4", &std::env::var("QUORATE_ETCDCTL").unwrap_or_else(|_| "etcdctl".to_owned()));
}

#[test]
fn etcdctl_3_6_is_told_what_etcd_tells_it() {
    let built = || prepared().join("etcdctl-3.6").display().to_string();
    compare("3.6", &std::env::var("QUORATE_ETCDCTL_36").unwrap_or_else(|_| built()));
}

fn compare(version: &str, tool: &str) {
    if !is_there(version, tool) {
        return;
    }
    let recorded = std::env::var_os("QUORATE_TRANSCRIPTS_OF").map(PathBuf::from);
    let server = recorded.clone().unwrap_or_else(|| env!("CARGO_BIN_EXE_quorate").into());
    let mut different = String::new();
    let mut scripts = vec!["keys", "leases", "cluster", "copies", "users"];
    if is_required() || recorded.is_some() {
        scripts.push("checks");
    }
    for script in scripts {
        let told = transcript(script, tool, &server);
        let kept = Path::new(FOLDER).join(version).join(format!("{script}.txt"));
        if recorded.is_some() {
            std::fs::write(&kept, &told).unwrap();
        }
        let kept = std::fs::read_to_string(&kept).unwrap();
        if kept != told {
            different += &format!("{script} with {version}:\n{}", difference(&kept, &told));
        }
    }
    assert!(different.is_empty(), "- etcd, + Quorate\n{different}");
}

/// Called `etcdctl`, our own program tells of users what etcdctl 3.6 tells, over QUIC.
#[test]
fn our_own_commands_tell_of_users_what_etcdctl_tells() {
    if std::env::var_os("QUORATE_TRANSCRIPTS_OF").is_some() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let tool = dir.path().join("etcdctl");
    let program = env!("CARGO_BIN_EXE_quorate");
    std::os::unix::fs::symlink(program, &tool).unwrap();
    let told = transcript("users", tool.to_str().unwrap(), Path::new(program));
    let kept = std::fs::read_to_string(Path::new(FOLDER).join("3.6/users.txt")).unwrap();
    assert!(kept == told, "- etcdctl, + Quorate\n{}", difference(&kept, &told));
}

/// Whether the tool is here, and of this version; a line says so where it is not.
fn is_there(version: &str, tool: &str) -> bool {
    let found = Command::new(tool).arg("version").env("ETCDCTL_API", "3").output();
    let says = format!("API version: {version}");
    let is_it = |text: &[u8]| String::from_utf8_lossy(text).lines().any(|line| line == says);
    if found.is_ok_and(|output| is_it(&output.stdout)) {
        return true;
    }
    assert!(
        !is_required(),
        "{tool} is no etcdctl {version}, and QUORATE_CLIENTS says that there must be one: \
         bash tests/interop/etcdctl/prepare"
    );
    // Not by println: that of a test that passes is not shown.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {tool} is no etcdctl {version}");
    false
}

/// A script, and whatever it has started: all of it ends with this.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            // Whoever ended by himself is not there any more.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.0.wait();
    }
}

fn transcript(script: &str, tool: &str, server: &Path) -> String {
    let _seat = Seat::take();
    let dir = tempfile::tempdir().unwrap();
    let work = dir.path().join("work");
    std::fs::create_dir(&work).unwrap();
    let ports: Vec<String> = free_ports(10).iter().map(u16::to_string).collect();
    let (out, err) = (dir.path().join("out"), dir.path().join("err"));
    let mut command = Command::new("bash");
    command.arg(Path::new(FOLDER).join("run"));
    command.arg(Path::new(FOLDER).join(format!("{script}.sh"))).arg(tool).arg(server).arg(&work);
    command.arg(ports.join(" ")).process_group(0).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("ETCD") || text.starts_with("QUORATE") {
            command.env_remove(name);
        }
    }
    command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
    let mut group = Group(command.spawn().unwrap());
    let began = Instant::now();
    let status = loop {
        if let Some(status) = group.0.try_wait().unwrap() {
            break Some(status);
        }
        if began.elapsed() > SCRIPT_MAX {
            break None;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    drop(group);
    let told = String::from_utf8_lossy(&std::fs::read(out).unwrap()).into_owned();
    assert!(
        status.is_some_and(|status| status.success()),
        "{script} did not come to its end ({status:?}): {}\n{}",
        told.lines().rev().take(20).collect::<Vec<_>>().join("\n"),
        std::fs::read_to_string(err).unwrap()
    );
    told
}

/// The first lines that differ, and the call that they answer.
fn difference(kept: &str, told: &str) -> String {
    let (kept, told): (Vec<_>, Vec<_>) = (kept.lines().collect(), told.lines().collect());
    let same = kept.iter().zip(&told).take_while(|(kept, told)| kept == told).count();
    let call = kept[..same].iter().rfind(|line| line.starts_with("$ ")).unwrap_or(&"");
    let rest = |lines: &[&str], mark: &str| -> String {
        let rest = lines[same..].iter().take_while(|line| !line.starts_with("$ ")).take(20);
        rest.map(|line| format!("{mark} {line}\n")).collect()
    };
    format!("{call}\n{}{}", rest(&kept, "-"), rest(&told, "+"))
}
