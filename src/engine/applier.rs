//! The apply thread's turn: committed entries become state, replies and events.
//!
//! ```text
//!   watermark -> read entries from the log -> Machine::apply -> merge into the overlay -> publish the caches
//!             -> answer the writers, let reads go -> hub (events) -> seal the overlay when a checkpoint is due
//! ```
//!
//! It alone writes the overlay, so it alone seals it and it alone switches the database when a snapshot is installed.
//! The driver never waits for it. Promises: a reply leaves only after its rows are visible to every reader.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::hub::HubMessage;
use super::shared::{
    ApplierMessage, CheckpointMessage, DriverMessage, Finished, LogMessage, Shared, lock,
};
use super::waiters::{Applied, Decided, answer};
use crate::base::{Index, LeaseId, Moment, Term, limits};
use crate::consensus::{Change, CheckpointMark, decode_change};
use crate::mvcc::EventBatch;
use crate::state::{LeaseNote, Machine, Outcome, Reply};
use crate::storage::{Entry, EntryKind, Fault, Staged, View};

/// See the module.
pub struct Applier {
    shared: Arc<Shared>,
    machine: Machine,
    applied: Index,
    applied_term: Term,
    commit: Index,
    /// Somebody wants a checkpoint whatever is due.
    seal_wanted: bool,
    /// Told when what was applied at their asking is durable in the database.
    sealers: Vec<(Index, Finished)>,
    installs: Vec<Staged>,
}

/// What one turn collects before it tells anybody.
#[derive(Default)]
struct Collected {
    decided: Vec<Decided>,
    events: Vec<Arc<EventBatch>>,
    changes: Vec<Change>,
    compact_to: Option<i64>,
    members_changed: bool,
    tree_index: Option<u64>,
}

impl Applier {
    pub(super) fn new(shared: Arc<Shared>, machine: Machine, applied: Index, term: Term) -> Self {
        Self {
            shared,
            machine,
            applied,
            applied_term: term,
            commit: applied,
            seal_wanted: false,
            sealers: Vec::new(),
            installs: Vec::new(),
        }
    }

    /// One turn; true if there was anything to do.
    pub fn turn(&mut self, now: Moment) -> Result<bool, Fault> {
        let messages = self.shared.applier.drain();
        let mut busy = !messages.is_empty();
        for message in messages {
            self.handle(message);
        }
        for staged in std::mem::take(&mut self.installs) {
            self.install(staged)?;
        }
        if self.is_behind() {
            self.seal_if_due(now)?;
            return Ok(busy);
        }
        busy |= self.apply_committed(now)?;
        self.seal_if_due(now)?;
        self.release_sealers();
        Ok(busy)
    }

    /// More is committed than applied, and nothing holds the applier back.
    pub fn has_work(&self) -> bool {
        self.applied < self.commit && !self.is_passed_over() && !self.is_behind()
    }

    /// There is work, and checkpoint or hub hold it back.
    pub fn is_held(&self) -> bool {
        self.applied < self.commit && self.is_behind()
    }

    pub fn applied(&self) -> Index {
        self.applied
    }

    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    fn handle(&mut self, message: ApplierMessage) {
        match message {
            ApplierMessage::Commit(index) => self.commit = self.commit.max(index),
            ApplierMessage::Install(staged) => self.installs.push(staged),
            ApplierMessage::Seal(finished) => {
                self.seal_wanted = true;
                if let Some(finished) = finished {
                    self.sealers.push((self.applied, finished));
                }
            }
            ApplierMessage::CheckpointDone => {}
        }
    }

    /// The log begins behind what is to be applied next: a snapshot is about to be installed.
    fn is_passed_over(&self) -> bool {
        self.applied + 1 < self.shared.log.first_index()
    }

    /// The checkpoint or the hub cannot keep up: the log on disk grows instead of the RAM.
    fn is_behind(&self) -> bool {
        self.shared.store.overlay_bytes() > self.shared.config.overlay_apply_bytes_max
            || self.shared.hub.len() > limits::HUB_INBOX_MAX
    }

