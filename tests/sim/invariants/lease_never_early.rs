//! No leader expires a lease before its TTL has passed since a client was last told that it lives.
//!
//! Clocks run at different rates, so the TTL counts for as much less as the fastest clock may be ahead of the
//! slowest.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate::base::Moment;

use crate::violation::{Verdict, ensure};

const NAME: &str = "lease_never_early";

#[derive(Debug)]
struct Lease {
    ttl: Duration,
    /// Of its grant.
    index: u64,
    /// Beginning of the latest grant or renewal that was acknowledged, and the term in which that was.
    alive: Option<(Moment, u64)>,
    /// When a leader's revoke was seen to be committed.
    expired: Option<Moment>,
}

#[derive(Debug)]
pub(crate) struct LeaseNeverEarly {
    leases: BTreeMap<i64, Lease>,
    /// Thousandths of the TTL that clocks may gain.
    slack: u32,
}

impl LeaseNeverEarly {
    pub(crate) fn new(slack: u32) -> Self {
        Self { leases: BTreeMap::new(), slack }
    }

    pub(crate) fn granted(&mut self, id: i64, ttl_s: i64, index: u64) {
        let ttl = Duration::from_secs(ttl_s as u64);
        self.leases.insert(id, Lease { ttl, index, alive: None, expired: None });
    }

    /// Whether the lease that has this id now was granted at or before an index.
    pub(crate) fn is_known_since(&self, id: i64, index: u64) -> bool {
        self.leases.get(&id).is_some_and(|lease| lease.index <= index)
    }

    /// A client heard that the lease lives: it asked at `began`.
    pub(crate) fn alive(&mut self, id: i64, began: Moment, term: u64) -> Verdict {
        let slack = self.slack;
        let Some(lease) = self.leases.get_mut(&id) else { return Ok(()) };
        if lease.alive.is_none_or(|alive| alive.0 < began) {
            lease.alive = Some((began, term));
        }
        judge(id, lease, slack)
    }

    /// A leader's expiry of this lease is committed. The term in which it was last known to be alive.
    pub(crate) fn expired(
        &mut self,
        id: i64,
        now: Moment,
    ) -> Result<Option<u64>, crate::violation::Violation> {
        let slack = self.slack;
        let Some(lease) = self.leases.get_mut(&id) else { return Ok(None) };
        lease.expired = Some(lease.expired.unwrap_or(now));
        judge(id, lease, slack).map(|()| lease.alive.map(|alive| alive.1))
    }
}

fn judge(id: i64, lease: &Lease, slack: u32) -> Verdict {
    let (Some((began, _)), Some(expired)) = (lease.alive, lease.expired) else { return Ok(()) };
    let ttl = lease.ttl * (1_000 - slack) / 1_000;
    ensure(expired >= began + ttl, NAME, || {
        format!(
            "lease {id:x} of {:?} was renewed at {began} or later and expired at {expired}",
            lease.ttl
        )
    })
}
