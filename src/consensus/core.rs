//! Core: what goes in. What comes out is in `ready.rs`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use raft::eraftpb::{self, MessageType};
use raft::{RawNode, StateRole};

use crate::base::{Index, MemberId, Sabotage, Term};
use crate::storage::{Entry, EntryKind, Fault, HardState, Log};

use super::config::Config;
use super::convert::{raft_entry, to_raft};
use super::effects::{Error, ReadId, Refused, Role};
use super::guard::{Verdict, inspect};
use super::log_drain::log_drain;
use super::log_view::LogView;
use super::reads::Reads;
use super::wire::{Invalid, Kind, RaftMessage};
use super::{Change, ChangeKind, CheckpointMark, status};

/// What became of a message that was no error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stepped {
    Taken,
    /// A snapshot message: the next effects tell to install the staged copy.
    Restored,
    /// A snapshot message that this member has no use for: discard the staged copy.
    NotRestored,
}

/// One member's consensus. Every call may produce effects; collect them before waiting for anything.
pub struct Core {
    pub(super) raw: RawNode<LogView>,
    pub(super) log: Arc<Log>,
    pub(super) config: Config,
    /// Proposals since the last other call: they become one append. Their terms and indexes are promised already.
    pub(super) unflushed: Vec<eraftpb::Entry>,
    unflushed_bytes: u64,
    /// Own proposals that are not committed: index and bytes.
    uncommitted: VecDeque<(Index, u64)>,
    uncommitted_bytes: u64,
    /// Readies that were handed out to be made durable, oldest first.
    pub(super) outstanding: VecDeque<Outstanding>,
    pub(super) last_ready: u64,
    pub(super) last_persist: u64,
    /// As of the last effects, and as of the last batch that carries one.
    pub(super) hard_state: HardState,
    pub(super) hard_state_saved: HardState,
    pub(super) reads: Reads,
    pub(super) role: Option<Role>,
    pub(super) commit_told: Index,
    held: bool,
    pub(super) ticks: u64,
    /// Tick at which a member was last heard from, since this one leads.
    pub(super) heard: BTreeMap<u64, u64>,
    pub(super) leads_since: u64,
    was: (Term, StateRole),
    campaigns: u32,
    /// Was the only voter when it was built, and has not led yet: it waits for nobody.
    alone: bool,
}

/// One Ready on its way to the disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outstanding {
    pub(super) number: u64,
    /// It replaces entries that an earlier one may carry, or installs a snapshot.
    pub(super) rewrites: bool,
    pub(super) installs: bool,
    /// It carries a new term or vote.
    pub(super) elects: bool,
}

impl Core {
    /// Builds a member's consensus over its log. `applied`, `voters` and `learners` are the state machine's, the hard
    /// state the log's. A single voter campaigns at once. Reads the log's unapplied tail.
    pub fn new(
        config: Config,
        log: Arc<Log>,
        hard_state: HardState,
        applied: Index,
        voters: &[MemberId],
        learners: &[MemberId],
        checkpoint: CheckpointMark,
    ) -> Result<Self, Error> {
        let hard_state = opened(&log, hard_state, applied)?;
        let view =
            LogView::new(Arc::clone(&log), hard_state, applied, voters, learners, checkpoint);
        let mut low = applied + 1;
        while low <= log.last_index() {
            let entries = log.read(low, log.last_index() + 1, OPEN_READ_BYTES)?;
            let Some(last) = entries.last() else {
                return Err(Fault::corrupt(format!("entry {low} is missing"), "the log").into());
            };
            low = last.index + 1;
            view.extended(&entries);
        }
        let invalid = |error: raft::Error| Error::Config(error.to_string());
        let raw = RawNode::new(&config.to_raft(applied), view, &log_drain()).map_err(invalid)?;
        let reads = Reads::new(config.id, config.boot_nonce);
        let mut core = Self {
            raw,
            log,
            config,
            unflushed: Vec::new(),
            unflushed_bytes: 0,
            uncommitted: VecDeque::new(),
            uncommitted_bytes: 0,
            outstanding: VecDeque::new(),
            last_ready: 0,
            last_persist: 0,
            hard_state,
            hard_state_saved: hard_state,
            reads,
            role: None,
            commit_told: 0,
            held: false,
            ticks: 0,
            heard: BTreeMap::new(),
            leads_since: 0,
            was: (hard_state.term, StateRole::Follower),
            campaigns: 0,
            alone: false,
        };
        core.settle();
        core.alone = core.raw.raft.prs().is_singleton();
        if core.alone {
            core.campaign();
        }
        Ok(core)
    }

