//! Deadlines of leases, which exist only at the leader.
//!
//! The replicated state knows each lease's TTL and, for long ones, the remaining time that was last recorded; when a
//! member becomes leader it starts every deadline anew from that, plus one election timeout, and expires nothing
//! before an entry of its own term is applied. So a lease is never early, whoever leads. Sans-io: time is an
//! argument. Knows nothing of: keys, the log, who asks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::base::{Index, LeaseId, Moment, Sabotage, Term, limits};

/// Leases with a TTL above this have their remaining time recorded, seconds.
const CHECKPOINT_TTL_S_MIN: i64 = 60;

/// What a keep-alive is answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Renewal {
    /// Alive again for so many seconds.
    Ttl(i64),
    /// No such lease.
    Unknown,
    /// Past its deadline, as of this applied index: it is to be revoked, then the answer is TTL 0.
    Expired { as_of: Index },
    /// Its remaining time is recorded: the reset must be applied before the answer, or a new leader would expire
    /// it early.
    NeedsReset,
    /// This member leads as far as it knows, but has not heard so from a quorum lately: it may have been paused, and
    /// another may lead. A read round tells.
    Unconfirmed,
    /// This member does not lead.
    NotLeader,
}

#[derive(Debug)]
struct Lease {
    ttl_s: i64,
    /// Last recorded remaining seconds; none if the full TTL counts.
    recorded_s: Option<i64>,
    /// A record of its remaining time is on its way through the log: a renewal must be recorded behind it, or the
    /// next leader would believe the record.
    is_recording: bool,
    /// Only at the leader.
    deadline: Moment,
}

