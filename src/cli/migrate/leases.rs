//! The source's leases at the destination: granted there with their ids and times, kept alive as long as they live at the
//! source, and revoked when they have ended there.
//!
//! ```text
//!   source: list -- new ------------> granted, kept alive
//!                -- gone --> ending: until everything before its end has been written --> revoked
//!   destination: ended by itself ----> lost: its keys went with it, and are copied again
//! ```

use std::collections::{BTreeMap, BTreeSet};

use futures_util::FutureExt as _;
use tokio::task::JoinSet;

use crate::cli::exit::Exit;
use crate::client::{Client, Error, LeaseKeeper};
use crate::proto::Code;
use crate::proto::mvccpb::KeyValue;

use super::destination::{self, Destination};
use super::patience::{Failure, Patience, patiently};
use super::source::{self, Source};

/// Leases asked for at the same time.
const ASKED_MAX: usize = 64;

/// Keys asked for with one transaction, which an etcd takes.
const KEYS_MAX: usize = 100;

/// Leases that are looked at one by one; for more a pass costs less.
const MISSING_MAX: usize = 5_000;

/// A keeper keeps its lease alive until it is dropped.
#[derive(Default)]
pub(super) struct Leases {
    kept: BTreeMap<i64, LeaseKeeper>,
    /// Ended at the source before this revision of it; at the destination they wait for that.
    ending: BTreeMap<i64, i64>,
}

/// What a look at the leases found.
pub(super) enum Look {
    Fine,
    /// Keys are missing at the destination.
    Lost,
}

impl Leases {
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether keys are missing at the destination since the last look.
    pub(super) fn are_lost(&self) -> bool {
        self.kept.values().any(is_lost)
    }

    /// The source's leases, granted and kept alive, what has ended here granted anew: whatever is missing is copied again. Those
    /// that the destination has of an earlier attempt live on if they do at the source; else they end when everything before
    /// that has been written.
    pub(super) async fn adopt(
        &mut self,
        source: &Source,
        destination: &Destination,
    ) -> Result<(), Failure> {
        let here = listed(&destination.client).await?;
        self.kept.retain(|id, keeper| here.contains(id) && !is_lost(keeper));
        let theirs = source.leases().await?;
        self.ensure(source, destination, theirs.iter().copied()).await?;
        self.end(source, here.difference(&theirs).copied()).await
    }

    /// The same where nothing is copied again: it fails if one that lives at the source has ended here and took keys with it,
    /// such as were attached up to the revision `written`. What was attached since is still to come.
    pub(super) async fn resume(
        &mut self,
        source: &Source,
        destination: &Destination,
        written: i64,
    ) -> Result<(), Failure> {
        let here = listed(&destination.client).await?;
        let theirs = source.leases().await?;
        let is_kept = |id: &i64, keeper: &LeaseKeeper| here.contains(id) && !is_lost(keeper);
        if self.kept.iter().any(|(id, keeper)| theirs.contains(id) && !is_kept(id, keeper)) {
            return Err(Failure::LeaseGone);
        }
        self.kept.retain(|id, keeper| is_kept(id, keeper));
        let (held, missing): (Vec<i64>, Vec<i64>) =
            theirs.difference(&self.ids()).copied().partition(|id| here.contains(id));
        // One that ends before it is renewed must not be granted anew: it would be empty.
        self.take(source, destination, held.into_iter(), How::Renewed).await?;
        if have_lost_keys(source, &missing, written).await? {
            return Err(Failure::LeaseGone);
        }
        self.ensure(source, destination, missing.into_iter()).await?;
        self.end(source, here.difference(&theirs).copied()).await
    }

    fn ids(&self) -> BTreeSet<i64> {
        self.kept.keys().copied().collect()
    }

    /// Grants what is not granted yet; those of them that have ended at the source.
    pub(super) async fn ensure(
        &mut self,
        source: &Source,
        destination: &Destination,
        ids: impl Iterator<Item = i64>,
    ) -> Result<BTreeSet<i64>, Failure> {
        self.take(source, destination, ids, How::Granted).await
    }

    /// Keeps those alive that are not yet; those of them that have ended at the source.
    async fn take(
        &mut self,
        source: &Source,
        destination: &Destination,
        ids: impl Iterator<Item = i64>,
        how: How,
    ) -> Result<BTreeSet<i64>, Failure> {
        let unknown: BTreeSet<i64> = ids.filter(|id| !self.kept.contains_key(id)).collect();
        let unknown: Vec<i64> = unknown.into_iter().collect();
        let mut ended = BTreeSet::new();
        for some in unknown.chunks(ASKED_MAX) {
            let mut taking = JoinSet::new();
            for id in some {
                taking.spawn(carry(source.client.clone(), destination.client.clone(), *id, how));
            }
            while let Some(taken) = taking.join_next().await {
                match taken.map_err(|error| Exit::error(error.to_string()))?? {
                    Carried::Kept(id, keeper) => {
                        self.ending.remove(&id);
                        self.kept.insert(id, keeper);
                    }
                    Carried::Ended(id) => _ = ended.insert(id),
                }
            }
        }
        Ok(ended)
    }