    /// One tick of time. A member that is not the leader stands still while anything it was told is not durable, or
    /// while it is held: whoever cannot write must not campaign.
    pub fn tick(&mut self) {
        self.flush();
        self.ticks += 1;
        let leads = self.raw.raft.state == StateRole::Leader;
        if !leads && !self.may_campaign() {
            return;
        }
        self.raw.tick();
        if !leads && self.raw.raft.election_elapsed == 0 {
            self.campaigns += 1;
        }
        self.settle();
    }

    /// Campaigns now, if this member is a voter and may.
    pub fn campaign(&mut self) {
        self.flush();
        if self.raw.raft.promotable() && self.may_campaign() {
            self.campaigns += 1;
            // The only errors of a step are those of proposals and of unknown senders.
            let _ = self.raw.campaign();
            self.settle();
        }
    }

    /// Appends an entry to this leader's log. It is decided when the entry at that index is applied: the same term is
    /// this entry, another one means that it was never proposed.
    pub fn propose(&mut self, data: Bytes) -> Result<(Term, Index), Refused> {
        let bytes = self.admit(&data)?;
        let raft = &self.raw.raft;
        let index = raft.raft_log.last_index() + 1 + self.unflushed.len() as u64;
        self.unflushed.push(raft_entry(EntryKind::Normal, 0, 0, data));
        self.unflushed_bytes += bytes;
        self.count_uncommitted(index, bytes);
        let term = self.raw.raft.term;
        if self.unflushed_bytes >= self.config.message_bytes_max {
            self.flush();
        }
        Ok((term, index))
    }

    /// Proposes a membership change; one at a time, and none before this leader has applied what its predecessors left.
    pub fn propose_change(&mut self, change: &Change) -> Result<(Term, Index), Refused> {
        self.flush();
        let data = change.encode();
        let bytes = self.admit(&data)?;
        if self.raw.raft.has_pending_conf() {
            return Err(Refused::Busy);
        }
        let index = self.raw.raft.raft_log.last_index() + 1;
        self.unflushed.push(raft_entry(EntryKind::ConfChange, 0, 0, data));
        self.count_uncommitted(index, bytes);
        let term = self.raw.raft.term;
        self.flush();
        Ok((term, index))
    }

    /// A message from the connection of `from`. A snapshot message comes only after its copy is staged.
    pub fn step(&mut self, from: MemberId, mut message: RaftMessage) -> Result<Stepped, Invalid> {
        self.flush();
        let kind = message.check()?;
        let id = self.config.id;
        if message.from != from.0 || message.to != id.0 {
            let (claimed, to) = (MemberId(message.from), MemberId(message.to));
            return Err(Invalid::Misdirected { from, claimed, to, id });
        }
        let verdict = inspect(&self.raw.raft, kind, &mut message)?;
        self.note_heard(&message);
        if verdict == Verdict::Drop {
            return Ok(Stepped::Taken);
        }
        let idle = match kind {
            Kind::TimeoutNow => !self.may_campaign(),
            Kind::Snapshot => self.is_installing() && !Sabotage::SecondSnapshotTaken.is_on(),
            _ => false,
        };
        if !idle && let Some(message) = to_raft(message, kind) {
            let campaigns = kind == Kind::TimeoutNow;
            self.campaigns += u32::from(campaigns);
            // Answers of a member that was removed are an error, and of no interest.
            let _ = self.raw.step(message);
            self.settle();
        }
        Ok(match kind {
            Kind::Snapshot if !idle && self.raw.snap().is_some() => Stepped::Restored,
            Kind::Snapshot => Stepped::NotRestored,
            _ => Stepped::Taken,
        })
    }

    /// Asks the leader for the commit index; answered by effects as `reads` or `lost_reads`, or, when a message was
    /// lost, not at all: ask again after a while.
    pub fn read(&mut self) -> Result<ReadId, Refused> {
        self.flush();
        let raft = &self.raw.raft;
        if raft.leader_id == 0 {
            return Err(Refused::NoLeader { leader: None });
        }
        if raft.state == StateRole::Leader && !self.is_ready() {
            return Err(Refused::NotReady);
        }
        let (id, context) = self.reads.ask();
        self.raw.read_index(context);
        self.settle();
        Ok(id)
    }

