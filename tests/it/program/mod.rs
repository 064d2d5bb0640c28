//! The real binary in a folder of its own: commands that end, servers that are killed with their test.
//!
//! Nothing here sleeps for luck: [`until`] asks again until the condition holds, and says what it was when it never
//! does. Only processes that a test started are ended.

mod cluster;

use std::fs::File;
use std::io::{Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

pub(crate) use super::ports::free_port;
pub(crate) use cluster::Cluster;

/// Longest time for something that takes a second on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Longest time for one command: some ask again for as long as a test allows them.
const COMMAND_PATIENCE: Duration = Duration::from_secs(120);

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
#[track_caller]
pub(crate) fn finish(command: &mut Command) -> Output {
    told(&output(command))
}

/// Ends a command with these lines on its stdin.
#[track_caller]
pub(crate) fn finish_with(command: &mut Command, stdin: &str) -> Output {
    let mut lines = tempfile::tempfile().unwrap();
    lines.write_all(stdin.as_bytes()).unwrap();
    lines.rewind().unwrap();
    told(&ended(command.stdin(lines), COMMAND_PATIENCE))
}

/// What [`Command::output`] gives, of a command that ends. One that does not is killed, and the test fails with what it
/// has said.
#[track_caller]
pub(crate) fn output(command: &mut Command) -> std::process::Output {
    ended(command.stdin(Stdio::null()), COMMAND_PATIENCE)
}

#[track_caller]
#[expect(clippy::disallowed_methods, reason = "a test waits for real processes in real time")]
fn ended(command: &mut Command, patience: Duration) -> std::process::Output {
    // Files and no pipes: what a child of the child holds open keeps nobody waiting.
    let (out, err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    command.stdout(out.try_clone().unwrap()).stderr(err.try_clone().unwrap());
    let mut child = command.spawn().unwrap();
    let began = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if began.elapsed() > patience => break None,
            None => thread::sleep(Duration::from_millis(5)),
        }
    };
    if status.is_none() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let (stdout, stderr) = (written(&out), written(&err));
    let Some(status) = status else {
        panic!(
            "{command:?} did not end within {patience:?}; it said:\n{}\n{}",
            String::from_utf8_lossy(&stdout),
            String::from_utf8_lossy(&stderr)
        );
    };
    std::process::Output { status, stdout, stderr }
}

/// All of a file, whoever else moves about in it.
fn written(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn told(output: &std::process::Output) -> Output {
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

#[test]
#[should_panic(expected = "did not end within 3s; it said:\nbefore")]
fn a_command_that_hangs_fails_its_test_with_what_it_said() {
    let script = ["-c", "echo before; exec sleep 1000"];
    ended(Command::new("sh").args(script), Duration::from_secs(3));
}
