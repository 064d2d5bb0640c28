//! Every way a request can fail, as gRPC's code, etcd's text and what the caller may conclude. The one place where
//! that is decided, for every door.
//!
//! Clients compare the texts, so they are etcd's wherever it has one; the codes are those that etcd really sends.

use std::fmt::Display;

use crate::engine::{self, ChangeRefused, Error};
use crate::proto::{Code, Method, Retry, Status};
use crate::state::Rejection;
use crate::state::check::Malformed;

/// This attempt failed.
pub(super) fn of_error(error: &Error) -> Status {
    let retry = repeatable(error.retry());
    let (code, text, retry) = match error {
        Error::NoLeader => (Code::Unavailable, "etcdserver: no leader", retry),
        Error::LeaderChanged => (Code::Unavailable, "etcdserver: leader changed", retry),
        Error::TooManyRequests => (Code::Unknown, "etcdserver: too many requests", retry),
        Error::TooLarge { .. } => {
            (Code::InvalidArgument, "etcdserver: request is too large", retry)
        }
        Error::NotProposedInTime | Error::Timeout | Error::PassedOver => {
            (Code::Unavailable, "etcdserver: request timed out", retry)
        }
        Error::ConnectionLost { .. } => {
            let text = "etcdserver: request timed out, possibly due to connection lost";
            (Code::Unavailable, text, retry)
        }
        Error::Stopped | Error::Faulted => (Code::Unavailable, "etcdserver: server stopped", retry),
        // It has to be asked for at the leader: here it fails for ever.
        Error::NotLeader => (Code::FailedPrecondition, "etcdserver: not leader", Retry::Never),
        Error::BadTransferee => {
            (Code::FailedPrecondition, "etcdserver: bad leader transferee", retry)
        }
        Error::TransferTimeout => {
            let text = "etcdserver: request timed out, leader transfer took too long";
            (Code::Unknown, text, retry)
        }
        Error::NotRewritten(_) => {
            return Status::new(Code::FailedPrecondition, format!("quorate: {error}"), retry);
        }
        Error::Rejected(rejection) => return of_rejection(*rejection),
        Error::Refused(refused) => return of_refusal(*refused),
    };
    Status::new(code, text, retry)
}

/// The engine's word for it, on the wire.
const fn repeatable(retry: engine::Retry) -> Retry {
    match retry {
        engine::Retry::Never => Retry::Never,
        engine::Retry::NotProposed => Retry::NotProposed,
        engine::Retry::Ambiguous => Retry::Ambiguous,
    }
}

/// This member is known to be corrupt; the others are not.
pub(super) fn quarantined() -> Status {
    let text = Rejection::Corrupt.to_string();
    Status::new(Code::DataLoss, text, Retry::NotProposed)
}

/// Nothing changed, and every member says the same.
pub(super) fn of_rejection(rejection: Rejection) -> Status {
    let code = match rejection {
        Rejection::KeyNotFound
        | Rejection::UserEmpty
        | Rejection::RoleEmpty
        | Rejection::AuthFailed
        | Rejection::PermissionNotGiven
        | Rejection::InvalidAuthMgmt
        | Rejection::AuthOldRevision
        | Rejection::AuthNameTooLong { .. }
        | Rejection::AuthRecordTooLarge { .. } => Code::InvalidArgument,
        Rejection::PermissionDenied => Code::PermissionDenied,
        Rejection::Compacted | Rejection::FutureRev | Rejection::LeaseTtlTooLarge => {
            Code::OutOfRange
        }
        Rejection::NoSpace => Code::ResourceExhausted,
        Rejection::Corrupt => Code::DataLoss,
        Rejection::LeaseNotFound | Rejection::MemberNotFound | Rejection::MemberRemoved => {
            Code::NotFound
        }
        Rejection::LeaseExist
        | Rejection::MemberExist
        | Rejection::PeerUrlExist
        | Rejection::MemberNotLearner
        | Rejection::TooManyLearners
        | Rejection::TooManyMembers { .. }
        | Rejection::RootUserNotExist
        | Rejection::RootRoleNotExist
        | Rejection::UserAlreadyExist
        | Rejection::UserNotFound
        | Rejection::RoleAlreadyExist
        | Rejection::RoleNotFound
        | Rejection::RoleNotGranted
        | Rejection::PermissionNotGranted
        | Rejection::AuthNotEnabled
        | Rejection::TooManyUsers { .. }
        | Rejection::TooManyRoles { .. } => Code::FailedPrecondition,
        Rejection::LastVoter => Code::Unknown,
        Rejection::OtherTerm => {
            let text = "etcdserver: leader changed";
            return Status::new(Code::Unavailable, text, Retry::NotProposed);
        }
    };
    Status::new(code, rejection.to_string(), Retry::Never)
}

