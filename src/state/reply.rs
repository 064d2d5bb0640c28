//! What comes back from an entry: a reply, or a rejection that is the same on every member.

use crate::base::LeaseId;
use crate::proto::etcdserverpb::{
    AlarmResponse, CompactionResponse, DeleteRangeResponse, LeaseGrantResponse,
    LeaseRevokeResponse, Member, PutResponse, TxnResponse,
};

/// The answer of one command. Headers carry the revision alone; the door that answers fills in the rest.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The entry of a new leader: nobody asked for it.
    Nothing,
    Put(PutResponse),
    DeleteRange(DeleteRangeResponse),
    Txn(TxnResponse),
    Compact(CompactionResponse),
    LeaseGrant(LeaseGrantResponse),
    LeaseRevoke(LeaseRevokeResponse),
    LeaseCheckpoint,
    Alarm(AlarmResponse),
    /// The member that was changed (none after a removal), and all members in the order of their ids.
    Members {
        member: Option<Member>,
        members: Vec<Member>,
    },
    Published,
}

/// Why a command changed nothing: a function of state and entry, so every member says the same. The texts are
/// etcd's where it has one, because clients compare them.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
pub enum Rejection {
    #[error("etcdserver: key not found")]
    KeyNotFound,
    #[error("etcdserver: mvcc: required revision has been compacted")]
    Compacted,
    #[error("etcdserver: mvcc: required revision is a future revision")]
    FutureRev,
    #[error("etcdserver: mvcc: database space exceeded")]
    NoSpace,
    #[error("etcdserver: corrupt cluster")]
    Corrupt,
    #[error("etcdserver: requested lease not found")]
    LeaseNotFound,
    #[error("etcdserver: lease already exists")]
    LeaseExist,
    #[error("etcdserver: too large lease TTL")]
    LeaseTtlTooLarge,
    #[error("etcdserver: member ID already exist")]
    MemberExist,
    #[error("etcdserver: Peer URLs already exists")]
    PeerUrlExist,
    #[error("etcdserver: member not found")]
    MemberNotFound,
    /// Its id is marked for ever; to clients it is a member that is not there.
    #[error("etcdserver: member not found")]
    MemberRemoved,
    #[error("etcdserver: can only promote a learner member")]
    MemberNotLearner,
    #[error("etcdserver: too many learner members in cluster")]
    TooManyLearners,
    #[error("etcdserver: too many members in cluster, at most {max}")]
    TooManyMembers { max: usize },
    /// Nobody would be left to decide anything.
    #[error("etcdserver: re-configuration failed due to not enough started members")]
    LastVoter,
    /// A command that only a leader may give came into the log in another leader's term.
    #[error("etcdserver: the leader that proposed this is no longer the leader")]
    OtherTerm,
}

/// What the lessor, which knows the deadlines, is told; TTLs in seconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LeaseNote {
    Granted {
        id: LeaseId,
        ttl: i64,
    },
    Revoked {
        id: LeaseId,
    },
    /// `remaining` 0: the record is forgotten, and the full TTL counts again.
    Checkpointed {
        id: LeaseId,
        remaining: i64,
    },
}
