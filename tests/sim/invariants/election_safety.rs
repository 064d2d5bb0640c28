//! At most one leader in a term.

use std::collections::BTreeMap;

use crate::violation::{Verdict, ensure};

#[derive(Debug, Default)]
pub(crate) struct ElectionSafety {
    leaders: BTreeMap<u64, u64>,
}

impl ElectionSafety {
    /// True if this leader is new.
    pub(crate) fn leads(
        &mut self,
        node: u64,
        term: u64,
    ) -> Result<bool, crate::violation::Violation> {
        let is_new = !self.leaders.contains_key(&term);
        let leader = *self.leaders.entry(term).or_insert(node);
        let verdict: Verdict = ensure(leader == node, "election_safety", || {
            format!("{leader} and {node} both lead term {term}")
        });
        verdict.map(|()| is_new)
    }
}