    /// What has changed since the last look; `written` is the source's revision up to which everything was written.
    pub(super) async fn look(
        &mut self,
        source: &Source,
        destination: &Destination,
        written: i64,
    ) -> Result<Look, Failure> {
        let theirs = source.leases().await?;
        // Granted again with the same id.
        self.ending.retain(|id, _| !theirs.contains(id));
        self.ensure(source, destination, theirs.iter().copied()).await?;
        let gone: Vec<i64> = self.kept.keys().filter(|id| !theirs.contains(id)).copied().collect();
        self.end(source, gone.into_iter()).await?;
        let due: Vec<i64> = self
            .ending
            .iter()
            .filter(|(_, before)| **before <= written)
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.ending.remove(&id);
            self.kept.remove(&id);
            let revoked = patiently(async || destination.client.lease_revoke(id).await).await;
            match revoked {
                Err(error) if error.code() != Code::NotFound => {
                    return Err(destination::exit(&error, "revoke a lease").into());
                }
                // Gone already.
                Ok(_) | Err(_) => {}
            }
        }
        let is_lost = self.kept.iter().any(|(id, keeper)| theirs.contains(id) && is_lost(keeper));
        Ok(if is_lost { Look::Lost } else { Look::Fine })
    }

    /// They are not in the source's list. The list may be older than a lease; whoever is asked for one lease knows.
    async fn end(
        &mut self,
        source: &Source,
        ids: impl Iterator<Item = i64>,
    ) -> Result<(), Failure> {
        let unlisted: Vec<i64> = ids.filter(|id| !self.ending.contains_key(id)).collect();
        let mut ended = Vec::new();
        for id in unlisted {
            if granted_ttl(&source.client, id).await?.is_none() {
                ended.push(id);
            }
        }
        if !ended.is_empty() {
            let before = source.revision().await?;
            self.ending.extend(ended.into_iter().map(|id| (id, before)));
        }
        Ok(())
    }
}

/// What is done at the destination before a lease is kept alive there.
#[derive(Clone, Copy, Debug)]
enum How {
    Granted,
    /// It has been there, with keys: if it is not any more, they are gone.
    Renewed,
}

enum Carried {
    Kept(i64, LeaseKeeper),
    Ended(i64),
}

/// One lease, with its id and the time that it was granted for.
async fn carry(source: Client, destination: Client, id: i64, how: How) -> Result<Carried, Failure> {
    let Some(ttl) = granted_ttl(&source, id).await? else { return Ok(Carried::Ended(id)) };
    let failed = |error: Error| {
        Failure::from(destination::exit(&error, &format!("keep lease {id:x} alive")))
    };
    let mut patience = Patience::new();
    loop {
        let done = match how {
            How::Granted => destination.lease_grant(ttl, id).await.map(drop),
            How::Renewed => match destination.lease_renew(id).await {
                Ok(renewed) if renewed.ttl <= 0 => return Err(Failure::LeaseGone),
                renewed => renewed.map(drop),
            },
        };
        match done {
            Ok(()) => break,
            // By an earlier attempt.
            Err(error) if error.text().ends_with("lease already exists") => break,
            Err(error) if patience.bears(&error).await => {}
            Err(error) => return Err(failed(error)),
        }
    }
    let keeper = destination.lease_keep_alive(id).await.map_err(failed)?;
    Ok(Carried::Kept(id, keeper))
}

/// Whether keys were attached, up to the revision `written`, to one of these leases, which the destination does not have.
async fn have_lost_keys(source: &Source, missing: &[i64], written: i64) -> Result<bool, Failure> {
    if missing.len() > MISSING_MAX {
        return Ok(true);
    }
    for &id in missing {
        let asked = patiently(async || source.client.lease_time_to_live(id, true).await).await;
        let keys = match asked {
            Ok(answer) => answer.keys,
            // It has ended there, too.
            Err(error) if error.code() == Code::NotFound => continue,
            Err(error) => return Err(source::failed(error)),
        };
        for some in keys.chunks(KEYS_MAX) {
            let attached = |kv: &KeyValue| kv.lease == id && kv.mod_revision <= written;
            if source.read(some).await?.iter().any(attached) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The time a lease was granted for, in seconds; none if there is none.
pub(super) async fn granted_ttl(client: &Client, id: i64) -> Result<Option<i64>, Failure> {
    let mut patience = Patience::new();
    loop {
        match client.lease_time_to_live(id, false).await {
            Ok(answer) => return Ok(Some(answer.granted_ttl).filter(|ttl| *ttl > 0)),
            Err(error) if error.code() == Code::NotFound => return Ok(None),
            Err(error) if patience.bears(&error).await => {}
            Err(error) => return Err(source::failed(error)),
        }
    }
}

/// The destination's leases. A member answers from what it knows: so it is made to know first.
pub(super) async fn listed(destination: &Client) -> Result<BTreeSet<i64>, Exit> {
    destination::header(destination).await?;
    let listed = patiently(async || destination.lease_list().await).await;
    let listed = listed.map_err(|error| destination::exit(&error, "list leases"))?;
    Ok(listed.leases.iter().map(|lease| lease.id).collect())
}

/// The destination said that it has no such lease, or did not renew it in its time.
fn is_lost(keeper: &LeaseKeeper) -> bool {
    keeper.gone().now_or_never().is_some()
}
