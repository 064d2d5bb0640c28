//! The read-only door: one view and the caches, consistent with each other.
//!
//! Promises: the answer of a range is of one revision; a revision that compaction may have begun to delete is refused,
//! never read in part. Knows nothing of: whether the member is behind (that is the read barrier's business).

use std::sync::Arc;

use bytes::Bytes;

use super::alarms::Alarms;
use super::content::ContentRun;
use super::leases::{self, Lease};
use super::members::Members;
use super::range::{Budget, RangeRun, Source, whole_range};
use super::reply::Rejection;
use super::shared::Shared;
use super::stop::{Answer, answer};
use super::{txn, v2};
use crate::base::{KeyRange, LeaseId, Revision};
use crate::mvcc::{self, Event, EventBatch, Hasher, History, KeyValue, Reader, Whole};
use crate::proto::etcdserverpb::{RangeRequest, RangeResponse, TxnRequest, TxnResponse};
use crate::storage::{Fault, Read, Stamp, View};

/// Reads what this member has applied, as of the moment its view was taken.
#[derive(Debug)]
pub struct Query<R = View> {
    view: R,
    stamp: Stamp,
    shared: Arc<Shared>,
}

/// HashKV's answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KvHash {
    pub hash: u32,
    /// -1 before the first compaction.
    pub compact_revision: i64,
    /// The revision up to which was hashed; a negative one that was asked for, up to which there is nothing.
    pub hash_revision: i64,
}

/// HashKV on its way.
#[derive(Debug)]
pub struct HashRun {
    asked: i64,
    compacted: i64,
    revision: i64,
    hasher: Option<Hasher>,
}

impl HashRun {
    /// `revision` 0 is the current one.
    pub fn new(revision: i64) -> Self {
        Self { asked: revision, compacted: 0, revision, hasher: None }
    }
}

impl Query {
    /// Over a view that was just taken.
    pub fn of(view: View, shared: Arc<Shared>) -> Self {
        let stamp = view.stamp();
        Self::new(view, stamp, shared)
    }
}

impl<R: Read> Query<R> {
    /// `stamp` is the view's. The view must have been taken before this call: compaction publishes its revision before
    /// it deletes anything, so what is published now covers whatever the view may miss.
    pub fn new(view: R, stamp: Stamp, shared: Arc<Shared>) -> Self {
        let compacted = shared.stamp().compacted.max(stamp.compacted);
        Self { view, stamp: Stamp { compacted, ..stamp }, shared }
    }

