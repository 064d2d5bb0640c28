//! Users and roles of the v2 API: who may do what with which keys, once it is enabled.
//!
//! Promises: a change is a function of what is there and of the request; passwords come hashed. Each step of a change
//! takes an index of the tree, as in etcd, which keeps all this in a corner of the tree. Knows nothing of: who asks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use super::rows;
use crate::base::limits;
use crate::proto::quorate::log::v2_auth::Change;
use crate::proto::quorate::log::v2_user_change::Kind;
use crate::proto::quorate::log::{V2Auth, V2Names, V2Role, V2RoleChange, V2User, V2UserChange};
use crate::storage::{Batch, Fault, Read};

/// The user and the role that may do everything.
pub const ROOT: &str = "root";
/// The role of who shows no password.
const GUEST: &str = "guest";

/// Steps that the first change takes beside its own: etcd makes three directories and a switch.
const FOUNDING_STEPS: u64 = 4;

/// Everything that is known of users and roles; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Auth {
    is_enabled: bool,
    /// The first change has been made.
    is_founded: bool,
    users: BTreeMap<String, Arc<V2User>>,
    roles: BTreeMap<String, Arc<V2Role>>,
}

/// What a change answers.
#[derive(Clone, Debug, PartialEq)]
pub enum AuthTold {
    Nothing,
    User { user: Arc<V2User>, is_new: bool },
    Role { role: Arc<V2Role>, is_new: bool },
}

/// Why nothing changed; the texts are etcd's where it has one.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AuthRefused {
    #[error("auth: already enabled")]
    Enabled,
    #[error("auth: already disabled")]
    Disabled,
    #[error("auth: No root user available, please create one")]
    NoRootUser,
    #[error("auth: Cannot create user {0} with an empty password")]
    EmptyPassword(String),
    #[error("auth: User {0} already exists.")]
    UserExists(String),
    #[error("auth: User {0} does not exist.")]
    NoUser(String),
    /// Of a deletion.
    #[error("auth: User {0} does not exist")]
    NoUserToDelete(String),
    #[error("auth: User not updated. Use grant/revoke/password to update the user.")]
    UserNotUpdated,
    #[error("auth: Cannot delete root user while auth is enabled.")]
    RootUserNeeded,
    #[error("auth: Granting duplicate role {role} for user {user}")]
    RoleGranted { role: String, user: String },
    #[error("auth: Revoking ungranted role {role} for user {user}")]
    RoleNotGranted { role: String, user: String },
    #[error("auth: Cannot modify role root: is root role.")]
    RootRole,
    #[error("auth: Role {0} already exists.")]
    RoleExists(String),
    #[error("auth: Role {0} does not exist.")]
    NoRole(String),
    /// Of a deletion.
    #[error("auth: Role {0} doesn't exist.")]
    NoRoleToDelete(String),
    #[error("auth: Role not updated. Use grant/revoke to update the role.")]
    RoleNotUpdated,
    #[error("auth: Granting duplicate {what} permission {pattern}")]
    PermissionGranted { what: &'static str, pattern: String },
    #[error("quorate: there are {0} users already; delete some")]
    TooManyUsers(usize),
    #[error("quorate: there are {0} roles already; delete some")]
    TooManyRoles(usize),
    #[error("quorate: {name} would take more than {limit} bytes")]
    TooLong { name: String, limit: usize },
}

/// What a change did.
pub(in crate::state) struct AuthChanged {
    pub(in crate::state) auth: Auth,
    /// Indexes of the tree that it took.
    pub(in crate::state) steps: u64,
    pub(in crate::state) told: AuthTold,
}

/// Applies one change; what is refused writes no row.
pub(in crate::state) fn change_auth<R: Read>(
    batch: &mut Batch<'_, R>,
    auth: &Auth,
    request: &V2Auth,
) -> Result<AuthChanged, AuthRefused> {
    let mut changing = Changing { auth: auth.clone(), rows: Vec::new(), steps: 0 };
    let told = match &request.change {
        Some(Change::Enabled(is_enabled)) => changing.switch(*is_enabled)?,
        Some(Change::User(change)) => changing.user(change)?,
        Some(Change::Role(change)) => changing.role(change)?,
        Some(Change::DeleteUser(name)) => changing.delete_user(name)?,
        Some(Change::DeleteRole(name)) => changing.delete_role(name)?,
        // decode() has refused it.
        None => AuthTold::Nothing,
    };
    let Changing { auth, rows, mut steps } = changing;
    if !auth.is_founded {
        steps += FOUNDING_STEPS;
    }
    for (key, value) in rows {
        rows::put_auth(batch, key, value);
    }
    rows::put_auth(batch, rows::auth_switch(), Some(Bytes::from(vec![u8::from(auth.is_enabled)])));
    Ok(AuthChanged { auth: Auth { is_founded: true, ..auth }, steps, told })
}

