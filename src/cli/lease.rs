//! `lease grant|revoke|timetolive|list|keep-alive`.

use std::ffi::OsString;

use clap::{Args, Subcommand};

use crate::client;

use super::args::Format;
use super::connect::Session;
use super::exit::{Code, Exit};
use super::go::{parse_hex_int, parse_int};
use super::print::{Granted, KeptAlive, Leases, Remaining, Revoked};

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Lease {
    /// Create a lease of so many seconds
    Grant(Grant),
    /// Renew a lease until it is gone or this command is stopped
    KeepAlive(KeepAlive),
    /// Show the remaining time of a lease
    Timetolive(TimeToLive),
    /// Show all leases
    #[command(after_help = "Examples:\n  quorate lease list\n  quorate lease list -w json")]
    List,
    /// End a lease and delete its keys
    Revoke(Revoke),
}

#[derive(Args, Clone, Debug)]
#[command(
    override_usage = "quorate lease grant [OPTIONS] TTL",
    after_help = "Examples:\n  quorate lease grant 60\n  quorate put worker/1 alive --lease 694d5765fc71500b"
)]
pub(super) struct Grant {
    /// Seconds
    ttl: Option<String>,
    #[arg(hide = true)]
    more: Vec<OsString>,
}

#[derive(Args, Clone, Debug)]
#[command(
    override_usage = "quorate lease revoke [OPTIONS] ID",
    after_help = "Examples:\n  quorate lease revoke 694d5765fc71500b"
)]
pub(super) struct Revoke {
    #[command(flatten)]
    lease: Id,
}

#[derive(Args, Clone, Debug)]
pub(super) struct Id {
    /// Hexadecimal, as grant prints it
    id: Option<String>,
    #[arg(hide = true)]
    more: Vec<OsString>,
}

#[derive(Args, Clone, Debug)]
#[command(
    override_usage = "quorate lease timetolive [OPTIONS] ID",
    after_help = "Examples:\n  quorate lease timetolive 694d5765fc71500b\n  \
        quorate lease timetolive 694d5765fc71500b --keys"
)]
pub(super) struct TimeToLive {
    #[command(flatten)]
    lease: Id,
    /// Show the keys that are attached
    #[arg(long)]
    keys: bool,
}

#[derive(Args, Clone, Debug)]
#[command(
    override_usage = "quorate lease keep-alive [OPTIONS] ID",
    after_help = "Examples:\n  quorate lease keep-alive 694d5765fc71500b\n  \
        quorate lease keep-alive --once 694d5765fc71500b"
)]
pub(super) struct KeepAlive {
    #[command(flatten)]
    lease: Id,
    /// Renew once
    #[arg(long)]
    once: bool,
}

impl Id {
    /// The only word, or `missing`.
    fn parse(&self, missing: &str) -> Result<i64, Exit> {
        let word = self.id.as_deref().filter(|_| self.more.is_empty());
        let word = word.ok_or_else(|| Exit::bad_args(missing))?;
        parse_hex_int(word).map_err(|error| {
            Exit::bad_args(format!("bad lease ID arg ({error}), expecting ID in Hex"))
        })
    }
}

impl Lease {
    pub(super) async fn run(self, session: &Session) -> Result<(), Exit> {
        let printer = session.printer;
        match self {
            Self::Grant(grant) => {
                let ttl = grant.seconds()?;
                let answer = session.client().await?.lease_grant(ttl, 0).await;
                printer.print(&Granted(&answer.map_err(|error| failed("grant", error))?))
            }
            Self::Revoke(Revoke { lease }) => {
                let id = lease.parse("lease revoke command needs 1 argument")?;
                let answer = session.client().await?.lease_revoke(id).await;
                printer.print(&Revoked(id, &answer.map_err(|error| failed("revoke", error))?))
            }
            Self::Timetolive(TimeToLive { lease, keys }) => {
                let id = lease.parse("lease timetolive command needs lease ID as argument")?;
                let answer = session.client().await?.lease_time_to_live(id, keys).await;
                let answer = answer.map_err(unanswered)?;
                printer.print(&Remaining { answer: &answer, keys })
            }
            Self::List => {
                let answer = session.client().await?.lease_list().await.map_err(unanswered)?;
                printer.print(&Leases(&answer))
            }
            Self::KeepAlive(keep_alive) => keep_alive.run(session).await,
        }
    }
}

impl Grant {
    fn seconds(&self) -> Result<i64, Exit> {
        let word = self.ttl.as_deref().filter(|_| self.more.is_empty());
        let word = word.ok_or_else(|| Exit::bad_args("lease grant command needs TTL argument"))?;
        parse_int(word).map_err(|error| Exit::bad_args(format!("bad TTL ({error})")))
    }
}

/// etcdctl's words around the server's text.
fn failed(what: &str, error: client::Error) -> Exit {
    let Exit { code, text } = Exit::from(error);
    Exit::new(code, format!("failed to {what} lease ({text})"))
}

/// etcdctl ends with this code whenever it did not get its answer about a lease.
fn unanswered(error: client::Error) -> Exit {
    Exit::new(Code::BadConnection, Exit::from(error).text)
}

impl KeepAlive {
    async fn run(self, session: &Session) -> Result<(), Exit> {
        let id = self.lease.parse("lease keep-alive command needs lease ID as argument")?;
        let client = session.client().await?;
        if self.once {
            let answer = client.lease_renew(id).await.map_err(unanswered)?;
            if answer.ttl <= 0 {
                let text = "etcdserver: requested lease not found";
                return Err(Exit::new(Code::BadConnection, text));
            }
            return session.printer.print(&KeptAlive(&answer));
        }
        let mut keeper = client.lease_keep_alive(id).await.map_err(unanswered)?;
        loop {
            match keeper.next().await {
                Ok(answer) => session.printer.print(&KeptAlive(&answer))?,
                Err(client::Error::LeaseGone { .. }) => {
                    if session.printer.format == Format::Simple {
                        println!("lease {id:016x} expired or revoked.");
                    }
                    return Ok(());
                }
                Err(error) => return Err(unanswered(error)),
            }
        }
    }
}