    fn apply_committed(&mut self, now: Moment) -> Result<bool, Fault> {
        if self.applied >= self.commit || self.is_passed_over() {
            return Ok(false);
        }
        let budget = self.shared.config.apply_batch_bytes;
        let entries = self.shared.log.read(self.applied + 1, self.commit + 1, budget)?;
        if entries.is_empty() {
            return Ok(false);
        }
        let began = self.shared.clock.now();
        let view = self.shared.store.view()?;
        let mut collected = Collected::default();
        for entry in &entries {
            self.apply(&view, entry, &mut collected, now)?;
        }
        drop(view);
        self.shared.meters.applied(self.shared.clock.now().since(began));
        self.tell(collected);
        Ok(true)
    }

    fn apply(
        &mut self,
        view: &View,
        entry: &Entry,
        collected: &mut Collected,
        now: Moment,
    ) -> Result<(), Fault> {
        let (index, term) = (entry.index, entry.term);
        let change = match entry.kind {
            EntryKind::Normal => None,
            EntryKind::ConfChange => Some(decode_change(&entry.data)?),
        };
        let data: &Bytes = change.as_ref().map_or(&entry.data, |change| &change.context);
        let mut outcome = self.machine.apply(view, index, term, data)?;
        self.shared.store.merge(std::mem::take(&mut outcome.rows), outcome.stamp, now);
        self.machine.publish();
        (self.applied, self.applied_term) = (index, term);
        self.collect(outcome, change, entry, collected, now);
        Ok(())
    }

    fn collect(
        &mut self,
        outcome: Outcome,
        change: Option<Change>,
        entry: &Entry,
        collected: &mut Collected,
        now: Moment,
    ) {
        let config = &self.shared.config;
        if outcome.members_changed.is_some() {
            collected.changes.extend(change);
        }
        // Names and addresses count, too: the transport dials by them; and alarms: a member may be told that it is corrupt.
        collected.members_changed |= matches!(
            outcome.result,
            Ok(Reply::Members { .. } | Reply::Published | Reply::Alarm(_))
        );
        collected.compact_to = outcome.compact_to.or(collected.compact_to);
        collected.events.extend(outcome.events.map(Arc::new));
        collected.tree_index = outcome.v2_index.or(collected.tree_index);
        if let Ok(reply) = &outcome.result {
            self.shared.tree_meters.applied(reply);
        }
        if !outcome.leases.is_empty() {
            self.note_leases(&outcome.leases, now);
        }
        if let Some(note) = outcome.auth {
            let wall_ms = self.shared.clock.wall_ms();
            lock(&self.shared.tokens).note(note, config.token_ttl, now, wall_ms);
        }
        let request = outcome.request;
        let is_ours = request.member == config.member && request.nonce == config.boot_nonce;
        let mut waiters = self.shared.waiters();
        if is_ours && let Some(done) = waiters.take(request.counter) {
            let result = outcome.result.map_err(super::Error::Rejected).map(|reply| Applied {
                reply,
                revision: outcome.stamp.revision,
                index: entry.index,
                term: entry.term,
            });
            collected.decided.push((done, result));
        }
        waiters.applied(entry.index, entry.term, &mut collected.decided);
    }

    fn note_leases(&self, notes: &[LeaseNote], now: Moment) {
        let mut lessor = self.shared.lessor();
        for note in notes {
            self.shared.meters.lease(note);
            match *note {
                LeaseNote::Granted { id, ttl, .. } => lessor.granted(id, ttl, now),
                LeaseNote::Revoked { id, .. } => lessor.revoked(id),
                LeaseNote::Checkpointed { id, remaining, .. } => {
                    lessor.recorded(id, (remaining > 0).then_some(remaining), now);
                }
            }
        }
    }

    /// Writers first, then reads, then watchers, then Raft.
    fn tell(&self, mut collected: Collected) {
        let shared = &self.shared;
        shared.applied_term.store(self.applied_term, Ordering::Release);
        shared.applied.store(self.applied, Ordering::Release);
        // Who is told of a compaction, and then watches what it forgot, is told so.
        if collected.compact_to.is_some() {
            self.tell_watchers(&mut collected);
        }
        answer(std::mem::take(&mut collected.decided));
        shared.release_reads();
        shared.lessor().applied(self.applied, self.applied_term);
        self.tell_watchers(&mut collected);
        if let Some(index) = collected.tree_index {
            shared.tree_index.send_replace(index);
        }
        let changes = collected.changes;
        shared.driver.push_internal(DriverMessage::Applied { index: self.applied, changes });
        if collected.members_changed {
            shared.members_version.send_modify(|version| *version += 1);
        }
    }

