//! Hash: a checksum over the rows of this member, as they are stored.
//!
//! Of every table but the facts about the database itself and what is derived. It says whether a member changed, not
//! whether members agree: how far the deletion of compacted rows has come is each member's own business. Taken in
//! slices, each on a view of its own, so what is written meanwhile may be in it or not, as in etcd.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::storage::{Direction, Fault, Read, Table};

const TABLES: [Table; 8] = [
    Table::Revisions,
    Table::Keys,
    Table::Leases,
    Table::LeaseKeys,
    Table::Members,
    Table::Alarms,
    Table::V2,
    Table::Auth,
];

/// The checksum on its way.
#[derive(Debug, Default)]
pub struct ContentRun {
    crc: u32,
    /// Place in the list, and the last row of that table that is in.
    table: usize,
    last: Option<Bytes>,
}

impl ContentRun {
    /// Adds the next rows, at most `rows_max` (at least one); the checksum when all are in.
    pub(super) fn slice<R: Read>(
        &mut self,
        read: &R,
        rows_max: usize,
    ) -> Result<Option<u32>, Fault> {
        let mut left = rows_max.max(1);
        while let Some(&table) = TABLES.get(self.table) {
            let last = self.last.take();
            if last.is_none() {
                self.crc = crc32c::crc32c_append(self.crc, table.name().as_bytes());
            }
            let low = last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let (crc, stopped_at) = (&mut self.crc, &mut self.last);
            read.scan(table, low, Bound::Unbounded, Direction::Ascending, &mut |row| {
                for part in [row.key, row.value] {
                    *crc = crc32c::crc32c_append(*crc, &(part.len() as u64).to_be_bytes());
                    *crc = crc32c::crc32c_append(*crc, part);
                }
                left -= 1;
                if left > 0 {
                    return ControlFlow::Continue(());
                }
                *stopped_at = Some(Bytes::copy_from_slice(row.key));
                ControlFlow::Break(())
            })?;
            if self.last.is_some() {
                return Ok(None);
            }
            self.table += 1;
        }
        Ok(Some(self.crc))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Batch, Nothing};

    fn sum(batch: &Batch<'_, Nothing>, rows_max: usize) -> u32 {
        let mut run = ContentRun::default();
        loop {
            if let Some(crc) = run.slice(batch, rows_max).unwrap() {
                return crc;
            }
        }
    }

    #[test]
    fn slices_make_no_difference_and_every_row_does() {
        let mut batch = Batch::new(&Nothing);
        let mut seen = vec![sum(&batch, 100)];
        for table in TABLES {
            for key in ["a", "b"] {
                batch.put(table, key, "v");
                seen.push(sum(&batch, 100));
            }
        }
        for rows_max in [0, 1, 2, 3, 14, 15] {
            assert_eq!(Some(&sum(&batch, rows_max)), seen.last());
        }
        batch.put(Table::Alarms, "b", "w");
        seen.push(sum(&batch, 100));
        batch.put(Table::Meta, "stamp", "another");
        batch.put(Table::Counts, "a", "5");
        assert_eq!(Some(&sum(&batch, 100)), seen.last());
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 18);
    }
}
