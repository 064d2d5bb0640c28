//! `lease grant|revoke|timetolive|list|keep-alive`.

use clap::{Args, Subcommand};

use crate::client;

use super::connect::Session;
use super::exit::Exit;
use super::kv::lease_id;
use super::print::{Granted, KeptAlive, Leases, Remaining, Revoked};

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Lease {
    /// Create a lease of so many seconds
    Grant(Grant),
    /// End a lease and delete its keys
    Revoke(Id),
    /// Show the remaining time of a lease
    Timetolive(TimeToLive),
    /// Show all leases
    List,
    /// Renew a lease until it is gone or this command is stopped
    KeepAlive(KeepAlive),
}

#[derive(Args, Clone, Debug)]
pub(super) struct Grant {
    /// Seconds
    ttl: i64,
}

#[derive(Args, Clone, Debug)]
pub(super) struct Id {
    /// Hexadecimal, as grant prints it
    id: String,
}

#[derive(Args, Clone, Debug)]
pub(super) struct TimeToLive {
    #[command(flatten)]
    lease: Id,
    /// Show the keys that are attached
    #[arg(long)]
    keys: bool,
}

#[derive(Args, Clone, Debug)]
pub(super) struct KeepAlive {
    #[command(flatten)]
    lease: Id,
    /// Renew once
    #[arg(long)]
    once: bool,
}

impl Lease {
    pub(super) async fn run(self, session: &Session) -> Result<(), Exit> {
        let printer = session.printer;
        match self {
            Self::Grant(Grant { ttl }) => {
                let answer = session.client().await?.lease_grant(ttl, 0).await?;
                printer.print(&Granted(&answer))
            }
            Self::Revoke(Id { id }) => {
                let id = lease_id(&id)?;
                let answer = session.client().await?.lease_revoke(id).await?;
                printer.print(&Revoked(id, &answer))
            }
            Self::Timetolive(TimeToLive { lease, keys }) => {
                let id = lease_id(&lease.id)?;
                let answer = session.client().await?.lease_time_to_live(id, keys).await?;
                printer.print(&Remaining { answer: &answer, keys })
            }
            Self::List => {
                let answer = session.client().await?.lease_list().await?;
                printer.print(&Leases(&answer))
            }
            Self::KeepAlive(keep_alive) => keep_alive.run(session).await,
        }
    }
}

impl KeepAlive {
    async fn run(self, session: &Session) -> Result<(), Exit> {
        let id = lease_id(&self.lease.id)?;
        let client = session.client().await?;
        let gone = || println!("lease {id:016x} expired or revoked.");
        if self.once {
            let answer = client.lease_renew(id).await?;
            if answer.ttl == 0 {
                gone();
                return Ok(());
            }
            return session.printer.print(&KeptAlive(&answer));
        }
        let mut keeper = client.lease_keep_alive(id).await?;
        loop {
            match keeper.next().await {
                Ok(answer) => session.printer.print(&KeptAlive(&answer))?,
                Err(client::Error::LeaseGone { .. }) => {
                    gone();
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
