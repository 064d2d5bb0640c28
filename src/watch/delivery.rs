//! What the hub hands to a stream.

use std::sync::Arc;

use super::spec::Refusal;
use crate::mvcc::{Event, EventBatch};

/// One message to a stream, in order. `revision` is the header's.
#[derive(Clone, Debug, PartialEq)]
pub enum Delivery {
    /// Always a watcher's first.
    Created { id: i64, revision: i64 },
    /// Created and canceled at once, with id -1.
    Refused { reason: Refusal, revision: i64 },
    /// All events of one revision that matched, for every watcher of the stream that they concern. The header's
    /// revision is the batch's.
    Events { batch: Arc<EventBatch>, watchers: Vec<Matched> },
    /// Everything up to `revision` has been delivered: to this watcher, or, with id -1, to every one of the stream.
    Progress { id: i64, revision: i64 },
    /// The last message of a watcher. With a `compact_revision`, the history it needed is gone; then the header's
    /// revision is 0.
    Canceled { id: i64, revision: i64, compact_revision: Option<i64> },
}

/// One watcher's part of a batch.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Matched {
    pub id: i64,
    pub events: Which,
    pub prev_kv: bool,
    pub fragment: bool,
}

/// Which events of a batch matched.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Which {
    All,
    /// Their places in the batch, ascending.
    Some(Vec<u32>),
}

impl Which {
    /// The events themselves.
    pub fn of<'a>(&self, batch: &'a EventBatch) -> Vec<&'a Event> {
        match self {
            Self::All => batch.events.iter().collect(),
            Self::Some(places) => {
                places.iter().filter_map(|&place| batch.events.get(place as usize)).collect()
            }
        }
    }
}

/// What an event, or a message without events, is counted for beside its key and value, bytes.
const OVERHEAD_BYTES: usize = 64;

/// What a batch keeps in RAM, bytes.
pub(super) fn batch_bytes(batch: &EventBatch) -> usize {
    let event = |event: &Event| OVERHEAD_BYTES + event.kv.key.len() + event.kv.value.len();
    batch.events.iter().map(event).sum()
}

impl Delivery {
    /// How many events, an event for two watchers twice.
    pub fn events(&self) -> u64 {
        let Self::Events { batch, watchers } = self else { return 0 };
        let matched = watchers.iter().map(|watcher| match &watcher.events {
            Which::All => batch.events.len(),
            Which::Some(places) => places.len(),
        });
        matched.sum::<usize>() as u64
    }

    /// What it counts for in its stream's queue, bytes; given back by [`Hub::drained`](super::Hub::drained).
    pub fn bytes(&self) -> usize {
        match self {
            Self::Events { batch, watchers } => {
                let places = |matched: &Matched| match &matched.events {
                    Which::All => 0,
                    Which::Some(places) => places.len() * size_of::<u32>(),
                };
                let matched = watchers.iter().map(|m| size_of::<Matched>() + places(m));
                batch_bytes(batch) + matched.sum::<usize>()
            }
            _ => OVERHEAD_BYTES,
        }
    }
}
