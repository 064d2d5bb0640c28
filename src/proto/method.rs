//! Every method a client may call, with the number it has on our wire and the name it has on etcd's.
//!
//! A number once given is kept for ever; a method that a server does not serve is answered with
//! [`Code::Unimplemented`](super::Code::Unimplemented), never with a closed connection.

/// How a method travels.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shape {
    /// One request, one answer, on a shared stream.
    Unary,
    /// One request, many answers, on a stream of its own.
    ServerStream,
    /// Many requests, many answers, on a stream of its own.
    Duplex,
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $path:literal, $shape:ident;)*) => {
        /// A method of etcd's v3 API; the discriminant is its number on the native wire.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[repr(u16)]
        pub enum Method {
            $($(#[$doc])* $name = $number,)*
        }

        impl Method {
            /// All of them, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            pub const fn from_number(number: u16) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// `package.Service/Method`, as gRPC writes it in its path.
            pub const fn path(self) -> &'static str {
                match self {
                    $(Self::$name => $path,)*
                }
            }

            pub const fn shape(self) -> Shape {
                match self {
                    $(Self::$name => Shape::$shape,)*
                }
            }
        }
    };
}

methods! {
    Range = 1, "etcdserverpb.KV/Range", Unary;
    Put = 2, "etcdserverpb.KV/Put", Unary;
    DeleteRange = 3, "etcdserverpb.KV/DeleteRange", Unary;
    Txn = 4, "etcdserverpb.KV/Txn", Unary;
    Compact = 5, "etcdserverpb.KV/Compact", Unary;
    RangeStream = 6, "etcdserverpb.KV/RangeStream", ServerStream;

    Watch = 16, "etcdserverpb.Watch/Watch", Duplex;

    LeaseGrant = 32, "etcdserverpb.Lease/LeaseGrant", Unary;
    LeaseRevoke = 33, "etcdserverpb.Lease/LeaseRevoke", Unary;
    LeaseKeepAlive = 34, "etcdserverpb.Lease/LeaseKeepAlive", Duplex;
    LeaseTimeToLive = 35, "etcdserverpb.Lease/LeaseTimeToLive", Unary;
    LeaseLeases = 36, "etcdserverpb.Lease/LeaseLeases", Unary;

    MemberAdd = 48, "etcdserverpb.Cluster/MemberAdd", Unary;
    MemberRemove = 49, "etcdserverpb.Cluster/MemberRemove", Unary;
    MemberUpdate = 50, "etcdserverpb.Cluster/MemberUpdate", Unary;
    MemberList = 51, "etcdserverpb.Cluster/MemberList", Unary;
    MemberPromote = 52, "etcdserverpb.Cluster/MemberPromote", Unary;

    Alarm = 64, "etcdserverpb.Maintenance/Alarm", Unary;
    Status = 65, "etcdserverpb.Maintenance/Status", Unary;
    Defragment = 66, "etcdserverpb.Maintenance/Defragment", Unary;
    Hash = 67, "etcdserverpb.Maintenance/Hash", Unary;
    HashKv = 68, "etcdserverpb.Maintenance/HashKV", Unary;
    Snapshot = 69, "etcdserverpb.Maintenance/Snapshot", ServerStream;
    MoveLeader = 70, "etcdserverpb.Maintenance/MoveLeader", Unary;
    Downgrade = 71, "etcdserverpb.Maintenance/Downgrade", Unary;

    AuthEnable = 80, "etcdserverpb.Auth/AuthEnable", Unary;
    AuthDisable = 81, "etcdserverpb.Auth/AuthDisable", Unary;
    AuthStatus = 82, "etcdserverpb.Auth/AuthStatus", Unary;
    Authenticate = 83, "etcdserverpb.Auth/Authenticate", Unary;
    UserAdd = 84, "etcdserverpb.Auth/UserAdd", Unary;
    UserGet = 85, "etcdserverpb.Auth/UserGet", Unary;
    UserList = 86, "etcdserverpb.Auth/UserList", Unary;
    UserDelete = 87, "etcdserverpb.Auth/UserDelete", Unary;
    UserChangePassword = 88, "etcdserverpb.Auth/UserChangePassword", Unary;
    UserGrantRole = 89, "etcdserverpb.Auth/UserGrantRole", Unary;
    UserRevokeRole = 90, "etcdserverpb.Auth/UserRevokeRole", Unary;
    RoleAdd = 91, "etcdserverpb.Auth/RoleAdd", Unary;
    RoleGet = 92, "etcdserverpb.Auth/RoleGet", Unary;
    RoleList = 93, "etcdserverpb.Auth/RoleList", Unary;
    RoleDelete = 94, "etcdserverpb.Auth/RoleDelete", Unary;
    RoleGrantPermission = 95, "etcdserverpb.Auth/RoleGrantPermission", Unary;
    RoleRevokePermission = 96, "etcdserverpb.Auth/RoleRevokePermission", Unary;

    Lock = 112, "v3lockpb.Lock/Lock", Unary;
    Unlock = 113, "v3lockpb.Lock/Unlock", Unary;

    Campaign = 128, "v3electionpb.Election/Campaign", Unary;
    Proclaim = 129, "v3electionpb.Election/Proclaim", Unary;
    Leader = 130, "v3electionpb.Election/Leader", Unary;
    Observe = 131, "v3electionpb.Election/Observe", ServerStream;
    Resign = 132, "v3electionpb.Election/Resign", Unary;

    RegistryNew = 144, "quorate.registry.Registry/New", Unary;
    RegistryList = 145, "quorate.registry.Registry/List", Unary;
    RegistryRevoke = 146, "quorate.registry.Registry/Revoke", Unary;
}

impl Method {
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// Whether asking twice is harmless when the first answer was lost.
    pub const fn is_read(self) -> bool {
        matches!(
            self,
            Self::Range
                | Self::RangeStream
                | Self::LeaseTimeToLive
                | Self::LeaseLeases
                | Self::MemberList
                | Self::Status
                | Self::Hash
                | Self::HashKv
                | Self::Snapshot
                | Self::AuthStatus
                | Self::UserGet
                | Self::UserList
                | Self::RoleGet
                | Self::RoleList
                | Self::Leader
                | Self::RegistryList
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lead_back_to_their_method_and_grow() {
        for pair in Method::ALL.windows(2) {
            assert!(pair[0].number() < pair[1].number(), "{pair:?}");
        }
        for &method in Method::ALL {
            assert_eq!(Method::from_number(method.number()), Some(method));
            assert_eq!(method.path().split('/').count(), 2, "{}", method.path());
        }
        assert_eq!(Method::from_number(0), None, "0 opens a unary stream");
        assert_eq!(Method::from_number(7), None);
    }
}
