//! What readers find in RAM beside the rows: counts, leases, members, alarms, and how far the state has come.
//!
//! ```text
//!   applier   apply(entry) -> rows --- merged into the overlay ---> publish() -> Shared
//!   reader                              1. takes a view            2. reads Shared
//! ```
//!
//! Rows are visible before the caches are, and a reader looks at the caches after it took its view: so a cache is as
//! new as the view or newer, or (between merge and publish) one entry older; the count index says at which revision
//! it stands and is corrected to the view's. Whoever must see an entry waits until it is published.
//!
//! Promises: one entry's changes appear together. Knows nothing of: what is in the rows.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;

use super::alarms::Alarms;
use super::auth;
use super::envelope::Command;
use super::leases::{Lease, Leases};
use super::members::Members;
use super::reply::{LeaseNote, Rejection};
use super::v2::{self, Auth};
use crate::base::{KeyRange, LeaseId, MemberId};
use crate::mvcc::{Counts, CountsDelta, Whole};
use crate::proto::etcdserverpb::AlarmType;
use crate::storage::{Fault, Read, Stamp};

/// The caches, shared by the applier (who alone publishes) and all readers.
#[derive(Debug)]
pub struct Shared {
    caches: RwLock<Caches>,
}

#[derive(Debug)]
pub(super) struct Caches {
    pub(super) stamp: Stamp,
    pub(super) counts: Counts,
    pub(super) leases: Leases,
    pub(super) members: Arc<Members>,
    pub(super) alarms: Arc<Alarms>,
    pub(super) v2: V2,
    pub(super) v2_auth: Arc<Auth>,
    pub(super) auth: Arc<auth::Auth>,
    /// The rows are being exchanged under them: counts say nothing.
    suspended: bool,
}

/// What one entry changes in the caches.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) stamp: Stamp,
    pub(super) counts: Option<CountsDelta>,
    pub(super) leases: Vec<LeaseNote>,
    pub(super) members: Option<Members>,
    pub(super) alarms: Option<Alarms>,
    pub(super) v2: Option<V2Change>,
    pub(super) v2_auth: Option<Auth>,
    pub(super) auth: Option<auth::Auth>,
}

/// What is known of the v2 tree without its rows.
#[derive(Debug, Default)]
pub(super) struct V2 {
    history: v2::History,
    /// When its first node expires, milliseconds since 1970.
    next_expiry_ms: Option<i64>,
}

#[derive(Debug)]
pub(super) struct V2Change {
    pub(super) told: Vec<v2::Told>,
    pub(super) next_expiry_ms: Option<i64>,
}

impl Shared {
    pub(super) fn new(caches: Caches) -> Self {
        Self { caches: RwLock::new(caches) }
    }

    /// How far what is published has come.
    pub fn stamp(&self) -> Stamp {
        self.read().stamp
    }

    pub fn members(&self) -> Arc<Members> {
        Arc::clone(&self.read().members)
    }

    pub fn alarms(&self) -> Arc<Alarms> {
        Arc::clone(&self.read().alarms)
    }

    /// Whether the alarms allow the command, as far as is known here; the same is asked again at apply.
    pub fn gate(&self, command: &Command) -> Result<(), Rejection> {
        let caches = self.read();
        caches.alarms.gate(command, &caches.members)
    }

    /// Whether the member's own history is known to be another than the cluster's.
    pub fn is_quarantined(&self, member: MemberId) -> bool {
        self.read().alarms.is_raised_by(member, AlarmType::Corrupt)
    }

    pub fn lease(&self, id: LeaseId) -> Option<Lease> {
        self.read().leases.get(id)
    }

    /// All leases, by id.
    pub fn leases(&self) -> Vec<(LeaseId, Lease)> {
        self.read().leases.iter().collect()
    }

    pub fn lease_count(&self) -> usize {
        self.read().leases.iter().count()
    }

    /// Live keys at the published revision.
    pub fn key_count(&self) -> u64 {
        self.read().counts.total()
    }

    /// The v2 tree's index.
    pub fn v2_index(&self) -> u64 {
        self.read().v2.history.index()
    }

    /// When the first node of the v2 tree expires, milliseconds since 1970.
    pub fn v2_next_expiry_ms(&self) -> Option<i64> {
        self.read().v2.next_expiry_ms
    }

    /// A watcher of the v2 tree from `since` on (0: from now on).
    pub fn v2_watch(&self, path: Bytes, recursive: bool, since: u64) -> v2::Watch {
        v2::Watch::new(path, recursive, since, self.v2_index())
    }

    /// What it is told next.
    pub fn v2_find(&self, watch: &mut v2::Watch) -> v2::Found {
        self.read().v2.history.find(watch)
    }

    /// Users and roles of the v2 API.
    pub fn v2_auth(&self) -> Arc<Auth> {
        Arc::clone(&self.read().v2_auth)
    }

    /// Users and roles of the v3 API.
    pub fn auth(&self) -> Arc<auth::Auth> {
        Arc::clone(&self.read().auth)
    }

    pub(super) fn whole(&self, range: &KeyRange, view_revision: i64) -> Option<Whole> {
        let caches = self.read();
        if caches.suspended { None } else { caches.counts.whole(range, view_revision) }
    }

    /// A panic of another reader harms nothing: only the applier writes.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Caches> {
        self.caches.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn publish(&self, change: Change) {
        let mut caches = self.write();
        caches.stamp = change.stamp;
        if let Some(delta) = change.counts {
            caches.counts.commit(delta);
        }
        for note in change.leases {
            caches.leases.note(note);
        }
        if let Some(members) = change.members {
            caches.members = Arc::new(members);
        }
        if let Some(alarms) = change.alarms {
            caches.alarms = Arc::new(alarms);
        }
        if let Some(changed) = change.v2 {
            caches.v2.history.extend(changed.told);
            caches.v2.next_expiry_ms = changed.next_expiry_ms;
        }
        if let Some(auth) = change.v2_auth {
            caches.v2_auth = Arc::new(auth);
        }
        if let Some(auth) = change.auth {
            caches.auth = Arc::new(auth);
        }
    }

    pub(super) fn suspend(&self) {
        self.write().suspended = true;
    }

    pub(super) fn replace(&self, caches: Caches) {
        *self.write() = caches;
    }

    fn write(&self) -> RwLockWriteGuard<'_, Caches> {
        self.caches.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Caches {
    /// Everything anew from the rows, which stand at `stamp`.
    pub(super) fn load<R: Read>(read: &R, stamp: Stamp) -> Result<Self, Fault> {
        Ok(Self {
            stamp,
            counts: Counts::load(read, stamp.revision)?,
            leases: Leases::load(read)?,
            members: Arc::new(Members::load(read)?),
            alarms: Arc::new(Alarms::load(read)?),
            v2: V2 { history: v2::History::load(read)?, next_expiry_ms: v2::next_expiry(read)? },
            v2_auth: Arc::new(Auth::load(read)?),
            auth: Arc::new(auth::Auth::load(read)?),
            suspended: false,
        })
    }
}
