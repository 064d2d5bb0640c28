//! Core: what comes out. One Ready of the crate becomes one set of effects.
//!
//! ```text
//!   ready() ─> entries into the Log (visible, not durable) ─> advance_append_async
//!          └─> Effects{number, persist, after_persist}  ··disk··>  persisted(number) ─> on_persist_ready ─> more Readies
//! ```
//!
//! A commit index that moved alone is not worth an fdatasync: it rides with the next batch (`Core::hard_state` has it
//! for a checkpoint), and at open commit = max(hard state, applied).

use raft::{Ready, StateRole};

use crate::base::Sabotage;
use crate::storage::{HardState, WalBatch};

use super::convert::{from_raft, to_stored};
use super::core::Outstanding;
use super::effects::{Effects, Outgoing, Persist, Role};
use super::wire::Kind;
use super::{CheckpointMark, Core, status};

impl Core {
    /// What was decided since the last call; none when there is nothing to do.
    pub fn effects(&mut self) -> Option<Effects> {
        self.flush();
        self.settle();
        let mut effects = Effects::default();
        let ready = self.raw.has_ready();
        if ready {
            self.take_ready(&mut effects);
        }
        effects.number = self.last_persist;
        effects.commit = self.watermark();
        if Sabotage::CommitBeforeQuorum.is_on() {
            effects.commit = self.raw.raft.raft_log.persisted;
        }
        effects.role = self.changed_role();
        let commits = effects.commit > self.commit_told;
        let wants = self.raw.store().wants_something();
        if !ready && !commits && !wants && effects.role.is_none() && !self.reads.has_lost() {
            return None;
        }
        self.commit_told = effects.commit;
        effects.lost_reads = self.reads.take_lost();
        effects.checkpoint_wanted = self.raw.store().take_checkpoint_wanted();
        effects.fetch = self.raw.store().take_fetches();
        Some(effects)
    }

    fn take_ready(&mut self, effects: &mut Effects) {
        let mut ready = self.raw.ready();
        self.last_ready = ready.number();
        for read in ready.take_read_states() {
            effects.reads.extend(self.reads.answered(&read.request_ctx, read.index));
        }
        let mut messages = ready.take_messages();
        messages.append(&mut ready.take_persisted_messages());
        let messages: Vec<Outgoing> = messages.into_iter().filter_map(from_raft).collect();
        effects.persist = self.take_persist(&mut ready);
        self.raw.advance_append_async(ready);
        if effects.persist.is_none() && self.outstanding.is_empty() {
            self.raw.on_persist_ready(self.last_ready);
        }
        for outgoing in messages {
            if self.may_leave(&outgoing) {
                effects.send.push(outgoing);
            } else {
                effects.after_persist.push(outgoing);
            }
        }
    }

    /// A leader may send before its own disk is done (thesis 10.2.1), but not before its term is durable: a single
    /// voter leads within one call, and a learner that took an entry of a term which the crash forgets would keep it
    /// against another entry of the same index and term. Everybody else's messages wait for the disk; only those that
    /// promise nothing but the term do not wait for entries, so that a read costs no fdatasync.
    fn may_leave(&self, outgoing: &Outgoing) -> bool {
        let promises_term_alone =
            matches!(outgoing.message.known_kind(), Ok(Kind::HeartbeatResponse | Kind::ReadIndex));
        let leads =
            self.raw.raft.state == StateRole::Leader || Sabotage::AppendAckedBeforeFsync.is_on();
        if leads || promises_term_alone {
            return !self.outstanding.iter().any(|ready| ready.elects);
        }
        self.outstanding.is_empty()
    }

    /// Puts the Ready's entries or snapshot into the log and says what the disk has to do about it.
    fn take_persist(&mut self, ready: &mut Ready) -> Option<Persist> {
        let before = self.hard_state;
        if let Some(state) = ready.hs() {
            let vote = if Sabotage::VoteForgotten.is_on() { 0 } else { state.vote };
            self.hard_state = HardState { term: state.term, vote, commit: state.commit };
        }
        let snapshot =
            (!ready.snapshot().is_empty()).then(|| CheckpointMark::from_snapshot(ready.snapshot()));
        if let Some(mark) = &snapshot {
            self.log.restart(mark.index, mark.term);
            self.raw.store().restarted();
        }
        let entries: Vec<_> = ready.take_entries().into_iter().map(to_stored).collect();
        let last = self.log.last_index();
        let truncate_from = entries.first().map(|entry| entry.index).filter(|index| *index <= last);
        self.log.extend(&entries);
        self.raw.store().extended(&entries);
        let elects = (before.term, before.vote) != (self.hard_state.term, self.hard_state.vote);
        if snapshot.is_none() && entries.is_empty() && !elects {
            return None;
        }
        let changed = self.hard_state != self.hard_state_saved || snapshot.is_some();
        self.hard_state_saved = self.hard_state;
        self.last_persist = self.last_ready;
        self.outstanding.push_back(Outstanding {
            number: self.last_ready,
            rewrites: truncate_from.is_some() || snapshot.is_some(),
            installs: snapshot.is_some(),
            elects,
        });
        let hard_state = changed.then_some(self.hard_state);
        let batch = WalBatch { truncate_from, entries, hard_state, install: None };
        Some(Persist { batch, snapshot })
    }

    fn changed_role(&mut self) -> Option<Role> {
        let raft = &self.raw.raft;
        let role = Role {
            term: raft.term,
            kind: status::role_kind(raft.state),
            leader: status::member(raft.leader_id),
            ready: self.is_ready(),
        };
        (self.role != Some(role)).then(|| {
            self.role = Some(role);
            role
        })
    }
}
