//! The settings of one member's consensus, and the election timeouts that replace the crate's dice.

use crate::base::{Index, MemberId, Sabotage, Term, limits};

/// Bounds are fields so that a simulated world can make them small; the defaults are `base::limits`.
#[derive(Clone, Debug)]
pub struct Config {
    pub id: MemberId,
    /// Ticks without a leader before an election; the timeout is drawn from [this, twice this).
    pub election_ticks: u32,
    /// Ticks between a leader's heartbeats; smaller than `election_ticks`.
    pub heartbeat_ticks: u32,
    /// Seed of the election timeouts.
    pub seed: u64,
    /// Drawn anew by every process, so that no read context is used twice.
    pub boot_nonce: u64,
    /// Entries in one append message, bytes; at least one entry is sent.
    pub message_bytes_max: u64,
    /// Append messages in flight to one follower.
    pub inflight_max: usize,
    /// Proposed and not committed, bytes; one entry is always admitted.
    pub uncommitted_bytes_max: u64,
    /// The crate's bound on committed entries in one Ready, bytes. The entries themselves stay in the log (the
    /// applier reads them there), so this counts only the marks that stand for them.
    pub committed_bytes_max: u64,
    /// One proposal, bytes.
    pub entry_bytes_max: usize,
}

impl Config {
    /// Ticks of 100 ms make etcd's defaults of 1 s and 100 ms.
    pub fn new(id: MemberId) -> Self {
        Self {
            id,
            election_ticks: 10,
            heartbeat_ticks: 1,
            seed: 0,
            boot_nonce: 0,
            message_bytes_max: limits::RAFT_MESSAGE_BYTES_MAX,
            inflight_max: limits::RAFT_INFLIGHT_MAX,
            uncommitted_bytes_max: limits::RAFT_UNCOMMITTED_BYTES_MAX,
            committed_bytes_max: limits::RAFT_COMMITTED_BYTES_MAX,
            entry_bytes_max: limits::FRAME_BYTES_MAX,
        }
    }

    /// The crate's settings. Its defaults for `check_quorum`, `pre_vote` and `max_size_per_msg` are wrong for us;
    /// `skip_bcast_commit` stays false, since followers serve reads and watches; `batch_append` stays false, since it
    /// merges without a bound (Core batches proposals itself). `max_uncommitted_size` stays unlimited because Core
    /// counts those bytes itself: the crate's count needs the data of committed entries, which it is never given.
    pub(super) fn to_raft(&self, applied: Index) -> raft::Config {
        raft::Config {
            id: self.id.0,
            election_tick: self.election_ticks as usize,
            heartbeat_tick: self.heartbeat_ticks as usize,
            applied,
            max_size_per_msg: self.message_bytes_max,
            max_inflight_msgs: self.inflight_max,
            check_quorum: true,
            pre_vote: true,
            read_only_option: match Sabotage::ReadWithoutQuorum.is_on() {
                true => raft::ReadOnlyOption::LeaseBased,
                false => raft::ReadOnlyOption::Safe,
            },
            max_committed_size_per_ready: self.committed_bytes_max,
            ..raft::Config::default()
        }
    }

    /// Ticks until this member campaigns: a function of the seed, the member, the term and how often it has campaigned
    /// in that term. Within [election_ticks, 2 * election_ticks).
    pub(super) fn election_timeout(&self, term: Term, campaigns: u32) -> usize {
        let mut hash = mix(self.seed ^ mix(self.id.0));
        hash = mix(hash ^ term);
        hash = mix(hash ^ u64::from(campaigns));
        let span = u64::from(self.election_ticks);
        (span + hash % span) as usize
    }
}

/// splitmix64: every bit of the input moves half of the bits of the output.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn timeouts_stay_in_their_range_and_differ_between_members_and_campaigns() {
        let timeouts = |id: u64| -> Vec<usize> {
            let config = Config::new(MemberId(id));
            (0..50).map(|campaigns| config.election_timeout(3, campaigns)).collect()
        };
        assert!(timeouts(1).iter().all(|ticks| (10..20).contains(ticks)));
        assert_eq!(timeouts(1).into_iter().collect::<BTreeSet<_>>().len(), 10);
        assert_ne!(timeouts(1), timeouts(2));
    }
}
