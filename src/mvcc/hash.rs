//! HashKV: one number for the history up to a revision, equal on all members.
//!
//! ```text
//!   crc32c( "key" | for every retained revision <= r, ascending:
//!           main (8 BE) | '_' | sub (8 BE) | 't' if tombstone | etcd's protobuf KeyValue )
//! ```
//!
//! Retained is what a finished compaction at c would have left: everything above c; at or below c, a key's newest
//! version, unless it is a tombstone. These are the bytes that etcd hashes, so the same history gives its number.
//!
//! Promises: a function of content, however far the deletion of compacted rows has come. Knows nothing of: members.

use std::ops::{Bound, ControlFlow};

use super::format::{self, Record};
use crate::base::Revision;
use crate::storage::{Direction, Fault, Read, Table};

/// The hash of the revisions up to `revision`, compacted at `compacted` (-1: never), in one go.
pub fn hash<R: Read>(read: &R, revision: i64, compacted: i64) -> Result<u32, Fault> {
    let mut hasher = Hasher::new(revision, compacted);
    while !hasher.slice(read, SLICE_ROWS)? {}
    Ok(hasher.value())
}

/// Rows looked at in one scan of [`hash`].
const SLICE_ROWS: usize = 1_024;

/// The same in slices, each in a view of its own; a compaction above `compacted` in between spoils it, and the caller
/// starts again.
#[derive(Clone, Debug)]
pub struct Hasher {
    revision: i64,
    compacted: i64,
    crc: u32,
    next: Revision,
}

impl Hasher {
    pub fn new(revision: i64, compacted: i64) -> Self {
        Self { revision, compacted, crc: crc32c::crc32c(b"key"), next: Revision::default() }
    }

    pub fn value(&self) -> u32 {
        self.crc
    }

    /// Adds the next `rows_max` (at least one) rows; true when all are in.
    pub fn slice<R: Read>(&mut self, read: &R, rows_max: usize) -> Result<bool, Fault> {
        let low = format::revision_row(self.next);
        let high = format::revision_row(Revision::new(self.revision + 1, 0));
        let mut rows: Vec<Hashed> = Vec::new();
        let mut fault = None;
        let mut next = None;
        let mut visits = 0;
        read.scan(
            Table::Revisions,
            Bound::Included(&low),
            Bound::Excluded(&high),
            Direction::Ascending,
            &mut |row| {
                visits += 1;
                match format::split_revision_row(row.key) {
                    Ok((revision, 0)) if visits > rows_max.max(1) => {
                        next = Some(revision);
                        return ControlFlow::Break(());
                    }
                    Ok((revision, 0)) => match Hashed::new(revision, row.value) {
                        Ok(hashed) => rows.push(hashed),
                        Err(error) => fault = Some(error),
                    },
                    Ok(_) => {
                        if let Some(hashed) = rows.last_mut() {
                            hashed.value.extend_from_slice(row.value);
                        }
                    }
                    Err(error) => fault = Some(error),
                }
                if fault.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            },
        )?;
        if let Some(fault) = fault {
            return Err(fault);
        }
        for row in &rows {
            if self.retains(read, row)? {
                self.add(row);
            }
        }
        self.next = next.unwrap_or(self.next);
        Ok(next.is_none())
    }

    fn retains<R: Read>(&self, read: &R, row: &Hashed) -> Result<bool, Fault> {
        if row.revision.main > self.compacted {
            return Ok(true);
        }
        if row.tombstone {
            return Ok(false);
        }
        let low = format::key_row_at(&row.escaped, self.compacted);
        let high = format::after_versions(&row.escaped);
        let newest = read.first(
            Table::Keys,
            Bound::Included(&low),
            Bound::Excluded(&high),
            Direction::Ascending,
        )?;
        let Some((newest, _)) = newest else { return Ok(false) };
        Ok(format::split_key_row(&newest)?.1 == row.revision)
    }

    fn add(&mut self, row: &Hashed) {
        let mut bytes = Vec::with_capacity(18 + row.fields.len() + row.value.len() + 24);
        bytes.extend_from_slice(&row.revision.main.to_be_bytes());
        bytes.push(b'_');
        bytes.extend_from_slice(&u64::from(row.revision.sub).to_be_bytes());
        if row.tombstone {
            bytes.push(b't');
        }
        bytes.extend_from_slice(&row.fields);
        if !row.value.is_empty() {
            bytes.push(5 << 3 | 2);
            format::put_varint(&mut bytes, row.value.len() as u64);
            bytes.extend_from_slice(&row.value);
        }
        if row.lease != 0 {
            bytes.push(6 << 3);
            format::put_varint(&mut bytes, row.lease as u64);
        }
        self.crc = crc32c::crc32c_append(self.crc, &bytes);
    }
}

/// One row of the history on its way into the hash.
struct Hashed {
    revision: Revision,
    tombstone: bool,
    escaped: Vec<u8>,
    /// Fields 1 to 4 of etcd's KeyValue, encoded; of a tombstone the key alone.
    fields: Vec<u8>,
    value: Vec<u8>,
    lease: i64,
}

impl Hashed {
    fn new(revision: Revision, row: &[u8]) -> Result<Self, Fault> {
        let record = Record::decode(row)?;
        let meta = record.meta;
        let mut fields = Vec::with_capacity(record.key.len() + 32);
        if !record.key.is_empty() {
            fields.push(1 << 3 | 2);
            format::put_varint(&mut fields, record.key.len() as u64);
            fields.extend_from_slice(record.key);
        }
        if !meta.tombstone {
            for (tag, number) in
                [(2 << 3, meta.create_revision), (3 << 3, revision.main), (4 << 3, meta.version)]
            {
                fields.push(tag);
                format::put_varint(&mut fields, number as u64);
            }
        }
        Ok(Self {
            revision,
            tombstone: meta.tombstone,
            escaped: format::escape(record.key),
            fields,
            value: record.value.to_vec(),
            lease: meta.lease,
        })
    }
}
