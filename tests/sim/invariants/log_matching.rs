//! Entries of one index and term are the same everywhere, and so are those before them.

use std::collections::BTreeMap;

use quorate::storage::{Entry, EntryKind, Log};

use crate::violation::{Verdict, Violation, ensure};

/// Term of the entry before, and a digest of the entry.
type Seen = (Option<u64>, u64);

#[derive(Debug, Default)]
pub(crate) struct LogMatching {
    entries: BTreeMap<(u64, u64), Seen>,
    /// What was looked at already: per member, index to term.
    logs: BTreeMap<u64, BTreeMap<u64, u64>>,
}

impl LogMatching {
    /// Looks at what is new in a member's log.
    pub(crate) fn check(&mut self, node: u64, log: &Log) -> Verdict {
        let mine = self.logs.entry(node).or_default();
        let (first, last) = (log.first_index(), log.last_index());
        let mut known = last;
        while known >= first && mine.get(&known).copied() != log.term(known) {
            known -= 1;
        }
        if known == last {
            return Ok(());
        }
        mine.split_off(&(known + 1));
        *mine = mine.split_off(&first);
        let mut low = (known + 1).max(first);
        while low <= last {
            let unreadable = |fault| Violation::new("log_matching", format!("{node}: {fault}"));
            let entries = log.read(low, last + 1, 1 << 20).map_err(unreadable)?;
            ensure(!entries.is_empty(), "log_matching", || format!("{node} has no entry {low}"))?;
            for entry in &entries {
                let before = log.term(entry.index - 1);
                let seen = self
                    .entries
                    .entry((entry.index, entry.term))
                    .or_insert_with(|| (before, digest(entry)));
                let agrees = seen.1 == digest(entry)
                    && (before.is_none() || seen.0.is_none() || before == seen.0);
                ensure(agrees, "log_matching", || {
                    format!("entry {} of term {} is another one in {node}", entry.index, entry.term)
                })?;
                mine.insert(entry.index, entry.term);
            }
            low += entries.len() as u64;
        }
        Ok(())
    }
}

pub(crate) fn digest(entry: &Entry) -> u64 {
    let kind = u8::from(entry.kind == EntryKind::ConfChange);
    entry.data.iter().fold(0xcbf2_9ce4_8422_2325 ^ u64::from(kind), |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
