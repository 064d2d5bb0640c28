//! All users and roles, and their rows in table `auth`:
//!
//! ```text
//!   s        -> whether they count (1 byte), their revision (8 BE); there since the first change
//!   u name   -> the user (AuthUser)
//!   r name   -> the role (AuthRole)
//! ```
//!
//! Promises: what a user may do is known without a look at its roles. Knows nothing of: why they change.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

use super::spans::Spans;
use crate::base::KeyRange;
use crate::proto::authpb::Permission;
use crate::proto::authpb::permission::Type;
use crate::proto::quorate::log::{AuthRole, AuthUser};
use crate::storage::{Batch, Direction, Fault, Read, Table};

/// The user who enables, and the role that may do everything.
pub const ROOT: &str = "root";

/// etcd's first revision of users and roles.
const FIRST_REVISION: u64 = 1;

const SWITCH: &[u8] = b"s";
const USER: u8 = b'u';
const ROLE: u8 = b'r';

/// Everything that is known of users and roles; cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct Auth {
    pub(super) is_enabled: bool,
    pub(super) revision: u64,
    pub(super) users: BTreeMap<String, Arc<User>>,
    pub(super) roles: BTreeMap<String, Arc<AuthRole>>,
}

/// A user, and the keys that its roles let it read and write.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User {
    pub record: AuthUser,
    pub(super) reads: Spans,
    pub(super) writes: Spans,
}

/// What those who know tokens are told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AuthNote {
    /// A user showed its password at this time of the proposal (milliseconds since 1970).
    LoggedIn { user: String, token_hash: Bytes, at_ms: i64 },
    /// The user is gone, or its password is another one.
    Changed { user: String },
    /// Nobody is asked any more who he is.
    Disabled,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            is_enabled: false,
            revision: FIRST_REVISION,
            users: BTreeMap::new(),
            roles: BTreeMap::new(),
        }
    }
}

impl User {
    pub fn is_root(&self) -> bool {
        self.record.roles.iter().any(|role| role == ROOT)
    }
}

impl Auth {
    pub const fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// Grows with every change, but for enabling.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// By name.
    pub fn users(&self) -> impl Iterator<Item = &Arc<User>> {
        self.users.values()
    }

    pub fn user(&self, name: &str) -> Option<&Arc<User>> {
        self.users.get(name)
    }

    /// By name.
    pub fn roles(&self) -> impl Iterator<Item = &Arc<AuthRole>> {
        self.roles.values()
    }

    pub fn role(&self, name: &str) -> Option<&Arc<AuthRole>> {
        self.roles.get(name)
    }

    /// The user of a record, with what its roles permit now.
    pub(super) fn permitted(&self, record: AuthUser) -> Arc<User> {
        let roles = record.roles.iter().filter_map(|name| self.role(name));
        let permissions: Vec<&Permission> = roles.flat_map(|role| &role.permissions).collect();
        let union = |wanted: Type| {
            let of = permissions.iter().filter(|it| {
                Type::try_from(it.perm_type).is_ok_and(|it| it == wanted || it == Type::Readwrite)
            });
            Spans::union(of.map(|it| KeyRange::new(it.key.clone(), it.range_end.clone())))
        };
        let (reads, writes) = (union(Type::Read), union(Type::Write));
        Arc::new(User { record, reads, writes })
    }

    pub(in crate::state) fn load<R: Read>(read: &R) -> Result<Self, Fault> {
        let mut auth = Self::default();
        let mut records: Vec<AuthUser> = Vec::new();
        let mut failed = None;
        let all = (Bound::Unbounded, Bound::Unbounded);
        read.scan(Table::Auth, all.0, all.1, Direction::Ascending, &mut |row| {
            if auth.take(row.key, row.value, &mut records).is_none() {
                let what =
                    format!("no user or role in row {:?}", row.key.escape_ascii().to_string());
                failed = Some(Fault::corrupt(what, "table auth"));
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        if let Some(fault) = failed {
            return Err(fault);
        }
        for record in records {
            let user = auth.permitted(record);
            auth.users.insert(user.record.name.clone(), user);
        }
        Ok(auth)
    }

    fn take(&mut self, key: &[u8], value: &[u8], records: &mut Vec<AuthUser>) -> Option<()> {
        match key.split_first()? {
            (&USER, name) => {
                let record = AuthUser::decode(value).ok()?;
                records.push(Some(record).filter(|it| it.name.as_bytes() == name)?);
            }
            (&ROLE, name) => {
                let role = AuthRole::decode(value).ok().filter(|it| it.name.as_bytes() == name)?;
                self.roles.insert(role.name.clone(), Arc::new(role));
            }
            _ if key == SWITCH => {
                let (is_enabled, revision) = value.split_first()?;
                self.is_enabled = *is_enabled != 0;
                self.revision = u64::from_be_bytes(revision.try_into().ok()?);
            }
            _ => return None,
        }
        Some(())
    }

    /// The rows in which it differs from `before`.
    pub(super) fn write<R: Read>(&self, before: &Self, batch: &mut Batch<'_, R>) {
        let mut switch = BytesMut::with_capacity(9);
        switch.put_u8(u8::from(self.is_enabled));
        switch.put_u64(self.revision);
        batch.put(Table::Auth, SWITCH, switch.freeze());
        let same = |one: &User, other: &User| one.record == other.record;
        differences(&before.users, &self.users, same, |name, user| match user {
            Some(user) => batch.put(Table::Auth, row(USER, name), encoded(&user.record)),
            None => batch.delete(Table::Auth, row(USER, name)),
        });
        differences(&before.roles, &self.roles, AuthRole::eq, |name, role| match role {
            Some(role) => batch.put(Table::Auth, row(ROLE, name), encoded(role.as_ref())),
            None => batch.delete(Table::Auth, row(ROLE, name)),
        });
    }
}

fn differences<T>(
    before: &BTreeMap<String, Arc<T>>,
    after: &BTreeMap<String, Arc<T>>,
    same: impl Fn(&T, &T) -> bool,
    mut told: impl FnMut(&str, Option<&Arc<T>>),
) {
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        told(name, None);
    }
    for (name, now) in after {
        let is_same = before.get(name).is_some_and(|was| Arc::ptr_eq(was, now) || same(was, now));
        if !is_same {
            told(name, Some(now));
        }
    }
}

fn row(kind: u8, name: &str) -> Bytes {
    Bytes::from([&[kind], name.as_bytes()].concat())
}

fn encoded(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Nothing;

    #[test]
    fn what_is_no_user_and_no_role_is_a_fault() {
        for (key, value) in
            [("x", &b""[..]), ("s", b"\x01"), ("ubob", b"\x0a\x03eve"), ("rbob", b"\xff")]
        {
            let mut batch = Batch::new(&Nothing);
            batch.put(Table::Auth, key, value);
            let text = Auth::load(&batch).unwrap_err().to_string();
            assert!(text.contains(key) && text.contains("table auth"), "{text}");
        }
        assert_eq!(Auth::load(&Batch::new(&Nothing)).unwrap(), Auth::default());
    }
}
