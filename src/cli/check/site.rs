//! What both checks do around their load: connections, a prefix that is nobody's, and everything as it was afterwards.

use std::time::Duration;

use crate::cli::connect::Session;
use crate::cli::exit::{Code, Exit};
use crate::cli::stopped::Stopped;
use crate::client::Client;

use super::args::After;
use super::press::{Press, Tally};

/// For what comes after the load; a large deletion takes its time.
const AFTERWARDS: Duration = Duration::from_secs(30);

/// Workers that share a connection.
const WORKERS_PER_CLIENT: usize = 16;

/// Where a check writes.
pub(super) struct Site<'a> {
    session: &'a Session,
    prefix: &'a str,
    after: After,
    clients: Vec<Client>,
    workers: u32,
    stopped: Stopped,
}

impl<'a> Site<'a> {
    /// Connections for so many workers, spread over the endpoints. Keys that somebody wrote are not ours to delete: the
    /// prefix must have none. From now on a signal ends the load and not the program.
    pub(super) async fn prepare(
        session: &'a Session,
        prefix: &'a str,
        after: After,
        workers: u32,
    ) -> Result<Self, Exit> {
        let mut clients = Vec::new();
        for turn in 0..(workers as usize).div_ceil(WORKERS_PER_CLIENT) {
            clients.push(session.client_from(turn).await?);
        }
        let found = clients[0].get(prefix.to_owned()).prefix().limit(1).await?;
        if !found.kvs.is_empty() {
            let text = format!(
                "prefix {prefix:?} has keys. Delete with 'quorate del --prefix {prefix}' first"
            );
            return Err(Exit::new(Code::InvalidInput, text));
        }
        Ok(Self { session, prefix, after, clients, workers, stopped: Stopped::listen()? })
    }

    /// Writes under the prefix until `write` is done or somebody stops it; what became of the calls, and whether it was
    /// done.
    pub(super) async fn load(
        &mut self,
        write: impl AsyncFnOnce(&mut Press, &str) -> Result<(), Exit>,
    ) -> Result<(Tally, bool), Exit> {
        let mut press = Press::new(&self.clients, self.workers);
        let is_whole = tokio::select! {
            written = write(&mut press, self.prefix) => written.map(|()| true)?,
            // What was written so far is deleted all the same.
            _ = self.stopped.next() => false,
        };
        Ok((press.end().await, is_whole))
    }

    /// Deletes what was written; the revision of that.
    pub(super) async fn delete(&self) -> Result<i64, Exit> {
        let client = self.clients[0].within(AFTERWARDS);
        let deleted = client.delete(self.prefix.to_owned()).prefix().await?;
        Ok(deleted.header.map_or(0, |header| header.revision))
    }

    /// If it was asked for.
    pub(super) async fn compact(&self, revision: i64) -> Result<(), Exit> {
        if self.after.auto_compact {
            println!("Compacting with revision {revision}");
            self.clients[0].within(AFTERWARDS).compact(revision, true).await?;
            println!("Compacted with revision {revision}");
        }
        Ok(())
    }

    /// If it was asked for.
    pub(super) async fn defragment(&self) -> Result<(), Exit> {
        if self.after.auto_defrag {
            for endpoint in &self.session.endpoints {
                println!("Defragmenting {endpoint:?}");
                self.session.client_at(endpoint).await?.within(AFTERWARDS).defragment().await?;
                println!("Defragmented {endpoint:?}");
            }
        }
        Ok(())
    }
}
