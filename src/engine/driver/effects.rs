//! Acting on what Core decided; the order of sends and writes is decided here and nowhere else.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::Driver;
use crate::base::{Index, MemberId, Moment, Sabotage};
use crate::consensus::wire::Kind;
use crate::consensus::{Class, Effects, Outgoing, Persist, Role, RoleKind};
use crate::engine::shared::{ApplierMessage, LogMessage, SnapshotJob};
use crate::engine::status::RaftStatus;

/// A Ready that is not known to be durable.
pub(super) struct Pending {
    number: u64,
    /// The log turn was asked to write something for it.
    is_written: bool,
    messages: Vec<Outgoing>,
}

impl Driver {
    /// Takes every Ready there is; true if there was one.
    pub(super) fn perform_effects(&mut self, now: Moment) -> bool {
        let mut any = false;
        while let Some(effects) = self.core.effects() {
            any = true;
            self.perform(effects, now);
        }
        if any {
            self.publish();
        }
        any
    }

    fn perform(&mut self, effects: Effects, now: Moment) {
        if let Some(role) = &effects.role {
            self.role_changed(role, now);
        }
        self.send(effects.send);
        let is_written = effects.persist.is_some();
        if let Some(persist) = effects.persist {
            self.persist(effects.number, persist);
        }
        let pending =
            Pending { number: effects.number, is_written, messages: effects.after_persist };
        self.pending.push_back(pending);
        self.release(0);
        if effects.commit > self.shared.committed() {
            self.shared.committed.store(effects.commit, Ordering::Release);
            self.shared.applier.push_internal(ApplierMessage::Commit(effects.commit));
        }
        for id in effects.lost_reads {
            self.reads.lost(id);
        }
        for (id, index) in effects.reads {
            self.read_confirmed(id, index);
        }
        if effects.checkpoint_wanted {
            self.shared.applier.push_internal(ApplierMessage::Seal(None));
        }
        for fetch in effects.fetch {
            self.shared.log_inbox.push_internal(LogMessage::Fetch(fetch));
        }
    }

    fn persist(&mut self, number: u64, persist: Persist) {
        let install = match (persist.snapshot, self.staged.take()) {
            (Some(meta), Some(staged)) => Some((meta, staged)),
            (None, staged) => {
                self.staged = staged;
                None
            }
            // Core takes a snapshot only from `step_snapshot`, which staged it.
            (Some(_), None) => unreachable!("a snapshot without its staged database"),
        };
        let message = LogMessage::Persist { number, batch: persist.batch, install };
        self.shared.log_inbox.push_internal(message);
    }

    /// The log turn has written everything up to Ready `number`.
    pub(super) fn persisted(&mut self, number: u64, installed: Option<Index>) {
        self.release(number);
        if let Some(index) = installed {
            self.core.applied(index);
        }
    }

    /// Lets go what waits for Readies up to `written`, and for those behind them that had nothing to write.
    fn release(&mut self, written: u64) {
        let mut last = None;
        let mut messages = Vec::new();
        while let Some(pending) = self.pending.front()
            && (pending.number <= written || !pending.is_written)
        {
            if pending.is_written {
                last = Some(pending.number);
            }
            messages.extend(self.pending.pop_front().into_iter().flat_map(|ready| ready.messages));
        }
        if let Some(number) = last {
            // Core first: a message of Ready n says "I have n", and Core must know so too.
            self.core.persisted(number);
        }
        self.send(messages);
    }

    /// One write per peer and class.
    fn send(&mut self, outgoing: Vec<Outgoing>) {
        let mut control: BTreeMap<MemberId, Vec<Bytes>> = BTreeMap::new();
        let mut append: BTreeMap<MemberId, Vec<Bytes>> = BTreeMap::new();
        for Outgoing { to, class, message } in outgoing {
            match class {
                Class::Snapshot => {
                    self.shared.snapshots.push_internal(SnapshotJob { to, message });
                }
                Class::Control => control.entry(to).or_default().push(message.encode()),
                Class::Append => {
                    if message.known_kind() == Ok(Kind::Append) {
                        self.shared.meters.peer(to).sent_appends.increment();
                    }
                    append.entry(to).or_default().push(message.encode());
                }
            }
        }
        for (to, messages) in control {
            self.shared.meters.sent(to, &messages);
            self.shared.outbox.send(to, Class::Control, messages);
        }
        for (to, messages) in append {
            self.shared.meters.sent(to, &messages);
            self.shared.outbox.send(to, Class::Append, messages);
        }
    }

    fn role_changed(&mut self, role: &Role, now: Moment) {
        let config = &self.shared.config;
        let leader = role.leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string());
        tracing::info!(member = %config.member, term = role.term, %leader, "raft role changed");
        if role.leader.is_some() && role.leader != self.shared.raft_status().leader {
            self.shared.meters.leader_changes.increment();
        }
        let mut lessor = self.shared.lessor();
        self.shared.confirmed_at.store(0, Ordering::Release);
        if role.is_leader() {
            lessor.promote(role.term, now, config.election_timeout());
        } else if !Sabotage::LeaseKeptByFormerLeader.is_on() {
            lessor.demote();
        }
        drop(lessor);
        self.reads.start_over();
    }

    fn publish(&self) {
        let status = self.core.status();
        let before = self.shared.raft_status();
        let leader_since_ms = match before.leader == status.leader && before.leader_since_ms != 0 {
            true => before.leader_since_ms,
            false => self.shared.clock.wall_ms(),
        };
        let published = RaftStatus {
            term: status.term,
            leader: status.leader,
            leader_since_ms,
            is_leader: status.role == RoleKind::Leader,
            // Told of the members that are applied, when it is read.
            is_learner: false,
            commit: status.commit,
            last_index: status.last_index,
            has_quorum: status.heard_quorum,
        };
        *self.shared.status.write().unwrap_or_else(PoisonError::into_inner) = published;
    }
}
