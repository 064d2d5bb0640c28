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
}

impl CommittedOnQuorumDisks {
    pub(crate) fn check(&mut self, status: &Status, nodes: &BTreeMap<u64, Node>) -> Verdict {
        if status.commit <= self.commit {
            return Ok(());
        }
        self.commit = status.commit;
        let leader = status.id.0;
        let term = nodes
            .get(&leader)
            .and_then(|node| node.up.as_ref())
            .and_then(|up| up.log.term(status.commit));
        let others = status.progress.iter().filter(|peer| !peer.learner).map(|peer| peer.member.0);
        let voters: Vec<u64> = others.chain([leader]).collect();
        let holds =
            |voter: &&u64| nodes.get(voter).is_some_and(|node| has(node, status.commit, term));
        let holders: Vec<u64> = voters.iter().filter(holds).copied().collect();
        ensure(holders.len() > voters.len() / 2, "committed_on_quorum_disks", || {
            format!(
                "{leader} says {} is committed; of {voters:?} only {holders:?} have it on disk",
                status.commit
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
