//! What worlds met, so that a run can say that it met enough.

use std::fmt;
use std::ops::AddAssign;

macro_rules! totals {
    ($($name:ident),* $(,)?) => {
        #[derive(Clone, Copy, Debug, Default)]
        pub(crate) struct Totals { $(pub(crate) $name: u64),* }

        impl AddAssign for Totals {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)*
            }
        }

        impl fmt::Display for Totals {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                $(writeln!(f, "  {:>10}  {}", self.$name, stringify!($name).replace('_', " "))?;)*
                Ok(())
            }
        }
    };
}

totals! {
    worlds,
    operations,
    acknowledged,
    rejected,
    not_proposed,
    ambiguous,
    reads,
    entries,
    leader_changes,
    faults,
    crashes,
    crashes_of_all,
    crashes_inside_a_checkpoint,
    torn_checkpoints,
    power_cuts,
    torn_files,
    torn_tails,
    flipped_bits,
    damaged_logs,
    flipped_bits_of_databases,
    damaged_databases,
    restored_disks,
    faulted_disks,
    pauses,
    stalls,
    drifting_clocks,
    partitions,
    snapshot_installs,
    snapshots_again,
    snapshots_side_by_side,
    snapshots_stale,
    rewritten_databases,
    member_changes,
    compactions,
    watchers,
    watchers_of_the_future,
    watchers_with_filters,
    watch_events,
    previous_values,
    progress_told,
    watchers_compacted_in_the_past,
    watchers_resumed,
    lease_expiries,
    lease_expiries_across_leaders,
    renewals,
    tree_requests,
    tree_users,
    tree_expiries,
    tree_watchers_moved,
    tree_watch_events,
    virtual_seconds,
    trace_lines,
}

impl Totals {
    /// What a thousand worlds must have met at least.
    pub(crate) fn shortfalls(&self) -> Vec<String> {
        let wanted = [
            (self.leader_changes, 2_000, "leader changes"),
            (self.snapshot_installs, 1_000, "snapshot installs"),
            (self.crashes_inside_a_checkpoint, 500, "crashes inside a checkpoint"),
            (self.torn_tails, 300, "torn tails"),
            (self.member_changes, 300, "membership changes"),
            (
                self.watchers_compacted_in_the_past,
                1_000,
                "compactions seen by a watcher in the past",
            ),
            (self.lease_expiries_across_leaders, 200, "lease expiries across a leader change"),
            (self.torn_checkpoints, 200, "torn checkpoints"),
            (self.power_cuts, 100, "power cuts of all members inside a checkpoint"),
            (self.damaged_logs, 150, "damaged logs that were refused"),
            (self.damaged_databases, 40, "damaged databases that were found out"),
            (self.snapshots_again, 200, "snapshots that came twice"),
            (self.snapshots_stale, 50, "snapshots older than what they came to"),
            (self.watchers_of_the_future, 1_000, "watchers of the future"),
            (self.progress_told, 5_000, "progress messages"),
            (self.tree_requests, 50_000, "requests to the v2 tree"),
            (self.tree_users, 1_000, "changes of the v2 users"),
            (self.tree_expiries, 1_000, "times that nodes of the v2 tree expired"),
            (self.tree_watch_events, 20_000, "events told to watchers of the v2 tree"),
            (self.tree_watchers_moved, 2_000, "watchers of the v2 tree that went elsewhere"),
        ];
        let missing = |&(found, per_thousand, what): &(u64, u64, &str)| {
            let least = per_thousand * self.worlds / 1_000;
            (found < least).then(|| format!("{found} {what}, at least {least} are wanted"))
        };
        wanted.iter().filter_map(missing).collect()
    }
}