impl Auth {
    pub(in crate::state) fn load<R: Read>(read: &R) -> Result<Self, Fault> {
        let mut auth = Self::default();
        rows::auth(read, &mut |row| match row {
            rows::AuthRow::Switch(is_enabled) => {
                (auth.is_enabled, auth.is_founded) = (is_enabled, true);
            }
            rows::AuthRow::User(user) => {
                auth.users.insert(user.name.clone(), Arc::new(user));
            }
            rows::AuthRow::Role(role) => {
                auth.roles.insert(role.name.clone(), Arc::new(role));
            }
        })?;
        Ok(auth)
    }

    pub const fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// By name.
    pub fn users(&self) -> impl Iterator<Item = &Arc<V2User>> {
        self.users.values()
    }

    pub fn user(&self, name: &str) -> Option<&Arc<V2User>> {
        self.users.get(name)
    }

    /// By name, without root's, which is always there.
    pub fn roles(&self) -> impl Iterator<Item = &Arc<V2Role>> {
        self.roles.values()
    }

    pub fn role(&self, name: &str) -> Option<&Arc<V2Role>> {
        self.roles.get(name)
    }

    /// The names of the user's roles; root's own is always among its.
    pub fn roles_of(user: &V2User) -> Vec<String> {
        let mut roles = names(&user.roles).to_vec();
        if user.name == ROOT && !roles.iter().any(|role| role == ROOT) {
            roles.push(ROOT.to_owned());
        }
        roles
    }

    /// Whether the user may change users, roles and members.
    pub fn is_root(user: &V2User) -> bool {
        Self::roles_of(user).iter().any(|role| role == ROOT)
    }

    /// Whether one of the user's roles lets it read or write the key, or everything that begins with it.
    pub fn allows(&self, user: &V2User, key: &[u8], writes: bool, recursive: bool) -> bool {
        Self::is_root(user)
            || names(&user.roles).iter().filter_map(|name| self.role(name)).any(|role| {
                patterns(role, writes).iter().any(|pattern| covers(pattern, key, recursive))
            })
    }

    /// The same of who shows no password; etcd does not ask whether it is recursive.
    pub fn allows_guest(&self, key: &[u8], writes: bool) -> bool {
        self.role(GUEST).is_some_and(|role| {
            patterns(role, writes).iter().any(|pattern| covers(pattern, key, false))
        })
    }
}

fn names(names: &Option<V2Names>) -> &[String] {
    names.as_ref().map_or(&[], |names| names.names.as_slice())
}

fn patterns(role: &V2Role, writes: bool) -> &[String] {
    names(if writes { &role.write } else { &role.read })
}

/// A pattern is a key, or the beginning of keys and a star.
fn covers(pattern: &str, key: &[u8], recursive: bool) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => key.starts_with(beginning.as_bytes()),
        None => !recursive && key == pattern.as_bytes(),
    }
}

/// A change on its way; its rows are written when it is whole.
struct Changing {
    auth: Auth,
    rows: Vec<(Bytes, Option<Bytes>)>,
    steps: u64,
}

impl Changing {
    fn switch(&mut self, is_enabled: bool) -> Result<AuthTold, AuthRefused> {
        match (self.auth.is_enabled, is_enabled) {
            (true, true) => return Err(AuthRefused::Enabled),
            (false, false) => return Err(AuthRefused::Disabled),
            (false, true) => self.prepare()?,
            (true, false) => {}
        }
        self.auth.is_enabled = is_enabled;
        self.steps += 1;
        Ok(AuthTold::Nothing)
    }

