//! The log as the crate reads it: `raft::Storage` over [`Log`].
//!
//! Three readers come through `entries`, and the crate does not say which:
//!
//! - appends to followers (`can_async`): from the cache, or fetched from the disk off this thread, never here;
//! - a Ready's committed entries (bounded in bytes): the engine applies from the log by itself, so these are marks
//!   with an index and nothing else, and a long backlog costs neither memory nor a read;
//! - elections looking for unapplied membership changes (unbounded; #530: the crate reads the whole backlog for it):
//!   marks of the membership changes alone, which are known here.
//!
//! `first_index` never passes the crate's own applied index: the log thread trims up to the engine's, which the crate
//! may not have heard of yet, and its election code stops the process when its applied index lies before the log.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use raft::eraftpb;
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use crate::base::{Index, MemberId, Term, limits};
use crate::storage::{Entry, EntryKind, HardState, Log};

use super::CheckpointMark;
use super::checkpoint::conf_state;
use super::convert::{from_stored, raft_entry};
use super::effects::Fetch;

/// Marks in one Ready; each takes about 100 bytes for the moment.
const MARKS_MAX: u64 = 16_384;

pub(super) struct LogView {
    log: Arc<Log>,
    /// The state at open; the crate asks once.
    initial: RaftState,
    applied: Cell<Index>,
    /// Membership changes in the log that are not applied.
    changes: RefCell<BTreeSet<Index>>,
    checkpoint: RefCell<CheckpointMark>,
    checkpoint_wanted: Cell<bool>,
    fetches: RefCell<Fetches>,
}

#[derive(Default)]
struct Fetches {
    last_token: u64,
    waiting: BTreeMap<u64, Waiting>,
    /// Not handed to the engine yet.
    fresh: Vec<Fetch>,
    /// What was fetched, while the crate is told so: the first index and the entries, none if they are trimmed.
    arrived: Option<(Index, Vec<Entry>)>,
}

struct Waiting {
    low: Index,
    contexts: Vec<GetEntriesContext>,
}

impl LogView {
    pub(super) fn new(
        log: Arc<Log>,
        hard_state: HardState,
        applied: Index,
        voters: &[MemberId],
        learners: &[MemberId],
        checkpoint: CheckpointMark,
    ) -> Self {
        let hard = eraftpb::HardState {
            term: hard_state.term,
            vote: hard_state.vote,
            commit: hard_state.commit,
            ..Default::default()
        };
        Self {
            log,
            initial: RaftState::new(hard, conf_state(voters, learners)),
            applied: Cell::new(applied),
            changes: RefCell::default(),
            checkpoint: RefCell::new(checkpoint),
            checkpoint_wanted: Cell::new(false),
            fetches: RefCell::default(),
        }
    }

    /// Entries were put into the log: what stood there before is gone.
    pub(super) fn extended(&self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        let mut changes = self.changes.borrow_mut();
        changes.split_off(&first.index);
        let of_members = entries.iter().filter(|entry| entry.kind == EntryKind::ConfChange);
        changes.extend(of_members.map(|entry| entry.index));
    }

    /// The log begins anew.
    pub(super) fn restarted(&self) {
        self.changes.borrow_mut().clear();
    }

    pub(super) fn set_applied(&self, index: Index) {
        self.applied.set(index);
        let mut changes = self.changes.borrow_mut();
        *changes = changes.split_off(&(index + 1));
    }

    pub(super) fn set_checkpoint(&self, mark: CheckpointMark) {
        if mark.index >= self.checkpoint.borrow().index {
            *self.checkpoint.borrow_mut() = mark;
        }
    }

    pub(super) fn take_checkpoint_wanted(&self) -> bool {
        self.checkpoint_wanted.take()
    }

    pub(super) fn take_fetches(&self) -> Vec<Fetch> {
        std::mem::take(&mut self.fetches.borrow_mut().fresh)
    }

    pub(super) fn wants_something(&self) -> bool {
        self.checkpoint_wanted.get() || !self.fetches.borrow().fresh.is_empty()
    }

