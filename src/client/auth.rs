//! Users and roles; and a token for a password.
//!
//! A connection has one token, and it is said with its Hello: a fresh token means a fresh connection, so that no call can
//! overtake it.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use super::endpoints::Endpoints;
use super::lane::Failure;
use super::link::Link;
use super::{Client, Error, Request};
use crate::proto::authpb::Permission;
use crate::proto::authpb::permission::Type;
use crate::proto::etcdserverpb as pb;
use crate::proto::{Code, Status};

/// What etcd says to a token that it does not know (any more), or that is too old; its clients compare the texts.
const INVALID_TOKEN: &str = "etcdserver: invalid auth token";
const OLD_REVISION: &str = "etcdserver: revision of auth store is old";
const NOBODY: &str = "etcdserver: user name is empty";
const NOT_ENABLED: &str = "etcdserver: authentication is not enabled";

/// What a role lets do with keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// To read them.
    Read,
    /// To write them, which is not to read them.
    Write,
    /// Both.
    ReadWrite,
}

/// Whether a fresh token may help. Nothing was done.
pub(super) fn is_about_the_token(text: &str) -> bool {
    [INVALID_TOKEN, OLD_REVISION, NOBODY].iter().any(|said| text.ends_with(said))
}

/// A token for the password; none where nobody is asked for one.
pub(super) async fn token(
    link: &Arc<Link>,
    login: &super::Login,
) -> Result<Option<String>, Failure> {
    let request =
        pb::AuthenticateRequest { name: login.name.clone(), password: login.password.clone() };
    let asked = link.call(pb::AuthenticateRequest::METHOD, &request.encode_to_vec(), 0).await;
    match asked {
        Ok(answer) => match pb::AuthenticateResponse::decode(answer) {
            Ok(answer) => Ok(Some(answer.token)),
            Err(error) => {
                let text = format!("its answer to Authenticate cannot be read: {error}");
                Err(Failure::Status(Status::new(Code::Internal, text, crate::proto::Retry::Never)))
            }
        },
        Err(Failure::Status(status)) if status.text == NOT_ENABLED => Ok(None),
        Err(failure) => Err(failure),
    }
}

impl Endpoints {
    /// Whether the failure of a call or stream on `link` ends with its token: then the next link has a fresh one.
    pub(super) fn renews(&self, link: &Arc<Link>, text: &str) -> bool {
        if self.config.login.is_none() || !is_about_the_token(text) {
            return false;
        }
        self.forget_token(link);
        link.leave();
        true
    }
}

impl Client {
    /// Whether requests must say who asks, and the revision of users and roles.
    pub async fn auth_status(&self) -> Result<pb::AuthStatusResponse, Error> {
        self.send(pb::AuthStatusRequest {}).await
    }

    /// From now on requests must say who asks; there must be a user `root` with the role `root`.
    pub async fn auth_enable(&self) -> Result<pb::AuthEnableResponse, Error> {
        self.send(pb::AuthEnableRequest {}).await
    }

    /// From now on everybody may do everything.
    pub async fn auth_disable(&self) -> Result<pb::AuthDisableResponse, Error> {
        self.send(pb::AuthDisableRequest {}).await
    }

    /// A user who shows this password.
    pub async fn user_add(
        &self,
        name: &str,
        password: &str,
    ) -> Result<pb::AuthUserAddResponse, Error> {
        let (name, password) = (name.to_owned(), password.to_owned());
        self.send(pb::AuthUserAddRequest { name, password, ..Default::default() }).await
    }

    /// A user who is known by the name in its certificate alone.
    pub async fn user_add_without_password(
        &self,
        name: &str,
    ) -> Result<pb::AuthUserAddResponse, Error> {
        let options = Some(crate::proto::authpb::UserAddOptions { no_password: true });
        let name = name.to_owned();
        self.send(pb::AuthUserAddRequest { name, options, ..Default::default() }).await
    }

