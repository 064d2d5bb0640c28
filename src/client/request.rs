//! Which method a request message belongs to, and what answers it.

use prost::Message;

use crate::proto::Method;
use crate::proto::etcdserverpb as pb;
use crate::proto::quorate::registry;

/// A unary request of etcd's API.
pub trait Request: Message + Send + Sync {
    /// Its method.
    const METHOD: Method;
    /// What answers it.
    type Response: Message + Default + Send;

    /// Whether asking twice is harmless.
    fn is_read(&self) -> bool {
        Self::METHOD.is_read()
    }
}

macro_rules! requests {
    ($($request:ident -> $response:ident, $method:ident;)*) => {
        $(impl Request for pb::$request {
            const METHOD: Method = Method::$method;
            type Response = pb::$response;
        })*
    };
}

requests! {
    RangeRequest -> RangeResponse, Range;
    PutRequest -> PutResponse, Put;
    DeleteRangeRequest -> DeleteRangeResponse, DeleteRange;
    CompactionRequest -> CompactionResponse, Compact;
    LeaseGrantRequest -> LeaseGrantResponse, LeaseGrant;
    LeaseRevokeRequest -> LeaseRevokeResponse, LeaseRevoke;
    LeaseTimeToLiveRequest -> LeaseTimeToLiveResponse, LeaseTimeToLive;
    LeaseLeasesRequest -> LeaseLeasesResponse, LeaseLeases;
    MemberAddRequest -> MemberAddResponse, MemberAdd;
    MemberRemoveRequest -> MemberRemoveResponse, MemberRemove;
    MemberUpdateRequest -> MemberUpdateResponse, MemberUpdate;
    MemberListRequest -> MemberListResponse, MemberList;
    MemberPromoteRequest -> MemberPromoteResponse, MemberPromote;
    StatusRequest -> StatusResponse, Status;
    DefragmentRequest -> DefragmentResponse, Defragment;
    HashRequest -> HashResponse, Hash;
    HashKvRequest -> HashKvResponse, HashKv;
    MoveLeaderRequest -> MoveLeaderResponse, MoveLeader;
    DowngradeRequest -> DowngradeResponse, Downgrade;
    AuthEnableRequest -> AuthEnableResponse, AuthEnable;
    AuthDisableRequest -> AuthDisableResponse, AuthDisable;
    AuthStatusRequest -> AuthStatusResponse, AuthStatus;
    AuthenticateRequest -> AuthenticateResponse, Authenticate;
    AuthUserAddRequest -> AuthUserAddResponse, UserAdd;
    AuthUserGetRequest -> AuthUserGetResponse, UserGet;
    AuthUserListRequest -> AuthUserListResponse, UserList;
    AuthUserDeleteRequest -> AuthUserDeleteResponse, UserDelete;
    AuthUserChangePasswordRequest -> AuthUserChangePasswordResponse, UserChangePassword;
    AuthUserGrantRoleRequest -> AuthUserGrantRoleResponse, UserGrantRole;
    AuthUserRevokeRoleRequest -> AuthUserRevokeRoleResponse, UserRevokeRole;
    AuthRoleAddRequest -> AuthRoleAddResponse, RoleAdd;
    AuthRoleGetRequest -> AuthRoleGetResponse, RoleGet;
    AuthRoleListRequest -> AuthRoleListResponse, RoleList;
    AuthRoleDeleteRequest -> AuthRoleDeleteResponse, RoleDelete;
    AuthRoleGrantPermissionRequest -> AuthRoleGrantPermissionResponse, RoleGrantPermission;
    AuthRoleRevokePermissionRequest -> AuthRoleRevokePermissionResponse, RoleRevokePermission;
}

impl Request for registry::NewRequest {
    const METHOD: Method = Method::RegistryNew;
    type Response = registry::NewResponse;
}

impl Request for registry::ListRequest {
    const METHOD: Method = Method::RegistryList;
    type Response = registry::ListResponse;
}

impl Request for registry::RevokeRequest {
    const METHOD: Method = Method::RegistryRevoke;
    type Response = registry::RevokeResponse;
}

impl Request for pb::TxnRequest {
    const METHOD: Method = Method::Txn;
    type Response = pb::TxnResponse;

    fn is_read(&self) -> bool {
        let reads = |op: &pb::RequestOp| {
            matches!(op.request, Some(pb::request_op::Request::RequestRange(_)))
        };
        self.success.iter().chain(&self.failure).all(reads)
    }
}

impl Request for pb::AlarmRequest {
    const METHOD: Method = Method::Alarm;
    type Response = pb::AlarmResponse;

    fn is_read(&self) -> bool {
        self.action() == pb::alarm_request::AlarmAction::Get
    }
}
