//! How far a state has come, and the rows that say so.
//!
//! The stamp is a row of the table `meta` like any other, so it travels in the same transaction as the data it
//! describes: a database that holds a change without the index that made it (or the reverse) cannot be written.
//! Knows nothing of: the other rows of `meta`, which belong to the rooms above.

use std::fmt;
use std::path::Path;

use bytes::{BufMut, Bytes, BytesMut};

use super::{Fault, Read, Table, row_sum};
use crate::base::{Index, Revision, Sabotage, Term};

/// Format of the tables and of their rows; one higher whenever an older binary would misread them.
pub(super) const FORMAT: u32 = 3;
/// The one before, which knew no users: without table `auth`, and else the same. It becomes [`FORMAT`] with the next seal.
const FORMAT_BEFORE: u32 = 2;

const STAMP_BYTES: usize = 32;

/// What has been applied to a state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stamp {
    /// The last log entry that the state contains; 0 in a database that waits for its first snapshot.
    pub applied: Index,
    /// That entry's term.
    pub term: Term,
    /// The newest main revision.
    pub revision: i64,
    /// The revision that history was compacted to; [`Self::NEVER_COMPACTED`] when it never was.
    pub compacted: i64,
}

impl Stamp {
    /// The state of a member that joins: nothing applied, everything to come by snapshot.
    pub const EMPTY: Self = Self {
        applied: 0,
        term: 0,
        revision: Revision::EMPTY_STORE,
        compacted: Self::NEVER_COMPACTED,
    };

    /// etcd's word for it, which clients see: 0 is a revision that can be compacted to, once.
    pub const NEVER_COMPACTED: i64 = -1;

    pub(super) const FORMAT_KEY: &[u8] = b"format";
    pub(super) const KEY: &[u8] = b"stamp";

    /// The stamp that the rows of `read` carry; none when they carry none. In a [`View`](super::View) this is the
    /// stamp of the last seal: what the view shows is [`View::stamp`](super::View::stamp).
    pub fn read(read: &impl Read) -> Result<Option<Self>, Fault> {
        read.get(Table::Meta, Self::KEY)?.map(|row| Self::decode(&row)).transpose()
    }

    /// The rows of `meta` that storage writes itself: with every seal, and nowhere else.
    pub(super) fn rows(self) -> [(Bytes, Bytes); 2] {
        let mut stamp = BytesMut::with_capacity(STAMP_BYTES);
        stamp.put_u64(self.applied);
        stamp.put_u64(self.term);
        stamp.put_i64(self.revision);
        stamp.put_i64(self.compacted);
        let format = Bytes::copy_from_slice(&FORMAT.to_be_bytes());
        [
            (Bytes::from_static(Self::FORMAT_KEY), format),
            (Bytes::from_static(Self::KEY), stamp.freeze()),
        ]
    }

    /// As a program with one of these bugs reads it from the database that it opens.
    pub(super) fn sabotaged(self) -> Self {
        if Sabotage::RevisionReused.is_on() && self.revision > Revision::EMPTY_STORE {
            return Self { revision: self.revision - 1, ..self };
        }
        if Sabotage::CompactionForgotten.is_on() {
            return Self { compacted: Self::NEVER_COMPACTED, ..self };
        }
        self
    }

    /// Whether only a seal may write this row.
    pub(super) fn owns(table: Table, key: &[u8]) -> bool {
        table == Table::Meta && (key == Self::FORMAT_KEY || key == Self::KEY)
    }

    /// The stamp of a database that this binary can read, from the rows as they are stored; `dir` is named where it
    /// cannot.
    pub(super) fn of_stored(
        format: Option<&[u8]>,
        stamp: Option<&[u8]>,
        dir: &Path,
    ) -> Result<Self, Fault> {
        let place = || dir.display().to_string();
        let number = format.and_then(|row| row.try_into().ok());
        match number.map(u32::from_be_bytes) {
            Some(FORMAT | FORMAT_BEFORE) => {}
            Some(found) => return Err(Fault::Format { place: place(), found, expected: FORMAT }),
            None => return Err(Fault::corrupt("no format number", place())),
        }
        let stamp = stamp.ok_or_else(|| Fault::corrupt("no stamp", place()))?;
        let stamp = row_sum::verified(Table::Meta, Self::KEY, stamp)
            .ok_or_else(|| Fault::corrupt("a stamp that fails its checksum", place()))?;
        Self::decode(stamp)
    }

    /// Whether this binary reads rows beside this row `format`.
    pub(super) fn is_ours(format: &[u8]) -> bool {
        [FORMAT, FORMAT_BEFORE].iter().any(|known| format == known.to_be_bytes())
    }

    fn decode(row: &[u8]) -> Result<Self, Fault> {
        let words = |at: usize| -> Option<[u8; 8]> { row.get(at..at + 8)?.try_into().ok() };
        match (row.len(), words(0), words(8), words(16), words(24)) {
            (STAMP_BYTES, Some(applied), Some(term), Some(revision), Some(compacted)) => Ok(Self {
                applied: u64::from_be_bytes(applied),
                term: u64::from_be_bytes(term),
                revision: i64::from_be_bytes(revision),
                compacted: i64::from_be_bytes(compacted),
            }),
            _ => Err(Fault::corrupt(format!("a stamp of {} bytes", row.len()), "table meta")),
        }
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { applied, term, revision, compacted } = self;
        write!(f, "index {applied} of term {term}, revision {revision}, compacted {compacted}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Batch, Nothing};

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let stamp = Stamp { applied: 7, term: 3, revision: 1 << 40, compacted: 5 };
        let mut batch = Batch::new(&Nothing);
        assert_eq!(Stamp::read(&batch).unwrap(), None);
        for (key, value) in stamp.rows() {
            assert!(Stamp::owns(Table::Meta, &key));
            batch.put(Table::Meta, key, value);
        }
        assert_eq!(Stamp::read(&batch).unwrap(), Some(stamp));
        batch.put(Table::Meta, Stamp::KEY, &[0; 31][..]);
        assert!(Stamp::read(&batch).is_err());
    }

    #[test]
    fn another_format_is_refused_before_its_stamp_is_read() {
        let of_stored = |format: Option<&[u8]>, stamp: Option<&[u8]>| {
            Stamp::of_stored(format, stamp, Path::new("db/1")).unwrap_err().to_string()
        };
        let older = of_stored(Some(&[0, 0, 0, 1]), Some(b"?"));
        assert!(
            older.starts_with("db/1 is of format 1, and this version reads format 3"),
            "{older}"
        );
        assert!(of_stored(None, None).starts_with("no format number in db/1"));
        for known in [2, 3] {
            assert!(of_stored(Some(&[0, 0, 0, known]), None).starts_with("no stamp in db/1"));
        }
        let newer = of_stored(Some(&[0, 0, 0, 4]), None);
        assert!(newer.starts_with("db/1 is of format 4"), "{newer}");
        let damaged = of_stored(Some(&[0, 0, 0, 2]), Some(&[0; 36]));
        assert!(damaged.starts_with("a stamp that fails its checksum in db/1"), "{damaged}");
    }
}
