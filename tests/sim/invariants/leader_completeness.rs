//! A new leader has every entry that was committed in an earlier term.
//!
//! Of its own term and of later ones nothing is asked: votes may come late, when others have elected another one and
//! committed more, and whom they elect then finds out with its first message.

use std::collections::BTreeMap;

use quorate::consensus::Status;
use quorate::storage::Log;

use crate::checker::Checker;
use crate::violation::{Verdict, ensure};

/// Entries looked at, from the newest back; before them the log of this leader was a committed prefix already.
const LOOKED_AT: u64 = 400;

#[derive(Debug, Default)]
pub(crate) struct LeaderCompleteness {
    /// By term: the highest index that somebody in this term took for committed, so that it was committed by then.
    committed: BTreeMap<u64, u64>,
}

impl LeaderCompleteness {
    /// `index` is committed, or applied.
    pub(crate) fn seen(&mut self, term: u64, index: u64) {
        let known = self.committed.entry(term).or_default();
        *known = index.max(*known);
    }

    /// `status` is that of who leads newly.
    pub(crate) fn check(&self, status: &Status, log: &Log, checker: &Checker) -> Verdict {
        let node = status.id;
        let due = self.committed.range(..status.term).map(|(_, index)| *index).max().unwrap_or(0);
        let newest = due.min(checker.next_index() - 1);
        let oldest = log.first_index().max(newest.saturating_sub(LOOKED_AT)).max(2);
        for index in oldest..=newest {
            let committed = checker.outcome(index).map(|outcome| outcome.term);
            ensure(log.term(index) == committed, "leader_completeness", || {
                format!(
                    "{node} leads without entry {index} of term {committed:?}: it has {:?}",
                    log.term(index)
                )
            })?;
        }
        ensure(log.last_index() >= newest, "leader_completeness", || {
            format!("{node} leads with a log up to {}, and {newest} is committed", log.last_index())
        })
    }
}
