//! The revision that a member shows never falls while it runs.

use std::collections::BTreeMap;

use crate::violation::{Verdict, ensure};

#[derive(Debug, Default)]
pub(crate) struct RevisionMonotonic {
    /// Boot, revision and compacted revision.
    seen: BTreeMap<u64, (u64, i64, i64)>,
}

impl RevisionMonotonic {
    pub(crate) fn check(&mut self, node: u64, boot: u64, revision: i64, compacted: i64) -> Verdict {
        let seen = self.seen.entry(node).or_default();
        let falls = seen.0 == boot && (revision < seen.1 || compacted < seen.2);
        let before = std::mem::replace(seen, (boot, revision, compacted));
        ensure(!falls, "revision_monotonic", || {
            format!("{node} went from {before:?} to revision {revision}, compacted {compacted}")
        })
    }
}
