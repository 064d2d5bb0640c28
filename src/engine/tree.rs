//! The v2 tree for those above: reads, watchers, what is due, what was counted.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use tokio::sync::watch;

use super::handle::Handle;
use crate::base::Term;
use crate::base::meter::Counter;
use crate::proto::quorate::log::V2Sync;
use crate::proto::quorate::log::v2_request::Method;
use crate::state::{Reply, v2};

/// What happened to the tree since the start of the process.
#[derive(Debug, Default)]
pub struct TreeMeters {
    pub sets: Outcomes,
    pub creates: Outcomes,
    pub updates: Outcomes,
    pub swaps: Outcomes,
    pub deletes: Outcomes,
    pub compared_deletes: Outcomes,
    /// Counted by whoever serves.
    pub gets: Outcomes,
    pub expired: Counter,
    /// Who waits now.
    pub watchers: AtomicUsize,
}

/// How often something was done, and refused.
#[derive(Debug, Default)]
pub struct Outcomes {
    pub done: Counter,
    pub refused: Counter,
}

impl Outcomes {
    pub fn count(&self, is_done: bool) {
        if is_done { self.done.increment() } else { self.refused.increment() }
    }
}

impl TreeMeters {
    pub(super) fn applied(&self, reply: &Reply) {
        match reply {
            Reply::V2(reply) => {
                let outcomes = match reply.method {
                    Method::Set => &self.sets,
                    Method::Create | Method::CreateInOrder => &self.creates,
                    Method::Update => &self.updates,
                    Method::CompareAndSwap => &self.swaps,
                    Method::Delete => &self.deletes,
                    Method::CompareAndDelete => &self.compared_deletes,
                };
                outcomes.count(reply.result.is_ok());
            }
            Reply::V2Synced(expired) => self.expired.add(*expired as u64),
            _ => {}
        }
    }
}

impl Handle {
    /// What was counted of the tree.
    pub fn tree_meters(&self) -> &TreeMeters {
        &self.shared.tree_meters
    }

    /// Changes whenever the tree does, and when the engine stops.
    pub fn tree_changes(&self) -> watch::Receiver<u64> {
        self.shared.tree_index.subscribe()
    }

    /// A watcher of `path` (clean) from `since` on (0: from now on).
    pub fn tree_watch(&self, path: Bytes, recursive: bool, since: u64) -> v2::Watch {
        self.shared.state.v2_watch(path, recursive, since)
    }

    /// What it is told next.
    pub fn tree_find(&self, watch: &mut v2::Watch) -> v2::Found {
        self.shared.state.v2_find(watch)
    }

    /// Users and roles of the v2 API, as of what this member has applied.
    pub fn tree_auth(&self) -> Arc<v2::Auth> {
        self.shared.state.v2_auth()
    }

    /// The tree's index.
    pub fn tree_index(&self) -> u64 {
        self.shared.state.v2_index()
    }

    /// Nodes have expired: the time to say so with, and the term in which it may be said; nothing unless this member
    /// leads.
    pub fn tree_expiry(&self) -> Option<(Term, V2Sync)> {
        let raft = self.raft();
        let time_ms = self.clock().wall_ms();
        let is_due = self.shared.state.v2_next_expiry_ms().is_some_and(|at_ms| at_ms <= time_ms);
        (raft.is_leader && is_due).then_some((raft.term, V2Sync { time_ms }))
    }

    /// Runs `job` on the reader pool; none if there is no room.
    pub async fn read_job<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let handle = self.clone();
        // Whoever hung up wants no answer.
        let job = Box::new(move || drop(sender.send(job(&handle))));
        if !self.read(job) {
            return None;
        }
        receiver.await.ok()
    }
}