    /// What the view shows; `compacted` may be newer than the rest.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    pub fn revision(&self) -> i64 {
        self.stamp.revision
    }

    /// The oldest readable revision; -1 when nothing was compacted.
    pub fn compacted(&self) -> i64 {
        self.stamp.compacted
    }

    /// The whole answer, however long it takes; a door that serves strangers feeds a [`RangeRun`] instead.
    pub fn range(&self, request: &RangeRequest) -> Answer<RangeResponse> {
        answer(whole_range(self, request))
    }

    /// Reads on with a part of a range; the answer when it is whole. The next slice may come from another query.
    pub fn range_slice(&self, run: &mut RangeRun, budget: Budget) -> Answer<Option<RangeResponse>> {
        answer(run.slice(self, budget))
    }

    /// A transaction of ranges alone ([`check::is_read_only`](super::check::is_read_only)).
    pub fn txn(&self, request: &TxnRequest) -> Answer<TxnResponse> {
        answer(txn::read(self, request))
    }

    /// The hash of the history up to `revision` (0: current; below: of nothing, as in etcd), equal on all members.
    pub fn hash_kv(&self, revision: i64) -> Answer<KvHash> {
        let mut run = HashRun::new(revision);
        loop {
            match self.hash_slice(&mut run, usize::MAX)? {
                Ok(None) => {}
                Ok(Some(hash)) => return Ok(Ok(hash)),
                Err(rejection) => return Ok(Err(rejection)),
            }
        }
    }

    /// Hashes on, at most `rows_max` rows; begins again when compaction came in between.
    pub fn hash_slice(&self, run: &mut HashRun, rows_max: usize) -> Answer<Option<KvHash>> {
        let compacted = self.stamp.compacted;
        if run.asked < 0 {
            let hash = Hasher::new(run.asked, compacted).value();
            let answer = KvHash { hash, compact_revision: compacted, hash_revision: run.asked };
            return Ok(Ok(Some(answer)));
        }
        if run.hasher.is_none() && run.asked == 0 {
            run.revision = self.stamp.revision;
        }
        if run.revision > self.stamp.revision {
            return Ok(Err(Rejection::FutureRev));
        }
        if run.revision < compacted {
            return Ok(Err(Rejection::Compacted));
        }
        if run.compacted != compacted {
            run.hasher = None;
            run.compacted = compacted;
        }
        let hasher = run.hasher.get_or_insert_with(|| Hasher::new(run.revision, compacted));
        if !hasher.slice(&self.view, rows_max)? {
            return Ok(Ok(None));
        }
        Ok(Ok(Some(KvHash {
            hash: hasher.value(),
            compact_revision: compacted,
            hash_revision: run.revision,
        })))
    }

    /// Checks on, at most `rows_max` rows; the checksum when all are in.
    pub fn content_slice(
        &self,
        run: &mut ContentRun,
        rows_max: usize,
    ) -> Result<Option<u32>, Fault> {
        run.slice(&self.view, rows_max)
    }

    /// A node of the v2 tree at a clean path, with what is in it; `now_ms` is the time from which its TTL is told.
    pub fn v2(
        &self,
        path: &[u8],
        recursive: bool,
        now_ms: i64,
    ) -> Result<Result<v2::Listed, v2::Error>, Fault> {
        v2::listed(&self.view, path, recursive, now_ms)
    }

    /// All leases, by id.
    pub fn leases(&self) -> Vec<(LeaseId, Lease)> {
        self.shared.leases()
    }

    pub fn lease(&self, id: LeaseId) -> Option<Lease> {
        self.shared.lease(id)
    }

    /// The keys on a lease, ascending; none for one that is not there.
    pub fn lease_keys(&self, id: LeaseId) -> Result<Vec<Bytes>, Fault> {
        leases::keys_of(&self.view, id)
    }

    pub fn members(&self) -> Arc<Members> {
        self.shared.members()
    }

    pub fn alarms(&self) -> Arc<Alarms> {
        self.shared.alarms()
    }

    /// What was at the key of each event one revision before the batch, in the order of the events; none at a put that
    /// created its key, and none when that revision cannot be read any more. So a key that one transaction changes
    /// twice has the same value before both.
    pub fn previous(&self, batch: &EventBatch) -> Result<Vec<Option<KeyValue>>, Fault> {
        if batch.revision - 1 < self.stamp.compacted {
            return Ok(vec![None; batch.events.len()]);
        }
        let before = |event: &Event| match event.prev {
            // It replaced a change of its own transaction; what that transaction found is with its first change.
            Some(prev) if prev.main == batch.revision => {
                let first = batch.events.iter().find(|first| first.kv.key == event.kv.key);
                first.and_then(|first| first.prev)
            }
            prev => prev,
        };
        let value = |revision: Option<Revision>| match revision {
            Some(revision) => mvcc::value_at(&self.view, revision),
            None => Ok(None),
        };
        batch.events.iter().map(before).map(value).collect()
    }

    /// What happened in the revisions `from..=to` (`to` is cut to the current one), for a watcher that is behind; at
    /// most `revisions_max` of them, and no more once `bytes_max` is reached. Compacted when `from` lies below what
    /// can still be told.
    pub fn history(
        &self,
        from: i64,
        to: i64,
        revisions_max: usize,
        bytes_max: usize,
    ) -> Answer<History> {
        if from < self.stamp.compacted {
            return Ok(Err(Rejection::Compacted));
        }
        let to = to.min(self.stamp.revision);
        Ok(Ok(mvcc::history(&self.view, from, to, revisions_max, bytes_max)?))
    }
}

impl<R: Read> Source for Query<R> {
    type Rows = R;

    fn current(&self) -> i64 {
        self.stamp.revision
    }

    fn compacted(&self) -> i64 {
        self.stamp.compacted
    }

    fn reader(&self, revision: i64) -> Reader<'_, R> {
        Reader::at(&self.view, revision)
    }

    fn whole(&self, range: &KeyRange) -> Option<Whole> {
        self.shared.whole(range, self.stamp.revision)
    }
}
