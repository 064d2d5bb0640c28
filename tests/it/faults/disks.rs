//! One member's disk is full, hangs or fails: it says so or stands back, and the others go on.

use std::time::{Duration, Instant};

use super::disk::{Disk, are_skipped};
use super::{Stage, rounds, trials, trials_of};
use crate::dice::Dice;
use crate::harness::{Cluster, SOON, eventually};
use crate::recorded::Trial;

const MEMBERS: usize = 3;

/// Room for the log's segments, in use and spare, ext4's journal and a database.
const DISK_BYTES: u64 = 640 << 20;

/// Commands that the others are to acknowledge while one is away.
const WITHOUT_IT: u64 = 20;

/// The default election timeout of a member.
const ELECTION_TIMEOUT: Duration = Duration::from_secs(1);

/// A disk for each member; gone before their folder.
pub(super) struct Disks {
    pub disks: Vec<Disk>,
    _folder: tempfile::TempDir,
}

/// A running cluster, each member on a disk of its own.
pub(super) fn on_disks() -> Stage<Disks> {
    let mut cluster = Cluster::prepare(MEMBERS);
    let folder = tempfile::tempdir().unwrap();
    let disks: Vec<Disk> = (0..MEMBERS)
        .map(|index| Disk::new(&folder.path().join(index.to_string()), DISK_BYTES))
        .collect();
    for (index, disk) in disks.iter().enumerate() {
        cluster.place(index, &disk.data());
        cluster.spawn(index);
    }
    Stage { cluster, extra: Disks { disks, _folder: folder } }
}

/// The leader first, then somebody.
async fn victim(cluster: &Cluster, dice: &mut Dice, number: usize) -> usize {
    match number % 2 {
        0 => cluster.leader().await.0,
        _ => dice.below(MEMBERS),
    }
}

/// Waits until the members but `victim` have a leader among them.
async fn other_leader(cluster: &Cluster, victim: usize) {
    let others: Vec<usize> = (0..MEMBERS).filter(|index| *index != victim).collect();
    let (one, other) = (cluster.client_of(&others[..1]), cluster.client_of(&others[1..]));
    eventually("another leader", || async {
        let (one, other) = (one.status().await.ok()?, other.status().await.ok()?);
        let ids = [one.header?.member_id, other.header?.member_id];
        (one.leader == other.leader && ids.contains(&one.leader)).then_some(())
    })
    .await;
}

#[test]
fn a_leader_whose_disk_hangs_leads_no_longer() {
    if are_skipped() {
        return;
    }
    let hang = async |stage: &mut Stage<Disks>, trial: &Trial, dice: &mut Dice, number: usize| {
        let Stage { cluster, extra: Disks { disks, .. } } = stage;
        let victim = victim(cluster, dice, number).await;
        let is_leader = cluster.leader().await.0 == victim;
        let hung = Instant::now();
        disks[victim].hang();
        if is_leader {
            other_leader(cluster, victim).await;
            let took = hung.elapsed();
            println!("hung disk: another leader after {took:?}");
            // A promise of the release build, with what this harness takes to ask.
            let bound = match cfg!(debug_assertions) {
                true => ELECTION_TIMEOUT * 10,
                false => ELECTION_TIMEOUT * 2 + Duration::from_millis(500),
            };
            assert!(took < bound, "another leader took {took:?}");
        }
        trial.goes_on(WITHOUT_IT).await;
        tokio::time::sleep(Duration::from_millis(dice.between(0, 2_000))).await;
        disks[victim].heal();
    };
    trials("hung disk", rounds("QUORATE_HUNG_ROUNDS", 2), || Some(on_disks()), hang);
}

#[test]
fn a_member_whose_disk_fails_ends_with_the_reason() {
    if are_skipped() {
        return;
    }
    let fail = async |stage: &mut Stage<Disks>, trial: &Trial, dice: &mut Dice, number: usize| {
        let Stage { cluster, extra: Disks { disks, .. } } = stage;
        let victim = victim(cluster, dice, number).await;
        disks[victim].fail();
        let status = cluster.ended(victim);
        let log = cluster.log(victim);
        let last = log.lines().last().unwrap_or_default();
        assert!(!status.success() && last.contains("Input/output error"), "{status}: {last}");
        assert!(last.contains("what was acknowledged is on a majority's disks"), "{last}");
        trial.goes_on(WITHOUT_IT).await;
        disks[victim].heal();
        disks[victim].replug();
        cluster.spawn(victim);
    };
    trials("failing disk", rounds("QUORATE_FAILING_ROUNDS", 2), || Some(on_disks()), fail);
}

#[test]
fn a_member_whose_disk_is_full_says_so_and_is_itself_again_with_more_room() {
    if are_skipped() {
        return;
    }
    let fill = async |stage: &mut Stage<Disks>, trial: &Trial, dice: &mut Dice, number: usize| {
        let Stage { cluster, extra: Disks { disks, .. } } = stage;
        let victim = victim(cluster, dice, number).await;
        disks[victim].fill();
        let began = Instant::now();
        let status = loop {
            trial.grow().await;
            if let Some(status) = cluster.has_ended(victim) {
                break status;
            }
            assert!(began.elapsed() < SOON * 2, "it goes on with a full disk");
        };
        println!("full disk: member {victim} ended after {:?}", began.elapsed());
        let log = cluster.log(victim);
        let last = log.lines().last().unwrap_or_default();
        assert!(!status.success() && last.contains("No space left on device"), "{status}: {last}");
        assert!(last.contains("free or replace the disk and start again"), "{last}");
        trial.goes_on(WITHOUT_IT).await;
        disks[victim].make_room();
        cluster.spawn(victim);
    };
    // Pages that compaction has freed, and segments of the log that are used again, would last for long: new disks for
    // each round.
    trials_of("full disk", 1, rounds("QUORATE_FULL_ROUNDS", 2), || Some(on_disks()), fill);
}
