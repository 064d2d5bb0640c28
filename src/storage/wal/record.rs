//! What a batch of the log says: entries, hard state, truncation, install mark.

use bytes::Bytes;

use crate::base::limits::{LOG_CACHE_BYTES_MAX, WAL_SEGMENT_BYTES};
use crate::base::{ClusterId, Index, MemberId, Term};

/// What kind of bytes an entry carries. The numbers are in the format.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum EntryKind {
    #[default]
    Normal,
    /// A membership change that Raft itself understands.
    ConfChange,
}

/// One entry of the replicated log. Empty data is a new leader's first entry.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Entry {
    pub term: Term,
    pub index: Index,
    pub kind: EntryKind,
    pub data: Bytes,
}

impl Entry {
    /// What it weighs in a budget, bytes: its data and a little for the rest, so that empty entries are not free.
    pub fn weight(&self) -> usize {
        self.data.len() + Self::OVERHEAD_BYTES
    }

    pub(in crate::storage) const OVERHEAD_BYTES: usize = 64;
}

/// What Raft must not forget besides the entries.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct HardState {
    pub term: Term,
    /// The member voted for in this term; 0 is nobody.
    pub vote: u64,
    pub commit: Index,
}

/// "The database of this generation is about to take over, and the log with it": written before the database is
/// switched, so that a crash between the two is understood at open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InstallMark {
    pub index: Index,
    pub term: Term,
    pub generation: u64,
}

/// One unit of durability: one write, one fdatasync. Parts take effect in the order of the fields.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct WalBatch {
    /// Entries from this index on are dropped. Entries that begin at or before the last one drop it by themselves.
    pub truncate_from: Option<Index>,
    pub entries: Vec<Entry>,
    pub hard_state: Option<HardState>,
    /// Only together with the hard state of the snapshot; its commit counts once the mark does.
    pub install: Option<InstallMark>,
}

impl WalBatch {
    pub fn is_empty(&self) -> bool {
        self.truncate_from.is_none()
            && self.entries.is_empty()
            && self.hard_state.is_none()
            && self.install.is_none()
    }

    /// Joins what came later, so that one write and one sync serve both. Neither may carry an install mark.
    pub fn merge(&mut self, later: Self) {
        debug_assert!(self.install.is_none() && later.install.is_none(), "a mark stands alone");
        let first = later.entries.first().map(|entry| entry.index);
        if let Some(cut) = later.truncate_from.into_iter().chain(first).min() {
            let kept = self.entries.partition_point(|entry| entry.index < cut);
            self.entries.truncate(kept);
            if later.truncate_from.is_some() && self.entries.is_empty() {
                let before = self.truncate_from.unwrap_or(cut);
                self.truncate_from = Some(before.min(cut));
            }
        }
        self.entries.extend(later.entries);
        self.hard_state = later.hard_state.or(self.hard_state);
    }
}

/// What a log is opened with.
#[derive(Clone, Debug)]
pub struct WalConfig {
    /// Length of a segment; a batch that does not fit gets one of its own length.
    pub segment_bytes: u64,
    /// RAM for the newest entries. Entries that are not on the disk yet are kept whatever they weigh.
    pub cache_bytes: usize,
    pub cluster: ClusterId,
    pub member: MemberId,
}

impl WalConfig {
    pub fn new(cluster: ClusterId, member: MemberId) -> Self {
        Self { segment_bytes: WAL_SEGMENT_BYTES, cache_bytes: LOG_CACHE_BYTES_MAX, cluster, member }
    }
}

/// What [`Wal::open`](super::Wal::open) found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recovered {
    /// With `commit` raised to the applied index.
    pub hard_state: HardState,
    pub first_index: Index,
    /// `first_index - 1` when there is no entry.
    pub last_index: Index,
    /// The mark that explains why the log was restarted at the applied index.
    pub install: Option<InstallMark>,
    pub cut: Option<TornTail>,
}

/// A batch that was being written when the machine stopped; it was never acknowledged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TornTail {
    pub file: String,
    pub offset: u64,
    pub bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: Index, term: Term) -> Entry {
        Entry { index, term, ..Entry::default() }
    }

    #[test]
    fn what_came_later_wins() {
        let mut batch = WalBatch {
            entries: vec![entry(5, 1), entry(6, 1), entry(7, 1)],
            hard_state: Some(HardState { term: 1, vote: 1, commit: 4 }),
            ..WalBatch::default()
        };
        batch.merge(WalBatch { entries: vec![entry(6, 2)], ..WalBatch::default() });
        assert_eq!(batch.entries, [entry(5, 1), entry(6, 2)]);
        assert_eq!(batch.truncate_from, None);
        batch.merge(WalBatch { truncate_from: Some(4), ..WalBatch::default() });
        assert_eq!((batch.truncate_from, batch.entries.len()), (Some(4), 0));
        batch.merge(WalBatch { entries: vec![entry(4, 3)], ..WalBatch::default() });
        assert_eq!((batch.truncate_from, batch.entries), (Some(4), vec![entry(4, 3)]));
        assert_eq!(batch.hard_state.map(|hard| hard.commit), Some(4));
    }
}
