//! Clients waiting for their entry to be applied.
//!
//! A waiter is decided as soon as anything decides it: its own entry applied here (its reply), another entry applied
//! at its place (overwritten: not proposed), an entry of a later term than the one it was handed to a leader in (terms
//! only grow along the log, and a leader proposes nothing that was meant for another term: not proposed), a snapshot
//! that passed over its place (ambiguous), its deadline. Nobody waits for what is known. Pure but for calling back.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::error::Error;
use crate::base::{Index, Moment, Term};
use crate::state::Reply;

/// What became of a command.
#[derive(Clone, Debug)]
pub struct Applied {
    pub reply: Reply,
    /// The store's revision after it.
    pub revision: i64,
    pub index: Index,
    pub term: Term,
}

/// Called exactly once, on a thread of the engine: it must not block.
pub type Done = Box<dyn FnOnce(Result<Applied, Error>) + Send>;

/// A decided waiter; the caller calls it outside the lock.
pub(super) type Decided = (Done, Result<Applied, Error>);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    /// Still here: not proposed.
    Parked,
    /// Handed to the leader of a term, which has not answered. Passed over: a snapshot was installed since, in which
    /// it may be.
    Forwarded { term: Term, passed_over: bool },
    /// In a leader's log.
    At(Term, Index),
}

struct Waiter {
    done: Done,
    deadline: Moment,
    place: Place,
}

/// See the module.
#[derive(Default)]
pub(super) struct Waiters {
    by_counter: HashMap<u64, Waiter>,
    by_deadline: BTreeSet<(Moment, u64)>,
    by_index: BTreeMap<Index, Vec<u64>>,
    applied: Index,
    /// The latest term of an applied entry that was looked at.
    term: Term,
    passed_over: Index,
}

impl Waiters {
    pub(super) fn new(applied: Index) -> Self {
        Self { applied, passed_over: applied, ..Self::default() }
    }

    pub(super) fn insert(&mut self, counter: u64, deadline: Moment, done: Done) {
        self.by_deadline.insert((deadline, counter));
        self.by_counter.insert(counter, Waiter { done, deadline, place: Place::Parked });
    }

    pub(super) fn len(&self) -> usize {
        self.by_counter.len()
    }

    pub(super) fn contains(&self, counter: u64) -> bool {
        self.by_counter.contains_key(&counter)
    }

    pub(super) fn forwarded(&mut self, counter: u64, term: Term) {
        if let Some(waiter) = self.by_counter.get_mut(&counter) {
            waiter.place = Place::Forwarded { term, passed_over: false };
        }
    }

    /// The entry stands in the leader's log; decided at once if that place is applied already.
    pub(super) fn placed(&mut self, counter: u64, term: Term, index: Index) -> Option<Decided> {
        let waiter = self.by_counter.get_mut(&counter)?;
        waiter.place = Place::At(term, index);
        if index > self.applied {
            self.by_index.entry(index).or_default().push(counter);
            return None;
        }
        // Applied without meeting this request: overwritten, unless a snapshot brought us past it.
        let error =
            if index <= self.passed_over { Error::PassedOver } else { Error::LeaderChanged };
        self.fail(counter, error)
    }

    /// Its own entry was applied.
    pub(super) fn take(&mut self, counter: u64) -> Option<Done> {
        let waiter = self.by_counter.remove(&counter)?;
        self.by_deadline.remove(&(waiter.deadline, counter));
        Some(waiter.done)
    }

    /// The entry at `index` was applied (and its own waiter taken): whoever else waits at that place was
    /// overwritten, and whoever waits for an entry of an earlier term waits in vain.
    pub(super) fn applied(&mut self, index: Index, term: Term, decided: &mut Vec<Decided>) {
        self.applied = index;
        for counter in self.by_index.remove(&index).unwrap_or_default() {
            decided.extend(self.fail(counter, Error::LeaderChanged));
        }
        if term > self.term {
            self.term = term;
            self.fail_before(term, decided);
        }
    }

    /// A new leader's first entry: no entry of an earlier term comes any more.
    fn fail_before(&mut self, now: Term, decided: &mut Vec<Decided>) {
        let judge = |(&counter, waiter): (&u64, &Waiter)| match waiter.place {
            Place::Forwarded { term, passed_over: true } if term < now => {
                Some((counter, Error::PassedOver))
            }
            Place::Forwarded { term, .. } | Place::At(term, _) if term < now => {
                Some((counter, Error::LeaderChanged))
            }
            _ => None,
        };
        let mut in_vain: Vec<(u64, Error)> = self.by_counter.iter().filter_map(judge).collect();
        in_vain.sort_by_key(|(counter, _)| *counter);
        for (counter, error) in in_vain {
            decided.extend(self.fail(counter, error));
        }
    }

    /// A snapshot replaced everything up to `index`.
    pub(super) fn passed_over(&mut self, index: Index, decided: &mut Vec<Decided>) {
        self.applied = self.applied.max(index);
        self.passed_over = self.passed_over.max(index);
        for waiter in self.by_counter.values_mut() {
            if let Place::Forwarded { passed_over, .. } = &mut waiter.place {
                *passed_over = true;
            }
        }
        let later = self.by_index.split_off(&(index + 1));
        for counters in std::mem::replace(&mut self.by_index, later).into_values() {
            for counter in counters {
                decided.extend(self.fail(counter, Error::PassedOver));
            }
        }
    }

