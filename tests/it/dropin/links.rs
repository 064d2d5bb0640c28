//! A folder with links to the program, and processes that are called by them.

use std::path::PathBuf;
use std::process::Command;

use crate::program::{Folder, Output, Process, finish, until};

pub(super) struct Links {
    pub(super) folder: Folder,
}

impl Links {
    pub(super) fn new() -> Self {
        let folder = Folder::new();
        let bin = folder.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        for name in ["etcd", "etcdctl", "etcdutl"] {
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_quorate"), bin.join(name)).unwrap();
        }
        Self { folder }
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.folder.path().join("bin").join(name)
    }

    /// A program by its link, in the folder, without any setting of this machine.
    pub(super) fn command(&self, name: &str, words: &[&str]) -> Command {
        // Its environment is cleared of settings; the program is exchanged.
        let plain = self.folder.command(words);
        let mut command = Command::new(self.program(name));
        command.args(plain.get_args()).current_dir(self.folder.path());
        for (variable, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(variable, value),
                None => command.env_remove(variable),
            };
        }
        command.env_remove("NOTIFY_SOCKET");
        command
    }

    pub(super) fn run(&self, name: &str, words: &[&str]) -> Output {
        finish(&mut self.command(name, words))
    }

    pub(super) fn etcd(&self, log: &str, words: &[&str]) -> Process {
        self.folder.spawn_command(log, self.command("etcd", words))
    }

    pub(super) fn etcdctl(&self, endpoint: &str, words: &[&str]) -> Output {
        let mut all = vec!["--endpoints", endpoint];
        all.extend(words);
        self.run("etcdctl", &all)
    }

    /// Waits as scripts do: for a line of the log.
    #[track_caller]
    pub(super) fn ready(process: &mut Process) {
        until("it says that it is ready", || {
            let said = process.stderr();
            assert!(!process.has_ended(), "it ended: {said}");
            said.contains("ready to serve client requests").then_some(())
        });
    }
}

/// One member alone, on ports of its own.
pub(super) fn alone(scheme: &str, client: u16, peer: u16) -> Vec<String> {
    let (client, peer) =
        (format!("{scheme}://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    [
        "--name=n1",
        "--data-dir=n1",
        &format!("--listen-client-urls={client}"),
        &format!("--advertise-client-urls={client}"),
        &format!("--listen-peer-urls={peer}"),
        &format!("--initial-advertise-peer-urls={peer}"),
        &format!("--initial-cluster=n1={peer}"),
    ]
    .map(str::to_owned)
    .to_vec()
}
