//! What the engine's turns share, and the messages between them.
//!
//! ```text
//!   Handle, peers ----> driver inbox ---> Driver ---> log inbox --------> LogTurn --+
//!                            ^              |                                       | persisted
//!                            |              +-------> applier inbox --> Applier     |
//!                            +---- applied, checkpointed, persisted <---+-----------+
//!                                                     Applier ---> checkpoint inbox, hub inbox
//! ```
//!
//! A turn never blocks on another: it leaves a message and goes on. Locks here are held for a few map operations.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use bytes::Bytes;

use super::config::Config;
use super::error::Error;
use super::hub::HubMessage;
use super::inbox::Inbox;
use super::lessor::Lessor;
use super::meters::Meters;
use super::outbox::{Lost, Outbox};
use super::readers::Readers;
use super::status::RaftStatus;
use super::tokens::Tokens;
use super::tree::TreeMeters;
use super::waiters::{Done, Waiters};
use crate::base::{Clock, Index, MemberId, Moment, Sabotage, Term, limits};
use crate::consensus::{Change, CheckpointMark, Fetch, wire};
use crate::proto::quorate::log::MemberChange;
use crate::state;
use crate::storage::{Entry, Log, Sealed, Staged, Store, WalBatch};

/// A linearizable read may go ahead, or why not.
pub type ReadDone = Box<dyn FnOnce(Result<(), Error>) + Send>;
/// An answer to a peer's question.
pub type AskReply = Box<dyn FnOnce(Bytes) + Send>;
/// The end of something that has no result.
pub type Finished = Box<dyn FnOnce(Result<(), Error>) + Send>;

pub(super) struct Proposal {
    pub(super) counter: u64,
    /// The encoded envelope.
    pub(super) data: Bytes,
    pub(super) change: Option<Box<MemberChange>>,
    pub(super) is_priority: bool,
    pub(super) deadline: Moment,
}

pub(super) enum DriverMessage {
    Propose(Proposal, Done),
    Read { deadline: Moment, done: ReadDone },
    Peer { from: MemberId, messages: Vec<Bytes> },
    ForwardedProposals(Forwarded),
    ForwardAnswered { counters: Vec<u64>, asked: (MemberId, Term), answer: Result<Bytes, Lost> },
    Persisted { number: u64, installed: Option<Index> },
    Applied { index: Index, changes: Vec<Change> },
    Checkpointed(CheckpointMark),
    Staged { from: MemberId, message: wire::RaftMessage, staged: Staged },
    SnapshotStarted { to: MemberId, index: Index },
    SnapshotSent { to: MemberId, ok: bool },
    Unreachable(MemberId),
    Fetched { token: u64, entries: Vec<Entry> },
    Transfer { to: MemberId, deadline: Moment, done: Finished },
    Campaign,
}

/// Another member's proposals.
pub(super) struct Forwarded {
    pub(super) from: MemberId,
    pub(super) entries: Vec<Bytes>,
    /// The term that they are meant for; 0 is any.
    pub(super) term: Term,
    pub(super) is_change: bool,
    pub(super) reply: AskReply,
}

pub(super) enum LogMessage {
    Persist { number: u64, batch: WalBatch, install: Option<(CheckpointMark, Staged)> },
    Installed,
    Trim(Index),
    Fetch(Fetch),
}

pub(super) enum ApplierMessage {
    Commit(Index),
    Install(Staged),
    /// A checkpoint is wanted now; told when everything applied so far is durable in the database.
    Seal(Option<Finished>),
    CheckpointDone,
}

pub(super) enum CheckpointMessage {
    Checkpoint {
        sealed: Sealed,
        mark: CheckpointMark,
    },
    Compact(i64),
    /// Told when everything up to this revision has been deleted.
    WhenCompacted {
        revision: i64,
        done: Finished,
    },
    Restarted {
        compacted: i64,
    },
    /// The database is to be written anew without its empty pages.
    Rewrite(Finished),
}

pub(super) struct SnapshotJob {
    pub(super) to: MemberId,
    pub(super) message: wire::RaftMessage,
}

pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) store: Arc<Store>,
    pub(super) log: Arc<Log>,
    pub(super) outbox: Arc<dyn Outbox>,

    pub(super) driver: Inbox<DriverMessage>,
    pub(super) log_inbox: Inbox<LogMessage>,
    pub(super) applier: Inbox<ApplierMessage>,
    pub(super) checkpoint: Inbox<CheckpointMessage>,
    pub(super) hub: Inbox<HubMessage>,
    pub(super) snapshots: Inbox<SnapshotJob>,
    pub(super) readers: Readers,

    pub(super) waiters: Mutex<Waiters>,
    pub(super) lessor: Mutex<Lessor>,
    pub(super) tokens: Mutex<Tokens>,
    /// Readers' caches.
    pub(super) state: Arc<state::Shared>,
    pub(super) status: RwLock<RaftStatus>,
    /// Reads that wait until their index is applied.
    pub(super) reads_waiting: Mutex<BTreeMap<Index, Vec<ReadDone>>>,
    /// Grows whenever the members table changes.
    pub(super) members_version: tokio::sync::watch::Sender<u64>,
    /// The v2 tree's index.
    pub(super) tree_index: tokio::sync::watch::Sender<u64>,
    pub(super) tree_meters: TreeMeters,

    pub(super) counter: AtomicU64,
    pub(super) watch_streams: AtomicU64,
    pub(super) applied: AtomicU64,
    pub(super) applied_term: AtomicU64,
    pub(super) committed: AtomicU64,
    /// When the write in flight under the log began, nanoseconds of the clock plus one; 0 is idle.
    pub(super) write_since: AtomicU64,
    /// When the last confirmed read round of this role began, nanoseconds of the clock plus one; 0 is never.
    pub(super) confirmed_at: AtomicU64,
    pub(super) stopping: AtomicBool,
    pub(super) fault: OnceLock<String>,
    pub(super) meters: Meters,
}

impl Shared {
    pub(super) fn applied(&self) -> Index {
        self.applied.load(Ordering::Acquire)
    }

    pub(super) fn committed(&self) -> Index {
        self.committed.load(Ordering::Acquire)
    }

    pub(super) fn confirmed(&self) -> Option<Moment> {
        self.confirmed_at.load(Ordering::Acquire).checked_sub(1).map(Moment)
    }

    pub(super) fn waiters(&self) -> MutexGuard<'_, Waiters> {
        lock(&self.waiters)
    }

    pub(super) fn lessor(&self) -> MutexGuard<'_, Lessor> {
        lock(&self.lessor)
    }

    /// With the role in the membership that is applied: a learner must not answer what it has just received in the turn
    /// before the driver's next.
    pub(super) fn raft_status(&self) -> RaftStatus {
        let published = self.status.read().unwrap_or_else(PoisonError::into_inner).clone();
        let members = self.state.members();
        let own = members.member(self.config.member);
        RaftStatus { is_learner: own.is_some_and(|member| member.is_learner), ..published }
    }

    /// The read goes ahead when `index` is applied: at once, or in the applier's turn.
    pub(super) fn read_at(&self, index: Index, done: Vec<ReadDone>) {
        let mut waiting = lock(&self.reads_waiting);
        if self.applied() < index && !Sabotage::ReadBeforeApplied.is_on() {
            waiting.entry(index).or_default().extend(done);
            return;
        }
        drop(waiting);
        for done in done {
            done(Ok(()));
        }
    }

    /// Reads whose index is applied by now.
    pub(super) fn release_reads(&self) {
        let mut waiting = lock(&self.reads_waiting);
        if waiting.is_empty() {
            return;
        }
        let later = waiting.split_off(&(self.applied() + 1));
        let ready = std::mem::replace(&mut *waiting, later);
        drop(waiting);
        for done in ready.into_values().flatten() {
            done(Ok(()));
        }
    }

    /// Ends everything: inboxes refuse, waiters are answered, threads leave their loops.
    pub(super) fn stop(&self, fault: Option<String>) {
        let faulted = fault.is_some();
        if let Some(text) = fault {
            // The first fault is the cause; what it drags along is not worth more than its log line.
            let _ = self.fault.set(text);
        }
        self.stopping.store(true, Ordering::Release);
        self.driver.close();
        self.log_inbox.close();
        self.applier.close();
        self.checkpoint.close();
        self.hub.close();
        self.snapshots.close();
        self.readers.close();
        let decided = self.waiters().stop(faulted);
        super::waiters::answer(decided);
        for message in self.driver.drain() {
            match message {
                DriverMessage::Propose(_, done) => done(Err(Error::Stopped)),
                DriverMessage::Read { done, .. } => done(Err(Error::Stopped)),
                DriverMessage::Transfer { done, .. } => done(Err(Error::Stopped)),
                _ => {}
            }
        }
        let reads = std::mem::take(&mut *lock(&self.reads_waiting));
        for done in reads.into_values().flatten() {
            done(Err(Error::Stopped));
        }
        self.members_version.send_modify(|version| *version += 1);
        self.tree_index.send_modify(|_| {});
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded is whole after every statement: a panic elsewhere must not spread through the lock.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bounds of the inboxes that others fill.
pub(super) const DRIVER_INBOX_MAX: usize = limits::DRIVER_INBOX_MAX;
