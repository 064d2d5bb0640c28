//! What Core decided: the closed list of things the engine does for it.

use crate::base::{Index, MemberId, Term};
use crate::storage::{Fault, WalBatch};

use super::{CheckpointMark, wire};

/// Which stream a message travels on, so that none waits behind another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Class {
    /// Heartbeats, votes, reads, the order to campaign.
    Control,
    /// Appends and their answers.
    Append,
    /// The announcement of a snapshot; its bytes follow it.
    Snapshot,
}

/// One message to one member. May be dropped (then say `unreachable`), never altered but for
/// [`wire::RaftMessage::set_snapshot`].
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    pub to: MemberId,
    pub class: Class,
    pub message: wire::RaftMessage,
}

/// One unit of durability. Batches are written in the order they were given.
#[derive(Clone, Debug)]
pub struct Persist {
    /// Its entries are in the `Log` already. `install` is left empty: the engine knows the generation it staged.
    pub batch: WalBatch,
    /// A snapshot to install before the batch: the log starts anew at its index, and the batch's entries (if any) lie
    /// behind it. The hard state is always in the batch then.
    pub snapshot: Option<CheckpointMark>,
}

/// One step's decisions, to be carried out in this order. Call `effects` again until it returns none.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// Names `persist`, or, without one, the last persist before it: `after_persist` leaves once `persisted` was
    /// called with this number or a later one. Without a `persist` nothing of this number comes back by itself.
    pub number: u64,
    /// May leave at once.
    pub send: Vec<Outgoing>,
    /// To be made durable, then reported by `persisted(number)`.
    pub persist: Option<Persist>,
    /// Leaves after `persisted(number)`, and not before.
    pub after_persist: Vec<Outgoing>,
    /// Apply up to here: committed and durable on this member. Never falls.
    pub commit: Index,
    /// Reads that may be served once this index is applied.
    pub reads: Vec<(ReadId, Index)>,
    /// Reads that will not be answered: ask again.
    pub lost_reads: Vec<ReadId>,
    /// Set when it changed.
    pub role: Option<Role>,
    /// A follower needs a snapshot, and no checkpoint that fits is known: make one, then call `checkpointed`.
    pub checkpoint_wanted: bool,
    /// Entries that have left the cache and are to be read from the disk, off this thread.
    pub fetch: Vec<Fetch>,
}

/// Entries [low, high) wanted for slow followers: `Log::read(low, high, bytes_max)` on another thread, then
/// `entries_fetched(token, entries)`; no entries mean that they are trimmed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fetch {
    pub token: u64,
    pub low: Index,
    pub high: Index,
    pub bytes_max: usize,
}

/// One read of the commit index. Never used twice: member, boot nonce and counter name it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ReadId(pub u64);

/// What this member is in a term.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RoleKind {
    Follower,
    PreCandidate,
    Candidate,
    Leader,
}

/// Who leads, as this member sees it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Role {
    pub term: Term,
    pub kind: RoleKind,
    pub leader: Option<MemberId>,
    /// A leader that has committed an entry of its own term: reads are answered and leases may expire.
    pub ready: bool,
}

impl Role {
    pub fn is_leader(&self) -> bool {
        self.kind == RoleKind::Leader
    }
}

/// Nothing was proposed; it is safe to ask again, here or elsewhere.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refused {
    #[error("not the leader")]
    NoLeader {
        /// Who leads, if this member knows.
        leader: Option<MemberId>,
    },
    #[error("leadership is being transferred")]
    Transferring,
    /// Too many bytes are proposed and not committed, or a membership change is not applied yet.
    #[error("too much is waiting to be committed")]
    Busy,
    #[error("the entry has more than {max} bytes")]
    TooLarge { max: usize },
    /// A new leader has to commit an entry of its term before it can answer reads.
    #[error("the new leader has not committed in its term yet")]
    NotReady,
    #[error("no voter other than the leader has this id")]
    BadTransferee,
}

/// Why a Core cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("consensus cannot work with these settings: {0}")]
    Config(String),
    #[error(transparent)]
    Fault(#[from] Fault),
}
