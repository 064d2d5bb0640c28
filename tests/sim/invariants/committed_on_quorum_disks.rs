//! When a leader says that an entry is committed, a majority of the voters has it on disk: those that are down with
//! what their disks keep.

use std::collections::BTreeMap;

use quorate::consensus::Status;

use crate::node::Node;
use crate::violation::{Verdict, ensure};

#[derive(Debug, Default)]
pub(crate) struct CommittedOnQuorumDisks {
    /// Looked at up to here.
    commit: u64,
    /// The leader's voters when it was last looked at: one turn may commit and then change them.
    before: (u64, Vec<u64>),
}

impl CommittedOnQuorumDisks {
    pub(crate) fn check(&mut self, status: &Status, nodes: &BTreeMap<u64, Node>) -> Verdict {
        let leader = status.id.0;
        let others = status.progress.iter().filter(|peer| !peer.learner).map(|peer| peer.member.0);
        let voters: Vec<u64> = others.chain([leader]).collect();
        let (led_before, before) = std::mem::replace(&mut self.before, (leader, voters.clone()));
        if status.commit <= self.commit {
            return Ok(());
        }
        self.commit = status.commit;
        let up = nodes.get(&leader).and_then(|node| node.up.as_ref());
        let term = up.and_then(|up| up.log.term(status.commit));
        let holds =
            |voter: &&u64| nodes.get(voter).is_some_and(|node| has(node, status.commit, term));
        let is_quorum = |voters: &[u64]| voters.iter().filter(holds).count() > voters.len() / 2;
        let changed = led_before == leader && is_quorum(&before);
        ensure(is_quorum(&voters) || changed, "committed_on_quorum_disks", || {
            let holders: Vec<u64> = voters.iter().filter(holds).copied().collect();
            let commit = status.commit;
            format!(
                "{leader} says {commit} is committed; of {voters:?} only {holders:?} have it on disk"
            )
        })
    }
}

fn has(node: &Node, index: u64, term: Option<u64>) -> bool {
    let (log, durable) = match &node.up {
        Some(up) => (Some(&up.log), up.store.durable().applied),
        None => (node.last_log.as_ref(), node.last_durable.applied),
    };
    let in_log = log.is_some_and(|log| {
        log.durable_index() >= index && (log.term(index) == term || index < log.first_index())
    });
    durable >= index || in_log
}