    /// Somebody must be able to disable it again; and who shows no password goes on as before until the role says less.
    fn prepare(&mut self) -> Result<(), AuthRefused> {
        if self.auth.user(ROOT).is_none() {
            return Err(AuthRefused::NoRootUser);
        }
        if self.auth.role(GUEST).is_none() {
            let all = || Some(V2Names { names: vec!["/*".to_owned()] });
            self.put_role(V2Role { name: GUEST.to_owned(), read: all(), write: all() })?;
        }
        Ok(())
    }

    fn user(&mut self, change: &V2UserChange) -> Result<AuthTold, AuthRefused> {
        let name = &change.name;
        match (change.kind(), self.auth.user(name).cloned()) {
            (Kind::CreateOrUpdate | Kind::Update, Some(before)) => {
                self.update_user(change, &before)
            }
            (Kind::Update, None) => Err(AuthRefused::NoUser(name.clone())),
            (kind, before) => {
                if change.password_hash.is_empty() {
                    return Err(AuthRefused::EmptyPassword(name.clone()));
                }
                if before.is_some() {
                    return Err(AuthRefused::UserExists(name.clone()));
                }
                let mut user = V2User {
                    name: name.clone(),
                    password_hash: change.password_hash.clone(),
                    roles: change.roles.clone(),
                };
                user.roles = roles_attached(&user);
                let user = self.put_user(user)?;
                // etcd's 201 is for who did not say which of both it wants.
                Ok(AuthTold::User { user, is_new: kind == Kind::CreateOrUpdate })
            }
        }
    }

    fn update_user(
        &mut self,
        change: &V2UserChange,
        before: &V2User,
    ) -> Result<AuthTold, AuthRefused> {
        let named = |role: &String| (role.clone(), before.name.clone());
        let before = V2User { roles: roles_attached(before), ..before.clone() };
        let mut roles: BTreeSet<String> = names(&before.roles).iter().cloned().collect();
        for granted in &change.grant {
            if !roles.insert(granted.clone()) {
                let (role, user) = named(granted);
                return Err(AuthRefused::RoleGranted { role, user });
            }
        }
        for revoked in &change.revoke {
            if !roles.remove(revoked) {
                let (role, user) = named(revoked);
                return Err(AuthRefused::RoleNotGranted { role, user });
            }
        }
        let password_hash = match change.password_hash.is_empty() {
            true => before.password_hash.clone(),
            false => change.password_hash.clone(),
        };
        let roles = Some(V2Names { names: roles.into_iter().collect() });
        let user = V2User { name: before.name.clone(), password_hash, roles };
        if user == before {
            return Err(AuthRefused::UserNotUpdated);
        }
        let told = self.put_user(user)?;
        Ok(AuthTold::User { user: told, is_new: false })
    }

    fn role(&mut self, change: &V2RoleChange) -> Result<AuthTold, AuthRefused> {
        let role = change.role.clone().unwrap_or_default();
        if role.name == ROOT {
            return Err(AuthRefused::RootRole);
        }
        let before = self.auth.role(&role.name).cloned();
        if !change.update {
            if before.is_some() {
                return Err(AuthRefused::RoleExists(role.name));
            }
            let role = self.put_role(role)?;
            return Ok(AuthTold::Role { role, is_new: true });
        }
        let before = before.ok_or(AuthRefused::NoRole(role.name))?;
        let after = V2Role {
            name: before.name.clone(),
            read: merged("read", &before.read, &change.grant_read, &change.revoke_read)?,
            write: merged("write", &before.write, &change.grant_write, &change.revoke_write)?,
        };
        if after == *before {
            return Err(AuthRefused::RoleNotUpdated);
        }
        let role = self.put_role(after)?;
        Ok(AuthTold::Role { role, is_new: false })
    }

    fn delete_user(&mut self, name: &str) -> Result<AuthTold, AuthRefused> {
        if self.auth.is_enabled && name == ROOT {
            return Err(AuthRefused::RootUserNeeded);
        }
        if self.auth.users.remove(name).is_none() {
            return Err(AuthRefused::NoUserToDelete(name.to_owned()));
        }
        self.rows.push((rows::auth_user(name), None));
        self.steps += 1;
        Ok(AuthTold::Nothing)
    }

    fn delete_role(&mut self, name: &str) -> Result<AuthTold, AuthRefused> {
        if name == ROOT {
            return Err(AuthRefused::RootRole);
        }
        if self.auth.roles.remove(name).is_none() {
            return Err(AuthRefused::NoRoleToDelete(name.to_owned()));
        }
        self.rows.push((rows::auth_role(name), None));
        self.steps += 1;
        Ok(AuthTold::Nothing)
    }

