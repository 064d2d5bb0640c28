//! The Raft thread's turn: drain, decide, act.
//!
//! ```text
//!   inbox (proposals, reads, peers' messages, what log and applier did)
//!      -> consensus::Core decides -> Effects
//!      -> send now --------------------------------> outbox
//!      -> persist ---------------------------------> log turn ... Persisted(n) -> send after persist -> outbox
//!      -> commit watermark ------------------------> applier
//! ```
//!
//! Core handles "persisted up to n" *before* the messages of Ready n leave, and [`Driver::release`] is the one place
//! that lets them go. Nothing here touches a disk or waits for another turn.

mod changes;
mod disk;
mod effects;
mod proposals;
mod reads;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

pub use self::changes::ChangeRefused;
use self::effects::Pending;
use self::proposals::{Forwards, Parked};
use self::reads::Reads;
use super::shared::{ApplierMessage, DriverMessage, Finished, LogMessage, Shared};
use super::waiters::{Decided, answer};
use crate::base::{Index, MemberId, Moment, Sabotage};
use crate::consensus::{Core, Refused, wire};
use crate::storage::{Fault, Staged};

/// See the module.
pub struct Driver {
    shared: Arc<Shared>,
    core: Core,
    next_tick: Moment,
    parked: Parked,
    /// What waits at the leader, if that is another member.
    forwards: Forwards,
    reads: Reads,
    /// Readies whose entries are on the way to the disk, and the messages that wait for it.
    pending: VecDeque<Pending>,
    /// The snapshot that was staged for the message being stepped.
    staged: Option<Staged>,
    /// Snapshots on the way to peers: the log is kept from here on.
    snapshots: BTreeMap<MemberId, Index>,
    transfer: Option<Transfer>,
    decided: Vec<Decided>,
}

struct Transfer {
    to: MemberId,
    deadline: Moment,
    done: Finished,
}

impl Driver {
    pub(super) fn new(shared: Arc<Shared>, core: Core, now: Moment) -> Self {
        Self {
            next_tick: now + shared.config.tick,
            shared,
            core,
            parked: Parked::default(),
            forwards: Forwards::default(),
            reads: Reads::default(),
            pending: VecDeque::new(),
            staged: None,
            snapshots: BTreeMap::new(),
            transfer: None,
            decided: Vec::new(),
        }
    }

    /// One turn; true if there was anything to do.
    pub fn turn(&mut self, now: Moment) -> Result<bool, Fault> {
        // Whoever met damage, a client's read or a copy: a member that holds some must not go on.
        self.shared.store.sound()?;
        let messages = self.shared.driver.drain();
        let mut busy = !messages.is_empty();
        for message in messages {
            self.handle(message, now)?;
        }
        busy |= self.tick(now);
        self.watch_disk(now);
        self.propose_parked(now);
        self.start_reads(now);
        busy |= self.perform_effects(now);
        self.end_transfer(now);
        self.shared.waiters().expire(now, &mut self.decided);
        answer(std::mem::take(&mut self.decided));
        Ok(busy)
    }

    /// When the next turn is due though nothing arrives.
    pub fn wake_at(&self) -> Moment {
        self.next_tick
    }

    /// The core, for those who look on (invariants of the simulation).
    pub fn core(&self) -> &Core {
        &self.core
    }

    fn handle(&mut self, message: DriverMessage, now: Moment) -> Result<(), Fault> {
        match message {
            DriverMessage::Propose(proposal, done) => self.park(proposal, done),
            DriverMessage::Read { deadline, done } => self.reads.ask(deadline, done),
            DriverMessage::Peer { from, messages } => self.step_all(from, messages),
            DriverMessage::ForwardedProposals(forwarded) => self.propose_forwarded(forwarded),
            DriverMessage::ForwardAnswered { counters, asked, answer } => {
                self.forward_answered(&counters, asked, answer);
            }
            DriverMessage::Persisted { number, installed } => self.persisted(number, installed),
            DriverMessage::Applied { index, changes } => {
                for change in &changes {
                    self.core.apply_change(change)?;
                }
                self.core.applied(index);
            }
            DriverMessage::Checkpointed(mark) => {
                self.core.checkpointed(mark);
                self.trim();
            }
            DriverMessage::Staged { from, message, staged } => {
                self.step_snapshot(from, message, staged, now);
            }
            DriverMessage::SnapshotStarted { to, index } => {
                self.snapshots.insert(to, index);
            }
            DriverMessage::SnapshotSent { to, ok } => {
                self.snapshots.remove(&to);
                self.core.snapshot_sent(to, ok);
            }
            DriverMessage::Unreachable(peer) => self.core.unreachable(peer),
            DriverMessage::Fetched { token, entries } => self.core.entries_fetched(token, &entries),
            DriverMessage::Transfer { to, deadline, done } => self.transfer(to, deadline, done),
            DriverMessage::Campaign => self.core.campaign(),
        }
        Ok(())
    }

