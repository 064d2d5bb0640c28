//! Rows that are applied and not yet in LMDB, in memory and in order.
//!
//! A [`Layer`] is written by the applier while it is *active*; a seal freezes it until its checkpoint has committed.
//! Readers hold a layer by its handle for as long as they live, and see what is merged into it meanwhile: that is
//! harmless for rows that never change (versions of keys, which a reader filters by revision) and read-committed
//! for all others. Scans copy handles of rows in chunks, so that no lock is held while a caller looks at a row.
//!
//! Knows nothing of: LMDB, what is durable, when a seal is due.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;

use super::read::is_inverted;
use super::{Direction, Row, Rows, Table};

/// Memory of one row beside its key and value, bytes: two handles and its place in the tree.
const ROW_OVERHEAD_BYTES: usize = 96;

/// Rows of the first chunk of a scan (most scans want one), and of the largest.
const CHUNK_ROWS_MIN: usize = 4;
const CHUNK_ROWS_MAX: usize = 256;

/// Rows of one table; none as a value hides the row below.
pub(super) type TableRows = BTreeMap<Bytes, Option<Bytes>>;

/// One generation of the overlay.
#[derive(Debug, Default)]
pub(super) struct Layer {
    tables: RwLock<Tables>,
    bytes: AtomicUsize,
    scattered: AtomicUsize,
}

/// The rows of a layer, one map for each table.
pub(super) type Tables = [TableRows; Table::ALL.len()];

/// What one layer says about the first row of a range in which later rows stand first.
pub(super) enum Newest {
    /// It has it.
    Told,
    /// It deletes what stood first, and may delete more of what the layers below have: only all of them together can
    /// tell. (Compaction deletes versions in the database, below every layer; so this is rare, not impossible.)
    Deleted,
    /// It has nothing there: the layers below can tell.
    Unknown,
}

impl Layer {
    /// One short write lock for all rows, so that no reader sees a part of them alone.
    pub(super) fn merge(&self, rows: Rows) {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = self.bytes.load(Ordering::Relaxed);
        let mut scattered = self.scattered.load(Ordering::Relaxed);
        for ((table, key), value) in rows {
            bytes += row_bytes(&key, value.as_ref());
            let key_len = key.len();
            match tables[table as usize].insert(key, value) {
                Some(old) => bytes -= ROW_OVERHEAD_BYTES + key_len + old.map_or(0, |v| v.len()),
                None => scattered += usize::from(!table.is_append_only()),
            }
        }
        self.bytes.store(bytes, Ordering::Relaxed);
        self.scattered.store(scattered, Ordering::Relaxed);
    }

    /// What the rows hold in memory, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Rows that a checkpoint writes at places it cannot foresee: each may dirty a page of its own.
    pub(super) fn scattered_rows(&self) -> usize {
        self.scattered.load(Ordering::Relaxed)
    }

    /// Some value hides what lies below; some none is a deleted row; none asks the layer below.
    pub(super) fn get(&self, table: Table, key: &[u8]) -> Option<Option<Bytes>> {
        self.tables()[table as usize].get(key).cloned()
    }