    fn put_user(&mut self, user: V2User) -> Result<Arc<V2User>, AuthRefused> {
        let is_new = !self.auth.users.contains_key(&user.name);
        if is_new && self.auth.users.len() >= limits::V2_USERS_MAX {
            return Err(AuthRefused::TooManyUsers(limits::V2_USERS_MAX));
        }
        let value = checked(&user.name, user.encode_to_vec())?;
        self.rows.push((rows::auth_user(&user.name), Some(value)));
        self.steps += 1;
        let user = Arc::new(user);
        self.auth.users.insert(user.name.clone(), Arc::clone(&user));
        Ok(user)
    }

    fn put_role(&mut self, role: V2Role) -> Result<Arc<V2Role>, AuthRefused> {
        let is_new = !self.auth.roles.contains_key(&role.name);
        if is_new && self.auth.roles.len() >= limits::V2_ROLES_MAX {
            return Err(AuthRefused::TooManyRoles(limits::V2_ROLES_MAX));
        }
        let value = checked(&role.name, role.encode_to_vec())?;
        self.rows.push((rows::auth_role(&role.name), Some(value)));
        self.steps += 1;
        let role = Arc::new(role);
        self.auth.roles.insert(role.name.clone(), Arc::clone(&role));
        Ok(role)
    }
}

/// A row that fits.
fn checked(name: &str, row: Vec<u8>) -> Result<Bytes, AuthRefused> {
    let too_long = |limit| AuthRefused::TooLong { name: name.to_owned(), limit };
    if name.len() > limits::V2_KEY_BYTES_MAX {
        return Err(too_long(limits::V2_KEY_BYTES_MAX));
    }
    if row.len() > limits::V2_AUTH_ROW_BYTES_MAX {
        return Err(too_long(limits::V2_AUTH_ROW_BYTES_MAX));
    }
    Ok(Bytes::from(row))
}

/// None stays none, but root's own role cannot be taken from it.
fn roles_attached(user: &V2User) -> Option<V2Names> {
    let names = Auth::roles_of(user);
    if names.is_empty() { user.roles.clone() } else { Some(V2Names { names }) }
}

