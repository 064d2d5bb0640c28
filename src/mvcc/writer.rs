//! One writing transaction: puts and deletes of one main revision, into a batch.
//!
//! Promises: it reads what it has written; every change has the next `sub`; whoever deletes nothing and puts nothing
//! has no events, and then there is no revision (the caller decides that). Knows nothing of: whether it may write,
//! what leases are (the caller attaches and detaches in the same batch).

use std::ops::ControlFlow;

use bytes::Bytes;

use super::count::Whole;
use super::counts::{Counts, CountsDelta, Pending};
use super::event::{Event, EventBatch, EventKind, KeyValue, Version};
use super::format::{self, Meta, Record};
use super::reader::Reader;
use crate::base::{KeyRange, LeaseId, Revision, Sabotage};
use crate::storage::{Batch, Fault, Read, Table};

/// Writes the changes of main revision `main` into a batch whose base is at `main - 1`.
#[derive(Debug)]
pub struct Writer<'w, 'b, R> {
    batch: &'w mut Batch<'b, R>,
    counts: &'w Counts,
    main: i64,
    events: Vec<Event>,
    pending: Pending,
}

impl<'w, 'b, R: Read> Writer<'w, 'b, R> {
    /// `counts` must be at revision `main - 1`: the last one published.
    pub fn new(batch: &'w mut Batch<'b, R>, counts: &'w Counts, main: i64) -> Self {
        Self { batch, counts, main, events: Vec::new(), pending: Pending::default() }
    }

    /// The store as this transaction sees it, its own changes included.
    pub fn reader(&self) -> Reader<'_, Batch<'b, R>> {
        Reader::at(self.batch, self.main)
    }

    /// The same at an older revision; `main` itself is the current one.
    pub fn reader_at(&self, revision: i64) -> Reader<'_, Batch<'b, R>> {
        Reader::at(self.batch, revision)
    }

    /// For rows of the same transaction that are not of this room.
    pub fn batch(&mut self) -> &mut Batch<'b, R> {
        self.batch
    }

    pub fn revision(&self) -> i64 {
        self.main
    }

    /// What has changed so far; empty means that there is no new revision.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The part of a range that the count index knows, the changes of this transaction included.
    pub fn whole(&self, range: &KeyRange) -> Option<Whole> {
        self.counts.whole_with(range, &self.pending, self.main)
    }

    /// Puts the key; `value: None` keeps the value, `lease: None` keeps the lease (a missing key keeps nothing: empty,
    /// 0; whether that is allowed is the caller's business). Returns the live version it replaced.
    pub fn put(
        &mut self,
        key: Bytes,
        value: Option<Bytes>,
        lease: Option<LeaseId>,
    ) -> Result<Option<Version>, Fault> {
        let prev = self.reader().find(&key)?;
        let value = match (value, &prev) {
            (Some(value), _) => value,
            (None, Some(prev)) => self.reader().load(prev)?.value,
            (None, None) => Bytes::new(),
        };
        let meta = Meta {
            tombstone: false,
            create_revision: prev.as_ref().map_or(self.main, |prev| prev.create_revision),
            version: prev.as_ref().map_or(1, |prev| prev.version + 1),
            lease: lease.unwrap_or_else(|| prev.as_ref().map_or(0, |prev| prev.lease)),
            value_bytes: value.len() as u32,
        };
        let prev_revision = prev.as_ref().map(|prev| prev.revision);
        let revision = self.write(&key, meta, prev_revision, &value);
        for (piece, bytes) in format::cut(&value) {
            let row = format::piece_row(revision, piece).to_vec();
            self.batch.put(Table::Revisions, row, bytes);
        }
        if prev.is_none() && !Sabotage::CountOff.strikes(50) {
            self.pending.add(self.counts, &key, 1);
        }
        let kv = KeyValue {
            key,
            create_revision: meta.create_revision,
            mod_revision: self.main,
            version: meta.version,
            value,
            lease: meta.lease,
        };
        self.events.push(Event { kind: EventKind::Put, kv, prev: prev_revision });
        Ok(prev)
    }

    /// Deletes the live keys of the range and returns their last versions, keys ascending; their values can be loaded
    /// afterwards.
    pub fn delete_range(&mut self, range: &KeyRange) -> Result<Vec<Version>, Fault> {
        let mut deleted = Vec::new();
        if let KeyRange::Single(key) = range {
            deleted.extend(self.reader().find(key)?);
        } else {
            self.reader().walk(range, None, &mut |found| {
                deleted.push(found.version());
                ControlFlow::Continue(())
            })?;
        }
        if Sabotage::DeleteMissesLastKey.is_on() && deleted.len() > 1 {
            deleted.pop();
        }
        for version in &deleted {
            let key = version.key.clone();
            self.write(&key, Meta::TOMBSTONE, Some(version.revision), &Bytes::new());
            self.pending.add(self.counts, &key, -1);
            let kv = KeyValue { key, mod_revision: self.main, ..KeyValue::default() };
            self.events.push(Event { kind: EventKind::Delete, kv, prev: Some(version.revision) });
        }
        Ok(deleted)
    }

    /// The events of this revision (none: nothing changed, no revision is used), and what changes in the count index
    /// once the batch is merged; its rows are in the batch already.
    pub fn finish(self) -> Result<Option<(EventBatch, CountsDelta)>, Fault> {
        if self.events.is_empty() {
            return Ok(None);
        }
        let delta = self.counts.settle(self.batch, self.pending, self.main, &self.events)?;
        Ok(Some((EventBatch { revision: self.main, events: self.events }, delta)))
    }

    /// The rows of one change, and its revision.
    fn write(
        &mut self,
        key: &Bytes,
        meta: Meta,
        prev: Option<Revision>,
        value: &Bytes,
    ) -> Revision {
        let revision = Revision::new(self.main, self.events.len() as u32);
        let inline = if format::pieces(meta.value_bytes) == 0 { value.as_ref() } else { &[] };
        let record = Record { meta, prev, key, value: inline };
        self.batch.put(Table::Revisions, format::revision_row(revision).to_vec(), record.encode());
        self.batch.put(Table::Keys, format::key_row(&format::escape(key), revision), meta.encode());
        revision
    }
}
