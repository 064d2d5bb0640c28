//! The store as it was at one revision: one key, a range in slices, how many.
//!
//! Promises: a key's old versions cost at most a few visits, then a seek; a slice ends by its limit or its budget and
//! says where the next one begins, so that nobody holds a view for long. Knows nothing of: sort orders and filters,
//! whether the revision may be read.

use std::borrow::Cow;
use std::ops::{Bound, ControlFlow};

use bytes::{Bytes, BytesMut};

use super::count::{self, Whole};
use super::event::{KeyValue, Version};
use super::format::{self, Meta, Record};
use crate::base::{KeyRange, Revision};
use crate::storage::{Direction, Fault, Read, Row, Table};

/// Versions of one key that a scan steps over before it seeks instead; a step costs about a tenth of a seek.
const STEPS_BEFORE_SEEK: u32 = 12;

/// Reads `read` as it was at a revision; the caller knows that the revision is neither compacted nor to come.
#[derive(Debug)]
pub struct Reader<'a, R> {
    read: &'a R,
    revision: i64,
}

impl<R> Clone for Reader<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Reader<'_, R> {}

/// How much of a range one slice takes; the default is all of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct RangeOptions {
    /// Keys at most; `Some(0)` only asks whether there is one.
    pub limit: Option<usize>,
    /// Leave values empty; they are not read.
    pub keys_only: bool,
    /// Keys and values, bytes, beyond which the slice ends (with at least one key in it).
    pub bytes_max: Option<usize>,
    /// Rows visited, old versions and tombstones too, beyond which the slice ends (with at least one key visited).
    pub visits_max: Option<usize>,
}

/// Keys of a range, ascending.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Slice {
    pub kvs: Vec<KeyValue>,
    pub end: End,
}

/// Why a slice ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum End {
    /// The range is read to its end.
    Complete,
    /// `limit` is reached, and this is the next live key.
    Limit(Bytes),
    /// The budget is spent; go on at this key, which need not be live.
    Budget(Bytes),
}

/// One live version during a walk; borrowed from the row.
#[derive(Clone, Debug)]
pub struct Found<'a> {
    pub key: Cow<'a, [u8]>,
    pub revision: Revision,
    meta: Meta,
}

impl Found<'_> {
    /// The version, kept beyond the walk.
    pub fn version(&self) -> Version {
        version_of(Bytes::copy_from_slice(&self.key), self.revision, &self.meta)
    }

    pub fn create_revision(&self) -> i64 {
        self.meta.create_revision
    }

    pub fn value_bytes(&self) -> usize {
        self.meta.value_bytes as usize
    }
}

impl<'a, R: Read> Reader<'a, R> {
    /// Everything up to and with main revision `revision` is seen.
    pub fn at(read: &'a R, revision: i64) -> Self {
        Self { read, revision }
    }

    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The key's live version, without its value: one seek.
    pub fn find(&self, key: &Bytes) -> Result<Option<Version>, Fault> {
        if format::check_key(key).is_err() {
            return Ok(None);
        }
        let escaped = format::escape(key);
        let low = format::key_row_at(&escaped, self.revision);
        let high = format::after_versions(&escaped);
        let mut found = Ok(None);
        self.read.newest(Table::Keys, &low, &high, &mut |row| {
            found = version_in(key, row);
        })?;
        found
    }

    pub fn get(&self, key: &Bytes) -> Result<Option<KeyValue>, Fault> {
        self.find(key)?.map(|version| self.load(&version)).transpose()
    }

    /// The version with its value; a fault when it is not in the history (versions are taken and loaded in one view).
    pub fn load(&self, version: &Version) -> Result<KeyValue, Fault> {
        let value = value_of(self.read, version.revision)?.ok_or_else(|| {
            Fault::corrupt(
                format!("key {:?} has no value at revision {}", version.key, version.revision),
                "table revisions",
            )
        })?;
        Ok(version.with_value(value))
    }

