//! What the engine counts in passing, for whoever wants to watch it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

use super::shared::lock;
use crate::base::meter::{Counter, Histogram, Latency};
use crate::base::{MemberId, limits};
use crate::mvcc::EventBatch;
use crate::state::LeaseNote;
use crate::watch::EventKind;

/// Above this an applied batch was slow (etcd's).
const SLOW_APPLY: Duration = Duration::from_millis(100);

/// See the module. Since the start of the process.
#[derive(Debug)]
pub struct Meters {
    pub leader_changes: Counter,
    /// Reads whose round had to be asked again, and reads that were given up.
    pub slow_reads: Counter,
    pub failed_reads: Counter,
    pub slow_applies: Counter,
    /// Keys put and deleted by entries applied here, and the bytes put.
    pub puts: Counter,
    pub deletes: Counter,
    pub put_bytes: Counter,
    /// Revisions with more than one change.
    pub txns: Counter,
    /// Counted by whoever serves: ranges read, and commands whose end is not known.
    pub ranges: Counter,
    pub failed_proposals: Counter,
    pub leases_granted: Counter,
    pub leases_revoked: Counter,
    /// Counted by whoever serves.
    pub leases_renewed: Counter,
    /// Raft's appends of other members.
    pub received_appends: Counter,
    pub log_bytes: Counter,
    pub compacted_versions: Counter,
    /// What the hub has now.
    pub watch_streams: Counter,
    pub watchers: Counter,
    pub slow_watchers: Counter,
    /// One write of the log with its fdatasync.
    pub log_writes: Histogram,
    /// One checkpoint's transaction.
    pub checkpoints: Histogram,
    pub rewrites: Histogram,
    pub applies: Histogram,
    peers: Mutex<BTreeMap<MemberId, Arc<PeerMeters>>>,
}

/// Of one other member.
#[derive(Debug)]
pub struct PeerMeters {
    /// Raft's bytes to it and from it.
    pub sent_bytes: Counter,
    pub received_bytes: Counter,
    /// Appends that were handed to the network, and how often it was found out of reach.
    pub sent_appends: Counter,
    pub unreachable: Counter,
    /// Sampled now and then, by whoever knows the connection.
    pub round_trips: Histogram,
    /// The same samples.
    pub latency: Latency,
}

impl Default for PeerMeters {
    fn default() -> Self {
        Self {
            sent_bytes: Counter::default(),
            received_bytes: Counter::default(),
            sent_appends: Counter::default(),
            unreachable: Counter::default(),
            latency: Latency::default(),
            // etcd's buckets: 0.1 ms to 3.2 s.
            round_trips: Histogram::new(Duration::from_micros(100), 16),
        }
    }
}

impl Default for Meters {
    fn default() -> Self {
        // etcd's buckets: 1 ms to 8.192 s; a rewrite takes longer.
        let disk = || Histogram::new(Duration::from_millis(1), 14);
        let count = Counter::default;
        Self {
            leader_changes: count(),
            slow_reads: count(),
            failed_reads: count(),
            slow_applies: count(),
            puts: count(),
            deletes: count(),
            put_bytes: count(),
            txns: count(),
            ranges: count(),
            failed_proposals: count(),
            leases_granted: count(),
            leases_revoked: count(),
            leases_renewed: count(),
            received_appends: count(),
            log_bytes: count(),
            compacted_versions: count(),
            watch_streams: count(),
            watchers: count(),
            slow_watchers: count(),
            log_writes: disk(),
            checkpoints: disk(),
            rewrites: Histogram::new(Duration::from_millis(100), 13),
            applies: Histogram::new(Duration::from_micros(100), 20),
            peers: Mutex::default(),
        }
    }
}

impl Meters {
    /// Of all members that were heard of.
    pub fn peers(&self) -> BTreeMap<MemberId, Arc<PeerMeters>> {
        lock(&self.peers).clone()
    }

    pub fn peer(&self, member: MemberId) -> Arc<PeerMeters> {
        let mut peers = lock(&self.peers);
        // Members that came and went are forgotten, all at once.
        if peers.len() >= 2 * limits::MEMBERS_MAX && !peers.contains_key(&member) {
            peers.clear();
        }
        Arc::clone(peers.entry(member).or_default())
    }

    pub(super) fn sent(&self, to: MemberId, messages: &[Bytes]) {
        self.peer(to).sent_bytes.add(total(messages));
    }

    pub(super) fn received(&self, from: MemberId, messages: &[Bytes]) {
        self.peer(from).received_bytes.add(total(messages));
    }

    pub(super) fn applied(&self, took: Duration) {
        self.applies.observe(took);
        if took > SLOW_APPLY {
            self.slow_applies.increment();
        }
    }

    pub(super) fn events(&self, batch: &EventBatch) {
        let (mut puts, mut put_bytes) = (0, 0);
        for event in batch.events.iter().filter(|event| event.kind == EventKind::Put) {
            puts += 1;
            put_bytes += (event.kv.key.len() + event.kv.value.len()) as u64;
        }
        self.puts.add(puts);
        self.put_bytes.add(put_bytes);
        self.deletes.add(batch.events.len() as u64 - puts);
        if batch.events.len() > 1 {
            self.txns.increment();
        }
    }

    pub(super) fn lease(&self, note: &LeaseNote) {
        match note {
            LeaseNote::Granted { .. } => self.leases_granted.increment(),
            LeaseNote::Revoked { .. } => self.leases_revoked.increment(),
            LeaseNote::Checkpointed { .. } => {}
        }
    }
}

fn total(messages: &[Bytes]) -> u64 {
    messages.iter().map(|message| message.len() as u64).sum()
}
