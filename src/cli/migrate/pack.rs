//! The source's transactions, parcelled for the destination; pure.
//!
//! What one transaction did is done by one, too. Several become one where they fit into it, so that whoever is behind
//! catches up: it is as if nobody had looked in between, and of a key that was written twice the last value is written. Only a
//! transaction that is larger than the destination takes comes in parts.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::base::limits::REQUEST_BYTES_MAX;
use crate::cli::changes::{Change, Step, TXN_BYTES_MAX, parcels};

use super::places::turn_of;

/// A transaction of the source beyond it comes in parts: what a server takes, without room for the mark and the keys' lengths.
const WHOLE_BYTES_MAX: usize = REQUEST_BYTES_MAX - 64 * 1024;

/// One transaction at the destination.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Write {
    pub changes: Vec<Change>,
    /// The source's revision that is reached with it; none for a part that others follow.
    pub reaches: Option<i64>,
}

/// A write that may grow.
#[derive(Default)]
struct Open {
    changes: Vec<Change>,
    /// Where each key's change is.
    places: BTreeMap<Bytes, usize>,
    bytes: usize,
    has_turn: bool,
    reaches: i64,
}

/// At most `ops` changes in one.
pub(super) fn pack(steps: Vec<Step>, ops: usize) -> Vec<Write> {
    let mut writes = Vec::new();
    let mut open: Option<Open> = None;
    for step in steps {
        let bytes: usize = step.changes.iter().map(Change::bytes).sum();
        if let Some(last) = &mut open
            && last.has_room(&step, bytes, ops)
        {
            last.take(step, bytes);
            continue;
        }
        writes.extend(open.take().map(Open::closed));
        if step.changes.len() > ops || bytes > WHOLE_BYTES_MAX {
            let mut parts = parcels(step.changes, ops, TXN_BYTES_MAX).into_iter().peekable();
            while let Some(changes) = parts.next() {
                let reaches = parts.peek().is_none().then_some(step.revision);
                writes.push(Write { changes, reaches });
            }
        } else {
            open.insert(Open::default()).take(step, bytes);
        }
    }
    writes.extend(open.map(Open::closed));
    writes
}

impl Open {
    fn has_room(&self, step: &Step, bytes: usize, ops: usize) -> bool {
        let known = |change: &Change| self.places.get(change.key()).map(|at| &self.changes[*at]);
        let fresh = step.changes.iter().filter(|change| known(change).is_none()).count();
        self.changes.len() + fresh <= ops
            && self.bytes + bytes <= TXN_BYTES_MAX
            && step.changes.iter().all(|change| known(change).is_none_or(|old| covers(change, old)))
            && !(self.has_turn && step.changes.iter().any(is_turn))
    }

    fn take(&mut self, step: Step, bytes: usize) {
        self.bytes += bytes;
        self.reaches = step.revision;
        self.has_turn |= step.changes.iter().any(is_turn);
        for change in step.changes {
            match self.places.get(change.key()) {
                Some(at) => {
                    let old = std::mem::replace(&mut self.changes[*at], change);
                    self.bytes -= old.bytes();
                }
                None => {
                    self.places.insert(change.key().clone(), self.changes.len());
                    self.changes.push(change);
                }
            }
        }
    }

    fn closed(self) -> Write {
        Write { changes: self.changes, reaches: Some(self.reaches) }
    }
}

/// Whether the newer change of a key says all that the older one did. A key that was deleted and put begins anew, and so does
/// a place in a lock.
fn covers(new: &Change, old: &Change) -> bool {
    matches!(old, Change::Put(..)) && !is_turn(new) && !is_turn(old)
}

