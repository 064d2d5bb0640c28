//! The count index: how many keys live in a range, without a walk.
//!
//! ```text
//!   keys    aa ab ac ... | fa fb fc ... | mm mn ... | sa sb ...
//!   chunks  ""  -> 900   | fa -> 612    | mm -> 700 | sa -> 301      first key of a chunk -> live keys in it
//!   range        [ab ................................. sb)
//!   count        scan     + 612          + 700       + scan          whole chunks are summed, the two edges scanned
//! ```
//!
//! The chunks are whole in RAM, as they are at the last published revision. A reader's view may stand at an older one
//! (a journal of the last changes takes them back), and the wanted revision may be older still (the history between
//! is read; when that is longer than the keys, the keys are walked instead).
//!
//! Promises: exact at every readable revision; the same chunks on every member that applied the same entries. Derived:
//! never hashed, rebuilt when its rows are missing. Knows nothing of: locks; whoever shares it holds one.

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use super::event::{Event, EventKind};
use super::format::{self, Record};
use super::reader::Reader;
use crate::base::limits::{COUNT_CHUNK_KEYS_MAX, COUNT_CHUNK_KEYS_MIN, COUNT_JOURNAL_KEYS_MAX};
use crate::base::{KeyRange, Revision};
use crate::storage::{Batch, Direction, Fault, Read, Table};

type Chunks = BTreeMap<Bytes, u32>;

/// The index at one revision.
#[derive(Debug)]
pub struct Counts {
    revision: i64,
    /// First key of a chunk -> live keys up to the next chunk; never empty, and the first begins at the empty key.
    chunks: Chunks,
    journal: Journal,
    /// Rebuilt, and not yet in the table.
    unsaved: bool,
}

/// What a merged revision changes in the index; [`Counts::commit`] takes it.
#[derive(Debug, Default)]
pub struct CountsDelta {
    revision: i64,
    chunks: Vec<(Bytes, Option<u32>)>,
    journal: Vec<(Bytes, i64)>,
}

/// Changes of a transaction that is not merged yet: first key of a chunk -> live keys more or less.
#[derive(Debug, Default)]
pub(super) struct Pending(BTreeMap<Bytes, i64>);

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

impl Pending {
    pub(super) fn add(&mut self, counts: &Counts, key: &Bytes, keys: i64) {
        *self.0.entry(counts.chunk_of(key)).or_default() += keys;
    }
}

impl Counts {
    /// Reads the table, or walks the keys when it has no rows; `revision` is the current one of `read`.
    pub fn load<R: Read>(read: &R, revision: i64) -> Result<Self, Fault> {
        let mut chunks = Chunks::new();
        let mut outcome = Ok(());
        read.scan(
            Table::Counts,
            Bound::Unbounded,
            Bound::Unbounded,
            Direction::Ascending,
            &mut |row| match decode(row.key, row.value) {
                Ok((first, keys)) => {
                    chunks.insert(first, keys);
                    ControlFlow::Continue(())
                }
                Err(fault) => {
                    outcome = Err(fault);
                    ControlFlow::Break(())
                }
            },
        )?;
        outcome?;
        let unsaved = chunks.is_empty();
        if unsaved {
            chunks = rebuild(read, revision)?;
        }
        if !chunks.contains_key(&Bytes::new()) {
            return Err(Fault::corrupt("no chunk for the first keys", "table counts"));
        }
        Ok(Self { revision, chunks, journal: Journal::new(revision), unsaved })
    }

    /// The revision that was committed last.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Live keys in the whole store.
    pub fn total(&self) -> u64 {
        self.chunks.values().map(|&keys| u64::from(keys)).sum()
    }

    /// The whole chunks of a range as they were at `view_revision`, if that is behind this index; none when there are
    /// none, or when the journal does not reach back that far.
    pub fn whole(&self, range: &KeyRange, view_revision: i64) -> Option<Whole> {
        let mut whole = self.sum(range)?;
        if view_revision < whole.revision {
            whole.keys -= self.journal.change_since(view_revision, &whole)?;
            whole.revision = view_revision;
        }
        Some(whole)
    }

    pub(super) fn whole_with(
        &self,
        range: &KeyRange,
        pending: &Pending,
        main: i64,
    ) -> Option<Whole> {
        let mut whole = self.sum(range)?;
        let changes = pending.0.range(whole.low.clone()..);
        let inside =
            changes.take_while(|(first, _)| whole.high.as_ref().is_none_or(|h| *first < h));
        whole.keys += inside.map(|(_, keys)| keys).sum::<i64>();
        whole.revision = main;
        Some(whole)
    }

