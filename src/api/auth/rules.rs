//! What each method takes. A method without a line here does not compile.

use crate::proto::Method;

/// See the module.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Rule {
    /// Anybody, known or not: it makes somebody known.
    Login,
    /// Users, roles and their switch; each has its own rule, and most take root.
    Account,
    /// Anybody who is known.
    Somebody,
    /// A user with the role root.
    Root,
    /// Somebody who may read or write the keys that the request names, and those that follow from it.
    Keys,
    /// Alarms: to look takes somebody, to change root.
    Alarm,
    /// The lease's keys, of which the answer tells.
    LeaseKeys,
    /// All keys of all leases.
    AllLeaseKeys,
    /// A stream of which each message is asked about.
    Messages,
    /// It is made of others by a service above, and each of them comes here.
    MadeOfOthers,
}

pub(super) const fn of(method: Method) -> Rule {
    match method {
        Method::Range | Method::Put | Method::DeleteRange | Method::Txn | Method::LeaseRevoke => {
            Rule::Keys
        }
        Method::Compact => Rule::Root,
        Method::Watch | Method::LeaseKeepAlive => Rule::Messages,
        Method::LeaseGrant => Rule::Somebody,
        Method::LeaseTimeToLive => Rule::LeaseKeys,
        Method::LeaseLeases => Rule::AllLeaseKeys,
        Method::MemberAdd | Method::MemberRemove | Method::MemberUpdate | Method::MemberPromote => {
            Rule::Root
        }
        Method::MemberList => Rule::Somebody,
        Method::Alarm => Rule::Alarm,
        Method::Status => Rule::Somebody,
        Method::Defragment
        | Method::Hash
        | Method::HashKv
        | Method::Snapshot
        | Method::MoveLeader
        | Method::Downgrade => Rule::Root,
        Method::Authenticate => Rule::Login,
        Method::AuthEnable
        | Method::AuthDisable
        | Method::AuthStatus
        | Method::UserAdd
        | Method::UserGet
        | Method::UserList
        | Method::UserDelete
        | Method::UserChangePassword
        | Method::UserGrantRole
        | Method::UserRevokeRole
        | Method::RoleAdd
        | Method::RoleGet
        | Method::RoleList
        | Method::RoleDelete
        | Method::RoleGrantPermission
        | Method::RoleRevokePermission => Rule::Account,
        Method::RangeStream
        | Method::Lock
        | Method::Unlock
        | Method::Campaign
        | Method::Proclaim
        | Method::Leader
        | Method::Observe
        | Method::Resign
        | Method::RegistryNew
        | Method::RegistryList
        | Method::RegistryRevoke => Rule::MadeOfOthers,
    }
}
