//! A leader counts the members that the log says, and nobody else: voters and learners of Raft at its applied index
//! are those of the table there.

use std::collections::BTreeSet;

use quorate::consensus::Status;

use crate::members::Roll;
use crate::violation::{Verdict, ensure};

type Members = (BTreeSet<u64>, BTreeSet<u64>);

#[derive(Debug)]
pub(crate) struct MembershipAgrees {
    /// From these indexes on, ascending.
    since: Vec<(u64, Members)>,
}

impl MembershipAgrees {
    pub(crate) fn new(roll: &Roll) -> Self {
        Self { since: vec![(1, members(roll))] }
    }

    /// The entry at `index` made this roll.
    pub(crate) fn changed(&mut self, index: u64, roll: &Roll) {
        self.since.push((index, members(roll)));
    }

    /// What a leader knows.
    pub(crate) fn check(&self, status: &Status) -> Verdict {
        let known = self.since.iter().rev().find(|(index, _)| *index <= status.applied);
        let Some((index, (voters, learners))) = known else { return Ok(()) };
        let of_kind = |learner: bool| {
            let peers = status.progress.iter().filter(move |peer| peer.learner == learner);
            peers.map(|peer| peer.member.0)
        };
        let counted: BTreeSet<u64> = of_kind(false).chain([status.id.0]).collect();
        let followed: BTreeSet<u64> = of_kind(true).collect();
        ensure(counted == *voters && followed == *learners, "membership_agrees", || {
            format!(
                "{} counts {counted:?} and {followed:?} at {}, and since {index} there are {voters:?} and {learners:?}",
                status.id, status.applied
            )
        })
    }
}

fn members(roll: &Roll) -> Members {
    (roll.voters().into_iter().collect(), roll.learners().into_iter().collect())
}
