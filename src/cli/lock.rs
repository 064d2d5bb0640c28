//! `lock`: holds a lock until it is stopped, or while a command runs.
//!
//! What etcdctl does not do: a command whose lock was lost is asked to end (SIGTERM), because somebody else may hold
//! the lock already; and the lease is revoked at the end, so that nothing of it stays.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

use crate::client::{Client, Held, Mutex, Session as Lease};

use super::connect::Session;
use super::exit::{Code, Exit};
use super::kv;
use super::print::Got;
use super::stopped::{Stop, Stopped};

#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
        quorate lock jobs/nightly                  hold it until Ctrl-C\n  \
        quorate lock jobs/nightly ./nightly.sh     hold it while a command runs\n  \
        quorate lock --ttl 60 deploy -- make deploy")]
pub(super) struct Lock {
    /// The lock
    name: OsString,
    /// Run while it is held, with ETCD_LOCK_KEY and ETCD_LOCK_REV set; its exit code is ours
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
    /// Seconds for which others wait when this holder vanishes
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    ttl: i64,
}

impl Lock {
    pub(super) async fn run(self, session: &Session) -> Result<(), Exit> {
        let client = session.client().await?;
        let mut stopped = Stopped::listen()?;
        let lease = Lease::start(&client, self.ttl).await?;
        let done = self.hold(session, &client, &lease, &mut stopped).await;
        // Whoever was stopped while it waited gives its place in the queue back with the lease.
        let closed = lease.close().await;
        done?;
        Ok(closed?)
    }

    async fn hold(
        &self,
        session: &Session,
        client: &Client,
        lease: &Lease,
        stopped: &mut Stopped,
    ) -> Result<(), Exit> {
        let mutex = Mutex::new(lease, kv::bytes(&self.name));
        let held = tokio::select! {
            held = mutex.lock() => held?,
            _ = stopped.next() => return Err(Exit::error("context canceled")),
        };
        if self.command.is_empty() {
            let shown = client.get(held.key().clone()).await?;
            if shown.kvs.is_empty() {
                return Err(Exit::error("lock lost on init"));
            }
            session.printer.print(&Got(&shown))?;
            tokio::select! {
                _ = held.lost() => return Err(Exit::error("session expired")),
                _ = stopped.next() => {}
            }
            return Ok(held.unlock().await?);
        }
        let status = self.run_command(&held, stopped).await?;
        let unlocked = held.unlock().await;
        ended(status)?;
        Ok(unlocked?)
    }

    /// Runs the command to its end. It hears Ctrl-C from its terminal as we do; SIGTERM is handed on.
    async fn run_command(&self, held: &Held, stopped: &mut Stopped) -> Result<ExitStatus, Exit> {
        let Some((program, words)) = self.command.split_first() else {
            return Ok(ExitStatus::default());
        };
        let mut child = tokio::process::Command::new(program)
            .args(words)
            .env("ETCD_LOCK_KEY", String::from_utf8_lossy(held.key()).as_ref())
            .env("ETCD_LOCK_REV", held.revision().to_string())
            .spawn()
            .map_err(|error| Exit::error(format!("cannot run {}: {error}", program.display())))?;
        let mut is_lost = false;
        loop {
            tokio::select! {
                status = child.wait() => match status? {
                    _ if is_lost => return Err(Exit::error("session expired")),
                    status => return Ok(status),
                },
                _ = held.lost(), if !is_lost => {
                    is_lost = true;
                    eprintln!("the lock was lost: its session expired; {} is told to end", program.display());
                    terminate(&child);
                }
                stop = stopped.next() => if stop == Stop::Terminate {
                    terminate(&child);
                },
            }
        }
    }
}

fn terminate(child: &Child) {
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    if let Some(pid) = pid {
        // It may have ended in this very moment.
        let _gone = kill_process(pid, Signal::TERM);
    }
}

/// etcdctl's text, and the command's own exit code.
fn ended(status: ExitStatus) -> Result<(), Exit> {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => {
            let number = u8::try_from(code).unwrap_or(1);
            Err(Exit::new(Code::Child(number), format!("exit status {code}")))
        }
        // etcdctl's number for a command without an exit code.
        (None, signal) => {
            let text = format!("the command was ended by signal {}", signal.unwrap_or(0));
            Err(Exit::new(Code::Child(255), text))
        }
    }
}
