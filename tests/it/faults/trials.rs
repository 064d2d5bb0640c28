//! Rounds of one fault on clusters that serve all the time, and the verdict on each cluster.

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use crate::dice::Dice;
use crate::harness::{Cluster, SOON, run_within};
use crate::recorded::{Tally, Trial};

/// Rounds that share a cluster and a history.
const ROUNDS_PER_CLUSTER: usize = 5;

/// Commands that are acknowledged before and after each fault.
const BETWEEN: u64 = 30;

/// A cluster, and what the test has in its hands to break it with. Members end before that is let go of.
pub(super) struct Stage<E> {
    pub cluster: Cluster,
    pub extra: E,
}

/// How many rounds: `few` unless the environment variable says otherwise.
pub(super) fn rounds(variable: &str, few: usize) -> usize {
    std::env::var(variable).map_or(few, |text| text.parse().unwrap())
}

/// `QUORATE_FAULT_SEED` chooses which members are hit, and when.
fn seed() -> u64 {
    std::env::var("QUORATE_FAULT_SEED").map_or(7, |text| text.parse().unwrap())
}

/// [`trials`] with so many rounds for each cluster.
pub(super) fn trials_of<E>(
    fault: impl Display,
    per_cluster: usize,
    rounds: usize,
    prepare: impl Fn() -> Option<Stage<E>>,
    round: impl AsyncFn(&mut Stage<E>, &Trial, &mut Dice, usize),
) {
    let mut dice = Dice::new(seed());
    let (mut total, mut done) = (Tally::default(), 0);
    while done < rounds {
        let Some(mut stage) = prepare() else { return };
        let count = per_cluster.min(rounds - done);
        let limit = SOON * 3 * u32::try_from(count + 2).unwrap();
        let recorded = within(limit, async {
            stage.cluster.leader().await;
            let trial = Trial::of(&stage.cluster, dice.between(0, 1 << 40));
            trial.goes_on(BETWEEN).await;
            for number in done..done + count {
                round(&mut stage, &trial, &mut dice, number).await;
                stage.cluster.leader().await;
                trial.goes_on(BETWEEN).await;
            }
            let recorded = trial.end().await;
            stage.cluster.same_hash().await;
            recorded
        });
        // Who has been removed may have forgotten what was committed since, and remember what never was.
        let running = stage.cluster.running();
        for &index in &running {
            stage.cluster.stop(index);
        }
        let members = &stage.cluster.members;
        let dirs: Vec<&Path> = running.iter().map(|&index| members[index].data.as_path()).collect();
        let tally = recorded.judge(&dirs);
        done += count;
        total += tally;
        println!("{fault}: round {done} of {rounds}: {tally}");
    }
    println!("{fault}: {rounds} rounds, every history is good: {total}");
}

/// Runs `rounds` rounds; `prepare` gives a cluster that runs, or none where the system does not let it. A round is told
/// its number; when it returns, every member runs, and nothing is broken any more.
pub(super) fn trials<E>(
    fault: impl Display,
    rounds: usize,
    prepare: impl Fn() -> Option<Stage<E>>,
    round: impl AsyncFn(&mut Stage<E>, &Trial, &mut Dice, usize),
) {
    trials_of(fault, ROUNDS_PER_CLUSTER, rounds, prepare, round);
}

fn within<T>(limit: Duration, test: impl Future<Output = T>) -> T {
    let mut found = None;
    run_within(limit, async { found = Some(test.await) });
    found.expect("the future has ended")
}
