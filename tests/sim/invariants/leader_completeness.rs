//! A new leader has every committed entry.

use quorate::storage::Log;

use crate::checker::Checker;
use crate::violation::{Verdict, ensure};

/// Entries looked at, from the newest back; before them the log of this leader was a committed prefix already.
const LOOKED_AT: u64 = 400;

pub(crate) fn leader_completeness(node: u64, log: &Log, checker: &Checker) -> Verdict {
    let newest = checker.next_index() - 1;
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
