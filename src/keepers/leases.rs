//! Leases past their deadline are revoked; long ones have their remaining time recorded.

use std::time::Duration;

use crate::base::{Moment, Term, limits};
use crate::engine::Handle;
use crate::state::Command;

use super::Keeper;

/// How often expiry is looked at (etcd's).
pub const EXPIRY_INTERVAL: Duration = Duration::from_millis(500);

/// How often remaining times are recorded.
pub const RECORD_INTERVAL: Duration = Duration::from_secs(30);

/// Revokes what has expired.
#[derive(Debug, Default)]
pub struct Expiry {
    next: Moment,
}

/// Records remaining times, so that a new leader does not start long leases from their full TTL.
#[derive(Debug, Default)]
pub struct Recorder {
    next: Moment,
}

impl Keeper for Expiry {
    fn next(&mut self, now: Moment, handle: &Handle) -> Option<(Term, Command)> {
        if now < self.next {
            return None;
        }
        let found = handle.expired(limits::LEASE_REVOKES_PER_ENTRY_MAX);
        let is_full =
            found.as_ref().is_some_and(|(_, r)| r.ids.len() == limits::LEASE_REVOKES_PER_ENTRY_MAX);
        if !is_full {
            // A full batch means that there is more: it is asked for as soon as this one is applied.
            self.next = now + EXPIRY_INTERVAL;
        }
        found.map(|(term, revoke)| (term, Command::LeaseRevoke(revoke)))
    }

    fn wake_at(&self) -> Moment {
        self.next
    }
}

impl Keeper for Recorder {
    fn next(&mut self, now: Moment, handle: &Handle) -> Option<(Term, Command)> {
        if now < self.next {
            return None;
        }
        let found = handle.leases_to_record();
        let is_full = found
            .as_ref()
            .is_some_and(|(_, r)| r.leases.len() == limits::LEASE_CHECKPOINTS_PER_ENTRY_MAX);
        if !is_full {
            self.next = now + RECORD_INTERVAL;
        }
        found.map(|(term, record)| (term, Command::LeaseCheckpoint(record)))
    }

    fn wake_at(&self) -> Moment {
        self.next
    }
}
