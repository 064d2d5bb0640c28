//! One child process with its log in a file.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// A thread that waits for a disk stops when the disk has answered.
const STOPS_WITHIN: Duration = Duration::from_secs(30);

/// A running child; killed when dropped.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

/// The program under test.
pub(crate) fn quorate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    // What the developer's shell has set is not part of the test.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("ETCD") || text.starts_with("QUORATE") {
            command.env_remove(name);
        }
    }
    command
}

impl Process {
    /// Starts `command` with its output going to `log`, behind what is there.
    pub(crate) fn spawn(mut command: Command, log: &Path) -> Self {
        let file = File::options().append(true).create(true).open(log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Self { child, log: log.to_owned() }
    }

    /// SIGKILL, and waits for the end.
    pub(crate) fn kill(&mut self) {
        // Failing means that it has ended by itself, which the wait says, too.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM or another signal. After STOP it does nothing any more: on a busy machine its threads run on for a while.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.child.id().to_string())
            .status()
            .unwrap();
        assert!(status.success());
        let began = Instant::now();
        while name == "STOP" && !self.is_stopped() {
            assert!(began.elapsed() < STOPS_WITHIN, "its threads run on after SIGSTOP");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Whether every thread of it is stopped (T); that it is gone is for others to notice.
    fn is_stopped(&self) -> bool {
        let Ok(threads) = std::fs::read_dir(format!("/proc/{}/task", self.child.id())) else {
            return true;
        };
        // The state stands behind the name, which is in brackets.
        let is_at_rest = |stat: String| {
            stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['T', 'Z', 'X']))
        };
        threads.flatten().all(|thread| {
            std::fs::read_to_string(thread.path().join("stat")).map_or(true, is_at_rest)
        })
    }

    /// Its exit, if it comes within `deadline`.
    pub(crate) fn wait(&mut self, deadline: Duration) -> Option<ExitStatus> {
        let began = Instant::now();
        while began.elapsed() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    pub(crate) fn log(&self) -> String {
        let mut text = String::new();
        File::open(&self.log).unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(60)..].join("\n");
            eprintln!("==== {} (the last lines)\n{tail}", self.log.display());
        }
    }
}

/// Standard output of a command that must succeed.
pub(crate) fn stdout(output: Output) -> String {
    assert!(
        output.status.success(),
        "{}: {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Standard error of a command that must fail, and not by a panic.
pub(crate) fn failure(output: Output) -> String {
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{}{text}", String::from_utf8_lossy(&output.stdout));
    assert!(!text.contains("panicked"), "{text}");
    text
}