    pub(super) fn fail(&mut self, counter: u64, error: Error) -> Option<Decided> {
        self.take(counter).map(|done| (done, Err(error)))
    }

    /// Whoever's deadline has passed.
    pub(super) fn expire(&mut self, now: Moment, decided: &mut Vec<Decided>) {
        while let Some(&(deadline, counter)) = self.by_deadline.first()
            && deadline <= now
        {
            let error = match self.by_counter.get(&counter).map(|waiter| waiter.place) {
                Some(Place::Parked) => Error::NotProposedInTime,
                _ => Error::Timeout,
            };
            decided.extend(self.fail(counter, error));
        }
    }

    /// The engine stops: whoever may have been proposed is ambiguous.
    pub(super) fn stop(&mut self, faulted: bool) -> Vec<Decided> {
        let counters: Vec<u64> = self.by_counter.keys().copied().collect();
        let mut decided = Vec::with_capacity(counters.len());
        for counter in counters {
            let place = self.by_counter.get(&counter).map(|waiter| waiter.place);
            let error = match place {
                Some(Place::Parked) => Error::Stopped,
                _ if faulted => Error::Faulted,
                _ => Error::Timeout,
            };
            decided.extend(self.fail(counter, error));
        }
        decided
    }
}

/// Calls everybody that was decided.
pub(super) fn answer(decided: Vec<Decided>) {
    for (done, result) in decided {
        done(result);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::engine::Retry;

    type Seen = (u64, Result<(), Retry>);

    struct Witness(Arc<Mutex<Vec<Seen>>>);

    impl Witness {
        fn new() -> Self {
            Self(Arc::default())
        }

        fn done(&self, counter: u64) -> Done {
            let seen = Arc::clone(&self.0);
            Box::new(move |result| {
                let outcome = result.map(drop).map_err(|error| error.retry());
                seen.lock().unwrap().push((counter, outcome));
            })
        }

        fn seen(&self) -> Vec<Seen> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    #[test]
    fn an_overwritten_entry_was_not_proposed_and_a_passed_over_one_is_ambiguous() {
        let witness = Witness::new();
        let mut waiters = Waiters::new(10);
        for counter in 1..=4 {
            waiters.insert(counter, Moment::NEVER, witness.done(counter));
        }
        assert!(waiters.placed(1, 2, 11).is_none());
        assert!(waiters.placed(2, 2, 12).is_none());
        let mut decided = Vec::new();
        waiters.applied(11, 2, &mut decided);
        waiters.passed_over(20, &mut decided);
        decided.extend(waiters.placed(3, 2, 15));
        waiters.applied(21, 2, &mut decided);
        decided.extend(waiters.placed(4, 2, 21));
        answer(decided);
        let (overwritten, ambiguous) = (Err(Retry::NotProposed), Err(Retry::Ambiguous));
        assert_eq!(
            witness.seen(),
            [(1, overwritten), (2, ambiguous), (3, ambiguous), (4, overwritten)]
        );
        assert!(waiters.by_counter.is_empty() && waiters.by_deadline.is_empty());
    }

    #[test]
    fn an_entry_of_a_later_term_decides_whoever_waits_for_an_earlier_one() {
        let witness = Witness::new();
        let mut waiters = Waiters::new(10);
        for counter in 1..=6 {
            waiters.insert(counter, Moment::NEVER, witness.done(counter));
        }
        waiters.forwarded(1, 2);
        waiters.forwarded(2, 2);
        assert!(waiters.placed(2, 2, 20).is_none());
        waiters.forwarded(3, 3);
        assert!(waiters.placed(4, 3, 13).is_none());
        let mut decided = Vec::new();
        waiters.applied(11, 2, &mut decided);
        assert!(decided.is_empty());
        waiters.applied(12, 3, &mut decided);
        answer(std::mem::take(&mut decided));
        assert_eq!(witness.seen(), [(1, Err(Retry::NotProposed)), (2, Err(Retry::NotProposed))]);

        // In what a snapshot brought, it may be.
        waiters.passed_over(12, &mut decided);
        waiters.forwarded(5, 3);
        waiters.applied(14, 4, &mut decided);
        answer(decided);
        let (ambiguous, overwritten) = (Err(Retry::Ambiguous), Err(Retry::NotProposed));
        assert_eq!(witness.seen(), [(3, ambiguous), (4, overwritten), (5, overwritten)]);
        assert!(waiters.contains(6), "it is still here");
    }

    #[test]
    fn a_deadline_says_whether_the_request_had_left() {
        let witness = Witness::new();
        let mut waiters = Waiters::new(0);
        for counter in 1..=3 {
            waiters.insert(counter, Moment::from_millis(counter), witness.done(counter));
        }
        waiters.forwarded(2, 3);
        let mut decided = Vec::new();
        waiters.expire(Moment::from_millis(2), &mut decided);
        answer(decided);
        assert_eq!(witness.seen(), [(1, Err(Retry::NotProposed)), (2, Err(Retry::Ambiguous))]);
        answer(waiters.stop(true));
        assert_eq!(witness.seen(), [(3, Err(Retry::NotProposed))]);
    }
}
