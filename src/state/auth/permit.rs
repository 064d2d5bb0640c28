//! Whether who asks may do what a request says: its own keys, and all that it reads and touches on the way.
//!
//! etcd's rules: what gives a previous value back reads it; who hangs a key on a lease, or ends one, must be able to write
//! every key on it, because they go together; a transaction is all of its compares and both of its branches, to the
//! bottom. Ranges are read here by the very function that the execution reads them by.

use std::fmt;

use bytes::Bytes;

use super::store::{Auth, User};
use crate::base::{KeyRange, LeaseId};
use crate::proto::etcdserverpb::request_op::Request;
use crate::proto::etcdserverpb::{
    DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};
use crate::state::Command;
use crate::state::reply::Rejection;
use crate::state::stop::{Answer, Stop, answer};
use crate::storage::Fault;

/// Who asks, as somebody has made out: a user's name, and the revision of users and roles at which that was so. Nobody:
/// empty and 0.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Asker {
    pub user: String,
    pub auth_revision: u64,
}

impl Asker {
    /// A revision that no user has.
    const MEMBERS: u64 = u64::MAX;

    /// A member for itself: it asks nobody.
    pub fn member() -> Self {
        Self { user: String::new(), auth_revision: Self::MEMBERS }
    }

    pub(in crate::state) const fn is_member(&self) -> bool {
        self.auth_revision == Self::MEMBERS
    }
}

/// The keys on a lease.
pub type LeaseKeys<'a> = dyn Fn(LeaseId) -> Result<Vec<Bytes>, Fault> + 'a;

#[derive(Clone, Copy)]
enum Access {
    Read,
    Write,
}

impl fmt::Display for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.user.as_str() {
            "" => f.write_str("nobody"),
            user => write!(f, "{user:?}"),
        }
    }
}

impl Auth {
    /// Whether it may do everything.
    pub fn admin(&self, asker: &Asker) -> Result<(), Rejection> {
        if !self.is_enabled {
            return Ok(());
        }
        if asker.user.is_empty() {
            return Err(Rejection::UserEmpty);
        }
        match self.user(&asker.user) {
            None => Err(Rejection::UserNotFound),
            Some(user) if user.is_root() => Ok(()),
            Some(_) => Err(Rejection::PermissionDenied),
        }
    }

    /// Whether it is anybody at all.
    pub fn somebody(&self, asker: &Asker) -> Result<(), Rejection> {
        match self.is_enabled && asker.auth_revision == 0 {
            true => Err(Rejection::UserEmpty),
            false => Ok(()),
        }
    }

    /// Whether it may read all keys of the range.
    pub fn read(&self, asker: &Asker, range: &KeyRange) -> Result<(), Rejection> {
        self.access(asker, Access::Read, range)
    }

    /// Whether it may read each of the keys.
    pub fn read_each(&self, asker: &Asker, keys: &[Bytes]) -> Result<(), Rejection> {
        if self.admin(asker).is_ok() {
            return Ok(());
        }
        keys.iter().try_for_each(|key| self.read(asker, &KeyRange::Single(key.clone())))
    }

    /// Whether it may write each of the keys.
    pub fn write_each(&self, asker: &Asker, keys: &[Bytes]) -> Result<(), Rejection> {
        if self.admin(asker).is_ok() {
            return Ok(());
        }
        let write = |key: &Bytes| self.access(asker, Access::Write, &KeyRange::Single(key.clone()));
        keys.iter().try_for_each(write)
    }

    /// Whether it may do what the command says. Those that are no client's business (of a leader, of a member for itself)
    /// are not asked about here.
    pub fn permit(
        &self,
        asker: &Asker,
        command: &Command,
        lease_keys: &LeaseKeys<'_>,
    ) -> Answer<()> {
        answer(self.permits(asker, command, lease_keys))
    }

    pub(in crate::state) fn permits(
        &self,
        asker: &Asker,
        command: &Command,
        lease_keys: &LeaseKeys<'_>,
    ) -> Result<(), Stop> {
        if !self.is_enabled {
            return Ok(());
        }
        match command {
            Command::Put(put) => self.put(asker, put, lease_keys)?,
            Command::DeleteRange(delete) => self.delete(asker, delete)?,
            Command::Txn(txn) => self.txn(asker, txn, lease_keys)?,
            Command::LeaseRevoke(revoke) => {
                self.somebody(asker)?;
                for &id in &revoke.ids {
                    self.lease(asker, id, lease_keys)?;
                }
            }
            Command::LeaseGrant(_) => self.somebody(asker)?,
            Command::Compact(_)
            | Command::Alarm(_)
            | Command::MemberChange(_)
            | Command::Auth(_) => self.admin(asker)?,
            Command::LeaseCheckpoint(_)
            | Command::MemberPublish(_)
            | Command::V2(_)
            | Command::V2Auth(_)
            | Command::V2Sync(_) => {}
        }
        Ok(())
    }

