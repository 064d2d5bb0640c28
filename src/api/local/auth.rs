//! Users and roles, of which there are none yet. What is true of a cluster without users is answered as etcd answers it;
//! what would make one is not served.

use bytes::Bytes;

use super::reads::Read;
use super::service::decoded;
use crate::api::status;
use crate::proto::etcdserverpb as pb;
use crate::proto::{Code, Method, Retry, Status};

pub(super) const fn is_auth(method: Method) -> bool {
    let number = method.number();
    Method::AuthEnable.number() <= number && number <= Method::RoleRevokePermission.number()
}

/// What is read for the answer, and whether it asks the cluster.
pub(super) fn decode(method: Method, body: Bytes) -> Result<(Read, bool), Status> {
    let refused = |code, text| Err(Status::new(code, text, Retry::Never));
    let no_user = "etcdserver: user name not found";
    let no_role = "etcdserver: role name not found";
    match method {
        Method::AuthStatus => Ok((Read::AuthStatus, false)),
        Method::AuthDisable | Method::UserList | Method::RoleList => Ok((Read::Nobody, true)),
        Method::Authenticate => Err(status::auth_not_enabled()),
        Method::AuthEnable => {
            refused(Code::FailedPrecondition, "etcdserver: root user does not exist")
        }
        Method::UserGet
        | Method::UserDelete
        | Method::UserChangePassword
        | Method::UserGrantRole
        | Method::UserRevokeRole => refused(Code::FailedPrecondition, no_user),
        Method::RoleGet | Method::RoleDelete | Method::RoleRevokePermission => {
            refused(Code::FailedPrecondition, no_role)
        }
        Method::RoleGrantPermission => {
            let request: pb::AuthRoleGrantPermissionRequest = decoded(method, body)?;
            match request.perm {
                Some(_) => refused(Code::FailedPrecondition, no_role),
                None => refused(Code::InvalidArgument, "etcdserver: permission not given"),
            }
        }
        Method::UserAdd => {
            let request: pb::AuthUserAddRequest = decoded(method, body)?;
            match request.name.is_empty() {
                true => refused(Code::InvalidArgument, "etcdserver: user name is empty"),
                false => Err(status::not_served(method)),
            }
        }
        Method::RoleAdd => {
            let request: pb::AuthRoleAddRequest = decoded(method, body)?;
            match request.name.is_empty() {
                true => refused(Code::InvalidArgument, "etcdserver: role name is empty"),
                false => Err(status::not_served(method)),
            }
        }
        other => Err(status::not_served(other)),
    }
}
