//! What clients of real members asked, were told and heard, in one order and on one clock.
//!
//! An operation is written down before it leaves, and its answer after it came: what did not overlap in truth may
//! overlap here, never the other way round.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use quorate::base::Moment;
use quorate::proto::etcdserverpb::{RangeResponse, TxnResponse};
use quorate::proto::mvccpb;
use quorate::state::{Rejection, Reply};
use quorate::watch::Spec;

use crate::workload::Op;

/// What came back. Headers are left with the revision alone.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Reply {
        reply: Reply,
        revision: i64,
    },
    Range(RangeResponse),
    Txn(TxnResponse),
    /// 0 seconds is a lease that is not there.
    KeptAlive {
        ttl_s: i64,
        term: u64,
    },
    Rejected(Rejection),
    NotProposed,
    Ambiguous,
}

/// What a watcher was told.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    Created { revision: i64 },
    Events(Vec<mvccpb::Event>),
    Progress { revision: i64 },
    Compacted { revision: i64 },
}

#[derive(Clone, Debug)]
pub(crate) enum Note {
    Invoked { operation: u64, op: Op },
    Returned { operation: u64, answer: Answer },
    Watched { client: u64, spec: Spec },
    Heard { client: u64, told: Told },
}

/// See the module.
pub(crate) struct Recorder {
    began: Instant,
    notes: Mutex<Vec<(Moment, Note)>>,
    operations: AtomicU64,
    writes: AtomicU64,
    revision: AtomicI64,
    /// The highest revision that somebody asked to compact.
    pub(super) compacted: AtomicI64,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            notes: Mutex::default(),
            operations: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            revision: AtomicI64::new(1),
            compacted: AtomicI64::new(1),
        }
    }

    /// The number of an operation that leaves now.
    pub(crate) fn invoked(&self, op: Op) -> u64 {
        let operation = self.operations.fetch_add(1, Ordering::Relaxed) + 1;
        self.push(Note::Invoked { operation, op });
        operation
    }

    pub(crate) fn returned(&self, operation: u64, answer: Answer) {
        if let Answer::Reply { revision, .. } = &answer {
            self.writes.fetch_add(1, Ordering::Relaxed);
            self.revision.fetch_max(*revision, Ordering::Relaxed);
        }
        self.push(Note::Returned { operation, answer });
    }

    pub(crate) fn push(&self, note: Note) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Moment(u64::try_from(self.began.elapsed().as_nanos()).unwrap());
        notes.push((now, note));
    }

    /// Commands acknowledged so far.
    pub(crate) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// The newest revision that an acknowledged command had.
    pub(crate) fn revision(&self) -> i64 {
        self.revision.load(Ordering::Relaxed)
    }

    pub(crate) fn take(&self) -> Vec<(Moment, Note)> {
        std::mem::take(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
