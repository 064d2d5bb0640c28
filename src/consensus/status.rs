//! What Core knows, for status calls, trims and the disk watchdog.

use raft::{ProgressState, StateRole};

use crate::base::{Index, MemberId, Term};

use super::Core;
use super::effects::RoleKind;

/// A member's view of the cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Status {
    pub id: MemberId,
    pub term: Term,
    pub role: RoleKind,
    pub leader: Option<MemberId>,
    /// Known to be committed; may lie beyond what is durable here.
    pub commit: Index,
    pub applied: Index,
    pub last_index: Index,
    /// Durable here.
    pub persisted: Index,
    /// A leader that has committed in its term.
    pub ready: bool,
    /// Leadership is moving to this member.
    pub transferring: Option<MemberId>,
    /// A membership change may be in the log and is not applied.
    pub change_pending: bool,
    /// A leader that has heard a quorum of voters within the last election timeout.
    pub heard_quorum: bool,
    /// Of the other members, by id; empty unless leading.
    pub progress: Vec<Progress>,
}

/// How the leader sends to a member.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Replication {
    /// One append at a time, looking for the place where the logs agree.
    Probe,
    Replicate,
    /// Waits for the snapshot of this index.
    Snapshot(Index),
}

/// What the leader knows of one other member.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Progress {
    pub member: MemberId,
    pub learner: bool,
    /// Durable there.
    pub matched: Index,
    /// The next entry to send.
    pub next: Index,
    pub replication: Replication,
    /// Heard from within the last election timeout.
    pub active: bool,
    /// Ticks since it was last heard from, or since this member leads.
    pub silent_ticks: u64,
}

impl Core {
    /// A copy of what is known now; ordered by member.
    pub fn status(&self) -> Status {
        let raft = &self.raw.raft;
        let log = &raft.raft_log;
        Status {
            id: self.config.id,
            term: raft.term,
            role: role_kind(raft.state),
            leader: member(raft.leader_id),
            commit: log.committed,
            applied: log.applied,
            last_index: log.last_index() + self.unflushed.len() as u64,
            persisted: log.persisted,
            ready: self.is_ready(),
            transferring: raft.lead_transferee.map(MemberId),
            change_pending: raft.has_pending_conf(),
            heard_quorum: self.heard_quorum(),
            progress: self.progress(),
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.raw.raft.state == StateRole::Leader && self.raw.raft.commit_to_current_term()
    }

    fn heard_quorum(&self) -> bool {
        let raft = &self.raw.raft;
        if raft.state != StateRole::Leader {
            return false;
        }
        let voters: Vec<u64> = raft.prs().conf().voters().ids().iter().collect();
        let heard = voters.iter().filter(|&&voter| voter == raft.id || self.is_active(voter));
        heard.count() > voters.len() / 2
    }

    fn is_active(&self, id: u64) -> bool {
        self.heard.contains_key(&id)
            && self.silent_ticks(id) <= u64::from(self.config.election_ticks)
    }

    fn silent_ticks(&self, id: u64) -> u64 {
        self.ticks - self.heard.get(&id).copied().unwrap_or(self.leads_since)
    }

    fn progress(&self) -> Vec<Progress> {
        let raft = &self.raw.raft;
        if raft.state != StateRole::Leader {
            return Vec::new();
        }
        let mut all: Vec<Progress> = raft
            .prs()
            .iter()
            .filter(|&(&id, _)| id != raft.id)
            .map(|(&id, progress)| Progress {
                member: MemberId(id),
                learner: raft.prs().conf().learners().contains(&id),
                matched: progress.matched,
                next: progress.next_idx,
                replication: match progress.state {
                    ProgressState::Probe => Replication::Probe,
                    ProgressState::Replicate => Replication::Replicate,
                    ProgressState::Snapshot => Replication::Snapshot(progress.pending_snapshot),
                },
                active: self.is_active(id),
                silent_ticks: self.silent_ticks(id),
            })
            .collect();
        all.sort_unstable_by_key(|progress| progress.member);
        all
    }
}

pub(super) fn role_kind(state: StateRole) -> RoleKind {
    match state {
        StateRole::Follower => RoleKind::Follower,
        StateRole::PreCandidate => RoleKind::PreCandidate,
        StateRole::Candidate => RoleKind::Candidate,
        StateRole::Leader => RoleKind::Leader,
    }
}

/// The crate's 0 is nobody.
pub(super) fn member(id: u64) -> Option<MemberId> {
    (id != 0).then_some(MemberId(id))
}
