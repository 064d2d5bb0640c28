//! Users, roles and their switch: changes go into the log, questions are answered after a barrier.

use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use prost::Message;

use super::check::decoded;
use super::service::Inner;
use crate::api::status;
use crate::base::Moment;
use crate::proto::authpb::Permission;
use crate::proto::authpb::permission::Type;
use crate::proto::etcdserverpb as pb;
use crate::proto::quorate::log::auth_change::Change;
use crate::proto::quorate::log::{
    AuthChange, AuthPassword, AuthRolePermission, AuthUser, AuthUserRole,
};
use crate::proto::{Caller, Code, Method, Outcome, Retry, Status};
use crate::state::{Asker, Auth, Command, ROOT, Rejection};

pub(super) async fn answer(
    inner: &Inner,
    caller: &Caller,
    method: Method,
    body: Bytes,
    deadline: Moment,
) -> Outcome {
    match method {
        Method::AuthStatus
        | Method::UserGet
        | Method::UserList
        | Method::RoleGet
        | Method::RoleList => told(inner, caller, method, body, deadline).await,
        _ => changed(inner, caller, method, body, deadline).await,
    }
}

async fn told(
    inner: &Inner,
    caller: &Caller,
    method: Method,
    body: Bytes,
    deadline: Moment,
) -> Outcome {
    let barrier = inner.handle.read_barrier(deadline).await;
    barrier.map_err(|error| status::of_error(&error))?;
    let auth = inner.handle.auth();
    let asker = inner.asker(&auth, caller)?;
    let header = inner.header_now();
    let admin = || auth.admin(&asker).map_err(status::of_rejection);
    let answer = match method {
        Method::AuthStatus => {
            admin()?;
            let (enabled, auth_revision) = (auth.is_enabled(), auth.revision());
            pb::AuthStatusResponse { header, enabled, auth_revision }.encode_to_vec()
        }
        Method::UserList => {
            admin()?;
            let users = auth.users().map(|user| user.record.name.clone()).collect();
            pb::AuthUserListResponse { header, users }.encode_to_vec()
        }
        Method::RoleList => {
            admin()?;
            let roles = auth.roles().map(|role| role.name.clone()).collect();
            pb::AuthRoleListResponse { header, roles }.encode_to_vec()
        }
        Method::UserGet => {
            let request: pb::AuthUserGetRequest = decoded(method, &body)?;
            // Everybody may look at himself.
            if request.name != asker.user {
                admin()?;
            }
            let user = auth.user(&request.name).ok_or(Rejection::UserNotFound);
            let roles = user.map_err(status::of_rejection)?.record.roles.clone();
            pb::AuthUserGetResponse { header, roles }.encode_to_vec()
        }
        _ => {
            let request: pb::AuthRoleGetRequest = decoded(method, &body)?;
            if !holds(&auth, &asker, &request.role) {
                admin()?;
            }
            let perm = permissions(&auth, &request.role).map_err(status::of_rejection)?;
            pb::AuthRoleGetResponse { header, perm }.encode_to_vec()
        }
    };
    Ok(answer.into())
}

/// Everybody may look at his roles.
fn holds(auth: &Auth, asker: &Asker, role: &str) -> bool {
    auth.user(&asker.user).is_some_and(|user| user.record.roles.iter().any(|held| held == role))
}

fn permissions(auth: &Auth, role: &str) -> Result<Vec<Permission>, Rejection> {
    let known = auth.role(role).ok_or(Rejection::RoleNotFound)?;
    Ok(match role {
        // Whatever was granted to it: it may do everything.
        ROOT => vec![Permission {
            perm_type: Type::Readwrite as i32,
            key: Bytes::new(),
            range_end: Bytes::from_static(&[0]),
        }],
        _ => known.permissions.clone(),
    })
}

