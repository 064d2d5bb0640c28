//! What one entry changes, not yet visible to anybody else.
//!
//! A batch reads through itself (a transaction's ranges must see its own writes) and is merged into the overlay when
//! it is whole; a failed transaction drops it.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use super::read::{self, is_inverted};
use super::{Direction, Fault, Read, Row, Table, Write};

/// Changed rows in order; none as a value deletes the row.
pub type Rows = BTreeMap<(Table, Bytes), Option<Bytes>>;

/// Changes on top of `base`.
#[derive(Debug)]
pub struct Batch<'a, R> {
    base: &'a R,
    rows: Rows,
}

impl<'a, R: Read> Batch<'a, R> {
    pub fn new(base: &'a R) -> Self {
        Self { base, rows: Rows::new() }
    }

    pub fn put(&mut self, table: Table, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.rows.insert((table, key.into()), Some(value.into()));
    }

    pub fn delete(&mut self, table: Table, key: impl Into<Bytes>) {
        self.rows.insert((table, key.into()), None);
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn into_rows(self) -> Rows {
        self.rows
    }
}

impl<R: Read> Read for Batch<'_, R> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        if !self.rows.is_empty()
            && let Some(row) = self.rows.get(&(table, Bytes::copy_from_slice(key)))
        {
            return Ok(row.clone());
        }
        self.base.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        low: Bound<&[u8]>,
        high: Bound<&[u8]>,
        direction: Direction,
        each: &mut dyn FnMut(Row<'_>) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        let Some(own) = own_rows(&self.rows, table, low, high, direction) else {
            return self.base.scan(table, low, high, direction, each);
        };
        let mut own = own.peekable();
        let mut broken = false;
        self.base.scan(table, low, high, direction, &mut |row| {
            let mut hidden = false;
            while let Some(&((_, key), value)) = own.peek() {
                let before = match direction {
                    Direction::Ascending => key.as_ref() <= row.key,
                    Direction::Descending => key.as_ref() >= row.key,
                };
                if !before {
                    break;
                }
                hidden = key.as_ref() == row.key;
                own.next();
                if let Some(value) = value
                    && each(Row { key, value }).is_break()
                {
                    broken = true;
                    return ControlFlow::Break(());
                }
            }
            if !hidden && each(row).is_break() {
                broken = true;
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        if !broken {
            for ((_, key), value) in own {
                if let Some(value) = value
                    && each(Row { key, value }).is_break()
                {
                    break;
                }
            }
        }
        Ok(())
    }

    fn newest(
        &self,
        table: Table,
        low: &[u8],
        high: &[u8],
        each: &mut dyn FnMut(Row<'_>),
    ) -> Result<bool, Fault> {
        if self.rows.is_empty() {
            return self.base.newest(table, low, high, each);
        }
        let (from, to) = (Bound::Included(low), Bound::Excluded(high));
        let own = own_rows(&self.rows, table, from, to, Direction::Ascending);
        match own.and_then(|mut own| own.next()) {
            Some(((_, key), Some(value))) => {
                each(Row { key, value });
                Ok(true)
            }
            // What is deleted here may stand below, and not alone.
            Some((_, None)) => read::first_of_all(self, table, low, high, each),
            None => self.base.newest(table, low, high, each),
        }
    }
}

impl<R: Read> Write for Batch<'_, R> {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        Batch::put(self, table, Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        Ok(())
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), Fault> {
        Batch::delete(self, table, Bytes::copy_from_slice(key));
        Ok(())
    }
}

type OwnRow<'a> = (&'a (Table, Bytes), &'a Option<Bytes>);

/// The batch's own rows between the bounds; none when there are none (the common case costs no merge).
fn own_rows<'a>(
    rows: &'a Rows,
    table: Table,
    low: Bound<&[u8]>,
    high: Bound<&[u8]>,
    direction: Direction,
) -> Option<Box<dyn Iterator<Item = OwnRow<'a>> + 'a>> {
    let owned = |bound: Bound<&[u8]>| bound.map(|key| (table, Bytes::copy_from_slice(key)));
    let (low, high) = (owned(low), owned(high));
    if is_inverted(&low, &high) {
        return None;
    }
    let low = match low {
        Bound::Unbounded => Bound::Included((table, Bytes::new())),
        bound => bound,
    };
    let in_table = move |row: &OwnRow<'_>| row.0.0 == table;
    let mut range: Box<dyn Iterator<Item = OwnRow<'a>> + 'a> = match (direction, high) {
        (Direction::Ascending, Bound::Unbounded) => {
            Box::new(rows.range((low, Bound::Unbounded)).take_while(in_table))
        }
        (Direction::Ascending, high) => Box::new(rows.range((low, high))),
        (Direction::Descending, Bound::Unbounded) => Box::new(
            rows.range((low, Bound::Unbounded)).rev().skip_while(move |row| !in_table(row)),
        ),
        (Direction::Descending, high) => Box::new(rows.range((low, high)).rev()),
    };
    let first = range.next()?;
    Some(Box::new(std::iter::once(first).chain(range)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Nothing;

    fn keys(batch: &impl Read, low: &[u8], direction: Direction) -> Vec<String> {
        let mut seen = Vec::new();
        batch
            .scan(Table::Keys, Bound::Included(low), Bound::Unbounded, direction, &mut |row| {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                seen.push(format!("{}={}", text(row.key), text(row.value)));
                ControlFlow::Continue(())
            })
            .unwrap();
        seen
    }

    #[test]
    fn a_batch_reads_through_itself_in_both_directions() {
        let mut below = Batch::new(&Nothing);
        below.put(Table::Keys, "a", "1");
        below.put(Table::Keys, "c", "1");
        below.put(Table::Keys, "e", "1");
        below.put(Table::Leases, "z", "1");
        let mut batch = Batch::new(&below);
        batch.put(Table::Keys, "b", "2");
        batch.put(Table::Keys, "c", "2");
        batch.delete(Table::Keys, "e");
        batch.put(Table::Keys, "f", "2");
        batch.put(Table::Leases, "y", "2");

        assert_eq!(keys(&batch, b"", Direction::Ascending), ["a=1", "b=2", "c=2", "f=2"]);
        assert_eq!(keys(&batch, b"b", Direction::Descending), ["f=2", "c=2", "b=2"]);
        assert_eq!(batch.get(Table::Keys, b"e").unwrap(), None);
        assert_eq!(batch.get(Table::Keys, b"a").unwrap().unwrap(), "1");
    }
}
