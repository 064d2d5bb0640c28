//! What a change makes of users and roles: etcd's rules.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use super::store::{Auth, AuthNote, ROOT};
use crate::base::{KeyRange, limits};
use crate::proto::authpb::Permission;
use crate::proto::quorate::log::auth_change::Change;
use crate::proto::quorate::log::{
    AuthChange, AuthLogin, AuthPassword, AuthRole, AuthRolePermission, AuthUser, AuthUserRole,
};
use crate::state::reply::Rejection;
use crate::storage::{Batch, Read};

/// What a change did.
pub(in crate::state) struct Changed {
    /// None: everything is as it was.
    pub(in crate::state) auth: Option<Auth>,
    pub(in crate::state) note: Option<AuthNote>,
}

/// Applies one change; what is refused writes no row. `at_ms` is the time of its proposal.
pub(in crate::state) fn change<R: Read>(
    batch: &mut Batch<'_, R>,
    auth: &Auth,
    request: &AuthChange,
    at_ms: i64,
) -> Result<Changed, Rejection> {
    let nothing = Changed { auth: None, note: None };
    let Some(change) = &request.change else {
        // decode() has refused it.
        return Ok(nothing);
    };
    if let Change::Login(login) = change {
        return Ok(Changed { note: Some(auth.login(login, at_ms)?), ..nothing });
    }
    let mut after = auth.clone();
    if !after.apply(change)? {
        return Ok(nothing);
    }
    after.write(auth, batch);
    let note = match change {
        Change::Enabled(false) => Some(AuthNote::Disabled),
        Change::DeleteUser(user) | Change::ChangePassword(AuthPassword { user, .. }) => {
            Some(AuthNote::Changed { user: user.clone() })
        }
        _ => None,
    };
    Ok(Changed { auth: Some(after), note })
}

impl Auth {
    /// The password was compared before the log: what has changed since may be the password.
    fn login(&self, login: &AuthLogin, at_ms: i64) -> Result<AuthNote, Rejection> {
        if !self.is_enabled {
            return Err(Rejection::AuthNotEnabled);
        }
        if login.auth_revision != self.revision {
            return Err(Rejection::AuthOldRevision);
        }
        let user = self.user(&login.user).filter(|user| !user.record.no_password);
        let user = user.ok_or(Rejection::AuthFailed)?.record.name.clone();
        Ok(AuthNote::LoggedIn { user, token_hash: login.token_hash.clone(), at_ms })
    }

    /// Whether anything changed.
    fn apply(&mut self, change: &Change) -> Result<bool, Rejection> {
        if let Change::Enabled(is_enabled) = change {
            return self.switch(*is_enabled);
        }
        let is_new = match change {
            Change::AddUser(user) => self.add_user(user),
            Change::DeleteUser(name) => self.delete_user(name),
            Change::ChangePassword(password) => self.change_password(password),
            Change::GrantRole(grant) => self.grant_role(grant),
            Change::RevokeRole(revoke) => self.revoke_role(revoke),
            Change::AddRole(name) => self.add_role(name),
            Change::DeleteRole(name) => self.delete_role(name),
            Change::GrantPermission(grant) => self.grant_permission(grant),
            Change::RevokePermission(revoke) => self.revoke_permission(revoke),
            Change::Enabled(_) | Change::Login(_) => Ok(false),
        }?;
        self.revision += u64::from(is_new);
        Ok(is_new)
    }

    /// Enabling does not count as a change: what was believed before is believed on.
    fn switch(&mut self, is_enabled: bool) -> Result<bool, Rejection> {
        if self.is_enabled == is_enabled {
            return Ok(false);
        }
        if is_enabled {
            let root = self.user(ROOT).ok_or(Rejection::RootUserNotExist)?;
            if !root.is_root() {
                return Err(Rejection::RootRoleNotExist);
            }
        } else {
            self.revision += 1;
        }
        self.is_enabled = is_enabled;
        Ok(true)
    }

    fn add_user(&mut self, user: &AuthUser) -> Result<bool, Rejection> {
        if user.name.is_empty() {
            return Err(Rejection::UserEmpty);
        }
        if self.users.contains_key(&user.name) {
            return Err(Rejection::UserAlreadyExist);
        }
        if self.users.len() >= limits::AUTH_USERS_MAX {
            return Err(Rejection::TooManyUsers { max: limits::AUTH_USERS_MAX });
        }
        fits(&user.name, user)?;
        let mut record = AuthUser { roles: Vec::new(), ..user.clone() };
        if record.no_password {
            record.password_hash.clear();
        }
        self.put_user(record);
        Ok(true)
    }

    fn delete_user(&mut self, name: &str) -> Result<bool, Rejection> {
        if self.is_enabled && name == ROOT {
            return Err(Rejection::InvalidAuthMgmt);
        }
        self.users.remove(name).ok_or(Rejection::UserNotFound)?;
        Ok(true)
    }

    fn change_password(&mut self, password: &AuthPassword) -> Result<bool, Rejection> {
        let mut record = self.record(&password.user)?;
        if !record.no_password {
            record.password_hash = password.password_hash.clone();
        }
        fits(&record.name, &record)?;
        self.put_user(record);
        Ok(true)
    }

