//! The hub's tables: watchers by slot, streams by id.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::index::Slot;
use super::spec::{Spec, StreamId};
use crate::base::{KeyRange, Moment};
use crate::mvcc::{Event, EventKind};

/// One watcher.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) stream: StreamId,
    pub(super) id: i64,
    pub(super) range: KeyRange,
    /// Nothing below it is delivered any more (or yet).
    pub(super) next: i64,
    /// The start revision asked for; 0: from its creation on.
    pub(super) start: i64,
    pub(super) place: Place,
    /// No events since the last tick of its stream.
    pub(super) quiet: bool,
    pub(super) prev_kv: bool,
    pub(super) fragment: bool,
    no_put: bool,
    no_delete: bool,
}

/// Where a watcher gets its events from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Place {
    /// Not in the hub's structures yet.
    Nowhere,
    /// From what is published; its `next` is behind the hub's revision only because it was not updated.
    Synced,
    /// From slices of history.
    Ready,
    /// From nowhere until its stream has drained.
    Parked,
}

impl Watcher {
    pub(super) fn new(stream: StreamId, id: i64, spec: Spec) -> Self {
        Self {
            stream,
            id,
            range: spec.range,
            next: 0,
            start: spec.start_revision,
            place: Place::Nowhere,
            quiet: true,
            prev_kv: spec.prev_kv,
            fragment: spec.fragment,
            no_put: spec.no_put,
            no_delete: spec.no_delete,
        }
    }

    pub(super) fn wants(&self, event: &Event) -> bool {
        match event.kind {
            EventKind::Put => !self.no_put,
            EventKind::Delete => !self.no_delete,
        }
    }
}

/// Watchers by slot; slots are used again.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    slots: Vec<Option<Watcher>>,
    free: Vec<Slot>,
}

impl Watchers {
    pub(super) fn insert(&mut self, watcher: Watcher) -> Slot {
        if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = Some(watcher);
            return slot;
        }
        self.slots.push(Some(watcher));
        (self.slots.len() - 1) as Slot
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Watcher> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Watcher> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<Watcher> {
        let watcher = self.slots.get_mut(slot as usize)?.take();
        self.free.extend(watcher.is_some().then_some(slot));
        watcher
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &Watcher)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(slot, watcher)| Some((slot as Slot, watcher.as_ref()?)))
    }
}

/// One client stream.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) watchers: BTreeMap<i64, Slot>,
    /// Where the numbering of watchers goes on.
    pub(super) next_id: i64,
    /// Delivered and not taken, bytes.
    pub(super) queued: usize,
    /// Full; until it has drained to the half, its watchers get no events.
    pub(super) slow: bool,
    /// Its watchers that are not synced.
    pub(super) behind: BTreeSet<Slot>,
    /// Its watchers that start in the future: (start, id). Past ones may linger.
    pub(super) future: BTreeSet<(i64, i64)>,
    /// Its watchers that want progress messages, and when they are due.
    pub(super) notify: BTreeSet<i64>,
    pub(super) progress_due: Moment,
    /// Requests made when the store had seen a revision that the hub has not.
    pub(super) deferred: VecDeque<(i64, Request)>,
}

/// A request that keeps its place in its stream's order.
#[derive(Debug)]
pub(super) enum Request {
    Create(Spec, Moment),
    Cancel(i64),
    Progress,
}
