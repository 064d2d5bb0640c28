//! Bugs of what the world stands in for: chosen by a test for its own thread, like those of the program.

use std::cell::Cell;

use bytes::Bytes;

/// What a disk or a network does that its contract forbids, or that the program must find out.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Harm {
    /// Of the log's syncs, every third says that it is done, and did nothing.
    LyingDisk,
    /// Questions between members arrive twice.
    DoubledAsks,
    /// Snapshots arrive with one byte of a value altered.
    DamagedCopies,
    /// The power fails whenever a member has rewritten its database.
    CrashesAfterRewrites,
}

thread_local! {
    static INFLICTED: Cell<Option<Harm>> = const { Cell::new(None) };
}

pub(super) fn inflict(harm: Option<Harm>) {
    INFLICTED.set(harm);
}

impl Harm {
    pub(crate) fn is_on(self) -> bool {
        INFLICTED.get() == Some(self)
    }

    /// A copy of the database, damaged where no page number can be hit: inside the filling of a value.
    pub(crate) fn damaged(copy: &[u8]) -> Bytes {
        const FILLING: &[u8] = b"................";
        let mut copy = copy.to_vec();
        if let Some(at) = copy.windows(FILLING.len()).rposition(|window| window == FILLING) {
            copy[at + FILLING.len() / 2] ^= 1;
        }
        Bytes::from(copy)
    }
}