    fn tell_watchers(&self, collected: &mut Collected) {
        let (shared, events) = (&self.shared, std::mem::take(&mut collected.events));
        if !events.is_empty() {
            events.iter().for_each(|batch| shared.meters.events(batch));
            shared.hub.push_internal(HubMessage::Events(events));
        }
        if let Some(revision) = collected.compact_to.take() {
            shared.hub.push_internal(HubMessage::Compacted(revision));
            shared.checkpoint.push_internal(CheckpointMessage::Compact(revision));
        }
    }

    /// The staged database takes the place of everything applied so far.
    fn install(&mut self, staged: Staged) -> Result<(), Fault> {
        let shared = &self.shared;
        shared.meters.installing.set(1);
        self.machine.suspend();
        shared.store.install(staged)?;
        let stamp = shared.store.stamp();
        self.machine.reload(&shared.store.view()?, stamp)?;
        (self.applied, self.applied_term) = (stamp.applied, stamp.term);
        self.commit = self.commit.max(stamp.applied);
        tracing::info!(index = stamp.applied, revision = stamp.revision, "installed a snapshot");

        shared.lessor().load(leases_of(&self.machine));
        // Whose password was changed in what was passed over is not known.
        lock(&shared.tokens).clear();
        let mut collected = Collected { members_changed: true, ..Collected::default() };
        shared.waiters().passed_over(stamp.applied, &mut collected.decided);
        shared.hub.push_internal(HubMessage::Restarted {
            revision: stamp.revision,
            compacted: stamp.compacted,
        });
        shared
            .checkpoint
            .push_internal(CheckpointMessage::Restarted { compacted: stamp.compacted });
        shared.committed.fetch_max(stamp.applied, Ordering::AcqRel);
        shared.applied_term.store(self.applied_term, Ordering::Release);
        shared.applied.store(self.applied, Ordering::Release);
        answer(collected.decided);
        shared.release_reads();
        shared.tree_index.send_replace(shared.state.v2_index());
        shared.members_version.send_modify(|version| *version += 1);
        shared.driver.push_internal(DriverMessage::Checkpointed(self.mark()));
        shared.log_inbox.push_internal(LogMessage::Installed);
        shared.meters.installing.set(0);
        Ok(())
    }

    /// Hands the overlay to the checkpoint at an entry's boundary.
    fn seal_if_due(&mut self, now: Moment) -> Result<(), Fault> {
        if !self.seal_wanted && !self.shared.store.seal_due(now) {
            return Ok(());
        }
        if let Some(sealed) = self.shared.store.seal() {
            self.seal_wanted = false;
            let mark = self.mark();
            self.shared.checkpoint.push_internal(CheckpointMessage::Checkpoint { sealed, mark });
        } else if self.shared.store.durable().applied >= self.applied {
            self.seal_wanted = false;
        }
        Ok(())
    }

    fn release_sealers(&mut self) {
        if self.sealers.is_empty() {
            return;
        }
        let durable = self.shared.store.durable().applied;
        let sealers = std::mem::take(&mut self.sealers);
        let (done, waiting): (Vec<_>, Vec<_>) =
            sealers.into_iter().partition(|(index, _)| *index <= durable);
        for (_, finished) in done {
            finished(Ok(()));
        }
        self.seal_wanted |= !waiting.is_empty();
        self.sealers = waiting;
    }

    fn mark(&self) -> CheckpointMark {
        let members = self.machine.members();
        CheckpointMark {
            index: self.applied,
            term: self.applied_term,
            voters: members.voters(),
            learners: members.learners(),
        }
    }
}

/// What the lessor wants to know: (id, TTL, recorded remaining time), seconds.
pub(super) fn leases_of(machine: &Machine) -> Vec<(LeaseId, i64, Option<i64>)> {
    let leases = machine.shared().leases().into_iter();
    leases
        .map(|(id, lease)| (id, lease.ttl, (lease.remaining > 0).then_some(lease.remaining)))
        .collect()
}
