//! The real binary in a folder of its own: commands that end, servers that are killed with their test.
//!
//! Nothing here sleeps for luck: [`until`] asks again until the condition holds, and says what it was when it never
//! does. Only processes that a test started are ended.

mod cluster;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

pub(crate) use super::ports::free_port;
pub(crate) use cluster::Cluster;

/// Longest time for something that takes a second on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until `found` finds something; fails with `what` after [`PATIENCE`].
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "a test waits for real processes in real time")]
pub(crate) fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "it never happened: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// A working folder for the program.
pub(crate) struct Folder {
    dir: tempfile::TempDir,
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// What it printed, if it ended well.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout
    }
}

impl Folder {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The program, called with `words`, without any setting of the machine it runs on.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        command.args(words).current_dir(self.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars() {
            if ["ETCD_", "ETCDCTL_", "QUORATE_"].iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Output {
        finish(&mut self.command(words))
    }

    /// The same with lines on stdin.
    pub(crate) fn run_with(&self, words: &[&str], stdin: &str) -> Output {
        finish_with(&mut self.command(words), stdin)
    }

    /// A process that goes on; what it prints is in `<name>.out` and `<name>.err` of the folder.
    pub(crate) fn spawn(&self, name: &str, words: &[&str]) -> Process {
        self.spawn_command(name, self.command(words))
    }

    pub(crate) fn spawn_command(&self, name: &str, mut command: Command) -> Process {
        let open = |kind: &str| {
            let path = self.path().join(format!("{name}.{kind}"));
            let file = File::options().create(true).append(true).open(&path).unwrap();
            (path, file)
        };
        let ((out, stdout), (err, stderr)) = (open("out"), open("err"));
        let child = command.stdout(stdout).stderr(stderr).spawn().unwrap();
        Process { child, out, err }
    }
}

/// Runs a command to its end.
pub(crate) fn finish(command: &mut Command) -> Output {
    told(command.output().unwrap())
}

/// Ends a command with these lines on its stdin.
pub(crate) fn finish_with(command: &mut Command, stdin: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Some commands end before they have read all of it.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    told(child.wait_with_output().unwrap())
}

fn told(output: std::process::Output) -> Output {
    Output {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A process of this test; it is killed when the test lets go of it.
pub(crate) struct Process {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Process {
    pub(crate) fn stdout(&self) -> String {
        std::fs::read_to_string(&self.out).unwrap_or_default()
    }

    pub(crate) fn stderr(&self) -> String {
        std::fs::read_to_string(&self.err).unwrap_or_default()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// SIGINT, SIGTERM; then it ends by itself.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let err = self.err.clone();
        until(&format!("the process ends; it says in {}", err.display()), || {
            self.child.try_wait().unwrap()
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
