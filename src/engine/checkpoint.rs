//! The checkpoint thread's turn: the only writer of LMDB.
//!
//! A sealed overlay becomes one durable transaction with its applied index; between checkpoints, slices of compaction
//! delete what was compacted away, each with its cursor in the same transaction, and the file is rewritten for whoever
//! asks.

use std::sync::Arc;
use std::time::Duration;

use super::error::Error;
use super::shared::{ApplierMessage, CheckpointMessage, DriverMessage, Finished, Shared};
use crate::base::{Moment, limits};
use crate::mvcc::compact_slice;
use crate::storage::{Fault, NotRewritten};

/// Rows a slice looks at, at least and at most; between them its time decides.
const SLICE_ROWS_MIN: usize = 64;
const SLICE_ROWS_MAX: usize = 65_536;

/// See the module.
pub struct Checkpoint {
    shared: Arc<Shared>,
    /// Compact up to here; 0 is nothing.
    target: i64,
    /// Deleted up to here by this process.
    compacted: i64,
    slice_rows: usize,
    /// When deletion for the present target began.
    began: Option<Moment>,
    waiting: Vec<(i64, Finished)>,
}

impl Checkpoint {
    pub(super) fn new(shared: Arc<Shared>, target: i64) -> Self {
        let slice_rows = shared.config.compaction_rows;
        Self { shared, target, compacted: 0, slice_rows, began: None, waiting: Vec::new() }
    }

    /// One turn; true if there was anything to do.
    pub fn turn(&mut self, _now: Moment) -> Result<bool, Fault> {
        let messages = self.shared.checkpoint.drain();
        let mut busy = !messages.is_empty();
        let mut rewrites = Vec::new();
        for message in messages {
            match message {
                CheckpointMessage::Checkpoint { sealed, mark } => {
                    let began = self.shared.clock.now();
                    let report = self.shared.store.checkpoint(sealed)?;
                    let took = self.shared.clock.now().since(began);
                    self.shared.meters.checkpoints.observe(took);
                    tracing::debug!(?report, index = mark.index, "checkpoint");
                    self.shared.applier.push_internal(ApplierMessage::CheckpointDone);
                    self.shared.driver.push_internal(DriverMessage::Checkpointed(mark));
                }
                CheckpointMessage::Compact(revision) => self.target = self.target.max(revision),
                CheckpointMessage::WhenCompacted { revision, done } => {
                    self.waiting.push((revision, done));
                }
                CheckpointMessage::Restarted { compacted } => {
                    self.target = compacted;
                    self.compacted = 0;
                }
                CheckpointMessage::Rewrite(done) => rewrites.push(done),
            }
        }
        if !rewrites.is_empty() {
            self.shared.meters.rewriting.set(1);
            let result = self.rewrite()?;
            self.shared.meters.rewriting.set(0);
            for done in rewrites {
                done(result.clone());
            }
        }
        busy |= self.compact()?;
        let compacted = self.compacted;
        for (_, done) in self.waiting.extract_if(.., |(revision, _)| *revision <= compacted) {
            done(Ok(()));
        }
        Ok(busy)
    }

    /// One copy for all who wait. An attempt that fails harms nobody; only a failed switch is a fault.
    fn rewrite(&self) -> Result<Result<(), Error>, Fault> {
        let shared = &self.shared;
        let refused = |text: &str| Ok(Err(Error::NotRewritten(text.to_owned())));
        let began = shared.clock.now();
        let rewritten = match shared.store.rewrite() {
            Ok(rewritten) => rewritten,
            Err(error @ NotRewritten::NoRoom { .. }) => return refused(&error.to_string()),
            Err(NotRewritten::Fault(fault)) => {
                tracing::warn!(%fault, "could not rewrite the database");
                return refused(&fault.to_string());
            }
        };
        // Until the log on the disk begins at an installed snapshot, its mark vouches for that generation alone.
        if shared.log.durable_index() < shared.store.durable().applied {
            return refused("a snapshot is being installed: try again when that is done");
        }
        let (bytes_before, bytes_after) = (rewritten.bytes_before, rewritten.bytes_after);
        if !shared.store.switch(rewritten)? {
            return refused("a snapshot was installed meanwhile, which is as small");
        }
        let took = shared.clock.now().since(began);
        shared.meters.rewrites.observe(took);
        tracing::info!(bytes_before, bytes_after, ?took, "rewrote the database");
        Ok(Ok(()))
    }

    pub fn has_work(&self) -> bool {
        self.is_compaction_due()
    }

    /// Only what the database holds may be deleted from it.
    fn is_compaction_due(&self) -> bool {
        self.compacted < self.target && self.shared.store.durable().compacted >= self.target
    }

    /// One slice; true if there may be more.
    fn compact(&mut self) -> Result<bool, Fault> {
        if !self.is_compaction_due() {
            if self.compacted < self.target && !self.waiting.is_empty() {
                self.shared.applier.push_internal(ApplierMessage::Seal(None));
            }
            return Ok(false);
        }
        let (target, rows) = (self.target, self.slice_rows);
        let began = self.shared.clock.now();
        let progress = self.shared.store.sweep(|sweep| compact_slice(sweep, target, rows))?;
        let now = self.shared.clock.now();
        self.pace(now.since(began));
        let meters = &self.shared.meters;
        meters.compacted_versions.add(progress.deleted as u64);
        meters.compaction_slices.observe(now.since(began));
        let first = *self.began.get_or_insert(began);
        if progress.done {
            self.compacted = target;
            self.began = None;
            meters.compactions.observe(now.since(first));
            let seconds = self.shared.clock.wall_ms() / 1_000;
            meters.compacted_at_s.set(u64::try_from(seconds).unwrap_or(0));
        }
        Ok(true)
    }

    /// The next slice takes about its share of time.
    fn pace(&mut self, took: Duration) {
        if took.is_zero() {
            return;
        }
        let rows =
            if took > limits::COMPACTION_SLICE { self.slice_rows / 2 } else { self.slice_rows * 2 };
        self.slice_rows = rows.clamp(SLICE_ROWS_MIN, SLICE_ROWS_MAX);
    }
}