fn of_refusal(refused: ChangeRefused) -> Status {
    let code = match refused {
        ChangeRefused::NotEnoughStarted => Code::Unknown,
        ChangeRefused::Unhealthy => Code::Unavailable,
        ChangeRefused::LearnerNotReady => Code::FailedPrecondition,
    };
    Status::new(code, refused.to_string(), Retry::Never)
}

/// A request that can never mean anything.
pub(super) fn of_malformed(malformed: &Malformed) -> Status {
    let code = match malformed {
        Malformed::LeaseTtlTooLarge => Code::OutOfRange,
        _ => Code::InvalidArgument,
    };
    Status::new(code, malformed.to_string(), Retry::Never)
}

/// A read met a fault of this member: another member may have the answer.
pub(super) fn of_fault(fault: &dyn Display) -> Status {
    tracing::error!(%fault, "a read failed");
    Status::new(Code::Unavailable, "etcdserver: server stopped", Retry::NotProposed)
}

/// Bytes that are not the request's message.
pub(in crate::api) fn unreadable(method: Method, error: &prost::DecodeError) -> Status {
    Status::invalid(format!("quorate: the request of {} cannot be read: {error}", method.path()))
}

/// There is no room for another read, or another password.
pub(super) fn no_room() -> Status {
    Status::new(Code::Unknown, "etcdserver: too many requests", Retry::NotProposed)
}

/// A learner answers little.
pub(super) fn of_learner() -> Status {
    let text = "etcdserver: rpc not supported for learner";
    // Nothing was done: another member serves it.
    Status::new(Code::FailedPrecondition, text, Retry::NotProposed)
}

/// Who asked wanted a member that knows a leader.
pub(super) fn no_leader() -> Status {
    Status::new(Code::Unavailable, "etcdserver: no leader", Retry::NotProposed)
}

/// Served in a later version, and why not in this one.
pub(super) fn not_served(method: Method) -> Status {
    let why = match method {
        Method::Downgrade => "there is no older version to go back to",
        _ => "it is a service's above this one",
    };
    Status::unimplemented(format!("quorate: {} is not served: {why}", method.path()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::MemberId;

    /// The table of surface section 2, as far as it can be met.
    #[test]
    fn codes_texts_and_retries_are_these() {
        let lost = Error::ConnectionLost { leader: MemberId(1) };
        let rows = [
            (Error::NoLeader, "Unavailable: etcdserver: no leader", Retry::NotProposed),
            (Error::LeaderChanged, "Unavailable: etcdserver: leader changed", Retry::NotProposed),
            (Error::TooManyRequests, "Unknown: etcdserver: too many requests", Retry::NotProposed),
            (
                Error::TooLarge { bytes: 2, limit: 1 },
                "InvalidArgument: etcdserver: request is too large",
                Retry::Never,
            ),
            (
                Error::NotProposedInTime,
                "Unavailable: etcdserver: request timed out",
                Retry::NotProposed,
            ),
            (Error::Timeout, "Unavailable: etcdserver: request timed out", Retry::Ambiguous),
            (
                lost,
                "Unavailable: etcdserver: request timed out, possibly due to connection lost",
                Retry::Ambiguous,
            ),
            (Error::NotLeader, "FailedPrecondition: etcdserver: not leader", Retry::Never),
            (
                Error::Rejected(Rejection::Compacted),
                "OutOfRange: etcdserver: mvcc: required revision has been compacted",
                Retry::Never,
            ),
            (
                Error::Rejected(Rejection::NoSpace),
                "ResourceExhausted: etcdserver: mvcc: database space exceeded",
                Retry::Never,
            ),
            (
                Error::Refused(ChangeRefused::NotEnoughStarted),
                "Unknown: etcdserver: re-configuration failed due to not enough started members",
                Retry::Never,
            ),
        ];
        for (error, text, retry) in rows {
            let status = of_error(&error);
            assert_eq!((status.to_string().as_str(), status.retry), (text, retry));
        }
        let ttl = of_malformed(&Malformed::LeaseTtlTooLarge);
        assert_eq!(ttl.to_string(), "OutOfRange: etcdserver: too large lease TTL");
    }
}
