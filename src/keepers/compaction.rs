//! Automatic compaction by the leader: what is older than a time, or than so many revisions, is forgotten.
//!
//! As etcd does it. By time: the revision is noted ten times in each interval (the time itself, one hour at the most), and
//! what was the newest one so long ago is compacted to once an interval. By revisions: every five minutes. A new leader
//! notes from its beginning, so that it compacts too late rather than too early.

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::{Moment, Term};
use crate::engine::Handle;
use crate::proto::etcdserverpb::CompactionRequest;
use crate::state::Command;

use super::Keeper;

/// Between two compactions by revisions.
const REVISIONS_INTERVAL: Duration = Duration::from_secs(300);
/// Between two compactions by time, at the most.
const TIME_INTERVAL_MAX: Duration = Duration::from_secs(3_600);
/// Notes that are taken in one interval.
const NOTES_PER_INTERVAL: u32 = 10;
/// The shortest time between two notes.
const NOTE_INTERVAL_MIN: Duration = Duration::from_millis(10);

/// Compacts by time.
#[derive(Debug)]
pub struct OldRevisions {
    kept: Duration,
    interval: Duration,
    next_note: Moment,
    next_compaction: Option<Moment>,
    /// The newest revision at each note, in the order of time, of one term of leadership.
    notes: VecDeque<(Moment, i64)>,
    term: Term,
}

/// Compacts by revisions.
#[derive(Debug)]
pub struct ManyRevisions {
    kept: i64,
    next: Moment,
    last: i64,
}

impl OldRevisions {
    pub fn new(kept: Duration) -> Self {
        Self {
            kept,
            interval: kept.min(TIME_INTERVAL_MAX),
            next_note: Moment::default(),
            next_compaction: None,
            notes: VecDeque::new(),
            term: Term::default(),
        }
    }

    /// Notes the newest revision at `now`; the one to compact to, if it is time.
    fn noted(&mut self, now: Moment, term: Term, revision: i64) -> Option<i64> {
        if term != self.term {
            self.forget();
            self.term = term;
        }
        self.notes.push_back((now, revision));
        let due = *self.next_compaction.get_or_insert(now + self.kept);
        if now < due {
            return None;
        }
        self.next_compaction = Some(now + self.interval);
        let is_old = |&(at, _): &(Moment, i64)| at + self.kept <= now;
        let found = self.notes.iter().copied().take_while(is_old).last();
        // The last of the old ones may be wanted again: nothing newer is that old yet.
        while self.notes.get(1).is_some_and(is_old) {
            self.notes.pop_front();
        }
        found.map(|(_, revision)| revision)
    }

    fn forget(&mut self) {
        self.notes.clear();
        self.next_compaction = None;
    }
}

impl Keeper for OldRevisions {
    fn next(&mut self, now: Moment, handle: &Handle) -> Option<(Term, Command)> {
        if now < self.next_note {
            return None;
        }
        self.next_note = now + (self.interval / NOTES_PER_INTERVAL).max(NOTE_INTERVAL_MIN);
        let status = handle.status().ok().filter(|status| status.raft.is_leader);
        let Some(status) = status else {
            self.forget();
            return None;
        };
        let revision = self.noted(now, status.raft.term, status.revision)?;
        compaction(status.raft.term, revision, status.compacted)
    }

    fn wake_at(&self) -> Moment {
        self.next_note
    }
}

impl ManyRevisions {
    pub fn new(kept: i64) -> Self {
        Self { kept, next: Moment::default(), last: 0 }
    }
}

impl Keeper for ManyRevisions {
    fn next(&mut self, now: Moment, handle: &Handle) -> Option<(Term, Command)> {
        if now < self.next {
            return None;
        }
        self.next = now + REVISIONS_INTERVAL;
        let status = handle.status().ok().filter(|status| status.raft.is_leader)?;
        let revision = status.revision - self.kept;
        if revision == self.last {
            return None;
        }
        self.last = revision;
        compaction(status.raft.term, revision, status.compacted)
    }

    fn wake_at(&self) -> Moment {
        self.next
    }
}

/// None, if that is so already.
fn compaction(term: Term, revision: i64, compacted: i64) -> Option<(Term, Command)> {
    if revision <= compacted.max(0) {
        return None;
    }
    tracing::info!(revision, "compacting automatically");
    Some((term, Command::Compact(CompactionRequest { revision, physical: false })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::default() + Duration::from_secs(seconds)
    }

    #[test]
    fn what_is_old_enough_is_compacted_once_an_interval() {
        let mut keeper = OldRevisions::new(Duration::from_secs(100));
        let mut compacted = Vec::new();
        for second in (0..=310).step_by(10) {
            let revision = i64::try_from(second).unwrap() + 1;
            compacted.extend(keeper.noted(at(second), 3, revision).map(|found| (second, found)));
        }
        assert_eq!(compacted, [(100, 1), (200, 101), (300, 201)]);
    }

    #[test]
    fn many_hours_are_kept_and_an_hour_is_the_interval() {
        let mut keeper = OldRevisions::new(Duration::from_secs(3 * 3_600));
        let mut compacted = Vec::new();
        for minute in (0..=6 * 60).step_by(6) {
            let revision = i64::try_from(minute).unwrap() + 1;
            compacted
                .extend(keeper.noted(at(minute * 60), 3, revision).map(|found| (minute, found)));
        }
        assert_eq!(compacted, [(180, 1), (240, 61), (300, 121), (360, 181)]);
        assert!(keeper.notes.len() < 40, "{}", keeper.notes.len());
    }

    #[test]
    fn a_new_term_begins_to_note_anew() {
        let mut keeper = OldRevisions::new(Duration::from_secs(100));
        assert_eq!(keeper.noted(at(0), 3, 1), None);
        assert_eq!(keeper.noted(at(90), 4, 5), None);
        assert_eq!(keeper.noted(at(110), 4, 6), None);
        assert_eq!(keeper.noted(at(190), 4, 7), Some(5));
    }
}
