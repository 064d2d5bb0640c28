//! Forgetting: deletes what no reader at or above the compacted revision can see.
//!
//! ```text
//!   revisions  2 a   3 b   4 a   5 b+  6 c      b+ = tombstone; compaction at 6 visits 2..=6 in order:
//!                          |     |              at 4 the older a (2) goes, at 5 the older b (3) goes, and 5 itself,
//!              x     x     a     x     c        because it is a tombstone below 6 (at exactly 6 it would stay)
//! ```
//!
//! Visited in revision order, every row deletes the versions of its key that are older than itself: it is at or below
//! the target, so they are not the newest there. The cursor is written with the deletions, in one transaction.
//!
//! Promises: a slice cut off anywhere is repeated without harm; a later target may take over from an unfinished
//! earlier one; nothing is deleted that a reader at the target or a watcher from it can see. Knows nothing of: when
//! slices run, and who published the target.

use std::ops::{Bound, ControlFlow};

use bytes::{Buf, BufMut};

use super::format::{self, Meta, Record};
use crate::base::{Revision, Sabotage};
use crate::storage::{Direction, Fault, Read, Table, Write};

/// Row of table `meta`: target (8 BE) | next main (8 BE) | next sub (4 BE).
const CURSOR: &[u8] = b"compaction";

/// What one slice did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Progress {
    /// Rows of the history looked at.
    pub visited: usize,
    /// Versions deleted.
    pub deleted: usize,
    /// Nothing is left to delete for this target.
    pub done: bool,
}

/// How far deletion has come.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    target: i64,
    /// The first revision not yet visited; main `target + 1` when all are.
    next: Revision,
}

/// Visits up to `visits_max` (at least one) rows for a compaction at `target`, a revision that is published as
/// compacted and whose rows are all in `rows`. A target below the last one does nothing.
pub fn compact_slice<W: Write>(
    rows: &mut W,
    target: i64,
    visits_max: usize,
) -> Result<Progress, Fault> {
    let cursor = Cursor::load(rows)?;
    if target < cursor.target {
        return Ok(Progress { visited: 0, deleted: 0, done: true });
    }
    let next = cursor.start(target);
    let (visits, rest) = visit(rows, next, target, visits_max.max(1))?;
    let mut deleted = 0;
    for visit in &visits {
        deleted += forget_older(rows, visit)?;
        let is_needed = visit.revision.main >= target && !Sabotage::TombstoneLost.is_on();
        if visit.tombstone && !is_needed {
            forget(rows, &visit.escaped, visit.revision, 0)?;
            deleted += 1;
        }
    }
    let next = rest.unwrap_or_else(|| Revision::new(target + 1, 0));
    Cursor { target, next }.save(rows)?;
    Ok(Progress { visited: visits.len(), deleted, done: rest.is_none() })
}

/// The target that deletion is at work on or has finished, and whether it has finished; 0 when there never was one.
pub fn compaction<R: Read>(read: &R) -> Result<(i64, bool), Fault> {
    let cursor = Cursor::load(read)?;
    Ok((cursor.target, cursor.next.main > cursor.target))
}

impl Cursor {
    fn load<R: Read>(read: &R) -> Result<Self, Fault> {
        let Some(row) = read.get(Table::Meta, CURSOR)? else {
            return Ok(Self::default());
        };
        if row.len() != 20 {
            return Err(Fault::corrupt("a compaction cursor that cannot be read", "table meta"));
        }
        let mut row = row.as_ref();
        let target = row.get_i64();
        let main = row.get_i64();
        Ok(Self { target, next: Revision::new(main, row.get_u32()) })
    }

    fn save<W: Write>(&self, rows: &mut W) -> Result<(), Fault> {
        let mut row = Vec::with_capacity(20);
        row.put_i64(self.target);
        row.put_i64(self.next.main);
        row.put_u32(self.next.sub);
        rows.put(Table::Meta, CURSOR, &row)
    }

    /// A higher target begins again at the last one: tombstones at exactly it were kept and may go now.
    fn start(&self, target: i64) -> Revision {
        if target > self.target { self.next.min(Revision::new(self.target, 0)) } else { self.next }
    }
}

/// A row of the history on the way.
struct Visit {
    escaped: Vec<u8>,
    revision: Revision,
    tombstone: bool,
}

/// The rows from `next` to `target`, and the first that was not taken.
fn visit<R: Read>(
    read: &R,
    next: Revision,
    target: i64,
    visits_max: usize,
) -> Result<(Vec<Visit>, Option<Revision>), Fault> {
    let low = format::revision_row(next);
    let high = format::revision_row(Revision::new(target + 1, 0));
    let mut visits = Vec::new();
    let mut rest = None;
    let mut outcome = Ok(());
    read.scan(
        Table::Revisions,
        Bound::Included(&low),
        Bound::Excluded(&high),
        Direction::Ascending,
        &mut |row| {
            let taken = format::split_revision_row(row.key).and_then(|(revision, piece)| {
                if piece > 0 {
                    return Ok(true);
                }
                if visits.len() == visits_max {
                    rest = Some(revision);
                    return Ok(false);
                }
                let record = Record::decode(row.value)?;
                let escaped = format::escape(record.key);
                visits.push(Visit { escaped, revision, tombstone: record.meta.tombstone });
                Ok(true)
            });
            match taken {
                Ok(true) => ControlFlow::Continue(()),
                Ok(false) => ControlFlow::Break(()),
                Err(fault) => {
                    outcome = Err(fault);
                    ControlFlow::Break(())
                }
            }
        },
    )?;
    outcome?;
    Ok((visits, rest))
}

/// Deletes the versions of the key that are older than the visited one; their number.
fn forget_older<W: Write>(rows: &mut W, visit: &Visit) -> Result<usize, Fault> {
    let low = format::key_row(&visit.escaped, visit.revision);
    let high = format::after_versions(&visit.escaped);
    let mut older = Vec::new();
    let mut outcome = Ok(());
    rows.scan(
        Table::Keys,
        Bound::Excluded(&low),
        Bound::Excluded(&high),
        Direction::Ascending,
        &mut |row| {
            let read = format::split_key_row(row.key)
                .and_then(|(_, revision)| Ok((revision, Meta::decode(row.value)?.value_bytes)));
            match read {
                Ok(version) => {
                    older.push(version);
                    ControlFlow::Continue(())
                }
                Err(fault) => {
                    outcome = Err(fault);
                    ControlFlow::Break(())
                }
            }
        },
    )?;
    outcome?;
    for &(revision, value_bytes) in &older {
        forget(rows, &visit.escaped, revision, value_bytes)?;
    }
    Ok(older.len())
}

/// Deletes one version: its rows in both tables, pieces too.
fn forget<W: Write>(
    rows: &mut W,
    escaped: &[u8],
    revision: Revision,
    value_bytes: u32,
) -> Result<(), Fault> {
    rows.delete(Table::Keys, &format::key_row(escaped, revision))?;
    rows.delete(Table::Revisions, &format::revision_row(revision))?;
    for piece in 1..=format::pieces(value_bytes) {
        rows.delete(Table::Revisions, &format::piece_row(revision, piece))?;
    }
    Ok(())
}
