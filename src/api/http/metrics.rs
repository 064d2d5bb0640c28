//! `/metrics`: what the member counts, under etcd's names wherever etcd has one, so that its dashboards and alerts work as
//! they are; ours under `quorate_`.
//!
//! A name of etcd's whose meaning does not exist here is left out, not faked.

use std::sync::Arc;

use super::exposition::{Exposition, Kind};
use super::process;
use super::tally::Tally;
use crate::api::local::API_VERSION;
use crate::api::quota::Quota;
use crate::engine::{Handle, Meters, Status};
use crate::transport::{Bounds, Transport};

/// What the pages tell beside what the service answers.
pub struct Vitals {
    pub handle: Handle,
    pub transport: Arc<Transport>,
    pub quota: Arc<Quota>,
}

/// The page; without an engine, what the door knows.
pub(super) fn page(vitals: Option<&Vitals>, tally: &Tally, bounds: &Bounds) -> String {
    let mut page = Exposition::default();
    if let Some(vitals) = vitals {
        // An engine that met a fault says so in its log, and stops.
        if let Ok(status) = vitals.handle.status() {
            server(&mut page, vitals, &status);
            storage(&mut page, vitals, &status);
        }
        changes(&mut page, &vitals.handle);
        peers(&mut page, vitals);
    }
    tally.write(&mut page);
    let refused = "quorate_refused_total";
    page.family(
        refused,
        Kind::Counter,
        "Clients, calls and bytes refused, by the bound that was reached.",
    );
    for (bound, times) in bounds.refused() {
        page.sample(refused, &[("bound", bound.name())], times);
    }
    process::write(&mut page);
    page.into_text()
}

fn server(page: &mut Exposition, vitals: &Vitals, status: &Status) {
    let (raft, meters) = (&status.raft, vitals.handle.meters());
    let flag = u8::from;
    page.gauge("etcd_server_has_leader", "Whether a leader is known.", flag(raft.leader.is_some()));
    page.gauge("etcd_server_is_leader", "Whether this member leads.", flag(raft.is_leader));
    page.gauge("etcd_server_is_learner", "Whether it is a learner.", flag(raft.is_learner));
    let one = |page: &mut Exposition, name: &str, help: &str, label: (&str, &str)| {
        page.family(name, Kind::Gauge, help);
        page.sample(name, &[label], 1);
    };
    let id = status.member.to_string();
    one(page, "etcd_server_id", "This member.", ("server_id", &id));
    let version = ("server_version", API_VERSION);
    one(page, "etcd_server_version", "The version of etcd whose API this is.", version);
    let (cluster, _) = API_VERSION.rsplit_once('.').unwrap_or((API_VERSION, ""));
    one(page, "etcd_cluster_version", "The cluster's.", ("cluster_version", cluster));
    let ours = ("version", env!("CARGO_PKG_VERSION"));
    one(page, "quorate_version", "The version of this program.", ours);
    page.counter(
        "etcd_server_leader_changes_seen_total",
        "Leaders seen, one after the other.",
        meters.leader_changes.value(),
    );
    page.gauge("etcd_server_proposals_committed_total", "The last committed entry.", raft.commit);
    page.gauge("etcd_server_proposals_applied_total", "The last applied entry.", status.applied);
    let pending = vitals.handle.pending();
    page.gauge("etcd_server_proposals_pending", "Commands whose end is not known yet.", pending);
    page.counter(
        "etcd_server_proposals_failed_total",
        "Commands of which it is not known that they were applied.",
        meters.failed_proposals.value(),
    );
    page.gauge("etcd_server_quota_backend_bytes", "The quota.", vitals.quota.limit());
    let slow = meters.slow_applies.value();
    page.counter("etcd_server_slow_apply_total", "Batches applied in more than 100 ms.", slow);
    page.counter(
        "etcd_server_slow_read_indexes_total",
        "Rounds of linearizable reads that were asked again.",
        meters.slow_reads.value(),
    );
    page.counter(
        "etcd_server_read_indexes_failed_total",
        "Linearizable reads that found no quorum in time.",
        meters.failed_reads.value(),
    );
    let help = "Raft's messages that were dropped because a member did not take them.";
    let dropped = vitals.transport.status().iter().map(|peer| peer.dropped).sum();
    page.counter("etcd_server_heartbeat_send_failures_total", help, dropped);
}

