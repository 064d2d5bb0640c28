//! How many keys live in a range at a revision: whole chunks of the count index, what changed since, and the edges.
//!
//! Promises: exact, whichever of index, view and wanted revision is older. Knows nothing of: how chunks are kept.

use std::collections::VecDeque;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use super::event::{Event, EventKind};
use super::format::{self, Record};
use super::reader::Reader;
use crate::base::{KeyRange, Revision};
use crate::storage::{Direction, Fault, Read, Table};

/// The whole chunks inside a range.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Whole {
    /// The revision at which the sum is right.
    pub revision: i64,
    pub keys: i64,
    /// They begin here,
    pub low: Bytes,
    /// and end before this key; none is the end of all keys.
    pub high: Option<Bytes>,
}

impl Whole {
    pub(super) fn contains(&self, key: &[u8]) -> bool {
        *self.low <= *key && self.high.as_ref().is_none_or(|high| key < high.as_ref())
    }
}

/// Live keys of `range` at `revision`; see [`Reader::count`].
pub(super) fn count<R: Read>(
    read: &R,
    revision: i64,
    range: &KeyRange,
    whole: Option<Whole>,
) -> Result<u64, Fault> {
    let reader = Reader::at(read, revision);
    let Some(whole) = whole else { return reader.count_walk(range) };
    if (whole.revision - revision).abs() > whole.keys {
        return reader.count_walk(range);
    }
    let change = match revision < whole.revision {
        true => -change_between(read, revision, whole.revision, &whole)?,
        false => change_between(read, whole.revision, revision, &whole)?,
    };
    let before = KeyRange::Span { start: range.start().clone(), end: whole.low };
    let behind = match (range, whole.high) {
        (KeyRange::Span { end, .. }, Some(high)) => {
            reader.count_walk(&KeyRange::Span { start: high, end: end.clone() })?
        }
        _ => 0,
    };
    let edges = reader.count_walk(&before)? + behind;
    Ok(edges + u64::try_from(whole.keys + change).unwrap_or(0))
}

/// Keys created less keys deleted in `whole` by the revisions after `older`, up to `newer`.
fn change_between<R: Read>(read: &R, older: i64, newer: i64, whole: &Whole) -> Result<i64, Fault> {
    if older == newer {
        return Ok(0);
    }
    let mut change = 0;
    let mut outcome = Ok(());
    read.scan(
        Table::Revisions,
        Bound::Included(&format::revision_row(Revision::new(older + 1, 0))),
        Bound::Excluded(&format::revision_row(Revision::new(newer + 1, 0))),
        Direction::Ascending,
        &mut |row| {
            let step = format::split_revision_row(row.key).and_then(|(_, piece)| {
                if piece > 0 {
                    return Ok(0);
                }
                let record = Record::decode(row.value)?;
                Ok(match (record.meta.tombstone, record.prev) {
                    _ if !whole.contains(record.key) => 0,
                    (true, _) => -1,
                    (false, None) => 1,
                    (false, Some(_)) => 0,
                })
            });
            match step {
                Ok(step) => change += step,
                Err(fault) => outcome = Err(fault),
            }
            if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        },
    )?;
    outcome?;
    Ok(change)
}

/// What an event does to the number of live keys.
pub(super) fn change(event: &Event) -> Option<(Bytes, i64)> {
    match event.kind {
        EventKind::Put if event.prev.is_none() => Some((event.kv.key.clone(), 1)),
        EventKind::Put => None,
        EventKind::Delete => Some((event.kv.key.clone(), -1)),
    }
}

/// The last created and deleted keys.
#[derive(Debug)]
pub(super) struct Journal {
    /// Everything after this revision is in it.
    after: i64,
    revisions: VecDeque<(i64, Vec<(Bytes, i64)>)>,
    keys: usize,
}

impl Journal {
    pub(super) fn new(after: i64) -> Self {
        Self { after, revisions: VecDeque::new(), keys: 0 }
    }

    pub(super) fn push(&mut self, revision: i64, changes: Vec<(Bytes, i64)>, keys_max: usize) {
        self.keys += changes.len();
        if !changes.is_empty() {
            self.revisions.push_back((revision, changes));
        }
        while self.keys > keys_max
            && let Some((revision, changes)) = self.revisions.pop_front()
        {
            self.keys -= changes.len();
            self.after = revision;
        }
    }

    /// Live keys more or less in `whole` since `revision`; none when that is forgotten.
    pub(super) fn change_since(&self, revision: i64, whole: &Whole) -> Option<i64> {
        if revision < self.after {
            return None;
        }
        let since = self.revisions.iter().rev().take_while(|(main, _)| *main > revision);
        let changes = since.flat_map(|(_, changes)| changes);
        Some(changes.filter(|(key, _)| whole.contains(key)).map(|(_, keys)| keys).sum())
    }
}
