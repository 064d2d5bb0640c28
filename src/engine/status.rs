//! What a member says of itself.

use crate::base::{ClusterId, Index, MemberId, Term};

/// Raft's side, as the driver published it after its last turn.
#[derive(Clone, Debug, Default)]
pub struct RaftStatus {
    pub term: Term,
    pub leader: Option<MemberId>,
    /// Since when it is this one, or none: milliseconds since 1970.
    pub leader_since_ms: i64,
    pub is_leader: bool,
    pub is_learner: bool,
    pub commit: Index,
    pub last_index: Index,
    /// The leader has heard a quorum within an election timeout.
    pub has_quorum: bool,
}

/// The whole; cheap to take.
#[derive(Clone, Debug, Default)]
pub struct Status {
    pub cluster: ClusterId,
    pub member: MemberId,
    pub raft: RaftStatus,
    pub applied: Index,
    pub revision: i64,
    pub compacted: i64,
    /// Bytes of the database file, and of them in use (the overlay included).
    pub db_bytes: u64,
    pub db_bytes_in_use: u64,
    /// Reads of the database that are under way.
    pub open_reads: usize,
    /// Set once a fault stopped the engine.
    pub fault: Option<String>,
}
