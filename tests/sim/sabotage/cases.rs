//! The bugs, by what breaks. Most are found by one check; where several are named, the bug shows itself first to
//! whichever looks first at what it broke.

use quorate::base::Sabotage;

use super::harm::Harm;
use super::stories;
use super::trial::Case;

/// One constant and one test for each bug.
macro_rules! cases {
    ($($(#[$build:meta])* $name:ident = $case:expr;)*) => {
        pub(super) const CASES: &[Case] = &[$(Case { name: stringify!($name), ..$case }),*];

        mod found {
            $($(#[$build])* #[test]
            fn $name() {
                let case = super::CASES.iter().find(|case| case.name == stringify!($name));
                super::super::trial::judge(case.expect("it stands in the table"));
            })*
        }
    };
}

/// Entries that are gone: the member does not open, leads without them, or others meet other entries in their place; a
/// leader that remembers the acknowledgement goes on sending what follows, which is refused for ever.
const LOST_ENTRIES: &[&str] = &[
    "recovery",
    "leader_completeness",
    "committed_immutable",
    "committed_on_quorum_disks",
    "convergence",
];

/// State that differs from the log's: seen by comparing members, or by whoever is answered from it.
const WRONG_STATE: &[&str] =
    &["state_agreement", "answers", "acked_survives", "counts_equal_walk", "watch_gapless"];

const WATCH: &[&str] = &["watch_gapless"];
const REAL_TIME: &[&str] = &["real_time"];
const LEASES: &[&str] = &["lease_never_early"];

cases! {
    a_disk_lies_about_its_syncs = Case::world(Harm::LyingDisk, LOST_ENTRIES, "acknowledged before fsync; NATS 2.12");
    a_single_member_acknowledges_before_its_disk = Case::world(Harm::LyingDisk, LOST_ENTRIES, "etcd 14370")
        .members(1);
    #[cfg(feature = "sabotage")]
    an_append_is_acknowledged_before_fsync = Case::code(
        Sabotage::AppendAckedBeforeFsync, &["committed_on_quorum_disks"], "a follower's promise that its disk does not keep");
    #[cfg(feature = "sabotage")]
    an_entry_is_applied_before_a_quorum_has_it = Case::code(
        Sabotage::CommitBeforeQuorum, &["committed_immutable", "leader_completeness", "acked_survives"], "acknowledged before quorum");
    #[cfg(feature = "sabotage")]
    a_vote_is_forgotten_by_a_crash = Case::code(
        Sabotage::VoteForgotten, &["election_safety"], "two leaders in one term")
        .story(stories::a_vote_is_asked_for_again);
    #[cfg(feature = "sabotage")]
    a_read_context_is_used_again = Case::code(
        Sabotage::ReadContextReused, REAL_TIME, "etcd 20418")
        .story(stories::a_leader_comes_back_to_old_answers);
    #[cfg(feature = "sabotage")]
    a_deposed_leader_serves_reads = Case::code(
        Sabotage::ReadWithoutQuorum, REAL_TIME, "reads by leases of leadership under pauses")
        .story(stories::a_leader_comes_back);
    #[cfg(feature = "sabotage")]
    a_read_is_served_before_its_index_is_applied = Case::code(
        Sabotage::ReadBeforeApplied, REAL_TIME, "a follower's stale read");
    #[cfg(feature = "sabotage")]
    the_applied_index_runs_ahead_of_the_data = Case::code(
        Sabotage::IndexAheadOfData, WRONG_STATE, "etcd 13766 (3.5.0 to 3.5.2)");
    #[cfg(feature = "sabotage")]
    entries_are_applied_again_after_a_rewrite = Case::code(
        Sabotage::AppliedAgainAfterRewrite,
        // The database that it came back with says less than the one that it had.
        &["applied_monotonic", "state_agreement", "answers"], "etcd 14685")
        .among(Harm::CrashesAfterRewrites);
    #[cfg(feature = "sabotage")]
    a_revision_is_used_again_after_a_restart = Case::code(
        Sabotage::RevisionReused, WRONG_STATE, "etcd 17780");
    #[cfg(feature = "sabotage")]
    a_compaction_is_forgotten_by_a_restart = Case::code(
        Sabotage::CompactionForgotten, WRONG_STATE, "etcd 17780, the other way round");
    #[cfg(feature = "sabotage")]
    a_member_applies_by_what_it_alone_knows = Case::code(
        Sabotage::ApplyDependsOnMember, &["state_agreement"], "etcd 14571");
    #[cfg(feature = "sabotage")]
    a_transaction_reads_what_is_compacted = Case::code(
        Sabotage::TxnReadsCompacted, WRONG_STATE, "etcd 18667");
    #[cfg(feature = "sabotage")]
    compares_see_the_revision_before = Case::code(
        Sabotage::TxnComparesStale, WRONG_STATE, "a compare on stale state");
    #[cfg(feature = "sabotage")]
    a_range_delete_misses_its_last_key = Case::code(
        Sabotage::DeleteMissesLastKey, WRONG_STATE, "an end that is off by one");
    #[cfg(feature = "sabotage")]
    the_previous_value_is_the_new_one = Case::code(
        Sabotage::PrevKvIsTheNewOne, &["answers"], "prev_kv read too late");
    #[cfg(feature = "sabotage")]
    a_count_is_off = Case::code(
        Sabotage::CountOff, &["counts_equal_walk", "answers"], "an index that misses a key");
    #[cfg(feature = "sabotage")]
    a_lost_question_is_called_not_proposed = Case::code(
        Sabotage::LostCalledNotProposed, &["not_proposed_means_not_proposed"], "jetcd: a client repeats what has happened");
    a_forwarded_proposal_is_proposed_twice = Case::world(
        Harm::DoubledAsks, &["proposed_once"], "jetcd: a write repeated inside");
    #[cfg(feature = "sabotage")]
    a_leader_change_cuts_leases_short = Case::code(
        Sabotage::LeaseEarlyAfterLeaderChange, LEASES, "a lease expired early by a new leader");
    #[cfg(feature = "sabotage")]
    a_former_leader_renews_leases = Case::code(
        Sabotage::LeaseKeptByFormerLeader, LEASES, "etcd 15247: keep-alives accepted by a member that does not lead");
    #[cfg(feature = "sabotage")]
    a_former_leader_revokes_leases = Case::code(
        Sabotage::LeaseRevokedByFormerLeader, &["state_agreement", "lease_never_early"], "etcd 12528, 15247")
        .story(stories::a_revocation_comes_late);
    #[cfg(feature = "sabotage")]
    a_watch_from_the_compacted_past_is_not_canceled = Case::code(
        Sabotage::WatchLosesCompacted, WATCH, "events lost by compaction");
    #[cfg(feature = "sabotage")]
    a_slow_watcher_loses_events = Case::code(
        Sabotage::WatchLosesWhenSlow, WATCH, "etcd 17529");
    #[cfg(feature = "sabotage")]
    a_watch_from_the_future_hears_old_events = Case::code(
        Sabotage::WatchHearsBeforeStart, WATCH, "etcd 20221, events");
    #[cfg(feature = "sabotage")]
    a_watch_from_the_future_hears_of_progress = Case::code(
        Sabotage::WatchProgressBeforeStart, WATCH, "etcd 20221, notifications");
    #[cfg(feature = "sabotage")]
    a_resumed_watcher_hears_an_event_again = Case::code(
        Sabotage::WatchRepeatsAfterPause, WATCH, "etcd 17247");
    #[cfg(feature = "sabotage")]
    a_revision_is_told_in_two_parts = Case::code(
        Sabotage::WatchSplitsRevision, WATCH, "events of one transaction split");
    #[cfg(feature = "sabotage")]
    progress_is_told_ahead_of_events = Case::code(
        Sabotage::WatchProgressAhead, WATCH, "etcd 15220");
    #[cfg(feature = "sabotage")]
    a_snapshot_takes_watchers_back_in_time = Case::code(
        Sabotage::WatchGoesBackInTime, WATCH, "etcd 15271")
        .story(stories::a_watcher_meets_a_snapshot);
    #[cfg(feature = "sabotage")]
    a_tombstone_is_lost_at_the_compacted_revision = Case::code(
        // Members that have and have not deleted it yet differ, too.
        Sabotage::TombstoneLost, &["watch_gapless", "state_agreement"], "etcd 18089, 19179");
    #[cfg(feature = "sabotage")]
    an_older_snapshot_is_installed = Case::code(
        Sabotage::OlderSnapshotInstalled, &["applied_monotonic", "state_agreement"], "a snapshot over newer state");
    #[cfg(feature = "sabotage")]
    a_second_snapshot_is_taken_while_one_is_installed = Case::code(
        Sabotage::SecondSnapshotTaken, &["panic", "fault"], "etcd 18055, tikv 9349")
        .story(stories::two_snapshots);
    #[cfg(feature = "sabotage")]
    a_damaged_snapshot_is_installed = Case::code(
        // Whoever reads the row finds it damaged; members that do not, differ.
        Sabotage::SnapshotUnverified, &["fault", "state_agreement"], "etcd 20271: a database that is not what was sent")
        .among(Harm::DamagedCopies);
    #[cfg(feature = "sabotage")]
    a_membership_change_is_applied_twice = Case::code(
        Sabotage::ChangeAppliedTwice, &["membership_agrees", "panic"], "etcd 13196: members that come back");
    #[cfg(feature = "sabotage")]
    a_removed_member_goes_on_voting = Case::code(
        Sabotage::RemovedMemberVotes, &["membership_agrees"], "etcd 20967");
    #[cfg(feature = "sabotage")]
    the_log_is_trimmed_beyond_the_database = Case::code(
        Sabotage::LogTrimmedTooFar, &["recovery", "fault", "panic"], "entries that only the log had");
    #[cfg(feature = "sabotage")]
    the_log_is_cut_below_its_commit = Case::code(
        Sabotage::LogCutBelowCommit, LOST_ENTRIES, "committed entries dropped at a restart");
    #[cfg(feature = "sabotage")]
    a_torn_tail_is_accepted = Case::code(
        Sabotage::ChecksumIgnored, &["recovery", "log_matching", "committed_immutable"], "half of a batch taken for a batch");
    #[cfg(feature = "sabotage")]
    a_flipped_bit_is_accepted = Case::code(
        Sabotage::ChecksumIgnored, &["log_matching", "committed_immutable"], "corruption accepted; NATS 2.12")
        .story(stories::damage_in_the_log);
    #[cfg(feature = "sabotage")]
    a_flipped_bit_in_the_database_is_accepted = Case::code(
        Sabotage::RowDamageAccepted, WRONG_STATE, "one member's corruption told to clients and copied to others")
        .story(stories::damage_in_the_database);
    #[cfg(feature = "sabotage")]
    a_hole_in_the_log_is_accepted = Case::code(
        Sabotage::DamageTakenForTornTail, &["leader_completeness"], "damage taken for a torn tail")
        .story(stories::damage_in_the_log);
}