/// Revoking what is not granted changes nothing. None (null to clients) stays none only if nothing is said about
/// permissions at all.
fn merged(
    what: &'static str,
    before: &Option<V2Names>,
    grant: &Option<V2Names>,
    revoke: &Option<V2Names>,
) -> Result<Option<V2Names>, AuthRefused> {
    if grant.is_none() && revoke.is_none() {
        return Ok(before.clone());
    }
    let mut patterns: BTreeSet<String> = names(before).iter().cloned().collect();
    for granted in names(grant) {
        if !patterns.insert(granted.clone()) {
            return Err(AuthRefused::PermissionGranted { what, pattern: granted.clone() });
        }
    }
    for revoked in names(revoke) {
        patterns.remove(revoked);
    }
    Ok(Some(V2Names { names: patterns.into_iter().collect() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Nothing, Table};

    /// Applies changes one by one, and the rows of each.
    struct Talk {
        batch: Batch<'static, Nothing>,
        auth: Auth,
        steps: u64,
    }

    impl Talk {
        fn new() -> Self {
            Self { batch: Batch::new(&Nothing), auth: Auth::default(), steps: 0 }
        }

        fn ask(&mut self, change: Change) -> Result<AuthTold, AuthRefused> {
            let request = V2Auth { change: Some(change) };
            let changed = change_auth(&mut self.batch, &self.auth, &request)?;
            (self.auth, self.steps) = (changed.auth, self.steps + changed.steps);
            Ok(changed.told)
        }

        fn user(
            &mut self,
            name: &str,
            hash: &str,
            roles: &[&str],
        ) -> Result<AuthTold, AuthRefused> {
            let roles = list(roles);
            let kind = if roles.names.is_empty() { Kind::CreateOrUpdate } else { Kind::Create };
            self.ask(Change::User(V2UserChange {
                kind: kind.into(),
                name: name.to_owned(),
                password_hash: hash.to_owned(),
                roles: Some(roles).filter(|roles| !roles.names.is_empty()),
                ..V2UserChange::default()
            }))
        }

        fn role(&mut self, name: &str, read: &[&str], write: &[&str]) {
            let (read, write) = (Some(list(read)), Some(list(write)));
            let role = V2Role { name: name.to_owned(), read, write };
            let change = V2RoleChange { role: Some(role), ..V2RoleChange::default() };
            self.ask(Change::Role(change)).unwrap();
        }
    }

    fn list(names: &[&str]) -> V2Names {
        V2Names { names: names.iter().map(|name| (*name).to_owned()).collect() }
    }

    #[test]
    fn users_and_roles_come_back_from_their_rows() {
        let mut talk = Talk::new();
        talk.user("root", "h", &[]).unwrap();
        assert_eq!(talk.steps, 5, "etcd makes four things beside the first");
        talk.user("ann", "h", &["some"]).unwrap();
        talk.role("some", &["/a*"], &[]);
        talk.user("gone", "h", &[]).unwrap();
        talk.ask(Change::DeleteUser("gone".to_owned())).unwrap();
        talk.ask(Change::Enabled(true)).unwrap();
        assert_eq!(talk.steps, 11, "and a guest before it is enabled");
        let loaded = Auth::load(&talk.batch).unwrap();
        assert!(loaded.is_enabled() && loaded.is_founded);
        assert_eq!((&loaded.users, &loaded.roles), (&talk.auth.users, &talk.auth.roles));
        assert_eq!(
            loaded.users().map(|user| user.name.as_str()).collect::<Vec<_>>(),
            ["ann", "root"]
        );

        talk.batch.put(Table::V2, "ax", "");
        let fault = Auth::load(&talk.batch).unwrap_err().to_string();
        assert!(fault.contains("table v2"), "{fault}");
    }

    #[test]
    fn what_is_refused_changes_nothing() {
        let mut talk = Talk::new();
        assert_eq!(talk.ask(Change::Enabled(true)), Err(AuthRefused::NoRootUser));
        talk.user("root", "h", &[]).unwrap();
        talk.ask(Change::Enabled(true)).unwrap();
        let rows = Batch::into_rows(std::mem::replace(&mut talk.batch, Batch::new(&Nothing)));
        assert!(!rows.is_empty());
        let name = || "root".to_owned();
        for (change, why) in [
            (Change::Enabled(true), AuthRefused::Enabled),
            (Change::DeleteUser(name()), AuthRefused::RootUserNeeded),
            (Change::DeleteRole(name()), AuthRefused::RootRole),
            (Change::DeleteUser("x".to_owned()), AuthRefused::NoUserToDelete("x".to_owned())),
        ] {
            assert_eq!(talk.ask(change), Err(why));
        }
        assert_eq!(talk.user("x", "", &[]), Err(AuthRefused::EmptyPassword("x".to_owned())));
        assert_eq!(talk.user("root", "h", &["a"]), Err(AuthRefused::UserExists(name())));
        assert!(talk.batch.is_empty());
        let long = "x".repeat(limits::V2_KEY_BYTES_MAX + 1);
        assert!(matches!(talk.user(&long, "h", &[]), Err(AuthRefused::TooLong { .. })));
    }

    #[test]
    fn patterns_are_keys_or_beginnings_of_keys() {
        let mut talk = Talk::new();
        talk.user("ann", "h", &["some", "missing"]).unwrap();
        talk.role("some", &["/r/*", "/one"], &["/w*"]);
        talk.role(GUEST, &["/g"], &[]);
        let (auth, ann) = (&talk.auth, talk.auth.user("ann").unwrap());
        for (key, writes, recursive, expected) in [
            ("/one", false, false, true),
            ("/one", false, true, false),
            ("/one", true, false, false),
            ("/r/x", false, false, true),
            ("/r/x", false, true, true),
            ("/r", false, true, false),
            ("/w", true, true, true),
            ("/wx", true, false, true),
            ("/g", false, false, false),
        ] {
            assert_eq!(auth.allows(ann, key.as_bytes(), writes, recursive), expected, "{key}");
        }
        assert!(auth.allows_guest(b"/g", false) && !auth.allows_guest(b"/g", true));
        assert!(!Auth::is_root(ann) && !auth.allows_guest(b"/one", false));
    }
}