fn storage(page: &mut Exposition, vitals: &Vitals, status: &Status) {
    let meters = vitals.handle.meters();
    let (bytes, in_use) = (status.db_bytes, status.db_bytes_in_use);
    page.gauge("etcd_mvcc_db_total_size_in_bytes", "Bytes of the database file.", bytes);
    page.gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "Bytes in use of it.", in_use);
    page.gauge("etcd_debugging_mvcc_current_revision", "The revision.", status.revision);
    let compacted = if status.compacted == 0 { -1 } else { status.compacted };
    page.gauge("etcd_debugging_mvcc_compact_revision", "Compacted up to here.", compacted);
    let users = vitals.handle.auth().revision();
    page.gauge("etcd_debugging_auth_revision", "The revision of users and roles.", users);
    let keys = vitals.handle.key_count();
    page.gauge("etcd_debugging_mvcc_keys_total", "Keys.", keys);
    page.histogram(
        "etcd_disk_wal_fsync_duration_seconds",
        "One write of the log with its fdatasync.",
        &meters.log_writes,
    );
    page.counter(
        "etcd_disk_wal_write_bytes_total",
        "Bytes of entries written to the log.",
        meters.log_bytes.value(),
    );
    page.histogram(
        "etcd_disk_backend_commit_duration_seconds",
        "One checkpoint's transaction; no write waits for it.",
        &meters.checkpoints,
    );
    page.histogram(
        "etcd_disk_backend_defrag_duration_seconds",
        "The database written anew.",
        &meters.rewrites,
    );
    page.gauge(
        "etcd_disk_defrag_inflight",
        "Whether the database is written anew now.",
        meters.rewriting.value(),
    );
    page.histogram(
        "etcd_disk_backend_snapshot_duration_seconds",
        "The database sent to a client.",
        &meters.snapshots_sent,
    );
    let reads = status.open_reads;
    page.gauge("etcd_mvcc_db_open_read_transactions", "Reads of the database under way.", reads);
    page.gauge(
        "etcd_server_snapshot_apply_in_progress_total",
        "Whether a snapshot takes the place of the database now.",
        meters.installing.value(),
    );
    compactions(page, meters);
    page.histogram(
        "quorate_apply_batch_duration_seconds",
        "Entries applied in one turn.",
        &meters.applies,
    );
}

fn compactions(page: &mut Exposition, meters: &Meters) {
    page.gauge(
        "etcd_debugging_mvcc_db_compaction_last",
        "When deletion for a compaction ended last, Unix time.",
        meters.compacted_at_s.value(),
    );
    page.milliseconds(
        "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds",
        "One slice of deletion, for which a checkpoint waits.",
        &meters.compaction_slices,
    );
    page.milliseconds(
        "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds",
        "Deletion for one compaction, from its begin to its end.",
        &meters.compactions,
    );
}

