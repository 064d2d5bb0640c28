//! What was applied at an index is what everybody applies there, for ever.

use quorate::storage::Entry;

use super::log_matching::digest;
use crate::violation::{Verdict, ensure};

#[derive(Debug, Default)]
pub(crate) struct CommittedImmutable {
    /// Term and digest by index - 2.
    entries: Vec<(u64, u64)>,
}

impl CommittedImmutable {
    /// True if nobody had applied this entry before. Entries are first seen in order.
    pub(crate) fn applied(
        &mut self,
        node: u64,
        entry: &Entry,
    ) -> Result<bool, crate::violation::Violation> {
        let place = entry.index as usize - 2;
        let mine = (entry.term, digest(entry));
        let Some(theirs) = self.entries.get(place) else {
            let verdict: Verdict =
                ensure(place == self.entries.len(), "committed_immutable", || {
                    format!(
                        "{node} applies {} before anybody applied {}",
                        entry.index,
                        self.entries.len() + 2
                    )
                });
            self.entries.push(mine);
            return verdict.map(|()| true);
        };
        let verdict: Verdict = ensure(*theirs == mine, "committed_immutable", || {
            format!(
                "{node} applies {} of term {}, others one of {}",
                entry.index, entry.term, theirs.0
            )
        });
        verdict.map(|()| false)
    }
}
