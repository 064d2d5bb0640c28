//! Bugs that broke real systems, put back one at a time, so that the simulated worlds can show that they find them.
//!
//! Where a bug would be, one condition asks for it by name; without the feature `sabotage` the answer is the constant
//! `false`, and the program holds nothing of this. With it a test chooses one bug for its own thread, which runs a
//! whole world. docs/testing.md says what each stands for, and which check finds it.

/// A bug that is not there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sabotage {
    AppendAckedBeforeFsync,
    AppliedAgainAfterRewrite,
    ApplyDependsOnMember,
    ChangeAppliedTwice,
    ChecksumIgnored,
    CommitBeforeQuorum,
    CompactionForgotten,
    CountOff,
    DamageTakenForTornTail,
    DeleteMissesLastKey,
    IndexAheadOfData,
    LeaseEarlyAfterLeaderChange,
    LeaseKeptByFormerLeader,
    LeaseRevokedByFormerLeader,
    LogCutBelowCommit,
    LogTrimmedTooFar,
    LostCalledNotProposed,
    OlderSnapshotInstalled,
    PrevKvIsTheNewOne,
    ReadBeforeApplied,
    ReadContextReused,
    ReadWithoutQuorum,
    RemovedMemberVotes,
    RevisionReused,
    RowDamageAccepted,
    SecondSnapshotTaken,
    SnapshotUnverified,
    TombstoneLost,
    TxnComparesStale,
    TxnReadsCompacted,
    VoteForgotten,
    WatchGoesBackInTime,
    WatchHearsBeforeStart,
    WatchLosesCompacted,
    WatchLosesWhenSlow,
    WatchProgressAhead,
    WatchProgressBeforeStart,
    WatchRepeatsAfterPause,
    WatchSplitsRevision,
}

#[cfg(all(feature = "sabotage", not(debug_assertions)))]
compile_error!(
    "the feature `sabotage` puts bugs into the program: it is for tests, and no release has it"
);

#[cfg(not(feature = "sabotage"))]
impl Sabotage {
    /// Whether the bug is there.
    #[inline(always)]
    pub(crate) const fn is_on(self) -> bool {
        false
    }

    /// Whether it is there, once in `every` times.
    #[inline(always)]
    pub(crate) const fn strikes(self, _every: u64) -> bool {
        false
    }

    /// What this was called with before.
    #[inline(always)]
    pub(crate) const fn last<T>(self, _value: &T) -> Option<T> {
        None
    }
}

#[cfg(feature = "sabotage")]
pub use chosen::choose;

#[cfg(feature = "sabotage")]
mod chosen {
    use std::any::Any;
    use std::cell::{Cell, RefCell};

    use super::Sabotage;

    thread_local! {
        static CHOSEN: Cell<Option<Sabotage>> = const { Cell::new(None) };
        static ASKED: Cell<u64> = const { Cell::new(0) };
        static LAST: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
    }

    /// From now on this thread's program has this bug, and no other.
    pub fn choose(sabotage: Option<Sabotage>) {
        CHOSEN.set(sabotage);
        ASKED.set(0);
        LAST.set(None);
    }

    impl Sabotage {
        pub(crate) fn is_on(self) -> bool {
            CHOSEN.get() == Some(self)
        }

        pub(crate) fn strikes(self, every: u64) -> bool {
            if !self.is_on() {
                return false;
            }
            ASKED.set(ASKED.get() + 1);
            ASKED.get().is_multiple_of(every)
        }

        pub(crate) fn last<T: Clone + 'static>(self, value: &T) -> Option<T> {
            if !self.is_on() {
                return None;
            }
            let last = LAST.replace(Some(Box::new(value.clone())));
            last.and_then(|last| last.downcast().ok()).map(|last| *last)
        }
    }
}