    /// One slice of the range's live keys.
    pub fn range(&self, range: &KeyRange, options: RangeOptions) -> Result<Slice, Fault> {
        let mut versions: Vec<Version> = Vec::new();
        let mut bytes = 0;
        let mut stopped = None;
        let unvisited = self.walk(range, options.visits_max, &mut |found| {
            if options.limit.is_some_and(|limit| versions.len() >= limit) {
                stopped = Some(End::Limit(Bytes::copy_from_slice(&found.key)));
                return ControlFlow::Break(());
            }
            if !versions.is_empty() && options.bytes_max.is_some_and(|max| bytes >= max) {
                stopped = Some(End::Budget(Bytes::copy_from_slice(&found.key)));
                return ControlFlow::Break(());
            }
            bytes += found.key.len() + if options.keys_only { 0 } else { found.value_bytes() };
            versions.push(found.version());
            ControlFlow::Continue(())
        })?;
        let end = match (stopped, unvisited) {
            (Some(end), _) => end,
            (None, Some(key)) => End::Budget(key),
            (None, None) => End::Complete,
        };
        let load = |version: Version| match options.keys_only {
            true => Ok(version.with_value(Bytes::new())),
            false => self.load(&version),
        };
        let kvs = versions.into_iter().map(load).collect::<Result<_, Fault>>()?;
        Ok(Slice { kvs, end })
    }

    /// Live keys of the range, from the count index where it can help and by a walk of the rest.
    /// `whole` was taken from the shared index after this reader's view.
    pub fn count(&self, range: &KeyRange, whole: Option<Whole>) -> Result<u64, Fault> {
        count::count(self.read, self.revision, range, whole)
    }

    /// Live keys of the range, one by one.
    pub fn count_walk(&self, range: &KeyRange) -> Result<u64, Fault> {
        let mut keys = 0;
        self.walk(range, None, &mut |_| {
            keys += 1;
            ControlFlow::Continue(())
        })?;
        Ok(keys)
    }

    /// Calls `each` with the live versions of the range, keys ascending. Some(key): `visits_max` rows were visited,
    /// and the walk goes on there. `each` must not read: keep what you want and load it afterwards.
    pub fn walk(
        &self,
        range: &KeyRange,
        visits_max: Option<usize>,
        each: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
    ) -> Result<Option<Bytes>, Fault> {
        if range.is_empty() {
            return Ok(None);
        }
        let (mut low, high) = format::key_bounds(range);
        let mut walk = Walk {
            revision: self.revision,
            visits_left: visits_max,
            current: Vec::new(),
            decided: false,
            steps: 0,
        };
        loop {
            let mut next = Next::End;
            let high = high.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            self.read.scan(
                Table::Keys,
                Bound::Included(&low),
                high,
                Direction::Ascending,
                &mut |row| match walk.step(row.key, row.value, each) {
                    Ok(None) => ControlFlow::Continue(()),
                    Ok(Some(stop)) => {
                        next = stop;
                        ControlFlow::Break(())
                    }
                    Err(fault) => {
                        next = Next::Fault(fault);
                        ControlFlow::Break(())
                    }
                },
            )?;
            match next {
                Next::End => return Ok(None),
                Next::Seek(row) => low = row,
                Next::Unvisited(key) => return Ok(Some(key)),
                Next::Fault(fault) => return Err(fault),
            }
        }
    }
}

/// What follows a scan that was broken off.
enum Next {
    End,
    Seek(Vec<u8>),
    Unvisited(Bytes),
    Fault(Fault),
}

/// A walk over `keys`, row by row.
struct Walk {
    revision: i64,
    visits_left: Option<usize>,
    /// The escaped key whose versions are passing.
    current: Vec<u8>,
    /// Whether its version at the revision has passed.
    decided: bool,
    /// Its rows stepped over since the last decision or seek.
    steps: u32,
}

impl Walk {
    fn step(
        &mut self,
        row: &[u8],
        meta: &[u8],
        each: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
    ) -> Result<Option<Next>, Fault> {
        let (escaped, revision) = format::split_key_row(row)?;
        if escaped != self.current {
            if self.visits_left == Some(0) && !self.current.is_empty() {
                let key = Bytes::copy_from_slice(&format::unescape(escaped)?);
                return Ok(Some(Next::Unvisited(key)));
            }
            self.current.clear();
            self.current.extend_from_slice(escaped);
            self.decided = false;
            self.steps = 0;
        }
        self.visits_left = self.visits_left.map(|left| left.saturating_sub(1));
        if self.decided || revision.main > self.revision {
            return Ok(self.step_over(escaped));
        }
        self.decided = true;
        self.steps = 0;
        let meta = Meta::decode(meta)?;
        if meta.tombstone {
            return Ok(None);
        }
        let found = Found { key: format::unescape(escaped)?, revision, meta };
        Ok(each(found).is_break().then_some(Next::End))
    }

    /// A version that is not wanted; many of them are jumped.
    fn step_over(&mut self, escaped: &[u8]) -> Option<Next> {
        self.steps += 1;
        if self.steps <= STEPS_BEFORE_SEEK {
            return None;
        }
        self.steps = 0;
        Some(Next::Seek(match self.decided {
            true => format::after_versions(escaped),
            false => format::key_row_at(escaped, self.revision),
        }))
    }
}

