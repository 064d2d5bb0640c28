//! Leases as replicated state: granted TTLs, recorded remaining times, and which keys hang on which lease.
//!
//! Promises: a key hangs on at most one lease, and a row in `lease_keys` has a live key. Knows nothing of: deadlines,
//! which only the leader's lessor has.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use bytes::{BufMut, Bytes};

use super::reply::LeaseNote;
use crate::base::{Index, LeaseId};
use crate::storage::{Direction, Fault, Read, Table};

/// One lease, in seconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lease {
    /// What was granted.
    pub ttl: i64,
    /// What a leader recorded as left; 0 when nothing is recorded and the full TTL counts.
    pub remaining: i64,
    /// Index of the entry that granted it, as an id that is granted again is another lease, or of the last that forgot
    /// its record, as that renews it: what was decided about its end before that counts no more.
    pub since: Index,
}

impl Lease {
    /// Whether somebody who had applied `as_of` (0: anybody) can mean this lease by its id.
    pub(super) fn is_meant(&self, as_of: Index) -> bool {
        as_of == 0 || self.since <= as_of
    }

    /// After the entry at `index` recorded what is left, or forgot it (0).
    pub(super) fn recorded(self, remaining: i64, index: Index) -> Self {
        let since = if remaining == 0 { index } else { self.since };
        Self { remaining, since, ..self }
    }
}

/// All leases, in the order of their ids.
#[derive(Debug, Default)]
pub(super) struct Leases(BTreeMap<LeaseId, Lease>);

impl Leases {
    pub(super) fn get(&self, id: LeaseId) -> Option<Lease> {
        self.0.get(&id).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (LeaseId, Lease)> {
        self.0.iter().map(|(&id, &lease)| (id, lease))
    }

    pub(super) fn note(&mut self, note: LeaseNote) {
        match note {
            LeaseNote::Granted { id, ttl, index } => {
                self.0.insert(id, Lease { ttl, remaining: 0, since: index });
            }
            LeaseNote::Revoked { id, .. } => {
                self.0.remove(&id);
            }
            LeaseNote::Checkpointed { id, remaining, index } => {
                if let Some(lease) = self.0.get_mut(&id) {
                    *lease = lease.recorded(remaining, index);
                }
            }
        }
    }

    pub(super) fn load<R: Read>(read: &R) -> Result<Self, Fault> {
        let mut leases = Self::default();
        let mut failed = None;
        let all = (Bound::Unbounded, Bound::Unbounded);
        read.scan(Table::Leases, all.0, all.1, Direction::Ascending, &mut |row| {
            let Some((id, lease)) = from_row(row.key, row.value) else {
                let what = format!("no lease in row {:02x?}", row.key);
                failed = Some(Fault::corrupt(what, "table leases"));
                return ControlFlow::Break(());
            };
            leases.0.insert(id, lease);
            ControlFlow::Continue(())
        })?;
        failed.map_or(Ok(leases), Err)
    }
}

/// Key of a row in `leases`; all rows of `lease_keys` that begin with it are the lease's.
pub(super) fn lease_row(id: LeaseId) -> Bytes {
    Bytes::copy_from_slice(&id.to_be_bytes())
}

pub(super) fn lease_value(lease: Lease) -> Bytes {
    let mut row = Vec::with_capacity(24);
    row.put_i64(lease.ttl);
    row.put_i64(lease.remaining);
    row.put_u64(lease.since);
    Bytes::from(row)
}

fn from_row(key: &[u8], value: &[u8]) -> Option<(LeaseId, Lease)> {
    let id = LeaseId::from_be_bytes(key.try_into().ok()?);
    let words: [u8; 24] = value.try_into().ok()?;
    let word = |at: usize| -> Option<[u8; 8]> { words.get(at..at + 8)?.try_into().ok() };
    let (ttl, remaining) = (i64::from_be_bytes(word(0)?), i64::from_be_bytes(word(8)?));
    Some((id, Lease { ttl, remaining, since: Index::from_be_bytes(word(16)?) }))
}

/// Key of a row in `lease_keys`.
pub(super) fn attach_row(id: LeaseId, key: &[u8]) -> Bytes {
    Bytes::from([&id.to_be_bytes()[..], key].concat())
}

/// The keys on a lease, ascending.
pub(super) fn keys_of<R: Read>(read: &R, id: LeaseId) -> Result<Vec<Bytes>, Fault> {
    let low = lease_row(id);
    let mut keys = Vec::new();
    let bounds = (Bound::Included(low.as_ref()), Bound::Unbounded);
    read.scan(Table::LeaseKeys, bounds.0, bounds.1, Direction::Ascending, &mut |row| match row
        .key
        .strip_prefix(low.as_ref())
    {
        Some(key) => {
            keys.push(Bytes::copy_from_slice(key));
            ControlFlow::Continue(())
        }
        None => ControlFlow::Break(()),
    })?;
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Batch, Nothing};

    #[test]
    fn leases_come_back_from_their_rows() {
        let mut batch = Batch::new(&Nothing);
        let lease = Lease { ttl: 60, remaining: 7, since: 9 };
        batch.put(Table::Leases, lease_row(3), lease_value(lease));
        assert_eq!(Leases::load(&batch).unwrap().get(3), Some(lease));
        batch.put(Table::Leases, lease_row(4), "short");
        let text = Leases::load(&batch).unwrap_err().to_string();
        assert!(text.contains("table leases"), "{text}");
    }

    #[test]
    fn the_keys_of_a_lease_are_its_own() {
        let mut batch = Batch::new(&Nothing);
        for (id, key) in [(1, "b"), (1, "a"), (2, "c"), (256, "d"), (-1, "e")] {
            batch.put(Table::LeaseKeys, attach_row(id, key.as_bytes()), "");
        }
        assert_eq!(keys_of(&batch, 1).unwrap(), ["a", "b"]);
        assert_eq!(keys_of(&batch, -1).unwrap(), ["e"]);
        assert_eq!(keys_of(&batch, 3).unwrap(), Vec::<Bytes>::new());
    }
}
