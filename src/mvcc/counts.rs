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

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use super::count::{Journal, Whole, change};
use super::event::Event;
use super::format;
use super::reader::Reader;
use crate::base::KeyRange;
use crate::base::limits::{COUNT_CHUNK_KEYS_MAX, COUNT_CHUNK_KEYS_MIN, COUNT_JOURNAL_KEYS_MAX};
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
    sizes: Sizes,
}

/// Bounds of the index; smaller in tests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Keys in a chunk beyond which it is split.
    pub(super) chunk_keys_max: u32,
    /// Keys in a chunk below which it joins its neighbour.
    pub(super) chunk_keys_min: u32,
    pub(super) journal_keys_max: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            chunk_keys_max: COUNT_CHUNK_KEYS_MAX,
            chunk_keys_min: COUNT_CHUNK_KEYS_MIN,
            journal_keys_max: COUNT_JOURNAL_KEYS_MAX,
        }
    }
}

impl Sizes {
    /// Keys of a new chunk: between the bounds, so that the next change of direction is far.
    fn chunk_keys_made(&self) -> u32 {
        self.chunk_keys_max * 5 / 8
    }

    /// Whether two neighbours become one chunk: one is small, and both fit, or the other will be split anyway.
    fn join(&self, one: u32, two: u32) -> bool {
        let fits = one + two <= self.chunk_keys_max || one.max(two) > self.chunk_keys_max;
        one.min(two) < self.chunk_keys_min && fits
    }
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

impl Pending {
    pub(super) fn add(&mut self, counts: &Counts, key: &Bytes, keys: i64) {
        *self.0.entry(counts.chunk_of(key)).or_default() += keys;
    }
}

impl Counts {
    /// Reads the table, or walks the keys when it has no rows; `revision` is the current one of `read`.
    pub fn load<R: Read>(read: &R, revision: i64) -> Result<Self, Fault> {
        Self::load_sized(read, revision, Sizes::default())
    }

    pub(super) fn load_sized<R: Read>(
        read: &R,
        revision: i64,
        sizes: Sizes,
    ) -> Result<Self, Fault> {
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
            chunks = rebuild(read, revision, sizes.chunk_keys_made())?;
        }
        if !chunks.contains_key(&Bytes::new()) {
            return Err(Fault::corrupt("no chunk for the first keys", "table counts"));
        }
        Ok(Self { revision, chunks, journal: Journal::new(revision), unsaved, sizes })
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
            .filter(|&(_, keys)| keys > self.sizes.chunk_keys_max)
            .collect();
        for (first, keys) in crowded {
            let end = self.end_of(&first, &chunks);
            let parts = keys.div_ceil(self.sizes.chunk_keys_made());
            chunks.extend(split(batch, main, &first, end, keys.div_ceil(parts))?);
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

    /// The touched chunks with their new counts, joined with small neighbours; none for those that are gone.
    fn merged(&self, pending: &Pending) -> BTreeMap<Bytes, Option<u32>> {
        let mut changed: BTreeMap<Bytes, Option<u32>> = BTreeMap::new();
        for first in pending.0.keys() {
            if changed.get(first) == Some(&None) {
                continue;
            }
            let mut keys = self.keys_with(first, pending);
            let mut after =
                self.chunks.range::<Bytes, _>((Bound::Excluded(first), Bound::Unbounded));
            while let Some((next, _)) = after.next()
                && let beside = self.keys_with(next, pending)
                && self.sizes.join(keys, beside)
            {
                keys += beside;
                changed.insert(next.clone(), None);
            }
            changed.insert(first.clone(), Some(keys));
            self.join_previous(first, keys, &mut changed);
        }
        changed
    }

    fn keys_with(&self, first: &Bytes, pending: &Pending) -> u32 {
        let keys = i64::from(self.chunks.get(first).copied().unwrap_or(0));
        let change = pending.0.get(first).copied().unwrap_or(0);
        debug_assert!(keys + change >= 0, "the count index lost keys of chunk {first:?}");
        u32::try_from(keys + change).unwrap_or(0)
    }

    fn join_previous(&self, first: &Bytes, keys: u32, changed: &mut BTreeMap<Bytes, Option<u32>>) {
        let before = self.chunks.range(..first.clone()).rev();
        let previous = before.map(|(first, &keys)| (first, changed.get(first).copied(), keys));
        let previous = previous
            .filter_map(|(first, changed, keys)| Some((first, changed.unwrap_or(Some(keys))?)))
            .next();
        if let Some((previous, beside)) = previous
            && self.sizes.join(beside, keys)
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

    /// The chunks, ascending; for tests.
    #[cfg(test)]
    pub(super) fn chunks(&self) -> impl Iterator<Item = (&Bytes, u32)> {
        self.chunks.iter().map(|(first, &keys)| (first, keys))
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
        self.journal.push(delta.revision, delta.journal, self.sizes.journal_keys_max);
    }
}

fn rebuild<R: Read>(read: &R, revision: i64, part: u32) -> Result<Chunks, Fault> {
    let mut chunks = Chunks::from([(Bytes::new(), 0)]);
    let (mut first, mut keys) = (Bytes::new(), 0);
    Reader::at(read, revision).walk(&KeyRange::From(Bytes::new()), None, &mut |found| {
        if keys == part {
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

/// Cuts one crowded chunk into parts of `part` keys.
fn split<R: Read>(
    read: &R,
    revision: i64,
    first: &Bytes,
    end: Option<Bytes>,
    part: u32,
) -> Result<Vec<(Bytes, Option<u32>)>, Fault> {
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