/// The version that a row of `keys` tells of; none for a tombstone.
fn version_in(key: &Bytes, row: Row<'_>) -> Result<Option<Version>, Fault> {
    let (_, revision) = format::split_key_row(row.key)?;
    let meta = Meta::decode(row.value)?;
    Ok((!meta.tombstone).then(|| version_of(key.clone(), revision, &meta)))
}

fn version_of(key: Bytes, revision: Revision, meta: &Meta) -> Version {
    Version {
        key,
        revision,
        create_revision: meta.create_revision,
        version: meta.version,
        lease: meta.lease,
        value_bytes: meta.value_bytes,
    }
}

/// The live version written at exactly this revision, with its value; none for a tombstone, and when it is compacted.
pub fn value_at<R: Read>(read: &R, revision: Revision) -> Result<Option<KeyValue>, Fault> {
    let Some(row) = read.get(Table::Revisions, &format::revision_row(revision))? else {
        return Ok(None);
    };
    let record = Record::decode(&row)?;
    if record.meta.tombstone {
        return Ok(None);
    }
    let value = value_in(read, revision, &row, &record)?;
    let version = version_of(row.slice_ref(record.key), revision, &record.meta);
    Ok(Some(version.with_value(value)))
}

fn value_of<R: Read>(read: &R, revision: Revision) -> Result<Option<Bytes>, Fault> {
    let Some(row) = read.get(Table::Revisions, &format::revision_row(revision))? else {
        return Ok(None);
    };
    value_in(read, revision, &row, &Record::decode(&row)?).map(Some)
}

/// The value that stands in the head row or in its pieces.
fn value_in<R: Read>(
    read: &R,
    revision: Revision,
    row: &Bytes,
    record: &Record<'_>,
) -> Result<Bytes, Fault> {
    let pieces = format::pieces(record.meta.value_bytes);
    if pieces == 0 {
        return Ok(row.slice_ref(record.value));
    }
    let mut value = BytesMut::with_capacity(record.meta.value_bytes as usize);
    for piece in 1..=pieces {
        let part = read.get(Table::Revisions, &format::piece_row(revision, piece))?;
        value.extend_from_slice(&part.unwrap_or_default());
    }
    if value.len() != record.meta.value_bytes as usize {
        return Err(Fault::corrupt(
            format!(
                "the value at revision {revision} has {} of its {} bytes",
                value.len(),
                record.meta.value_bytes
            ),
            "table revisions",
        ));
    }
    Ok(value.freeze())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::mvcc::{Counts, Writer};
    use crate::storage::{Batch, Nothing};

    /// Counts the rows that a scan hands out.
    struct Counting<'a>(&'a Batch<'a, Nothing>, Cell<usize>);

    impl Read for Counting<'_> {
        fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Fault> {
            self.0.get(table, key)
        }

        fn scan(
            &self,
            table: Table,
            low: Bound<&[u8]>,
            high: Bound<&[u8]>,
            direction: Direction,
            each: &mut dyn FnMut(Row<'_>) -> ControlFlow<()>,
        ) -> Result<(), Fault> {
            self.0.scan(table, low, high, direction, &mut |row| {
                self.1.set(self.1.get() + 1);
                each(row)
            })
        }
    }

    #[test]
    fn old_versions_are_jumped_not_walked() {
        let mut store = Batch::new(&Nothing);
        let counts = Counts::load(&store, 1).unwrap();
        for main in 2..1_002 {
            let mut writer = Writer::new(&mut store, &counts, main);
            for key in ["a", "b", "c"] {
                writer.put(Bytes::from(key), Some(Bytes::from("v")), None).unwrap();
            }
        }
        for revision in [1, 2, 500, 1_001] {
            let counting = Counting(&store, Cell::new(0));
            let reader = Reader::at(&counting, revision);
            let slice = reader.range(&KeyRange::prefix(b""), RangeOptions::default()).unwrap();
            assert_eq!(slice.kvs.len(), if revision == 1 { 0 } else { 3 });
            assert!(slice.kvs.iter().all(|kv| kv.mod_revision == revision));
            let visited = counting.1.get();
            assert!(visited <= 3 * (2 * STEPS_BEFORE_SEEK as usize + 3), "{visited} at {revision}");
            counting.1.set(0);
            reader.get(&Bytes::from("b")).unwrap();
            assert!(counting.1.get() <= 1);
        }
    }
}
