//! What the engine is told when it is built.

use std::time::Duration;

use crate::base::{ClusterId, MemberId, limits};

/// The engine's settings. Bounds that a simulated world wants small are fields here.
#[derive(Clone, Debug)]
pub struct Config {
    pub cluster: ClusterId,
    pub member: MemberId,
    /// Drawn anew at every boot: request ids and read contexts are never used twice.
    pub boot_nonce: u64,
    /// Decides the election timeouts of this member.
    pub seed: u64,
    /// One tick of Raft's clock (etcd's heartbeat-interval).
    pub tick: Duration,
    /// Ticks without a leader before a campaign.
    pub election_ticks: u32,
    /// Ticks between heartbeats.
    pub heartbeat_ticks: u32,
    /// How long a read waits for its index before it asks again with a new context.
    pub read_retry: Duration,
    pub request_bytes_max: usize,
    pub apply_backlog_max: u64,
    pub apply_backlog_priority_max: u64,
    pub overlay_admit_bytes_max: usize,
    pub overlay_apply_bytes_max: usize,
    pub log_kept_entries: u64,
    pub log_kept_bytes_max: u64,
    /// A member not heard from for so many ticks does not hold the log back.
    pub log_kept_ticks: u64,
    /// Entries one applier turn reads, bytes.
    pub apply_batch_bytes: usize,
    /// Rows one slice of compaction looks at, before its time is measured.
    pub compaction_rows: usize,
    /// Shortest lease, seconds.
    pub lease_ttl_s_min: i64,
    /// How long a simple token lives after its last use.
    pub token_ttl: Duration,
}

impl Config {
    pub fn new(cluster: ClusterId, member: MemberId, boot_nonce: u64) -> Self {
        Self {
            cluster,
            member,
            boot_nonce,
            seed: member.0,
            tick: Duration::from_millis(100),
            election_ticks: 10,
            heartbeat_ticks: 1,
            read_retry: Duration::from_millis(500),
            request_bytes_max: limits::REQUEST_BYTES_MAX,
            apply_backlog_max: limits::APPLY_BACKLOG_MAX,
            apply_backlog_priority_max: limits::APPLY_BACKLOG_PRIORITY_MAX,
            overlay_admit_bytes_max: limits::OVERLAY_ADMIT_BYTES_MAX,
            overlay_apply_bytes_max: limits::OVERLAY_APPLY_BYTES_MAX,
            log_kept_entries: limits::LOG_KEPT_ENTRIES,
            log_kept_bytes_max: limits::LOG_KEPT_BYTES_MAX,
            log_kept_ticks: 600,
            apply_batch_bytes: 1 << 20,
            compaction_rows: 1_000,
            lease_ttl_s_min: 2,
            token_ttl: Duration::from_secs(300),
        }
    }

    /// Time without a leader before a campaign, at the least.
    pub fn election_timeout(&self) -> Duration {
        self.tick * self.election_ticks
    }
}