    fn sum(&self, range: &KeyRange) -> Option<Whole> {
        let (start, end) = match range {
            KeyRange::Single(_) => return None,
            KeyRange::Span { start, end } => (start, Some(end)),
            KeyRange::From(start) => (start, None),
        };
        if range.is_empty() {
            return None;
        }
        // No key is empty, so the smallest is one zero byte.
        let start = if start.as_ref() == [0] { Bytes::new() } else { start.clone() };
        let low = self.chunks.range(start..).next()?.0.clone();
        let high = match end {
            None => None,
            Some(end) => Some(self.chunks.range(..=end.clone()).next_back()?.0.clone()),
        };
        if high.as_ref().is_some_and(|high| *high <= low) {
            return None;
        }
        let chunks = self.chunks.range(low.clone()..);
        let inside = chunks.take_while(|(first, _)| high.as_ref().is_none_or(|high| *first < high));
        let keys = inside.map(|(_, &keys)| i64::from(keys)).sum();
        Some(Whole { revision: self.revision, keys, low, high })
    }

    fn chunk_of(&self, key: &Bytes) -> Bytes {
        let chunk = self.chunks.range(..=key.clone()).next_back();
        chunk.map(|(first, _)| first.clone()).unwrap_or_default()
    }

    /// Splits and merges the chunks that `pending` touches, and writes their rows into the batch, which holds the
    /// changes of revision `main` already.
    pub(super) fn settle<R: Read>(
        &self,
        batch: &mut Batch<'_, R>,
        pending: Pending,
        main: i64,
        events: &[Event],
    ) -> Result<CountsDelta, Fault> {
        let mut chunks = self.merged(&pending);
        let crowded: Vec<(Bytes, u32)> = chunks
            .iter()
            .filter_map(|(first, keys)| Some((first.clone(), (*keys)?)))
            .filter(|&(_, keys)| keys > COUNT_CHUNK_KEYS_MAX)
            .collect();
        for (first, keys) in crowded {
            let end = self.end_of(&first, &chunks);
            chunks.extend(split(batch, main, &first, end, keys)?);
        }
        let saved = if self.unsaved { Some(&self.chunks) } else { None };
        let rows = saved.into_iter().flatten().filter(|(first, _)| !chunks.contains_key(*first));
        for (first, &keys) in rows {
            batch.put(Table::Counts, format::escape(first), keys.to_be_bytes().to_vec());
        }
        for (first, keys) in &chunks {
            match keys {
                Some(keys) => {
                    let row = keys.to_be_bytes().to_vec();
                    batch.put(Table::Counts, format::escape(first), row);
                }
                None => batch.delete(Table::Counts, format::escape(first)),
            }
        }
        let journal = events.iter().filter_map(change).collect();
        Ok(CountsDelta { revision: main, chunks: chunks.into_iter().collect(), journal })
    }

    /// The touched chunks with their new counts, small ones joined with a neighbour; none for those that are gone.
    fn merged(&self, pending: &Pending) -> BTreeMap<Bytes, Option<u32>> {
        let mut changed: BTreeMap<Bytes, Option<u32>> = BTreeMap::new();
        for first in pending.0.keys() {
            if changed.get(first) == Some(&None) {
                continue;
            }
            let mut keys = self.keys_with(first, pending);
            let mut after =
                self.chunks.range::<Bytes, _>((Bound::Excluded(first), Bound::Unbounded));
            while keys < COUNT_CHUNK_KEYS_MIN
                && let Some((next, _)) = after.next()
                && let joined = keys + self.keys_with(next, pending)
                && joined <= COUNT_CHUNK_KEYS_MAX
            {
                keys = joined;
                changed.insert(next.clone(), None);
            }
            changed.insert(first.clone(), Some(keys));
            if keys < COUNT_CHUNK_KEYS_MIN {
                self.join_previous(first, keys, &mut changed);
            }
        }
        changed
    }

    fn keys_with(&self, first: &Bytes, pending: &Pending) -> u32 {
        let keys = i64::from(self.chunks.get(first).copied().unwrap_or(0));
        let change = pending.0.get(first).copied().unwrap_or(0);
        u32::try_from(keys + change).unwrap_or(0)
    }

    fn join_previous(&self, first: &Bytes, keys: u32, changed: &mut BTreeMap<Bytes, Option<u32>>) {
        let before = self.chunks.range(..first.clone()).rev();
        let previous = before.map(|(first, &keys)| (first, changed.get(first).copied(), keys));
        let previous = previous
            .filter_map(|(first, changed, keys)| Some((first, changed.unwrap_or(Some(keys))?)))
            .next();
        if let Some((previous, beside)) = previous
            && beside + keys <= COUNT_CHUNK_KEYS_MAX
        {
            changed.insert(previous.clone(), Some(beside + keys));
            changed.insert(first.clone(), None);
        }
    }