    /// Its tokens count no more, either.
    pub async fn user_delete(&self, name: &str) -> Result<pb::AuthUserDeleteResponse, Error> {
        self.send(pb::AuthUserDeleteRequest { name: name.to_owned() }).await
    }

    /// The roles of a user.
    pub async fn user_get(&self, name: &str) -> Result<pb::AuthUserGetResponse, Error> {
        self.send(pb::AuthUserGetRequest { name: name.to_owned() }).await
    }

    /// The names of all users.
    pub async fn user_list(&self) -> Result<pb::AuthUserListResponse, Error> {
        self.send(pb::AuthUserListRequest {}).await
    }

    /// The tokens that were given for the old one count no more.
    pub async fn user_change_password(
        &self,
        name: &str,
        password: &str,
    ) -> Result<pb::AuthUserChangePasswordResponse, Error> {
        let (name, password) = (name.to_owned(), password.to_owned());
        self.send(pb::AuthUserChangePasswordRequest { name, password, ..Default::default() }).await
    }

    /// The user may do what the role may.
    pub async fn user_grant_role(
        &self,
        user: &str,
        role: &str,
    ) -> Result<pb::AuthUserGrantRoleResponse, Error> {
        let (user, role) = (user.to_owned(), role.to_owned());
        self.send(pb::AuthUserGrantRoleRequest { user, role }).await
    }

    /// The way back.
    pub async fn user_revoke_role(
        &self,
        user: &str,
        role: &str,
    ) -> Result<pb::AuthUserRevokeRoleResponse, Error> {
        let (name, role) = (user.to_owned(), role.to_owned());
        self.send(pb::AuthUserRevokeRoleRequest { name, role }).await
    }

    /// A role that may do nothing yet.
    pub async fn role_add(&self, name: &str) -> Result<pb::AuthRoleAddResponse, Error> {
        self.send(pb::AuthRoleAddRequest { name: name.to_owned() }).await
    }

    /// No user has it any more.
    pub async fn role_delete(&self, name: &str) -> Result<pb::AuthRoleDeleteResponse, Error> {
        self.send(pb::AuthRoleDeleteRequest { role: name.to_owned() }).await
    }

    /// What a role may do.
    pub async fn role_get(&self, name: &str) -> Result<pb::AuthRoleGetResponse, Error> {
        self.send(pb::AuthRoleGetRequest { role: name.to_owned() }).await
    }

    /// The names of all roles.
    pub async fn role_list(&self) -> Result<pb::AuthRoleListResponse, Error> {
        self.send(pb::AuthRoleListRequest {}).await
    }

    /// A key, or a range of keys up to `end`: empty for the key alone, one zero byte for all behind it
    /// ([`prefix_end`](super::prefix_end) makes those of a prefix). The same keys once more get the new access.
    pub async fn role_grant_permission(
        &self,
        role: &str,
        access: Access,
        key: impl Into<Bytes>,
        end: impl Into<Bytes>,
    ) -> Result<pb::AuthRoleGrantPermissionResponse, Error> {
        let perm_type = match access {
            Access::Read => Type::Read,
            Access::Write => Type::Write,
            Access::ReadWrite => Type::Readwrite,
        };
        let perm_type = perm_type as i32;
        let perm = Some(Permission { perm_type, key: key.into(), range_end: end.into() });
        self.send(pb::AuthRoleGrantPermissionRequest { name: role.to_owned(), perm }).await
    }

    /// What was granted with just this key and end.
    pub async fn role_revoke_permission(
        &self,
        role: &str,
        key: impl Into<Bytes>,
        end: impl Into<Bytes>,
    ) -> Result<pb::AuthRoleRevokePermissionResponse, Error> {
        let (role, key, range_end) = (role.to_owned(), key.into(), end.into());
        self.send(pb::AuthRoleRevokePermissionRequest { role, key, range_end }).await
    }
}