impl Lease {
    fn new(ttl_s: i64, recorded_s: Option<i64>, deadline: Moment) -> Self {
        Self { ttl_s, recorded_s, is_recording: false, deadline }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Lessor {
    leases: BTreeMap<LeaseId, Lease>,
    /// Empty unless leading.
    deadlines: BTreeSet<(Moment, LeaseId)>,
    leading: Option<Leading>,
    /// Every grant up to here is known: whatever is decided here means no later one.
    applied: Index,
}

#[derive(Debug)]
struct Leading {
    term: Term,
    /// An entry of this term is applied: everything before it is, too.
    settled: bool,
}

impl Lessor {
    /// Starts anew from the replicated leases: (id, TTL, recorded remaining), both in seconds.
    pub(super) fn load(&mut self, leases: impl IntoIterator<Item = (LeaseId, i64, Option<i64>)>) {
        self.demote();
        self.leases = leases
            .into_iter()
            .map(|(id, ttl_s, recorded_s)| (id, Lease::new(ttl_s, recorded_s, Moment::NEVER)))
            .collect();
    }

    pub(super) fn granted(&mut self, id: LeaseId, ttl_s: i64, now: Moment) {
        let deadline = match self.leading {
            Some(_) => now + seconds(ttl_s),
            None => Moment::NEVER,
        };
        if self.leading.is_some() {
            self.deadlines.insert((deadline, id));
        }
        self.leases.insert(id, Lease::new(ttl_s, None, deadline));
    }

    pub(super) fn revoked(&mut self, id: LeaseId) {
        if let Some(lease) = self.leases.remove(&id) {
            self.deadlines.remove(&(lease.deadline, id));
        }
    }

    /// A remaining time was recorded, or (none) forgotten, in the replicated state. A forgotten record is a renewal.
    pub(super) fn recorded(&mut self, id: LeaseId, remaining_s: Option<i64>, now: Moment) {
        let leads = self.leading.is_some();
        let Some(lease) = self.leases.get_mut(&id) else { return };
        lease.recorded_s = remaining_s;
        lease.is_recording = false;
        if leads && remaining_s.is_none() {
            self.deadlines.remove(&(lease.deadline, id));
            lease.deadline = now + seconds(lease.ttl_s);
            self.deadlines.insert((lease.deadline, id));
        }
    }

    /// This member leads from now on: every deadline starts anew, `grace` later than its recorded time says.
    pub(super) fn promote(&mut self, term: Term, now: Moment, grace: Duration) {
        self.deadlines.clear();
        for (&id, lease) in &mut self.leases {
            lease.deadline = now + seconds(lease.recorded_s.unwrap_or(lease.ttl_s)) + grace;
            if Sabotage::LeaseEarlyAfterLeaderChange.is_on() {
                lease.deadline = now + seconds(lease.ttl_s) / 4;
            }
            // A record of an earlier term is applied before this one is settled.
            lease.is_recording = false;
            self.deadlines.insert((lease.deadline, id));
        }
        self.leading = Some(Leading { term, settled: false });
    }

    pub(super) fn demote(&mut self) {
        self.leading = None;
        self.deadlines.clear();
        for lease in self.leases.values_mut() {
            lease.deadline = Moment::NEVER;
        }
    }

    /// Everything up to `index`, an entry of this term, was applied and noted.
    pub(super) fn applied(&mut self, index: Index, term: Term) {
        self.applied = index;
        if let Some(leading) = &mut self.leading
            && leading.term == term
        {
            leading.settled = true;
        }
    }

    /// The index that decisions are made as of.
    pub(super) fn as_of(&self) -> Index {
        self.applied
    }

    /// The term in which expiry may be proposed; none unless leading and settled.
    pub(super) fn term(&self) -> Option<Term> {
        self.leading.as_ref().filter(|leading| leading.settled).map(|leading| leading.term)
    }

    pub(super) fn renew(&mut self, id: LeaseId, now: Moment) -> Renewal {
        if !self.leading.as_ref().is_some_and(|leading| leading.settled) {
            return Renewal::NotLeader;
        }
        let Some(lease) = self.leases.get_mut(&id) else { return Renewal::Unknown };
        if lease.deadline <= now {
            return Renewal::Expired { as_of: self.applied };
        }
        if lease.recorded_s.is_some() || lease.is_recording {
            return Renewal::NeedsReset;
        }
        self.deadlines.remove(&(lease.deadline, id));
        lease.deadline = now + seconds(lease.ttl_s);
        self.deadlines.insert((lease.deadline, id));
        Renewal::Ttl(lease.ttl_s)
    }

    /// Whole seconds until the deadline; none for an unknown lease or when not leading.
    pub(super) fn remaining_s(&self, id: LeaseId, now: Moment) -> Option<i64> {
        self.leading.as_ref()?;
        let lease = self.leases.get(&id)?;
        i64::try_from(lease.deadline.since(now).as_secs()).ok()
    }

    pub(super) fn is_leading(&self) -> bool {
        self.leading.is_some()
    }

    /// Leases past their deadline, longest ago first, at most `count_max`.
    pub(super) fn expired(&self, now: Moment, count_max: usize) -> Vec<LeaseId> {
        if self.term().is_none() {
            return Vec::new();
        }
        let until = self.deadlines.range(..=(now, LeaseId::MAX));
        until.take(count_max).map(|&(_, id)| id).collect()
    }

    /// The record of `remaining_s` is about to enter the log; false if it is not true any more, because the lease was
    /// renewed since [`to_record`](Self::to_record). The caller queues the record before it lets go of the lessor: a
    /// renewal that comes next is queued behind it.
    pub(super) fn begin_record(&mut self, id: LeaseId, remaining_s: i64, now: Moment) -> bool {
        let still = self.remaining_s(id, now).is_some_and(|left_s| left_s <= remaining_s);
        match self.leases.get_mut(&id) {
            Some(lease) if still => {
                lease.is_recording = true;
                true
            }
            _ => false,
        }
    }

    /// Long leases whose remaining time is below half and fell since it was last recorded: (id, remaining seconds).
    pub(super) fn to_record(&self, now: Moment) -> Vec<(LeaseId, i64)> {
        if self.term().is_none() {
            return Vec::new();
        }
        let falls = |(&id, lease): (&LeaseId, &Lease)| {
            let remaining_s = i64::try_from(lease.deadline.since(now).as_secs()).ok()?;
            let fell = remaining_s < lease.recorded_s.unwrap_or(lease.ttl_s);
            let fell = fell && !lease.is_recording;
            let due = lease.ttl_s > CHECKPOINT_TTL_S_MIN && remaining_s < lease.ttl_s / 2 && fell;
            // Zero would forget the record; an expired lease is about to be revoked.
            (due && remaining_s > 0).then_some((id, remaining_s))
        };
        let found = self.leases.iter().filter_map(falls);
        found.take(limits::LEASE_CHECKPOINTS_PER_ENTRY_MAX).collect()
    }
}

fn seconds(s: i64) -> Duration {
    Duration::from_secs(u64::try_from(s).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Moment {
        Moment::from_millis(s * 1_000)
    }

    fn leading(ttl_s: i64) -> Lessor {
        let mut lessor = Lessor::default();
        lessor.promote(5, at(0), Duration::ZERO);
        lessor.applied(9, 5);
        lessor.granted(7, ttl_s, at(0));
        lessor
    }

    #[test]
    fn a_lease_expires_at_its_deadline_and_a_renewal_moves_it() {
        let mut lessor = leading(10);
        assert_eq!(lessor.renew(7, at(9)), Renewal::Ttl(10));
        assert!(lessor.expired(at(18), 10).is_empty());
        assert_eq!(lessor.expired(at(19), 10), [7]);
        assert_eq!(lessor.renew(7, at(19)), Renewal::Expired { as_of: 9 });
        lessor.revoked(7);
        assert_eq!(lessor.renew(7, at(19)), Renewal::Unknown);
    }

    #[test]
    fn a_new_leader_gives_the_full_ttl_and_waits_for_its_first_entry() {
        let mut lessor = Lessor::default();
        lessor.load([(7, 10, None), (8, 100, Some(30))]);
        lessor.promote(6, at(100), Duration::from_secs(1));
        assert!(lessor.expired(at(1_000), 10).is_empty());
        assert_eq!(lessor.renew(7, at(101)), Renewal::NotLeader);
        lessor.applied(9, 5);
        assert_eq!(lessor.term(), None);
        lessor.applied(9, 6);
        assert!(lessor.expired(at(110), 10).is_empty());
        assert_eq!(lessor.expired(at(111), 10), [7]);
        assert_eq!(lessor.expired(at(131), 10), [7, 8]);
    }

    #[test]
    fn a_recorded_lease_is_renewed_only_after_its_record_is_forgotten() {
        let mut lessor = leading(100);
        assert!(lessor.to_record(at(40)).is_empty());
        assert_eq!(lessor.to_record(at(60)), [(7, 40)]);
        lessor.recorded(7, Some(40), at(60));
        assert!(lessor.to_record(at(60)).is_empty());
        assert_eq!(lessor.renew(7, at(61)), Renewal::NeedsReset);
        lessor.recorded(7, None, at(62));
        assert_eq!(lessor.remaining_s(7, at(62)), Some(100));
        assert_eq!(lessor.renew(7, at(63)), Renewal::Ttl(100));
    }

    #[test]
    fn a_renewal_is_recorded_behind_a_record_that_is_on_its_way() {
        let mut lessor = leading(100);
        assert_eq!(lessor.to_record(at(60)), [(7, 40)]);
        assert!(lessor.begin_record(7, 40, at(60)));
        assert!(lessor.to_record(at(60)).is_empty());
        assert_eq!(lessor.renew(7, at(61)), Renewal::NeedsReset);
        lessor.recorded(7, Some(40), at(62));
        lessor.recorded(7, None, at(62));
        assert_eq!(lessor.renew(7, at(63)), Renewal::Ttl(100));
        // Renewed after it was found due: the record would not be true.
        assert!(!lessor.begin_record(7, 40, at(64)));
        assert_eq!(lessor.renew(7, at(64)), Renewal::Ttl(100));
    }

    #[test]
    fn a_follower_expires_nothing() {
        let mut lessor = leading(10);
        lessor.demote();
        assert!(lessor.expired(at(1_000), 10).is_empty());
        assert_eq!(lessor.remaining_s(7, at(1)), None);
    }
}