    /// A range of a transaction, or alone.
    pub fn range(&self, asker: &Asker, request: &RangeRequest) -> Result<(), Rejection> {
        self.read(asker, &KeyRange::new(request.key.clone(), request.range_end.clone()))
    }

    fn put(&self, asker: &Asker, put: &PutRequest, lease_keys: &LeaseKeys<'_>) -> Result<(), Stop> {
        let key = KeyRange::Single(put.key.clone());
        self.access(asker, Access::Write, &key)?;
        self.lease(asker, put.lease, lease_keys)?;
        if put.prev_kv {
            self.read(asker, &key)?;
        }
        Ok(())
    }

    fn delete(&self, asker: &Asker, delete: &DeleteRangeRequest) -> Result<(), Rejection> {
        let range = KeyRange::new(delete.key.clone(), delete.range_end.clone());
        self.access(asker, Access::Write, &range)?;
        if delete.prev_kv { self.read(asker, &range) } else { Ok(()) }
    }

    fn txn(&self, asker: &Asker, txn: &TxnRequest, lease_keys: &LeaseKeys<'_>) -> Result<(), Stop> {
        // One without compares and operations is somebody's, too.
        self.somebody(asker)?;
        for compare in &txn.compare {
            self.read(asker, &KeyRange::new(compare.key.clone(), compare.range_end.clone()))?;
        }
        for RequestOp { request } in txn.success.iter().chain(&txn.failure) {
            match request {
                Some(Request::RequestRange(range)) => self.range(asker, range)?,
                Some(Request::RequestPut(put)) => self.put(asker, put, lease_keys)?,
                Some(Request::RequestDeleteRange(delete)) => self.delete(asker, delete)?,
                Some(Request::RequestTxn(inner)) => self.txn(asker, inner, lease_keys)?,
                None => {}
            }
        }
        Ok(())
    }

    /// Every key that hangs on the lease.
    fn lease(&self, asker: &Asker, id: LeaseId, lease_keys: &LeaseKeys<'_>) -> Result<(), Stop> {
        if id == 0 || self.admin(asker).is_ok() {
            return Ok(());
        }
        Ok(self.write_each(asker, &lease_keys(id)?)?)
    }