    /// Where the chunk that begins at `first` ends, after `changed`.
    fn end_of(&self, first: &Bytes, changed: &BTreeMap<Bytes, Option<u32>>) -> Option<Bytes> {
        let mut after = self.chunks.range::<Bytes, _>((Bound::Excluded(first), Bound::Unbounded));
        after.find(|(next, _)| changed.get(*next) != Some(&None)).map(|(next, _)| next.clone())
    }

    /// The batch is merged: the index stands at its revision now.
    pub fn commit(&mut self, delta: CountsDelta) {
        for (first, keys) in delta.chunks {
            match keys {
                Some(keys) => self.chunks.insert(first, keys),
                None => self.chunks.remove(&first),
            };
        }
        self.revision = delta.revision;
        self.unsaved = false;
        self.journal.push(delta.revision, delta.journal);
    }
}

/// Chunks are made and split about half full, so that the next change of direction is far.
const CHUNK_KEYS_MADE: u32 = COUNT_CHUNK_KEYS_MAX * 5 / 8;

fn rebuild<R: Read>(read: &R, revision: i64) -> Result<Chunks, Fault> {
    let mut chunks = Chunks::from([(Bytes::new(), 0)]);
    let (mut first, mut keys) = (Bytes::new(), 0);
    Reader::at(read, revision).walk(&KeyRange::From(Bytes::new()), None, &mut |found| {
        if keys == CHUNK_KEYS_MADE {
            chunks.insert(first.clone(), keys);
            first = Bytes::copy_from_slice(&found.key);
            keys = 0;
        }
        keys += 1;
        ControlFlow::Continue(())
    })?;
    chunks.insert(first, keys);
    Ok(chunks)
}

/// Cuts one crowded chunk into even parts.
fn split<R: Read>(
    read: &R,
    revision: i64,
    first: &Bytes,
    end: Option<Bytes>,
    keys: u32,
) -> Result<Vec<(Bytes, Option<u32>)>, Fault> {
    let parts = keys.div_ceil(CHUNK_KEYS_MADE);
    let part = keys.div_ceil(parts);
    let range = match end {
        Some(end) => KeyRange::Span { start: first.clone(), end },
        None => KeyRange::From(first.clone()),
    };
    let mut chunks = Vec::new();
    let (mut start, mut inside) = (first.clone(), 0);
    Reader::at(read, revision).walk(&range, None, &mut |found| {
        if inside == part {
            chunks.push((start.clone(), Some(inside)));
            start = Bytes::copy_from_slice(&found.key);
            inside = 0;
        }
        inside += 1;
        ControlFlow::Continue(())
    })?;
    chunks.push((start, Some(inside)));
    Ok(chunks)
}

fn decode(key: &[u8], value: &[u8]) -> Result<(Bytes, u32), Fault> {
    let first = Bytes::copy_from_slice(&format::unescape(key)?);
    let keys = <[u8; 4]>::try_from(value)
        .map_err(|_| Fault::corrupt("a count that cannot be read", "table counts"))?;
    Ok((first, u32::from_be_bytes(keys)))
}

/// What an event does to the number of live keys.
fn change(event: &Event) -> Option<(Bytes, i64)> {
    match event.kind {
        EventKind::Put if event.prev.is_none() => Some((event.kv.key.clone(), 1)),
        EventKind::Put => None,
        EventKind::Delete => Some((event.kv.key.clone(), -1)),
    }
}

/// The last created and deleted keys.
#[derive(Debug)]
struct Journal {
    /// Everything after this revision is in it.
    after: i64,
    revisions: VecDeque<(i64, Vec<(Bytes, i64)>)>,
    keys: usize,
}

impl Journal {
    fn new(after: i64) -> Self {
        Self { after, revisions: VecDeque::new(), keys: 0 }
    }

    fn push(&mut self, revision: i64, changes: Vec<(Bytes, i64)>) {
        self.keys += changes.len();
        if !changes.is_empty() {
            self.revisions.push_back((revision, changes));
        }
        while self.keys > COUNT_JOURNAL_KEYS_MAX
            && let Some((revision, changes)) = self.revisions.pop_front()
        {
            self.keys -= changes.len();
            self.after = revision;
        }
    }

    /// Live keys more or less in `whole` since `revision`; none when that is forgotten.
    fn change_since(&self, revision: i64, whole: &Whole) -> Option<i64> {
        if revision < self.after {
            return None;
        }
        let since = self.revisions.iter().rev().take_while(|(main, _)| *main > revision);
        let changes = since.flat_map(|(_, changes)| changes);
        Some(changes.filter(|(key, _)| whole.contains(key)).map(|(_, keys)| keys).sum())
    }
}

impl Whole {
    fn contains(&self, key: &[u8]) -> bool {
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
