//! What happened between two revisions, for watchers that are behind.
//!
//! Promises: whole revisions, ascending, none left out; bounded by revisions and bytes. Knows nothing of: who asks.

use std::ops::{Bound, ControlFlow};

use bytes::{Bytes, BytesMut};

use super::event::{Event, EventBatch, EventKind, KeyValue};
use super::format::{self, Record};
use crate::base::{Revision, Sabotage};
use crate::storage::{Direction, Fault, Read, Row, Table};

/// A part of the history.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct History {
    /// Ascending; revisions that compaction has emptied are missing.
    pub batches: Vec<EventBatch>,
    /// Every revision from the first asked for up to and with this one is told.
    pub through: i64,
}

/// The events of the revisions `from..=to`, at most `revisions_max` of them and, after the first, until `bytes_max` of
/// keys and values are reached. The caller knows that `from` is not compacted and `to` is not to come.
pub fn history<R: Read>(
    read: &R,
    from: i64,
    to: i64,
    revisions_max: usize,
    bytes_max: usize,
) -> Result<History, Fault> {
    let mut told = History { batches: Vec::new(), through: from - 1 };
    if from > to {
        return Ok(told);
    }
    let low = format::revision_row(Revision::new(from, 0));
    let high = format::revision_row(Revision::new(to + 1, 0));
    let mut teller = Teller { long_value: BytesMut::new(), long_value_bytes: 0, bytes: 0 };
    let mut outcome = Ok(());
    let mut cut_at = None;
    read.scan(
        Table::Revisions,
        Bound::Included(&low),
        Bound::Excluded(&high),
        Direction::Ascending,
        &mut |row| {
            let begins = match format::split_revision_row(row.key) {
                Ok((revision, _)) => told.batches.last().is_none_or(|b| b.revision < revision.main),
                Err(_) => false,
            };
            let begins = begins || Sabotage::WatchSplitsRevision.is_on();
            let full = told.batches.len() >= revisions_max || teller.bytes >= bytes_max;
            if begins && full && !told.batches.is_empty() {
                cut_at = told.batches.last().map(|batch| batch.revision);
                return ControlFlow::Break(());
            }
            outcome = teller.tell(row, &mut told.batches);
            if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        },
    )?;
    outcome?;
    teller.check_whole()?;
    told.through = cut_at.unwrap_or(to);
    Ok(told)
}

/// Turns rows into events; a value in pieces is put together while its rows pass.
struct Teller {
    long_value: BytesMut,
    /// Length of the value whose pieces are passing; 0 when none is.
    long_value_bytes: usize,
    bytes: usize,
}

impl Teller {
    fn tell(&mut self, row: Row<'_>, batches: &mut Vec<EventBatch>) -> Result<(), Fault> {
        let (revision, piece) = format::split_revision_row(row.key)?;
        if piece > 0 {
            return self.tell_piece(row.value, batches);
        }
        self.check_whole()?;
        let record = Record::decode(row.value)?;
        if format::pieces(record.meta.value_bytes) > 0 {
            self.long_value_bytes = record.meta.value_bytes as usize;
        }
        self.bytes += record.key.len() + record.meta.value_bytes as usize;
        let event = event(revision, &record);
        match batches.last_mut() {
            Some(batch) if batch.revision == revision.main => batch.events.push(event),
            _ => batches.push(EventBatch { revision: revision.main, events: vec![event] }),
        }
        Ok(())
    }

    fn tell_piece(&mut self, piece: &[u8], batches: &mut [EventBatch]) -> Result<(), Fault> {
        self.long_value.extend_from_slice(piece);
        if self.long_value.len() >= self.long_value_bytes
            && let Some(event) = batches.last_mut().and_then(|batch| batch.events.last_mut())
        {
            event.kv.value = self.long_value.split().freeze();
            self.long_value_bytes = 0;
        }
        Ok(())
    }

    fn check_whole(&self) -> Result<(), Fault> {
        if self.long_value_bytes == 0 {
            return Ok(());
        }
        Err(Fault::corrupt("a value without its last piece", "table revisions"))
    }
}

fn event(revision: Revision, record: &Record<'_>) -> Event {
    let kind = if record.meta.tombstone { EventKind::Delete } else { EventKind::Put };
    let kv = KeyValue {
        key: Bytes::copy_from_slice(record.key),
        create_revision: record.meta.create_revision,
        mod_revision: revision.main,
        version: record.meta.version,
        value: Bytes::copy_from_slice(record.value),
        lease: record.meta.lease,
    };
    Event { kind, kv, prev: record.prev }
}