/// Two places of one transaction would have no order.
fn is_turn(change: &Change) -> bool {
    matches!(change, Change::Put(key, _, lease) if turn_of(key, *lease).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &'static str, bytes: usize, lease: i64) -> Change {
        Change::Put(key.into(), vec![b'x'; bytes].into(), lease)
    }

    fn step(revision: i64, changes: Vec<Change>) -> Step {
        Step { revision, changes }
    }

    /// How many changes each write has, and what it reaches.
    fn shape(steps: Vec<Step>, ops: usize) -> Vec<(usize, Option<i64>)> {
        pack(steps, ops).iter().map(|write| (write.changes.len(), write.reaches)).collect()
    }

    #[test]
    fn small_transactions_become_one() {
        let one = |revision, key| step(revision, vec![put(key, 1, 0)]);
        assert_eq!(shape(vec![one(5, "a"), one(6, "b"), one(9, "c")], 9), [(3, Some(9))]);
        assert_eq!(
            shape(vec![one(5, "a"), one(6, "b"), one(9, "c")], 2),
            [(2, Some(6)), (1, Some(9))]
        );
        let large = |revision, key| step(revision, vec![put(key, TXN_BYTES_MAX, 0)]);
        assert_eq!(shape(vec![large(5, "a"), large(6, "b")], 9), [(1, Some(5)), (1, Some(6))]);
        assert!(shape(vec![], 9).is_empty());
    }

    #[test]
    fn the_last_value_of_a_key_is_written_but_what_begins_anew_does_so() {
        let one = |revision, bytes| step(revision, vec![put("a", bytes, 0)]);
        let deleted = |revision| step(revision, vec![Change::Delete("a".into())]);
        let steps = vec![one(5, 1), step(6, vec![put("b", 1, 0)]), one(7, 2)];
        let written = pack(steps, 2);
        let changes = vec![put("a", 2, 0), put("b", 1, 0)];
        assert_eq!(written, [Write { changes, reaches: Some(7) }]);
        let hot: Vec<Step> = (1..1_000).map(|revision| one(revision, 2_000)).collect();
        assert_eq!(shape(hot, 9), [(1, Some(999))]);
        assert_eq!(pack(vec![one(5, 1), deleted(6)], 9)[0].changes, [Change::Delete("a".into())]);
        assert_eq!(shape(vec![deleted(5), one(6, 1)], 9), [(1, Some(5)), (1, Some(6))]);
        let turn = |revision| step(revision, vec![put("l/1", 1, 1)]);
        assert_eq!(shape(vec![turn(5), turn(6)], 9), [(1, Some(5)), (1, Some(6))]);
    }

    #[test]
    fn a_transaction_stays_whole_if_it_fits() {
        let of = |keys: [&'static str; 3]| keys.map(|key| put(key, 1, 0)).to_vec();
        let three = |revision| step(revision, of(["a", "b", "c"]));
        let others = |revision| step(revision, of(["d", "e", "f"]));
        assert_eq!(shape(vec![three(5), others(6)], 4), [(3, Some(5)), (3, Some(6))]);
        assert_eq!(shape(vec![three(5)], 3), [(3, Some(5))]);
        assert_eq!(
            shape(vec![three(5), others(6)], 2),
            [(2, None), (1, Some(5)), (2, None), (1, Some(6))]
        );
        let heavy = step(5, vec![put("a", TXN_BYTES_MAX, 0), put("b", TXN_BYTES_MAX, 0)]);
        assert_eq!(shape(vec![heavy], 9), [(2, Some(5))]);
        let heavier = step(5, vec![put("a", WHOLE_BYTES_MAX, 0), put("b", 1, 0)]);
        assert_eq!(shape(vec![heavier], 9), [(1, None), (1, Some(5))]);
    }

    #[test]
    fn places_of_a_lock_keep_their_order() {
        let place = |revision, key, lease| step(revision, vec![put(key, 1, lease)]);
        let steps = vec![place(5, "l/1", 1), place(6, "x", 0), place(7, "l/2", 2)];
        assert_eq!(shape(steps, 9), [(2, Some(6)), (1, Some(7))]);
    }
}
