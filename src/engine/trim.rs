//! How far the log may be cut; pure: what LMDB holds durably bounds everything else.

use crate::base::{Index, Sabotage};

/// What holds the log back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holders {
    /// What the database holds durably.
    pub(super) durable: Index,
    pub(super) first: Index,
    pub(super) last: Index,
    /// The smallest match index of the members heard from lately.
    pub(super) matched_min: Option<Index>,
    /// The smallest index a snapshot in flight will continue from.
    pub(super) snapshot_min: Option<Index>,
    /// The log on disk.
    pub(super) bytes: u64,
}

/// The last index to drop, if that drops anything.
///
/// `entries_kept` stay behind the last entry, so that a follower that blinked needs no snapshot; beyond `bytes_max`
/// nothing but the database counts.
pub(super) fn trim_to(holders: Holders, entries_kept: u64, bytes_max: u64) -> Option<Index> {
    let early = if Sabotage::LogTrimmedTooFar.is_on() { 4 } else { 0 };
    let mut to = holders.durable + early;
    if holders.bytes <= bytes_max {
        to = to.min(holders.last.saturating_sub(entries_kept));
        to = to.min(holders.matched_min.unwrap_or(Index::MAX));
        to = to.min(holders.snapshot_min.unwrap_or(Index::MAX));
    }
    (to >= holders.first).then_some(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLDERS: Holders = Holders {
        durable: 900,
        first: 1,
        last: 1_000,
        matched_min: None,
        snapshot_min: None,
        bytes: 10,
    };

    #[test]
    fn the_database_bounds_the_trim_always() {
        assert_eq!(trim_to(HOLDERS, 50, 100), Some(900));
        assert_eq!(trim_to(Holders { bytes: 1_000, ..HOLDERS }, 500, 100), Some(900));
        assert_eq!(trim_to(Holders { durable: 0, ..HOLDERS }, 0, 0), None);
    }

    #[test]
    fn followers_snapshots_and_a_margin_hold_it_until_it_grows_too_large() {
        assert_eq!(trim_to(HOLDERS, 500, 100), Some(500));
        assert_eq!(trim_to(Holders { matched_min: Some(20), ..HOLDERS }, 50, 100), Some(20));
        assert_eq!(trim_to(Holders { snapshot_min: Some(7), ..HOLDERS }, 50, 100), Some(7));
        let grown = Holders { matched_min: Some(20), snapshot_min: Some(7), bytes: 101, ..HOLDERS };
        assert_eq!(trim_to(grown, 50, 100), Some(900));
        assert_eq!(trim_to(Holders { first: 600, ..HOLDERS }, 500, 100), None);
    }
}
