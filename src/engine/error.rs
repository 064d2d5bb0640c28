//! Why one attempt failed, and whether trying again is safe.

use super::driver::ChangeRefused;
use crate::base::MemberId;
use crate::state::Rejection;

/// What a client may do with a failed request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Retry {
    /// The same request will fail again.
    Never,
    /// Nothing entered the log: trying again is safe.
    NotProposed,
    /// Nobody here knows whether it happened: a write must not be repeated blindly.
    Ambiguous,
}

/// This attempt failed; see [`Error::retry`].
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("no leader")]
    NoLeader,
    /// The entry was overwritten by another leader's, or the leader changed before the request could be proposed.
    #[error("leader changed")]
    LeaderChanged,
    #[error("too many requests")]
    TooManyRequests,
    #[error("request is too large: {bytes} bytes, the limit is {limit}")]
    TooLarge { bytes: usize, limit: usize },
    /// The deadline passed before the request was proposed.
    #[error("timed out before the request could be proposed")]
    NotProposedInTime,
    /// The deadline passed and the outcome is not known.
    #[error("timed out")]
    Timeout,
    /// The connection to the leader was lost after the request had been handed to it.
    #[error("connection to the leader {leader} lost")]
    ConnectionLost { leader: MemberId },
    /// A snapshot replaced the entries in which the answer was.
    #[error("the answer was passed over by a snapshot")]
    PassedOver,
    #[error("this member stops")]
    Stopped,
    /// A fault stopped this member while the request was on its way.
    #[error("this member met a fault and stops")]
    Faulted,
    #[error("not leader")]
    NotLeader,
    #[error("bad leader transferee")]
    BadTransferee,
    #[error("leader transfer took too long")]
    TransferTimeout,
    /// This member's database stays as it is.
    #[error("the database was not rewritten: {0}")]
    NotRewritten(String),
    /// Deterministic, replicated: every member answers the same.
    #[error("{0}")]
    Rejected(Rejection),
    /// The leader's checks refused a membership change before it entered the log.
    #[error("{0}")]
    Refused(ChangeRefused),
}

impl Error {
    pub fn retry(&self) -> Retry {
        match self {
            Self::NoLeader
            | Self::LeaderChanged
            | Self::TooManyRequests
            | Self::NotProposedInTime
            | Self::Stopped
            | Self::NotLeader => Retry::NotProposed,
            Self::Timeout
            | Self::ConnectionLost { .. }
            | Self::PassedOver
            | Self::Faulted
            | Self::TransferTimeout => Retry::Ambiguous,
            Self::TooLarge { .. }
            | Self::BadTransferee
            | Self::NotRewritten(_)
            | Self::Rejected(_)
            | Self::Refused(_) => Retry::Never,
        }
    }
}
