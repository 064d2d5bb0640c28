//! One pass: whatever the destination has, behind it is what the source was at one revision.
//!
//! ```text
//!   mark: copying R ─► leases ─► both sides page by page: what differs, in parcels, several at a time
//!                              └► places in locks and elections: one by one, in their order ─► mark: following R
//! ```
//!
//! A pass that was interrupted is begun again with a newer revision: what is equal already is read and not written.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::cli::changes::{Change, TXN_BYTES_MAX, parcels};
use crate::cli::exit::Exit;
use crate::cli::progress::Progress;
use crate::proto::mvccpb::KeyValue;

use super::destination::Destination;
use super::leases::Leases;
use super::mark::State;
use super::patience::Failure;
use super::places::{Places, reorder, turn_of};
use super::source::Source;
use super::walk::{Walk, all_below};

/// Parcels on their way at the same time; locks and elections, each of whose places goes alone.
const PARCELS_MAX: usize = 8;
const TURNS_MAX: usize = 16;

/// What a pass has done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Of the source.
    pub revision: i64,
    pub keys: u64,
    /// Put or deleted.
    pub written: u64,
}

pub(super) struct Pass<'a> {
    pub source: &'a Source,
    pub destination: &'a mut Destination,
    pub leases: &'a mut Leases,
    /// Operations of a transaction.
    pub ops_max: usize,
    /// Nothing is at the destination but the mark.
    pub is_empty: bool,
}

impl Pass<'_> {
    pub(super) async fn run(self) -> Result<Tally, Failure> {
        let revision = self.source.revision().await?;
        let mark = self.destination.mark.at(State::Copying, revision);
        // Before any lease is granted: what a lease has lost is copied again, whoever does that.
        self.destination.advance(&[], mark).await?;
        let mut progress = Progress::new("migrating");
        progress.step("leases");
        self.leases.adopt(self.source, self.destination).await?;
        let mut tally = Tally { revision, ..Tally::default() };
        let mut places = Places::default();
        let mut writing = JoinSet::new();
        let here = Arc::new(self.destination.clone());
        let mut walk = Walk::new(self.source, &self.destination.client, revision, self.is_empty);
        while let Some(met) = walk.next().await? {
            let total = tally.keys + u64::try_from(met.left).unwrap_or_default();
            progress.count(tally.keys, total, "keys");
            tally.keys += met.kvs.len() as u64;
            let leased = met.kvs.iter().map(|kv| kv.lease).filter(|lease| *lease != 0);
            let ended = self.leases.ensure(self.source, self.destination, leased).await?;
            // The source has deleted them since, or attached them to something else.
            let lives = |lease: i64| lease == 0 || !ended.contains(&lease);
            for kv in met.kvs.iter().filter(|kv| lives(kv.lease)) {
                places.take(kv);
            }
            let changes = met.differences.into_iter().map(Change::from);
            let changes = changes.filter(|change| match change {
                Change::Put(key, _, lease) => lives(*lease) && turn_of(key, *lease).is_none(),
                Change::Delete(_) => true,
            });
            for parcel in parcels(changes, self.ops_max, TXN_BYTES_MAX) {
                let here = Arc::clone(&here);
                tally.written += room(&mut writing, PARCELS_MAX).await?;
                writing.spawn(async move {
                    here.write(&parcel).await?;
                    Ok(parcel.len() as u64)
                });
            }
        }
        for (name, keys) in places.into_turns() {
            tally.written += room(&mut writing, TURNS_MAX).await?;
            let here = Arc::clone(&here);
            writing.spawn(async move { turns(&here, &name, &keys).await });
        }
        tally.written += room(&mut writing, 1).await?;
        let mark = self.destination.mark.at(State::Following, revision);
        self.destination.advance(&[], mark).await?;
        Ok(tally)
    }
}

/// Waits until fewer than `max` are on their way; how many changes the others have made. A failure of one is that of all.
async fn room(writing: &mut JoinSet<Result<u64, Failure>>, max: usize) -> Result<u64, Failure> {
    let mut written = 0;
    while writing.len() >= max
        && let Some(one) = writing.join_next().await
    {
        written += one.map_err(|error| Exit::error(error.to_string()))??;
    }
    Ok(written)
}

/// The places of one lock or election.
async fn turns(here: &Destination, name: &Bytes, keys: &[KeyValue]) -> Result<u64, Failure> {
    let changes = reorder(keys, &all_below(&here.client, name).await?);
    for change in &changes {
        here.write(std::slice::from_ref(change)).await?;
    }
    Ok(changes.len() as u64)
}
