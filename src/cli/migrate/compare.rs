//! Whether the destination is what the source was: keys, values, leases, users, roles. Nothing is written.

use std::collections::BTreeMap;

use tokio::task::JoinSet;

use crate::cli::exit::Exit;
use crate::cli::progress::Progress;
use crate::client::Client;

use super::destination::shown;
use super::leases::{granted_ttl, listed};
use super::patience::Failure;
use super::source::Source;
use super::users;
use super::walk::Walk;

/// Differences that are named; of the others is told how many they are.
const NAMED_MAX: usize = 10;

/// Leases asked for at the same time.
const ASKED_MAX: usize = 64;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Compared {
    pub revision: i64,
    pub keys: u64,
    pub leases: usize,
    pub users: usize,
    pub roles: usize,
    /// No differences, yet worth a word: leases that have a longer time at the destination.
    longer: u64,
    notes: Vec<String>,
    named: Vec<String>,
    differences: u64,
}

impl Compared {
    /// All keys as the source had them at `revision`, and as the destination has them.
    pub(super) async fn of(
        source: &Source,
        destination: &Client,
        revision: i64,
        with_users: bool,
    ) -> Result<Self, Failure> {
        let mut found = Self { revision, ..Self::default() };
        let mut progress = Progress::new("comparing");
        let mut walk = Walk::new(source, destination, revision, false);
        while let Some(met) = walk.next().await? {
            let total = found.keys + u64::try_from(met.left).unwrap_or_default();
            progress.count(found.keys, total, "keys");
            found.keys += met.kvs.len() as u64;
            for difference in met.differences {
                // What a lease has taken at the source since is no difference.
                let is_over = match difference.lease() {
                    Some(lease) => granted_ttl(&source.client, lease).await?.is_none(),
                    None => false,
                };
                if !is_over {
                    let key = shown(difference.key());
                    found.differs(|| format!("key {key} {}", difference.what()));
                }
            }
        }
        progress.step("leases");
        found.compare_leases(source, destination).await?;
        if with_users {
            progress.step("users");
            found.compare_users(source, destination).await?;
        }
        Ok(found)
    }

    /// Nothing has changed since but what was written on both sides.
    pub(super) fn at(self, revision: i64) -> Self {
        Self { revision, ..self }
    }

    pub(super) fn is_equal(&self) -> bool {
        self.differences == 0
    }

    /// What was found that is no difference; nothing if there is nothing to tell.
    pub(super) fn noted(&self) -> Option<String> {
        let rest = self.longer.saturating_sub(self.notes.len() as u64);
        let more = if rest > 0 { format!("\nand {rest} more") } else { String::new() };
        (self.longer > 0).then(|| {
            format!(
                "Leases with a longer time at the destination, which may have a higher least time: {}\n{}{more}",
                self.longer,
                self.notes.join("\n")
            )
        })
    }

    /// The differences, of which the first are named.
    pub(super) fn exit(&self, advice: &str) -> Exit {
        let rest = self.differences - self.named.len() as u64;
        let mut lines = self.named.join("\n");
        if rest > 0 {
            lines.push_str(&format!("\nand {rest} more"));
        }
        let (count, revision) = (self.differences, self.revision);
        Exit::error(format!(
            "{count} differences at revision {revision} of the source; {advice}:\n{lines}"
        ))
    }

    fn differs(&mut self, text: impl FnOnce() -> String) {
        self.differences += 1;
        if self.named.len() < NAMED_MAX {
            self.named.push(text());
        }
    }

    async fn compare_leases(
        &mut self,
        source: &Source,
        destination: &Client,
    ) -> Result<(), Failure> {
        let theirs = source.leases().await?;
        let here = listed(destination).await?;
        self.leases = theirs.len();
        let all: Vec<i64> = theirs.union(&here).copied().collect();
        for some in all.chunks(ASKED_MAX) {
            let mut asking = JoinSet::new();
            for id in some.iter().copied() {
                let (source, destination) = (source.client.clone(), destination.clone());
                asking.spawn(async move {
                    // The source last: what has ended there meanwhile is no difference.
                    let here = granted_ttl(&destination, id).await?;
                    Ok::<_, Failure>((id, granted_ttl(&source, id).await?, here))
                });
            }
            let mut times = BTreeMap::new();
            while let Some(asked) = asking.join_next().await {
                let (id, theirs, here) =
                    asked.map_err(|error| Exit::error(error.to_string()))??;
                times.insert(id, (theirs, here));
            }
            for (id, (theirs, here)) in times {
                let told = |theirs: i64, here: i64| {
                    format!(
                        "lease {id:x} is granted for {theirs} s, and at the destination for {here} s"
                    )
                };
                match (theirs, here) {
                    (Some(theirs), Some(here)) if theirs > here => {
                        self.differs(|| told(theirs, here));
                    }
                    // The least time that the destination grants may be longer, and it suffices.
                    (Some(theirs), Some(here)) if theirs < here => {
                        self.longer += 1;
                        if self.notes.len() < NAMED_MAX {
                            self.notes.push(told(theirs, here));
                        }
                    }
                    (Some(_), None) => {
                        self.differs(|| format!("lease {id:x} is missing at the destination"));
                    }
                    // One that is there alone has no keys, or they are told already.
                    _ => {}
                }
            }
        }
        Ok(())
    }

    async fn compare_users(
        &mut self,
        source: &Source,
        destination: &Client,
    ) -> Result<(), Failure> {
        let theirs = users::of_source(&source.client).await?;
        let here = users::of_destination(destination).await?;
        (self.users, self.roles) = (theirs.users.len(), theirs.roles.len());
        for step in theirs.steps_from(&here) {
            self.differs(|| format!("users are to be changed: {step:?}"));
        }
        Ok(())
    }
}