/// What clients changed, and watch.
fn changes(page: &mut Exposition, handle: &Handle) {
    let meters = handle.meters();
    for (name, help, counter) in [
        ("etcd_mvcc_put_total", "Keys put.", &meters.puts),
        ("etcd_mvcc_delete_total", "Keys deleted.", &meters.deletes),
        ("etcd_mvcc_range_total", "Ranges read here.", &meters.ranges),
        ("etcd_mvcc_txn_total", "Revisions with more than one change.", &meters.txns),
        ("etcd_debugging_mvcc_total_put_size_in_bytes", "Bytes put.", &meters.put_bytes),
        (
            "etcd_debugging_mvcc_db_compaction_keys_total",
            "Versions that compaction deleted.",
            &meters.compacted_versions,
        ),
        ("etcd_debugging_lease_granted_total", "Leases granted.", &meters.leases_granted),
        ("etcd_debugging_lease_revoked_total", "Leases revoked.", &meters.leases_revoked),
        ("etcd_debugging_lease_renewed_total", "Renewals here.", &meters.leases_renewed),
        (
            "etcd_debugging_server_lease_expired_total",
            "Leases revoked because their time was over.",
            &meters.leases_expired,
        ),
        (
            "etcd_debugging_mvcc_events_total",
            "Events that watchers' streams have taken.",
            &meters.events_taken,
        ),
        (
            "etcd_server_learner_promote_successes",
            "Learners promoted from here.",
            &meters.promotions,
        ),
    ] {
        page.counter(name, help, counter.value());
    }
    for (name, help, gauge) in [
        ("etcd_debugging_mvcc_watch_stream_total", "Watch streams.", &meters.watch_streams),
        ("etcd_debugging_mvcc_watcher_total", "Watchers.", &meters.watchers),
        (
            "etcd_debugging_mvcc_slow_watcher_total",
            "Watchers that wait for their slow stream.",
            &meters.slow_watchers,
        ),
    ] {
        page.gauge(name, help, gauge.value());
    }
    // Of different moments, so that there may seem to be fewer than none.
    let gone = meters.events_taken.value() + meters.events_dropped.value();
    let pending = meters.events_queued.value().saturating_sub(gone);
    page.gauge(
        "etcd_debugging_mvcc_pending_events_total",
        "Events that wait for streams.",
        pending,
    );
    page.histogram("etcd_debugging_lease_ttl_total", "TTLs granted, seconds.", &meters.lease_ttls);
    let failed = "etcd_server_learner_promote_failures";
    page.family(failed, Kind::Counter, "Promotions asked for here that failed.");
    page.sample(failed, &[("Reason", "refused")], meters.failed_promotions.value());
    let ranges = "etcd_server_range_duration_seconds";
    page.family(ranges, Kind::Histogram, "Answers to Range.");
    for (success, times) in [("true", &meters.range_times), ("false", &meters.failed_range_times)] {
        page.buckets(ranges, &[("success", success)], times);
    }
}

fn peers(page: &mut Exposition, vitals: &Vitals) {
    let known = vitals.handle.meters().peers();
    let sent = "etcd_network_peer_sent_bytes_total";
    page.family(sent, Kind::Counter, "Raft's bytes to a member.");
    for (member, peer) in &known {
        page.sample(sent, &[("To", &member.to_string())], peer.sent_bytes.value());
    }
    let received = "etcd_network_peer_received_bytes_total";
    page.family(received, Kind::Counter, "Raft's bytes from a member.");
    for (member, peer) in &known {
        page.sample(received, &[("From", &member.to_string())], peer.received_bytes.value());
    }
    let refused = "etcd_network_peer_received_failures_total";
    page.family(
        refused,
        Kind::Counter,
        "Raft's messages from a member that there was no room for.",
    );
    for (member, peer) in &known {
        page.sample(refused, &[("From", &member.to_string())], peer.refused.value());
    }
    let rtt = "etcd_network_peer_round_trip_time_seconds";
    page.family(rtt, Kind::Histogram, "To a member and back, as QUIC measures it, sampled.");
    for (member, peer) in &known {
        page.buckets(rtt, &[("To", &member.to_string())], &peer.round_trips);
    }
    let Ok(status) = vitals.handle.status() else { return };
    let local = status.member.to_string();
    let peers = vitals.transport.status();
    let active = "etcd_network_active_peers";
    page.family(active, Kind::Gauge, "Members that are connected.");
    for peer in &peers {
        let labels = [("Local", local.as_str()), ("Remote", &peer.member.to_string())];
        page.sample(active, &labels, u8::from(peer.connected));
    }
    let failed = "etcd_network_peer_sent_failures_total";
    page.family(failed, Kind::Counter, "Messages to this member that were dropped.");
    for peer in &peers {
        page.sample(failed, &[("To", &peer.member.to_string())], peer.dropped);
    }
    let known = "etcd_network_known_peers";
    page.family(known, Kind::Gauge, "Members that are dialled.");
    for peer in &peers {
        let labels = [("Local", local.as_str()), ("Remote", &peer.member.to_string())];
        page.sample(known, &labels, 1);
    }
}
