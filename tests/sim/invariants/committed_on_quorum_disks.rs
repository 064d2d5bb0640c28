//! When a leader says that an entry is committed, a majority of the voters has it on disk: those that are down with
//! what their disks keep.
//!
//! Asked are the simulated disks, not the members: every write that a sync made durable is read as the batch that
//! docs/storage.md describes. Of the database, which lies on a real disk, the stamp of its last commit is believed.

use std::collections::BTreeMap;

use quorate::consensus::Status;

use crate::node::Node;
use crate::violation::{Verdict, ensure};

const BATCH_HEADER_BYTES: usize = 32;
const ENTRY_HEADER_BYTES: usize = 17;

#[derive(Debug, Default)]
pub(crate) struct CommittedOnQuorumDisks {
    /// Looked at up to here.
    commit: u64,
    /// The leader's voters when it was last looked at: one turn may commit and then change them.
    before: (u64, Vec<u64>),
    disks: BTreeMap<u64, OnDisk>,
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
        for (id, node) in nodes {
            self.disks.entry(*id).or_default().take(&node.disk.take_synced());
        }
        let up = nodes.get(&leader).and_then(|node| node.up.as_ref());
        let term = up.and_then(|up| up.log.term(status.commit));
        let holds = |voter: &&u64| {
            let in_log = self.disks.get(voter).and_then(|disk| disk.terms.get(&status.commit));
            let in_database = nodes.get(voter).map_or(0, checkpointed);
            in_database >= status.commit || (in_log.is_some() && in_log.copied() == term)
        };
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

/// Up to where the member's database goes durably.
fn checkpointed(node: &Node) -> u64 {
    let up = node.up.as_ref();
    up.map_or(node.last_durable.applied, |up| up.store.durable().applied)
}

/// Terms of the entries that a disk has been given to keep, by their indexes.
#[derive(Debug, Default)]
struct OnDisk {
    terms: BTreeMap<u64, u64>,
}

impl OnDisk {
    fn take(&mut self, writes: &[Vec<u8>]) {
        for write in writes {
            if write.starts_with(b"QWB1") {
                let body = word(write, 24) as usize;
                let body = write.get(BATCH_HEADER_BYTES..BATCH_HEADER_BYTES + body);
                self.batch(body.unwrap_or_default());
            } else if write.starts_with(b"QUORATEW") && write[12] & 1 != 0 {
                // What is older is void: the database holds it.
                self.terms.clear();
            }
        }
    }

    fn batch(&mut self, mut body: &[u8]) {
        while let Some((kind, rest)) = body.split_first() {
            let fields = match kind {
                1 => {
                    self.terms.split_off(&word(rest, 0));
                    16
                }
                2 => self.entries(rest),
                _ => 24,
            };
            body = rest.get(fields..).unwrap_or_default();
        }
    }

    /// Bytes of the record behind its kind.
    fn entries(&mut self, record: &[u8]) -> usize {
        let (first, count) = (word(record, 0), word(record, 16));
        self.terms.split_off(&first);
        let mut at = 24;
        for index in first..first + count {
            self.terms.insert(index, word(record, at + 8));
            at += ENTRY_HEADER_BYTES + (word(record, at + 4) as u32 as usize);
        }
        at
    }
}

fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use quorate::base::{ClusterId, MemberId};
    use quorate::storage::{Entry, EntryKind, HardState, Wal, WalBatch, WalConfig};

    use super::*;
    use crate::disk::SimDisk;

    #[test]
    fn what_was_synced_is_read_as_what_it_is() {
        let entry = |index, term| Entry {
            index,
            term,
            kind: EntryKind::Normal,
            data: Bytes::from(vec![7; index as usize]),
        };
        let disk = SimDisk::new();
        let config =
            WalConfig { segment_bytes: 4_096, ..WalConfig::new(ClusterId(1), MemberId(2)) };
        let hard = HardState { term: 1, vote: 0, commit: 1 };
        let opened = Wal::create(Arc::new(disk.clone()), config, (1, 1), hard).unwrap();
        let (mut wal, log) = opened;
        let mut append = |entries: Vec<Entry>| {
            log.extend(&entries);
            let batch = WalBatch { entries, hard_state: Some(hard), ..WalBatch::default() };
            wal.append(batch).unwrap();
        };
        append(vec![entry(2, 1), entry(3, 1), entry(4, 1)]);
        append(vec![entry(4, 2)]);
        let mut on_disk = OnDisk::default();
        on_disk.take(&disk.take_synced());
        assert_eq!(on_disk.terms, BTreeMap::from([(2, 1), (3, 1), (4, 2)]));
        append(vec![entry(3, 5)]);
        on_disk.take(&disk.take_synced());
        assert_eq!(on_disk.terms, BTreeMap::from([(2, 1), (3, 5)]));
        wal.restart(9, 5, hard).unwrap();
        on_disk.take(&disk.take_synced());
        assert!(on_disk.terms.is_empty());
    }
}