async fn changed(
    inner: &Inner,
    caller: &Caller,
    method: Method,
    body: Bytes,
    deadline: Moment,
) -> Outcome {
    let judge = |auth: &Auth, asker: &Asker| auth.admin(asker).map_err(status::of_rejection);
    // Before a password is hashed for it.
    let (asker, ()) = inner.settled(caller, deadline, judge).await?;
    let change = change(inner, method, body).await?;
    let command = Command::Auth(AuthChange { change: Some(change) });
    let now = inner.handle.clock().now();
    let admitted = inner.quota.admit(&inner.handle, &command, now, deadline);
    admitted.map_err(status::of_rejection)?;
    let applied = inner.handle.propose_for(asker, command, deadline).await;
    let applied = applied.map_err(|error| status::of_error(&error))?;
    let header = inner.header(applied.revision, applied.term);
    // The answers of all changes are this one: a header.
    Ok(pb::AuthEnableResponse { header }.encode_to_vec().into())
}

/// What goes into the log, which takes no password.
async fn change(inner: &Inner, method: Method, body: Bytes) -> Result<Change, Status> {
    Ok(match method {
        Method::AuthEnable => Change::Enabled(true),
        Method::AuthDisable => Change::Enabled(false),
        Method::UserAdd => {
            let request: pb::AuthUserAddRequest = decoded(method, &body)?;
            let no_password = request.options.is_some_and(|options| options.no_password);
            let password_hash = match no_password {
                true => String::new(),
                false => inner.passwords.hashed(request.password).await?,
            };
            let roles = Vec::new();
            Change::AddUser(AuthUser { name: request.name, password_hash, no_password, roles })
        }
        Method::UserDelete => {
            let request: pb::AuthUserDeleteRequest = decoded(method, &body)?;
            Change::DeleteUser(request.name)
        }
        Method::UserChangePassword => {
            let request: pb::AuthUserChangePasswordRequest = decoded(method, &body)?;
            let password_hash = match request.password.is_empty() {
                true => given_hash(&request.hashed_password)?,
                false => inner.passwords.hashed(request.password).await?,
            };
            Change::ChangePassword(AuthPassword { user: request.name, password_hash })
        }
        Method::UserGrantRole => {
            let request: pb::AuthUserGrantRoleRequest = decoded(method, &body)?;
            Change::GrantRole(AuthUserRole { user: request.user, role: request.role })
        }
        Method::UserRevokeRole => {
            let request: pb::AuthUserRevokeRoleRequest = decoded(method, &body)?;
            Change::RevokeRole(AuthUserRole { user: request.name, role: request.role })
        }
        Method::RoleAdd => {
            let request: pb::AuthRoleAddRequest = decoded(method, &body)?;
            Change::AddRole(request.name)
        }
        Method::RoleDelete => {
            let request: pb::AuthRoleDeleteRequest = decoded(method, &body)?;
            Change::DeleteRole(request.role)
        }
        Method::RoleGrantPermission => {
            let request: pb::AuthRoleGrantPermissionRequest = decoded(method, &body)?;
            let (role, permission) = (request.name, request.perm);
            Change::GrantPermission(AuthRolePermission { role, permission })
        }
        Method::RoleRevokePermission => {
            let request: pb::AuthRoleRevokePermissionRequest = decoded(method, &body)?;
            let (key, range_end) = (request.key, request.range_end);
            let permission = Some(Permission { perm_type: 0, key, range_end });
            Change::RevokePermission(AuthRolePermission { role: request.role, permission })
        }
        other => return Err(status::not_served(other)),
    })
}

/// A hash in place of a password, in base64, as etcd takes it. What is none is kept all the same: nobody is let in by it.
fn given_hash(text: &str) -> Result<String, Status> {
    let bytes = BASE64_STANDARD.decode(text).ok();
    let hash = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    hash.ok_or_else(|| {
        let text = "auth: authentication failed, password was given for no password user";
        Status::new(Code::Unknown, text, Retry::Never)
    })
}
