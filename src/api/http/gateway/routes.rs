//! etcd's paths. A path has one method; some methods have two paths.

use crate::proto::Method;

const ROUTES: &[(&str, Method)] = &[
    ("kv/range", Method::Range),
    ("kv/put", Method::Put),
    ("kv/deleterange", Method::DeleteRange),
    ("kv/txn", Method::Txn),
    ("kv/compaction", Method::Compact),
    ("kv/lease/revoke", Method::LeaseRevoke),
    ("kv/lease/timetolive", Method::LeaseTimeToLive),
    ("kv/lease/leases", Method::LeaseLeases),
    ("watch", Method::Watch),
    ("lease/grant", Method::LeaseGrant),
    ("lease/revoke", Method::LeaseRevoke),
    ("lease/keepalive", Method::LeaseKeepAlive),
    ("lease/timetolive", Method::LeaseTimeToLive),
    ("lease/leases", Method::LeaseLeases),
    ("cluster/member/add", Method::MemberAdd),
    ("cluster/member/remove", Method::MemberRemove),
    ("cluster/member/update", Method::MemberUpdate),
    ("cluster/member/list", Method::MemberList),
    ("cluster/member/promote", Method::MemberPromote),
    ("maintenance/alarm", Method::Alarm),
    ("maintenance/status", Method::Status),
    ("maintenance/defragment", Method::Defragment),
    ("maintenance/hash", Method::Hash),
    ("maintenance/hashkv", Method::HashKv),
    ("maintenance/snapshot", Method::Snapshot),
    ("maintenance/transfer-leadership", Method::MoveLeader),
    ("maintenance/downgrade", Method::Downgrade),
    ("auth/enable", Method::AuthEnable),
    ("auth/disable", Method::AuthDisable),
    ("auth/status", Method::AuthStatus),
    ("auth/authenticate", Method::Authenticate),
    ("auth/user/add", Method::UserAdd),
    ("auth/user/get", Method::UserGet),
    ("auth/user/list", Method::UserList),
    ("auth/user/delete", Method::UserDelete),
    ("auth/user/changepw", Method::UserChangePassword),
    ("auth/user/grant", Method::UserGrantRole),
    ("auth/user/revoke", Method::UserRevokeRole),
    ("auth/role/add", Method::RoleAdd),
    ("auth/role/get", Method::RoleGet),
    ("auth/role/list", Method::RoleList),
    ("auth/role/delete", Method::RoleDelete),
    ("auth/role/grant", Method::RoleGrantPermission),
    ("auth/role/revoke", Method::RoleRevokePermission),
    ("lock/lock", Method::Lock),
    ("lock/unlock", Method::Unlock),
    ("election/campaign", Method::Campaign),
    ("election/proclaim", Method::Proclaim),
    ("election/leader", Method::Leader),
    ("election/observe", Method::Observe),
    ("election/resign", Method::Resign),
    ("discovery/new", Method::RegistryNew),
    ("discovery/list", Method::RegistryList),
    ("discovery/revoke", Method::RegistryRevoke),
];

/// What is behind `/v3/`, or `/v3beta/` of older clients.
pub(super) fn rest(path: &str) -> Option<&str> {
    path.strip_prefix("/v3/").or_else(|| path.strip_prefix("/v3beta/"))
}

pub(super) fn method(rest: &str) -> Option<Method> {
    ROUTES.iter().find(|(path, _)| *path == rest).map(|(_, method)| *method)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_method_but_range_stream_has_a_path() {
        let found: BTreeSet<Method> = ROUTES.iter().map(|(_, method)| *method).collect();
        let missing: Vec<_> = Method::ALL.iter().filter(|method| !found.contains(method)).collect();
        assert_eq!(missing, [&Method::RangeStream]);
        let paths: BTreeSet<&str> = ROUTES.iter().map(|(path, _)| *path).collect();
        assert_eq!(paths.len(), ROUTES.len());
        assert_eq!(rest("/v3beta/kv/put").and_then(method), Some(Method::Put));
        assert_eq!(rest("/v3alpha/kv/put"), None);
        assert_eq!(rest("/v3/kv/put/").and_then(method), None);
    }
}