    /// The batch of this number, and all before it, are durable (with a snapshot: installed). Call this before the
    /// messages of `after_persist` are released.
    pub fn persisted(&mut self, number: u64) {
        self.flush();
        while self.outstanding.front().is_some_and(|ready| ready.number <= number) {
            self.outstanding.pop_front();
        }
        // An older Ready may carry entries that a later one replaced and yet a later one brought back: the crate,
        // which compares index and term alone, would take those for durable.
        if !self.outstanding.iter().any(|ready| ready.rewrites) {
            let all = self.outstanding.front().map_or(self.last_ready, |ready| ready.number - 1);
            self.raw.on_persist_ready(all);
        }
        self.settle();
    }

    /// Applied up to here; membership changes at or below it were given to `apply_change` before.
    pub fn applied(&mut self, index: Index) {
        self.flush();
        let index = index.min(self.watermark());
        if index > self.raw.raft.raft_log.applied {
            self.raw.advance_apply_to(index);
            self.raw.store().set_applied(index);
        }
        self.settle();
        // The crate refuses to campaign before the membership changes that are committed are applied.
        if self.alone && self.raw.raft.prs().is_singleton() {
            self.campaign();
        }
    }

    /// A membership change takes effect: exactly when its entry is applied, and only if it was not rejected.
    pub fn apply_change(&mut self, change: &Change) -> Result<(), Fault> {
        self.flush();
        // What is applied while a snapshot is being installed lies before it, and its members are known already: an
        // older change would undo a newer one.
        let is_missed = Sabotage::RemovedMemberVotes.is_on() && change.kind == ChangeKind::Remove;
        if self.is_installing() || is_missed {
            return Ok(());
        }
        if let Err(error) = self.raw.apply_conf_change(&change.to_raft()) {
            let what = format!("a membership change that contradicts the members ({error})");
            return Err(Fault::corrupt(what, "the log"));
        }
        if let Some(earlier) = Sabotage::ChangeAppliedTwice.last(change) {
            let _ = self.raw.apply_conf_change(&earlier.to_raft());
        }
        // The crate would go on leading, and panic when it next commits.
        if !self.raw.raft.promotable() && self.raw.raft.state != StateRole::Follower {
            let term = self.raw.raft.term;
            self.raw.raft.become_follower(term, 0);
        }
        self.settle();
        Ok(())
    }

    /// A checkpoint is durable: snapshots may be of it.
    pub fn checkpointed(&mut self, mark: CheckpointMark) {
        self.raw.store().set_checkpoint(mark);
    }

    /// Moves leadership to another voter; given up after an election timeout. Proposals are refused meanwhile.
    pub fn transfer(&mut self, to: MemberId) -> Result<(), Refused> {
        self.flush();
        let raft = &self.raw.raft;
        if raft.state != StateRole::Leader {
            return Err(Refused::NoLeader { leader: status::member(raft.leader_id) });
        }
        if to == self.config.id || !raft.prs().conf().voters().contains(to.0) {
            return Err(Refused::BadTransferee);
        }
        self.raw.transfer_leader(to.0);
        self.settle();
        Ok(())
    }

    /// Stops leading, in the same term.
    pub fn step_down(&mut self) {
        self.flush();
        if self.raw.raft.state == StateRole::Leader {
            let term = self.raw.raft.term;
            self.raw.raft.become_follower(term, 0);
            self.settle();
        }
    }

    /// While held (the disk hangs), this member does not campaign.
    pub fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// A message to this member was lost.
    pub fn unreachable(&mut self, peer: MemberId) {
        self.flush();
        self.raw.report_unreachable(peer.0);
        self.settle();
    }

    /// The end of every snapshot that was sent, one way or the other.
    pub fn snapshot_sent(&mut self, peer: MemberId, ok: bool) {
        self.flush();
        let status = if ok { raft::SnapshotStatus::Finish } else { raft::SnapshotStatus::Failure };
        self.raw.report_snapshot(peer.0, status);
        self.settle();
    }

    /// What a `Fetch` brought; none if those entries are trimmed.
    pub fn entries_fetched(&mut self, token: u64, entries: &[Entry]) {
        self.flush();
        let Some((low, contexts)) = self.raw.store().arrived(token) else { return };
        for context in contexts {
            self.raw.store().lend(Some((low, entries.to_vec())));
            self.raw.on_entries_fetched(context);
        }
        self.raw.store().lend(None);
        self.settle();
    }

    /// The newest hard state that was decided, with a commit index that no batch may have carried yet: to be written
    /// before a checkpoint, so that the commit is durable with or before what is applied.
    pub fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// Committed and durable here.
    pub(super) fn watermark(&self) -> Index {
        let log = &self.raw.raft.raft_log;
        log.committed.min(log.persisted)
    }