    /// Calls `each` with the first row between the bounds, under the lock, if this layer can tell.
    pub(super) fn newest(
        &self,
        table: Table,
        low: &[u8],
        high: &[u8],
        each: &mut dyn FnMut(Row<'_>),
    ) -> Newest {
        let tables = self.tables();
        let range = (Bound::Included(low), Bound::Excluded(high));
        match tables[table as usize].range::<[u8], _>(range).next() {
            Some((key, Some(value))) => {
                each(Row { key, value });
                Newest::Told
            }
            Some((_, None)) => Newest::Deleted,
            None => Newest::Unknown,
        }
    }

    /// All rows, for the checkpoint of a sealed layer: nobody writes it any more.
    pub(super) fn tables(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn row_bytes(key: &Bytes, value: Option<&Bytes>) -> usize {
    ROW_OVERHEAD_BYTES + key.len() + value.map_or(0, Bytes::len)
}

/// A walk over the rows of one table of one layer, tombstones included.
pub(super) struct Walk<'a> {
    layer: &'a Layer,
    table: Table,
    low: Bound<&'a [u8]>,
    high: Bound<&'a [u8]>,
    direction: Direction,
    chunk: std::vec::IntoIter<(Bytes, Option<Bytes>)>,
    chunk_rows: usize,
    last: Option<Bytes>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        layer: &'a Layer,
        table: Table,
        low: Bound<&'a [u8]>,
        high: Bound<&'a [u8]>,
        direction: Direction,
    ) -> Self {
        let mut walk = Self {
            layer,
            table,
            low,
            high,
            direction,
            chunk: Vec::new().into_iter(),
            chunk_rows: CHUNK_ROWS_MIN,
            last: None,
        };
        walk.refill();
        walk
    }

    /// The key of the row that comes next.
    pub(super) fn peek(&self) -> Option<&[u8]> {
        self.chunk.as_slice().first().map(|(key, _)| key.as_ref())
    }

    fn refill(&mut self) {
        let (mut low, mut high) = (self.low, self.high);
        if let Some(last) = &self.last {
            match self.direction {
                Direction::Ascending => low = Bound::Excluded(last.as_ref()),
                Direction::Descending => high = Bound::Excluded(last.as_ref()),
            }
        }
        if is_inverted(&low, &high) {
            return;
        }
        let tables = self.layer.tables();
        let rows = tables[self.table as usize].range::<[u8], _>((low, high));
        let owned = |(key, value): (&Bytes, &Option<Bytes>)| (key.clone(), value.clone());
        let chunk: Vec<_> = match self.direction {
            Direction::Ascending => rows.map(owned).take(self.chunk_rows).collect(),
            Direction::Descending => rows.rev().map(owned).take(self.chunk_rows).collect(),
        };
        drop(tables);
        self.last = chunk.last().map(|(key, _)| key.clone());
        self.chunk_rows = (self.chunk_rows * 4).min(CHUNK_ROWS_MAX);
        self.chunk = chunk.into_iter();
    }
}

impl Iterator for Walk<'_> {
    type Item = (Bytes, Option<Bytes>);

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.chunk.next()?;
        if self.chunk.as_slice().is_empty() {
            self.refill();
        }
        Some(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(range: std::ops::Range<u32>) -> Rows {
        range
            .map(|n| {
                ((Table::Keys, Bytes::from(format!("{n:05}"))), Some(Bytes::from(n.to_string())))
            })
            .collect()
    }

    #[test]
    fn bytes_and_rows_are_of_what_is_there_now() {
        let layer = Layer::default();
        let row = |table, key: &'static str, value: Option<&'static str>| {
            Rows::from([((table, Bytes::from(key)), value.map(Bytes::from))])
        };
        layer.merge(row(Table::Keys, "key", Some("long value")));
        layer.merge(row(Table::Keys, "key", Some("v")));
        assert_eq!(layer.bytes(), ROW_OVERHEAD_BYTES + 4);
        layer.merge(row(Table::Keys, "key", None));
        assert_eq!((layer.bytes(), layer.scattered_rows()), (ROW_OVERHEAD_BYTES + 3, 1));
        layer.merge(row(Table::Revisions, "1", Some("v")));
        assert_eq!((layer.bytes(), layer.scattered_rows()), (2 * ROW_OVERHEAD_BYTES + 5, 1));
        assert_eq!(layer.get(Table::Keys, b"key"), Some(None));
        assert_eq!(layer.get(Table::Keys, b"other"), None);
    }

    #[test]
    fn a_walk_meets_every_row_once_whatever_the_chunks() {
        let layer = Layer::default();
        layer.merge(rows(0..1_000));
        let walk = |direction| {
            let low = Bound::Included(b"00010".as_slice());
            let high = Bound::Excluded(b"00990".as_slice());
            Walk::new(&layer, Table::Keys, low, high, direction)
                .map(|(_, value)| String::from_utf8(value.unwrap().to_vec()).unwrap())
                .collect::<Vec<_>>()
        };
        let up: Vec<String> = (10..990).map(|n: u32| n.to_string()).collect();
        let down: Vec<String> = up.iter().rev().cloned().collect();
        assert_eq!(walk(Direction::Ascending), up);
        assert_eq!(walk(Direction::Descending), down);
    }

    #[test]
    fn a_walk_holds_no_lock_between_its_rows() {
        let layer = Layer::default();
        layer.merge(rows(0..10));
        let (low, high) = (Bound::Unbounded, Bound::Unbounded);
        let mut seen = 0;
        for _ in Walk::new(&layer, Table::Keys, low, high, Direction::Ascending) {
            // Would wait for ever if the walk held the lock; rows behind the walk are not met.
            layer.merge(rows(seen..seen + 1));
            seen += 1;
        }
        assert_eq!(seen, 10);
    }
}
