//! The log thread's turn: everything that is queued becomes one write and one fdatasync.
//!
//! While one batch is being synced the next one gathers, so the disk sets the size of the batches. Alone in the
//! engine, this turn (and the checkpoint's) waits for a disk; nobody waits for it but those whom it will answer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::shared::{ApplierMessage, DriverMessage, LogMessage, Shared};
use crate::base::{Moment, Sabotage, limits};
use crate::consensus::{CheckpointMark, Fetch};
use crate::storage::{Entry, Fault, HardState, InstallMark, Staged, Wal, WalBatch};

/// See the module.
pub struct LogTurn {
    shared: Arc<Shared>,
    wal: Wal,
    /// What waits while a snapshot is being installed.
    held: VecDeque<LogMessage>,
    installing: Option<Installing>,
}

struct Installing {
    number: u64,
    mark: CheckpointMark,
    hard_state: HardState,
    /// Entries behind the snapshot: written once the log has started anew.
    rest: WalBatch,
}

/// Batches on the way to becoming one.
#[derive(Default)]
struct Gathered {
    batch: WalBatch,
    bytes: usize,
    number: Option<u64>,
}

impl LogTurn {
    pub(super) fn new(shared: Arc<Shared>, wal: Wal) -> Self {
        Self { shared, wal, held: VecDeque::new(), installing: None }
    }

    /// One turn; true if there was anything to do.
    pub fn turn(&mut self, now: Moment) -> Result<bool, Fault> {
        self.held.append(&mut self.shared.log_inbox.drain());
        let mut busy = false;
        if let Some(position) = self.held.iter().position(|m| matches!(m, LogMessage::Installed)) {
            self.held.remove(position);
            self.installed()?;
            busy = true;
        }
        let waits = self.installing.is_some() && !Sabotage::SecondSnapshotTaken.is_on();
        if waits || self.held.is_empty() {
            return Ok(busy);
        }
        self.begin(now);
        let done = self.write_held();
        self.shared.write_since.store(0, Ordering::Release);
        done.map(|()| true)
    }

    /// Something waits to be written.
    pub fn has_work(&self) -> bool {
        self.installing.is_none() && (!self.held.is_empty() || self.shared.log_inbox.len() > 0)
    }

    /// A write begins now: what the watchdog counts from. Apart from the turn, so that a simulated disk can hang.
    pub fn begin(&self, now: Moment) {
        let idle_to_now = |since| (since == 0).then_some(now.0 + 1);
        // Failing means that a write is in flight already: its beginning counts.
        let _ =
            self.shared.write_since.fetch_update(Ordering::AcqRel, Ordering::Acquire, idle_to_now);
    }

    fn write_held(&mut self) -> Result<(), Fault> {
        let mut gathered = Gathered::default();
        while let Some(message) = self.held.pop_front() {
            match message {
                LogMessage::Persist { number, batch, install: None } => {
                    gathered.add(number, batch);
                    if gathered.bytes >= limits::PROPOSE_BATCH_BYTES_MAX {
                        self.write(std::mem::take(&mut gathered))?;
                    }
                }
                LogMessage::Persist { number, batch, install: Some((mark, staged)) } => {
                    self.write(gathered)?;
                    return self.install(number, batch, mark, staged);
                }
                LogMessage::Trim(to) => {
                    self.write(std::mem::take(&mut gathered))?;
                    self.wal.trim(to)?;
                }
                LogMessage::Fetch(fetch) => {
                    self.write(std::mem::take(&mut gathered))?;
                    self.fetch(fetch)?;
                }
                LogMessage::Installed => {}
            }
        }
        self.write(gathered)
    }

    fn write(&mut self, gathered: Gathered) -> Result<(), Fault> {
        let Some(number) = gathered.number else { return Ok(()) };
        let shared = &self.shared;
        let began = shared.clock.now();
        self.wal.append(gathered.batch)?;
        shared.meters.log_writes.observe(shared.clock.now().since(began));
        shared.meters.log_bytes.add(gathered.bytes as u64);
        shared.driver.push_internal(DriverMessage::Persisted { number, installed: None });
        Ok(())
    }

    fn fetch(&self, fetch: Fetch) -> Result<(), Fault> {
        let Fetch { token, low, high, bytes_max } = fetch;
        // Trimmed in the meantime: Core hears of no entries and sends a snapshot instead.
        let entries = if low < self.shared.log.first_index() {
            Vec::new()
        } else {
            self.shared.log.read(low, high, bytes_max)?
        };
        self.shared.driver.push_internal(DriverMessage::Fetched { token, entries });
        Ok(())
    }

    /// First the mark, synced; then the applier switches the database; then the log starts anew.
    fn install(
        &mut self,
        number: u64,
        mut batch: WalBatch,
        mark: CheckpointMark,
        staged: Staged,
    ) -> Result<(), Fault> {
        let hard_state = batch.hard_state.take().unwrap_or_default();
        let (index, term) = (mark.index, mark.term);
        let install = InstallMark { index, term, generation: staged.generation() };
        self.wal.append(WalBatch {
            hard_state: Some(hard_state),
            install: Some(install),
            ..WalBatch::default()
        })?;
        self.installing = Some(Installing { number, mark, hard_state, rest: batch });
        self.shared.applier.push_internal(ApplierMessage::Install(staged));
        Ok(())
    }

    fn installed(&mut self) -> Result<(), Fault> {
        let Some(Installing { number, mark, hard_state, rest }) = self.installing.take() else {
            return Ok(());
        };
        self.wal.restart(mark.index, mark.term, hard_state)?;
        if !rest.is_empty() {
            self.wal.append(rest)?;
        }
        let installed = Some(mark.index);
        self.shared.driver.push_internal(DriverMessage::Persisted { number, installed });
        Ok(())
    }
}

impl Gathered {
    fn add(&mut self, number: u64, batch: WalBatch) {
        self.number = Some(number);
        self.bytes += batch.entries.iter().map(Entry::weight).sum::<usize>();
        self.batch.merge(batch);
    }
}