    /// Everything this member was told is durable, and its disk is not known to hang.
    fn may_campaign(&self) -> bool {
        let log = &self.raw.raft.raft_log;
        self.outstanding.is_empty()
            && log.persisted == log.last_index()
            && self.raw.snap().is_none()
            && !self.held
    }

    fn is_installing(&self) -> bool {
        self.raw.snap().is_some() || self.outstanding.iter().any(|ready| ready.installs)
    }

    fn admit(&self, data: &Bytes) -> Result<u64, Refused> {
        let raft = &self.raw.raft;
        if raft.state != StateRole::Leader {
            return Err(Refused::NoLeader { leader: status::member(raft.leader_id) });
        }
        if raft.lead_transferee.is_some() {
            return Err(Refused::Transferring);
        }
        let max = self.config.entry_bytes_max;
        if data.len() > max {
            return Err(Refused::TooLarge { max });
        }
        let bytes = data.len() as u64;
        let full = self.uncommitted_bytes + bytes > self.config.uncommitted_bytes_max;
        if full && self.uncommitted_bytes > 0 { Err(Refused::Busy) } else { Ok(bytes) }
    }

    fn count_uncommitted(&mut self, index: Index, bytes: u64) {
        self.uncommitted.push_back((index, bytes));
        self.uncommitted_bytes += bytes;
    }

    /// Hands the proposals over, as one append. Called first by every call, so nothing changes between the promise of
    /// an index and this.
    pub(super) fn flush(&mut self) {
        if self.unflushed.is_empty() {
            return;
        }
        self.unflushed_bytes = 0;
        let message = eraftpb::Message {
            msg_type: MessageType::MsgPropose,
            from: self.config.id.0,
            entries: std::mem::take(&mut self.unflushed).into(),
            ..Default::default()
        };
        if self.raw.step(message).is_err() {
            // Unreachable: `admit` asked for everything the crate asks for. Who stops leading appends nothing more in
            // this term, so what was promised is answered as overwritten.
            let term = self.raw.raft.term;
            self.raw.raft.become_follower(term, 0);
        }
        self.settle();
    }

    fn note_heard(&mut self, message: &RaftMessage) {
        if self.raw.raft.state == StateRole::Leader && message.term == self.raw.raft.term {
            self.heard.insert(message.from, self.ticks);
        }
    }

    /// After every call: the crate's dice are overridden, and what depends on term and role follows.
    pub(super) fn settle(&mut self) {
        let raft = &mut self.raw.raft;
        let now = (raft.term, raft.state);
        if now.0 != self.was.0 {
            self.campaigns = 0;
        }
        if now != self.was {
            self.was = now;
            self.alone &= now.1 != StateRole::Leader;
            self.heard.clear();
            self.leads_since = self.ticks;
            self.uncommitted.clear();
            self.uncommitted_bytes = 0;
        }
        raft.set_randomized_election_timeout(
            self.config.election_timeout(raft.term, self.campaigns),
        );
        self.reads.observe(raft.term, raft.leader_id);
        while let Some(&(index, bytes)) = self.uncommitted.front() {
            if index > raft.raft_log.committed {
                break;
            }
            self.uncommitted.pop_front();
            self.uncommitted_bytes -= bytes;
        }
    }
}

/// One read of the log while opening, bytes.
const OPEN_READ_BYTES: usize = 4 << 20;

/// The hard state to start from, once log, hard state and applied index agree.
fn opened(log: &Log, mut hard_state: HardState, applied: Index) -> Result<HardState, Fault> {
    let (first, last) = (log.first_index(), log.last_index());
    let disagree = |what: String| Err(Fault::corrupt(what, "the log"));
    if applied + 1 < first || applied > last {
        return disagree(format!(
            "the database is at entry {applied}, and the log has {first} to {last}"
        ));
    }
    hard_state.commit = hard_state.commit.max(applied);
    if hard_state.commit > last {
        return disagree(format!(
            "entry {} is committed, and the log ends at {last}",
            hard_state.commit
        ));
    }
    let last_term = log.term(last).unwrap_or(0);
    if hard_state.term < last_term {
        if last >= first {
            return disagree(format!(
                "entry {last} has term {last_term}, and the member knows of {} only",
                hard_state.term
            ));
        }
        // Checkpoint number one, or a snapshot: nobody has voted in its term here.
        hard_state.term = last_term;
        hard_state.vote = 0;
    }
    Ok(hard_state)
}
