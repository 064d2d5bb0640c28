//! What a snapshot claims about itself: the applied position and who belonged to the cluster there.

use raft::eraftpb;

use crate::base::{Index, MemberId, Term};

/// The position and the membership of a durable checkpoint, and of a snapshot on its way.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CheckpointMark {
    pub index: Index,
    pub term: Term,
    pub voters: Vec<MemberId>,
    pub learners: Vec<MemberId>,
}

impl CheckpointMark {
    /// Whether `member` is a voter or a learner in it.
    pub fn contains(&self, member: MemberId) -> bool {
        self.voters.contains(&member) || self.learners.contains(&member)
    }

    pub(super) fn to_snapshot(&self) -> eraftpb::Snapshot {
        let mut snapshot = eraftpb::Snapshot::default();
        let metadata = snapshot.mut_metadata();
        metadata.index = self.index;
        metadata.term = self.term;
        *metadata.mut_conf_state() = conf_state(&self.voters, &self.learners);
        snapshot
    }

    pub(super) fn from_snapshot(snapshot: &eraftpb::Snapshot) -> Self {
        let metadata = snapshot.get_metadata();
        let conf = metadata.get_conf_state();
        Self {
            index: metadata.index,
            term: metadata.term,
            voters: sorted(&conf.voters),
            learners: sorted(&conf.learners),
        }
    }
}

pub(super) fn conf_state(voters: &[MemberId], learners: &[MemberId]) -> eraftpb::ConfState {
    let ids = |members: &[MemberId]| members.iter().map(|member| member.0).collect();
    eraftpb::ConfState { voters: ids(voters), learners: ids(learners), ..Default::default() }
}

fn sorted(ids: &[u64]) -> Vec<MemberId> {
    let mut members: Vec<MemberId> = ids.iter().copied().map(MemberId).collect();
    members.sort_unstable();
    members
}