    /// Ends a fetch: the contexts that wait for it. `None`: an unknown token.
    pub(super) fn arrived(&self, token: u64) -> Option<(Index, Vec<GetEntriesContext>)> {
        let waiting = self.fetches.borrow_mut().waiting.remove(&token)?;
        Some((waiting.low, waiting.contexts))
    }

    /// While this is set, a read from its first index on is answered by it.
    pub(super) fn lend(&self, arrived: Option<(Index, Vec<Entry>)>) {
        self.fetches.borrow_mut().arrived = arrived;
    }

    /// Entries for a follower, or the order to fetch them.
    fn append_entries(
        &self,
        low: Index,
        high: Index,
        bytes_max: usize,
        context: GetEntriesContext,
    ) -> raft::Result<Vec<eraftpb::Entry>> {
        if low < self.log.first_index() {
            return Err(StorageError::Compacted.into());
        }
        if let Some(entries) = self.log.cached(low, high, bytes_max) {
            return Ok(entries.into_iter().map(from_stored).collect());
        }
        let mut fetches = self.fetches.borrow_mut();
        if let Some((_, entries)) = fetches.arrived.take_if(|(first, _)| *first == low) {
            let wanted = entries.into_iter().take_while(|entry| entry.index < high);
            let entries: Vec<_> = wanted.map(from_stored).collect();
            return if entries.is_empty() {
                Err(StorageError::Compacted.into())
            } else {
                Ok(entries)
            };
        }
        fetches.order(low, high, bytes_max, context);
        Err(StorageError::LogTemporarilyUnavailable.into())
    }

    fn unapplied_changes(&self, range: RangeInclusive<Index>) -> Vec<eraftpb::Entry> {
        let mark = |index: &Index| raft_entry(EntryKind::ConfChange, 0, *index, Bytes::new());
        self.changes.borrow().range(range).map(mark).collect()
    }
}

impl Fetches {
    fn order(&mut self, low: Index, high: Index, bytes_max: usize, context: GetEntriesContext) {
        if let Some(waiting) = self.waiting.values_mut().find(|waiting| waiting.low == low) {
            // One for each follower is enough: the same one asks again with each heartbeat.
            if waiting.contexts.len() < limits::MEMBERS_MAX {
                waiting.contexts.push(context);
            }
            return;
        }
        self.last_token += 1;
        self.waiting.insert(self.last_token, Waiting { low, contexts: vec![context] });
        self.fresh.push(Fetch { token: self.last_token, low, high, bytes_max });
    }
}

impl Storage for LogView {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(self.initial.clone())
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> raft::Result<Vec<eraftpb::Entry>> {
        let max_size: Option<u64> = max_size.into();
        if context.can_async() {
            let bytes_max = usize::try_from(max_size.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
            return self.append_entries(low, high, bytes_max, context);
        }
        if max_size.is_none() {
            return Ok(self.unapplied_changes(low..=high.saturating_sub(1)));
        }
        let end = high.min(low.saturating_add(MARKS_MAX));
        let mark = |index| raft_entry(EntryKind::Normal, 0, index, Bytes::new());
        Ok((low..end).map(mark).collect())
    }

    fn term(&self, index: u64) -> raft::Result<Term> {
        match self.log.term(index) {
            Some(term) => Ok(term),
            None if index < self.log.first_index() => Err(StorageError::Compacted.into()),
            None => Err(StorageError::Unavailable.into()),
        }
    }

    fn first_index(&self) -> raft::Result<Index> {
        Ok(self.log.first_index().min(self.applied.get() + 1))
    }

    fn last_index(&self) -> raft::Result<Index> {
        Ok(self.log.last_index())
    }

    /// A checkpoint that can be sent: it holds what was asked for, knows the receiver as a member, and the log goes on
    /// behind it.
    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<eraftpb::Snapshot> {
        let checkpoint = self.checkpoint.borrow();
        let fits = checkpoint.index > 0
            && checkpoint.index >= request_index
            && checkpoint.index + 1 >= self.log.first_index()
            && checkpoint.contains(MemberId(to));
        if fits {
            return Ok(checkpoint.to_snapshot());
        }
        self.checkpoint_wanted.set(true);
        Err(StorageError::SnapshotTemporarilyUnavailable.into())
    }
}
