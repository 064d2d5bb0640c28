//! kill -9 and SIGSTOP: of the leader, of anybody, of all.

use std::time::Duration;

use super::{Stage, rounds, trials};
use crate::dice::Dice;
use crate::harness::Cluster;
use crate::recorded::Trial;

/// Commands that the others are to acknowledge while one is away.
const WITHOUT_IT: u64 = 20;

const MEMBERS: usize = 3;

fn three() -> Option<Stage<()>> {
    Some(Stage { cluster: Cluster::start(MEMBERS), extra: () })
}

/// The leader, anybody, all, and again.
async fn victims(cluster: &Cluster, dice: &mut Dice, number: usize) -> Vec<usize> {
    match number % 3 {
        0 => vec![cluster.leader().await.0],
        1 => vec![dice.below(MEMBERS)],
        _ => (0..MEMBERS).collect(),
    }
}

#[test]
fn members_are_killed_under_load() {
    let kill = async |stage: &mut Stage<()>, trial: &Trial, dice: &mut Dice, number: usize| {
        let victims = victims(&stage.cluster, dice, number).await;
        for &victim in &victims {
            stage.cluster.kill(victim);
        }
        if victims.len() < MEMBERS {
            trial.goes_on(WITHOUT_IT).await;
        }
        for &victim in &victims {
            stage.cluster.spawn(victim);
        }
    };
    trials("kill -9", rounds("QUORATE_KILL_ROUNDS", 3), three, kill);
}

#[test]
fn members_stand_still_for_a_while_and_go_on_as_if_nothing_had_been() {
    let pause = async |stage: &mut Stage<()>, trial: &Trial, dice: &mut Dice, number: usize| {
        let victims = victims(&stage.cluster, dice, number).await;
        for &victim in &victims {
            stage.cluster.signal(victim, "STOP");
        }
        if victims.len() < MEMBERS {
            trial.goes_on(WITHOUT_IT).await;
        }
        // Long enough for an election, or not.
        tokio::time::sleep(Duration::from_millis(dice.between(0, 2_500))).await;
        for &victim in &victims {
            stage.cluster.signal(victim, "CONT");
        }
    };
    trials("SIGSTOP", rounds("QUORATE_PAUSE_ROUNDS", 3), three, pause);
}
