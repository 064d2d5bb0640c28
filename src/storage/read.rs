//! The read side that every layer shares: a view (overlay over LMDB), or a batch that reads through itself.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use super::{Fault, Table};

/// Order in which a scan meets its rows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    Ascending,
    Descending,
}

/// One row as a scan hands it out; borrowed for the duration of the call.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    pub key: &'a [u8],
    pub value: &'a [u8],
}

/// Point reads and ordered scans over tables.
pub trait Read {
    /// The row's value, or none.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Fault>;

    /// Calls `each` with the rows between `low` and `high` in `direction`, until it breaks or the rows end.
    /// `each` must not write to the table it reads.
    fn scan(
        &self,
        table: Table,
        low: Bound<&[u8]>,
        high: Bound<&[u8]>,
        direction: Direction,
        each: &mut dyn FnMut(Row<'_>) -> ControlFlow<()>,
    ) -> Result<(), Fault>;

    /// The first row between `low` and `high` in `direction`.
    fn first(
        &self,
        table: Table,
        low: Bound<&[u8]>,
        high: Bound<&[u8]>,
        direction: Direction,
    ) -> Result<Option<(Bytes, Bytes)>, Fault> {
        let mut found = None;
        self.scan(table, low, high, direction, &mut |row| {
            found = Some((Bytes::copy_from_slice(row.key), Bytes::copy_from_slice(row.value)));
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// Calls `each` with the first row between `low` and `high`, ascending, of a range in which what is written later
    /// stands first (the versions of one key): the newest layer that has a row there answers for those below. Rows may
    /// be deleted in any order. False if there is none. `each` is short and reads nothing.
    fn newest(
        &self,
        table: Table,
        low: &[u8],
        high: &[u8],
        each: &mut dyn FnMut(Row<'_>),
    ) -> Result<bool, Fault> {
        first_of_all(self, table, low, high, each)
    }
}

/// The same from all layers together: what is left to do where the newest of them deletes something.
pub(super) fn first_of_all<R: Read + ?Sized>(
    read: &R,
    table: Table,
    low: &[u8],
    high: &[u8],
    each: &mut dyn FnMut(Row<'_>),
) -> Result<bool, Fault> {
    let mut found = false;
    let (low, high) = (Bound::Included(low), Bound::Excluded(high));
    read.scan(table, low, high, Direction::Ascending, &mut |row| {
        found = true;
        each(row);
        ControlFlow::Break(())
    })?;
    Ok(found)
}

/// A reader that may also change rows, seen by its own reads at once.
pub trait Write: Read {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), Fault>;

    /// Deletes the row if it is there.
    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), Fault>;
}

impl<R: Read> Read for &R {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        (**self).get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        low: Bound<&[u8]>,
        high: Bound<&[u8]>,
        direction: Direction,
        each: &mut dyn FnMut(Row<'_>) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        (**self).scan(table, low, high, direction, each)
    }

    fn newest(
        &self,
        table: Table,
        low: &[u8],
        high: &[u8],
        each: &mut dyn FnMut(Row<'_>),
    ) -> Result<bool, Fault> {
        (**self).newest(table, low, high, each)
    }
}

/// A store without rows: under a [`Batch`](super::Batch) it makes a store in memory.
#[derive(Clone, Copy, Debug)]
pub struct Nothing;

impl Read for Nothing {
    fn get(&self, _: Table, _: &[u8]) -> Result<Option<Bytes>, Fault> {
        Ok(None)
    }

    fn scan(
        &self,
        _: Table,
        _: Bound<&[u8]>,
        _: Bound<&[u8]>,
        _: Direction,
        _: &mut dyn FnMut(Row<'_>) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        Ok(())
    }
}

/// Whether an ordered map would panic on these bounds: nothing lies between them.
pub(super) fn is_inverted<T: Ord>(low: &Bound<T>, high: &Bound<T>) -> bool {
    match (low, high) {
        (Bound::Included(low), Bound::Included(high)) => low > high,
        (Bound::Included(low) | Bound::Excluded(low), Bound::Excluded(high))
        | (Bound::Excluded(low), Bound::Included(high)) => low >= high,
        _ => false,
    }
}
