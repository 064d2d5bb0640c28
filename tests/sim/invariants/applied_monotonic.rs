//! A member never un-applies, and never comes back with less than its database held durably.

use std::collections::BTreeMap;

use crate::violation::{Verdict, ensure};

#[derive(Debug, Default)]
pub(crate) struct AppliedMonotonic {
    /// Boot and applied index.
    seen: BTreeMap<u64, (u64, u64)>,
}

impl AppliedMonotonic {
    pub(crate) fn applied(&mut self, node: u64, boot: u64, applied: u64) -> Verdict {
        let seen = self.seen.entry(node).or_default();
        let falls = seen.0 == boot && applied < seen.1;
        let before = std::mem::replace(seen, (boot, applied));
        ensure(!falls, "applied_monotonic", || {
            format!("{node} went from {} to {applied}", before.1)
        })
    }

    /// `durable` is what the database held when the member stopped.
    pub(crate) fn reopened(&self, node: u64, durable: u64, applied: u64) -> Verdict {
        ensure(applied >= durable, "applied_monotonic", || {
            format!("{node} held {durable} durably and came back with {applied}")
        })
    }
}
