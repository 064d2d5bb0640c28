//! The last events in RAM, rebuilt from their rows, and which of them a watcher is told.

use std::collections::{BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use super::error::Error;
use super::{path, rows};
use crate::base::limits;
use crate::proto::quorate::log::v2_event::Action;
use crate::proto::quorate::log::{V2Event, V2Node};
use crate::storage::{Fault, Read};

/// An event, and what its watchers need beside it.
#[derive(Clone, Debug)]
pub(in crate::state) struct Told {
    index: u64,
    event: Arc<V2Event>,
    removed: Removed,
    bytes: usize,
}

/// What went with a directory, for those who watched below it.
#[derive(Clone, Debug)]
pub(super) enum Removed {
    These(BTreeSet<Vec<u8>>),
    /// Too many to be named.
    Everything,
}

/// The last events, oldest first; their indexes have no gap.
#[derive(Debug, Default)]
pub struct History {
    kept: VecDeque<Told>,
    bytes: usize,
    /// The tree's index.
    index: u64,
}

/// Whose turn it is to be told, and from where on.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Clean.
    pub path: Bytes,
    pub recursive: bool,
    /// The next index that it wants.
    pub next: u64,
    /// The tree's index when it came: what is older is history to it, in which nothing is hidden.
    pub came_at: u64,
}

/// What a watcher finds.
#[derive(Clone, Debug)]
pub enum Found {
    Event(Arc<V2Event>),
    /// Nothing yet.
    Nothing,
    /// What it wants is kept no more: the oldest kept index.
    Cleared(u64),
}

impl Told {
    pub(super) fn new(index: u64, event: V2Event) -> Self {
        let size = |node: &Option<V2Node>| {
            node.as_ref().map_or(0, |node| node.key.len() + node.value.len())
        };
        let bytes = size(&event.node) + size(&event.prev_node);
        let is_removal = matches!(event.action(), Action::Delete | Action::Expire);
        // Rows do not keep what went with a directory; whoever removes it says so below.
        let removed = match is_removal && event.prev_node.as_ref().is_some_and(|prev| prev.dir) {
            true => Removed::Everything,
            false => Removed::These(BTreeSet::new()),
        };
        Self { index, event: Arc::new(event), removed, bytes }
    }

    pub(super) fn took(&mut self, removed: Removed) {
        if let Removed::These(paths) = &removed {
            self.bytes += paths.iter().map(Vec::len).sum::<usize>();
        }
        self.removed = removed;
    }

    fn node(&self) -> (&[u8], Option<&V2Node>) {
        let key = self.event.node.as_ref().map_or(&b""[..], |node| node.key.as_ref());
        (key, self.event.prev_node.as_ref())
    }

    /// Told to who was there when it happened.
    fn is_heard(&self, watch: &Watch) -> bool {
        let (key, _) = self.node();
        if key == &watch.path[..] {
            return true;
        }
        if watch.recursive && path::is_below(key, &watch.path) {
            return !path::is_hidden_below(&watch.path, key);
        }
        match &self.removed {
            Removed::These(paths) => paths.contains(&watch.path[..]),
            Removed::Everything => path::is_below(&watch.path, key),
        }
    }

    /// Told to who looks back.
    fn is_found(&self, watch: &Watch) -> bool {
        let (key, prev) = self.node();
        let is_removal = matches!(self.event.action(), Action::Delete | Action::Expire);
        key == &watch.path[..]
            || (watch.recursive && path::is_below(key, &watch.path))
            || (is_removal && prev.is_some_and(|prev| prev.dir) && path::is_below(&watch.path, key))
    }
}

impl History {
    pub(in crate::state) fn load<R: Read>(read: &R) -> Result<Self, Fault> {
        let mut history = Self { index: rows::index(read)?, ..Self::default() };
        let mut index = history.index;
        rows::events(read, &mut |event| {
            let told = Told::new(index, event);
            if history.bytes + told.bytes > limits::V2_HISTORY_BYTES_MAX {
                return ControlFlow::Break(());
            }
            history.bytes += told.bytes;
            history.kept.push_front(told);
            index = index.saturating_sub(1);
            ControlFlow::Continue(())
        })?;
        Ok(history)
    }

    pub(in crate::state) fn extend(&mut self, told: Vec<Told>) {
        for told in told {
            self.index = told.index;
            self.bytes += told.bytes;
            self.kept.push_back(told);
            while self.kept.len() > limits::V2_HISTORY_EVENTS
                || (self.bytes > limits::V2_HISTORY_BYTES_MAX && self.kept.len() > 1)
            {
                let Some(old) = self.kept.pop_front() else { break };
                self.bytes -= old.bytes;
            }
        }
    }

    /// The tree's index.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The next event for a watcher, who then wants what comes after it.
    pub fn find(&self, watch: &mut Watch) -> Found {
        let oldest = self.kept.front().map_or(self.index + 1, |told| told.index);
        if watch.next < oldest {
            return Found::Cleared(oldest);
        }
        let skipped = usize::try_from(watch.next - oldest).unwrap_or(usize::MAX);
        for told in self.kept.iter().skip(skipped) {
            watch.next = told.index + 1;
            let is_told = match told.index > watch.came_at {
                true => told.is_heard(watch),
                false => told.is_found(watch),
            };
            if is_told && !told.event.refresh {
                return Found::Event(Arc::clone(&told.event));
            }
        }
        Found::Nothing
    }
}

impl Watch {
    /// From `since` on (0: from now on), of a tree that stands at `index`.
    pub fn new(path: impl Into<Bytes>, recursive: bool, since: u64, index: u64) -> Self {
        let next = if since == 0 { index + 1 } else { since };
        Self { path: path.into(), recursive, next, came_at: index }
    }

    /// What a client is told that wants what is kept no more.
    pub fn cleared(&self, oldest: u64, index: u64) -> Error {
        let cause = format!("the requested history has been cleared [{oldest}/{}]", self.next);
        Error::new(Error::EVENT_INDEX_CLEARED, cause, index)
    }
}
