//! What comes back from an entry: a reply, or a rejection that is the same on every member.

use super::auth::AuthNote;
use super::v2;
use crate::base::{Index, LeaseId, RequestId};
use crate::mvcc::EventBatch;
use crate::proto::etcdserverpb::{
    AlarmResponse, CompactionResponse, DeleteRangeResponse, LeaseGrantResponse,
    LeaseRevokeResponse, Member, PutResponse, TxnResponse,
};
use crate::proto::quorate::log::v2_request::Method;
use crate::proto::quorate::log::{MemberChange, V2Event};
use crate::storage::{Rows, Stamp};

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
    /// What happened to the tree of the v2 API, or why nothing did.
    V2(Box<V2Reply>),
    /// What became of a change of its users and roles.
    V2Auth(Box<Result<v2::AuthTold, v2::AuthRefused>>),
    /// How many of its nodes expired.
    V2Synced(usize),
    /// Users or roles of the v3 API are as was asked for.
    Auth,
}

/// The answer of one request to the v2 tree.
#[derive(Clone, Debug, PartialEq)]
pub struct V2Reply {
    pub method: Method,
    pub result: Result<V2Event, v2::Error>,
    /// The tree's index afterwards.
    pub index: u64,
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
    #[error("etcdserver: root user does not exist")]
    RootUserNotExist,
    #[error("etcdserver: root user does not have root role")]
    RootRoleNotExist,
    #[error("etcdserver: user name already exists")]
    UserAlreadyExist,
    /// Of a request that needs a user and has none, too.
    #[error("etcdserver: user name is empty")]
    UserEmpty,
    #[error("etcdserver: user name not found")]
    UserNotFound,
    #[error("etcdserver: role name already exists")]
    RoleAlreadyExist,
    #[error("etcdserver: role name not found")]
    RoleNotFound,
    #[error("etcdserver: role name is empty")]
    RoleEmpty,
    #[error("etcdserver: authentication failed, invalid user ID or password")]
    AuthFailed,
    #[error("etcdserver: permission not given")]
    PermissionNotGiven,
    #[error("etcdserver: permission denied")]
    PermissionDenied,
    #[error("etcdserver: role is not granted to the user")]
    RoleNotGranted,
    #[error("etcdserver: permission is not granted to the role")]
    PermissionNotGranted,
    #[error("etcdserver: authentication is not enabled")]
    AuthNotEnabled,
    #[error("etcdserver: invalid auth management")]
    InvalidAuthMgmt,
    /// Users, roles or permissions have changed since it was asked who asks.
    #[error("etcdserver: revision of auth store is old")]
    AuthOldRevision,
    #[error("quorate: there are {max} users already; delete some")]
    TooManyUsers { max: usize },
    #[error("quorate: there are {max} roles already; delete some")]
    TooManyRoles { max: usize },
    #[error("quorate: a user's or role's name has at most {max} bytes")]
    AuthNameTooLong { max: usize },
    #[error("quorate: what is kept of one user or role has at most {max} bytes: split the role")]
    AuthRecordTooLarge { max: usize },
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
        index: Index,
    },
    Revoked {
        id: LeaseId,
        /// Its time was over; else somebody asked for it.
        is_expired: bool,
    },
    /// `remaining` 0: the record is forgotten, and the full TTL counts again.
    Checkpointed {
        id: LeaseId,
        remaining: i64,
        index: Index,
    },
}

/// All that follows from one entry.
#[derive(Debug)]
pub struct Outcome {
    pub index: Index,
    /// Whom to answer; all zero for the entry of a new leader.
    pub request: RequestId,
    pub result: Result<Reply, Rejection>,
    /// To be merged into the overlay together with `stamp`; empty when rejected.
    pub rows: Rows,
    pub stamp: Stamp,
    /// What watchers hear; none when no key changed.
    pub events: Option<EventBatch>,
    /// The change of members that took effect. A conf change without it must not reach Raft's `apply_conf_change`.
    pub members_changed: Option<MemberChange>,
    pub leases: Vec<LeaseNote>,
    /// Versions below are readable no more, and may be deleted from the database.
    pub compact_to: Option<i64>,
    /// The v2 tree's index, when the entry changed it.
    pub v2_index: Option<u64>,
    /// What becomes of tokens.
    pub auth: Option<AuthNote>,
}