    fn tick(&mut self, now: Moment) -> bool {
        if now < self.next_tick {
            return false;
        }
        self.core.tick();
        self.next_tick = self.next_tick + self.shared.config.tick;
        if self.next_tick <= now {
            // The process was paused: missed ticks are not made up for, or it would campaign at once.
            self.next_tick = now + self.shared.config.tick;
        }
        self.trim();
        true
    }

    fn step_all(&mut self, from: MemberId, messages: Vec<Bytes>) {
        for bytes in messages {
            let stepped = wire::RaftMessage::decode(bytes).and_then(|message| {
                if message.known_kind() == Ok(wire::Kind::Append) {
                    self.shared.meters.received_appends.increment();
                }
                self.core.step(from, message)
            });
            if let Err(invalid) = stepped {
                tracing::warn!(peer = %from, %invalid, "refused a Raft message");
            }
        }
    }

    /// The snapshot's database lies staged: only now may Core hear of it.
    fn step_snapshot(
        &mut self,
        from: MemberId,
        message: wire::RaftMessage,
        staged: Staged,
        now: Moment,
    ) {
        self.staged = Some(staged);
        if let Err(invalid) = self.core.step(from, message) {
            tracing::warn!(peer = %from, %invalid, "refused a snapshot");
        }
        self.perform_effects(now);
        if let Some(ignored) = self.staged.take() {
            if Sabotage::OlderSnapshotInstalled.is_on() {
                return self.shared.applier.push_internal(ApplierMessage::Install(ignored));
            }
            tracing::info!(peer = %from, "a snapshot was not needed any more");
            self.shared.store.discard(ignored);
        }
    }

    fn transfer(&mut self, to: MemberId, deadline: Moment, done: Finished) {
        let status = self.core.status();
        if status.leader == Some(to) && to == status.id {
            return done(Ok(()));
        }
        match self.core.transfer(to) {
            Ok(()) => {
                if let Some(replaced) = self.transfer.replace(Transfer { to, deadline, done }) {
                    (replaced.done)(Err(super::Error::TransferTimeout));
                }
            }
            Err(Refused::NoLeader { .. }) => done(Err(super::Error::NotLeader)),
            Err(Refused::BadTransferee) => done(Err(super::Error::BadTransferee)),
            Err(_) => done(Err(super::Error::TooManyRequests)),
        }
    }

    fn end_transfer(&mut self, now: Moment) {
        let Some(transfer) = &self.transfer else { return };
        let is_done = self.core.status().leader == Some(transfer.to);
        if !is_done && now < transfer.deadline {
            return;
        }
        if let Some(transfer) = self.transfer.take() {
            let result = if is_done { Ok(()) } else { Err(super::Error::TransferTimeout) };
            (transfer.done)(result);
        }
    }

    fn trim(&self) {
        let config = &self.shared.config;
        let status = self.core.status();
        let alive =
            status.progress.iter().filter(|peer| peer.silent_ticks <= config.log_kept_ticks);
        let matched_min = alive.map(|peer| peer.matched).min();
        let holders = super::trim::Holders {
            durable: self.shared.store.durable().applied,
            first: self.shared.log.first_index(),
            last: self.shared.log.last_index(),
            matched_min,
            snapshot_min: self.snapshots.values().copied().min(),
            bytes: self.shared.log.bytes_kept(),
        };
        let to = super::trim::trim_to(holders, config.log_kept_entries, config.log_kept_bytes_max);
        if let Some(to) = to {
            self.shared.log_inbox.push_internal(LogMessage::Trim(to));
        }
    }
}
