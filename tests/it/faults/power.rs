//! The power of all machines goes at once: what no disk had flushed may be lost, in any order.

use std::time::Duration;

use super::disk::{Disk, are_skipped};
use super::disks::{Disks, on_disks};
use super::{Stage, rounds, trials};
use crate::dice::Dice;
use crate::recorded::Trial;

#[test]
fn all_machines_lose_their_power_at_once() {
    if are_skipped() {
        return;
    }
    let cut = async |stage: &mut Stage<Disks>, _: &Trial, dice: &mut Dice, _: usize| {
        tokio::time::sleep(Duration::from_millis(dice.between(0, 2_000))).await;
        let Stage { cluster, extra: Disks { disks, .. } } = stage;
        Disk::cut(disks, dice);
        for (index, disk) in disks.iter_mut().enumerate() {
            cluster.kill(index);
            disk.replug();
        }
        for index in 0..disks.len() {
            cluster.spawn(index);
        }
    };
    trials("power cut", rounds("QUORATE_POWER_ROUNDS", 3), || Some(on_disks()), cut);
}