    fn access(&self, asker: &Asker, access: Access, range: &KeyRange) -> Result<(), Rejection> {
        if !self.is_enabled {
            return Ok(());
        }
        self.somebody(asker)?;
        if asker.auth_revision < self.revision {
            return Err(Rejection::AuthOldRevision);
        }
        let may = |user: &User| {
            user.is_root()
                || match access {
                    Access::Read => user.reads.cover(range),
                    Access::Write => user.writes.cover(range),
                }
        };
        match self.user(&asker.user) {
            Some(user) if may(user) => Ok(()),
            _ => Err(Rejection::PermissionDenied),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::authpb::Permission;
    use crate::proto::authpb::permission::Type;
    use crate::proto::etcdserverpb::Compare;
    use crate::proto::quorate::log::auth_change::Change;
    use crate::proto::quorate::log::{AuthChange, AuthRolePermission, AuthUser, AuthUserRole};
    use crate::storage::{Batch, Nothing};

    const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

    /// Bob reads from a to d and writes from b to e.
    fn auth() -> Auth {
        let user = |name: &str| AuthUser { name: name.to_owned(), ..AuthUser::default() };
        let grant = |user: &str, role: &str| {
            Change::GrantRole(AuthUserRole { user: user.to_owned(), role: role.to_owned() })
        };
        let permit = |kind: Type, key: &'static str, range_end: &'static str| {
            let (key, range_end) = (key.into(), range_end.into());
            let permission = Some(Permission { perm_type: kind as i32, key, range_end });
            Change::GrantPermission(AuthRolePermission { role: "r".to_owned(), permission })
        };
        let mut auth = Auth::default();
        for change in [
            Change::AddUser(user("root")),
            Change::AddUser(user("bob")),
            grant("root", "root"),
            Change::AddRole("r".to_owned()),
            permit(Type::Read, "a", "d"),
            permit(Type::Write, "b", "e"),
            grant("bob", "r"),
            Change::Enabled(true),
        ] {
            let request = AuthChange { change: Some(change) };
            let mut batch = Batch::new(&Nothing);
            auth = super::super::change(&mut batch, &auth, &request, 0).unwrap().auth.unwrap();
        }
        auth
    }

    fn key(dice: &mut fastrand::Rng) -> Bytes {
        Bytes::from_static(KEYS[dice.usize(..KEYS.len())].as_bytes())
    }

    fn end(dice: &mut fastrand::Rng) -> Bytes {
        match dice.u8(..4) {
            0 => key(dice),
            1 => Bytes::from_static(&[0]),
            _ => Bytes::new(),
        }
    }

    fn operation(dice: &mut fastrand::Rng, depth: u8) -> Request {
        let (key, range_end) = (key(dice), end(dice));
        let prev_kv = dice.bool();
        match dice.u8(if depth == 0 { 0..3 } else { 0..4 }) {
            0 => Request::RequestRange(RangeRequest { key, range_end, ..Default::default() }),
            1 => {
                let lease = dice.i64(0..3);
                Request::RequestPut(PutRequest { key, lease, prev_kv, ..Default::default() })
            }
            2 => Request::RequestDeleteRange(DeleteRangeRequest { key, range_end, prev_kv }),
            _ => Request::RequestTxn(txn(dice, depth - 1)),
        }
    }

    fn txn(dice: &mut fastrand::Rng, depth: u8) -> TxnRequest {
        let mut txn = TxnRequest::default();
        if dice.bool() {
            let (key, range_end) = (key(dice), end(dice));
            txn.compare.push(Compare { key, range_end, ..Compare::default() });
        }
        for _ in 0..dice.u8(..3) {
            let operation = RequestOp { request: Some(operation(dice, depth)) };
            let branch = if dice.bool() { &mut txn.success } else { &mut txn.failure };
            branch.push(operation);
        }
        txn
    }

    /// Lease 1 holds what bob may write, lease 2 what he may not.
    fn on_lease(id: LeaseId) -> Vec<Bytes> {
        match id {
            1 => vec![Bytes::from_static(b"b"), Bytes::from_static(b"d")],
            2 => vec![Bytes::from_static(b"b"), Bytes::from_static(b"f")],
            _ => Vec::new(),
        }
    }

    /// Each key that is named or implied, and whether it is written.
    fn touched(txn: &TxnRequest, found: &mut Vec<(KeyRange, bool)>) {
        let range = |key: &Bytes, end: &Bytes| KeyRange::new(key.clone(), end.clone());
        found.extend(txn.compare.iter().map(|it| (range(&it.key, &it.range_end), false)));
        for operation in txn.success.iter().chain(&txn.failure) {
            match operation.request.as_ref().unwrap() {
                Request::RequestRange(it) => found.push((range(&it.key, &it.range_end), false)),
                Request::RequestPut(it) => {
                    let key = KeyRange::Single(it.key.clone());
                    found.push((key.clone(), true));
                    found.extend(
                        on_lease(it.lease).into_iter().map(|it| (KeyRange::Single(it), true)),
                    );
                    found.extend(it.prev_kv.then_some((key, false)));
                }
                Request::RequestDeleteRange(it) => {
                    let range = range(&it.key, &it.range_end);
                    found.push((range.clone(), true));
                    found.extend(it.prev_kv.then_some((range, false)));
                }
                Request::RequestTxn(inner) => touched(inner, found),
            }
        }
    }

    /// Between what bob may, by letters; a range that is none is its start.
    fn may(range: &KeyRange, writes: bool) -> bool {
        let (first, last) = if writes { (b'b', b'd') } else { (b'a', b'c') };
        match range {
            KeyRange::Single(key) => (first..=last).contains(&key[0]),
            KeyRange::From(_) => false,
            KeyRange::Span { start, end } if end <= start => (first..=last).contains(&start[0]),
            KeyRange::Span { start, end } => start[0] >= first && end[0] <= last + 1,
        }
    }

    #[test]
    fn a_transaction_is_permitted_if_all_that_it_touches_is() {
        let auth = auth();
        let asker = |user: &str| Asker { user: user.to_owned(), auth_revision: auth.revision() };
        let lease_keys = |id: LeaseId| Ok(on_lease(id));
        let mut dice = fastrand::Rng::with_seed(7);
        let (mut permitted, mut denied) = (0, 0);
        for _ in 0..20_000 {
            let txn = txn(&mut dice, 3);
            let mut all = Vec::new();
            touched(&txn, &mut all);
            let expected = all.iter().all(|(range, writes)| may(range, *writes));
            let command = Command::Txn(txn);
            let told = auth.permit(&asker("bob"), &command, &lease_keys).unwrap();
            assert_eq!(told.is_ok(), expected, "{command:?}: {all:?}");
            *(if expected { &mut permitted } else { &mut denied }) += 1;
            assert_eq!(auth.permit(&asker("root"), &command, &lease_keys).unwrap(), Ok(()));
            let nobody = auth.permit(&Asker::default(), &command, &lease_keys).unwrap();
            assert_eq!(nobody, Err(Rejection::UserEmpty));
        }
        assert!(permitted > 1_000 && denied > 1_000, "{permitted} {denied}");
    }
}
