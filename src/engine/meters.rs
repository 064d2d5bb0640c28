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
    /// Of those that were revoked, the ones that nobody had asked for.
    pub leases_expired: Counter,
    /// TTLs of leases granted.
    pub lease_ttls: Histogram,
    /// Counted by whoever serves.
    pub leases_renewed: Counter,
    pub promotions: Counter,
    pub failed_promotions: Counter,
    /// Answers to a Range, from its coming on; those that failed.
    pub range_times: Histogram,
    pub failed_range_times: Histogram,
    /// Copies of the database sent to clients.
    pub snapshots_sent: Histogram,
    /// Raft's appends of other members.
    pub received_appends: Counter,
    pub log_bytes: Counter,
    pub compacted_versions: Counter,
    /// When deletion for a compaction ended last, Unix seconds; how long it took from its begin on; and one slice of it, while
    /// which no checkpoint is written.
    pub compacted_at_s: Counter,
    pub compactions: Histogram,
    pub compaction_slices: Histogram,
    /// 1 while the database is written anew; while a snapshot takes its place.
    pub rewriting: Counter,
    pub installing: Counter,
    /// What the hub has now.
    pub watch_streams: Counter,
    pub watchers: Counter,
    pub slow_watchers: Counter,
    /// Events that the hub has given to streams, times their watchers; those that streams have taken, and those that were
    /// dropped with their streams.
    pub events_queued: Counter,
    pub events_taken: Counter,
    pub events_dropped: Counter,
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
    /// Messages from it that there was no room for.
    pub refused: Counter,
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
            refused: Counter::default(),
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
        // etcd's: 0.1 ms to 52 s.
        let range_times = || Histogram::new(Duration::from_micros(100), 20);
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
            leases_expired: count(),
            // etcd's buckets: 1 s to 97 days.
            lease_ttls: Histogram::new(Duration::from_secs(1), 24),
            leases_renewed: count(),
            promotions: count(),
            failed_promotions: count(),
            range_times: range_times(),
            failed_range_times: range_times(),
            // etcd's: 10 ms to 11 minutes.
            snapshots_sent: Histogram::new(Duration::from_millis(10), 17),
            received_appends: count(),
            log_bytes: count(),
            compacted_versions: count(),
            compacted_at_s: count(),
            compactions: Histogram::new(Duration::from_millis(100), 14),
            compaction_slices: Histogram::new(Duration::from_millis(1), 13),
            rewriting: count(),
            installing: count(),
            watch_streams: count(),
            watchers: count(),
            slow_watchers: count(),
            events_queued: count(),
            events_taken: count(),
            events_dropped: count(),
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
            LeaseNote::Granted { ttl, .. } => {
                self.leases_granted.increment();
                self.lease_ttls.observe(Duration::from_secs(u64::try_from(*ttl).unwrap_or(0)));
            }
            LeaseNote::Revoked { is_expired, .. } => {
                self.leases_revoked.increment();
                if *is_expired {
                    self.leases_expired.increment();
                }
            }
            LeaseNote::Checkpointed { .. } => {}
        }
    }
}

fn total(messages: &[Bytes]) -> u64 {
    messages.iter().map(|message| message.len() as u64).sum()
}