    fn grant_role(&mut self, grant: &AuthUserRole) -> Result<bool, Rejection> {
        let mut record = self.record(&grant.user)?;
        if grant.role != ROOT && !self.roles.contains_key(&grant.role) {
            return Err(Rejection::RoleNotFound);
        }
        let Err(place) = record.roles.binary_search(&grant.role) else { return Ok(false) };
        record.roles.insert(place, grant.role.clone());
        fits(&record.name, &record)?;
        self.put_user(record);
        Ok(true)
    }

    fn revoke_role(&mut self, revoke: &AuthUserRole) -> Result<bool, Rejection> {
        if self.is_enabled && revoke.user == ROOT && revoke.role == ROOT {
            return Err(Rejection::InvalidAuthMgmt);
        }
        let mut record = self.record(&revoke.user)?;
        let place = record.roles.binary_search(&revoke.role);
        record.roles.remove(place.map_err(|_| Rejection::RoleNotGranted)?);
        self.put_user(record);
        Ok(true)
    }

    fn add_role(&mut self, name: &str) -> Result<bool, Rejection> {
        if name.is_empty() {
            return Err(Rejection::RoleEmpty);
        }
        if self.roles.contains_key(name) {
            return Err(Rejection::RoleAlreadyExist);
        }
        if self.roles.len() >= limits::AUTH_ROLES_MAX {
            return Err(Rejection::TooManyRoles { max: limits::AUTH_ROLES_MAX });
        }
        let role = AuthRole { name: name.to_owned(), permissions: Vec::new() };
        fits(name, &role)?;
        self.roles.insert(name.to_owned(), Arc::new(role));
        // Who was granted `root` before there was such a role has it already.
        self.refresh(name);
        Ok(true)
    }

    fn delete_role(&mut self, name: &str) -> Result<bool, Rejection> {
        if self.is_enabled && name == ROOT {
            return Err(Rejection::InvalidAuthMgmt);
        }
        self.roles.remove(name).ok_or(Rejection::RoleNotFound)?;
        for mut record in self.holders(name) {
            record.roles.retain(|role| role != name);
            self.put_user(record);
        }
        Ok(true)
    }

    /// Granted once more, the same keys are permitted as said last.
    fn grant_permission(&mut self, grant: &AuthRolePermission) -> Result<bool, Rejection> {
        let permission = grant.permission.as_ref().ok_or(Rejection::PermissionNotGiven)?;
        if !is_sound(permission) {
            return Err(Rejection::InvalidAuthMgmt);
        }
        let mut role = self.role_record(&grant.role)?;
        let same = |it: &&mut Permission| is_same(it, permission);
        match role.permissions.iter_mut().find(same) {
            Some(known) => known.perm_type = permission.perm_type,
            None => {
                let place = role.permissions.partition_point(|it| it.key <= permission.key);
                role.permissions.insert(place, permission.clone());
            }
        }
        fits(&grant.role, &role)?;
        self.put_role(role);
        Ok(true)
    }

    fn revoke_permission(&mut self, revoke: &AuthRolePermission) -> Result<bool, Rejection> {
        let mut role = self.role_record(&revoke.role)?;
        let permission = revoke.permission.clone().unwrap_or_default();
        let before = role.permissions.len();
        role.permissions.retain(|it| !is_same(it, &permission));
        if role.permissions.len() == before {
            return Err(Rejection::PermissionNotGranted);
        }
        self.put_role(role);
        Ok(true)
    }

    fn record(&self, name: &str) -> Result<AuthUser, Rejection> {
        Ok(self.user(name).ok_or(Rejection::UserNotFound)?.record.clone())
    }

    fn role_record(&self, name: &str) -> Result<AuthRole, Rejection> {
        Ok(self.role(name).ok_or(Rejection::RoleNotFound)?.as_ref().clone())
    }

    fn holders(&self, role: &str) -> Vec<AuthUser> {
        let users = self.users.values().map(|user| &user.record);
        users.filter(|record| record.roles.iter().any(|held| held == role)).cloned().collect()
    }

    fn put_user(&mut self, record: AuthUser) {
        let user = self.permitted(record);
        self.users.insert(user.record.name.clone(), user);
    }

    fn put_role(&mut self, role: AuthRole) {
        let name = role.name.clone();
        self.roles.insert(name.clone(), Arc::new(role));
        self.refresh(&name);
    }

    /// Those who have the role may do something else now.
    fn refresh(&mut self, role: &str) {
        for record in self.holders(role) {
            self.put_user(record);
        }
    }
}

fn is_same(one: &Permission, other: &Permission) -> bool {
    one.key == other.key && one.range_end == other.range_end
}

/// A key, and an end behind it.
fn is_sound(permission: &Permission) -> bool {
    let Permission { key, range_end, .. } = permission;
    !key.is_empty() && !KeyRange::new(Bytes::clone(key), Bytes::clone(range_end)).is_empty()
}

/// Its row must find a place in the database.
fn fits(name: &str, record: &impl Message) -> Result<(), Rejection> {
    if name.len() > limits::AUTH_NAME_BYTES_MAX {
        return Err(Rejection::AuthNameTooLong { max: limits::AUTH_NAME_BYTES_MAX });
    }
    if record.encoded_len() > limits::AUTH_ROW_BYTES_MAX {
        return Err(Rejection::AuthRecordTooLarge { max: limits::AUTH_ROW_BYTES_MAX });
    }
    Ok(())
}
