//! What a history held, for the line that a test prints.

use std::fmt;

/// What was judged, and found good.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub acknowledged: usize,
    pub rejected: usize,
    pub not_proposed: usize,
    pub ambiguous: usize,
    /// Of those, how many the log has.
    pub settled_as_done: usize,
    pub reads: usize,
    pub watch_events: usize,
    pub expired_leases: usize,
    pub entries: usize,
    pub revision: i64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.rejected += other.rejected;
        self.not_proposed += other.not_proposed;
        self.ambiguous += other.ambiguous;
        self.settled_as_done += other.settled_as_done;
        self.reads += other.reads;
        self.watch_events += other.watch_events;
        self.expired_leases += other.expired_leases;
        self.entries += other.entries;
        self.revision += other.revision;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} commands acknowledged, {} rejected, {} not proposed, {} of unknown outcome ({} done), {} reads, \
             {} watch events, {} leases expired, {} entries, {} revisions",
            self.acknowledged,
            self.rejected,
            self.not_proposed,
            self.ambiguous,
            self.settled_as_done,
            self.reads,
            self.watch_events,
            self.expired_leases,
            self.entries,
            self.revision
        )
    }
}
