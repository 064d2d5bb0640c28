//! What a seed makes of its world: which faults, how many, how long; how much of which work.
//!
//! A world that has a little of everything hides what needs much of one thing. So each world leaves some kinds out,
//! exaggerates others, and has its own number of clients, keys and watchers (swarm testing). The mix has dice of its
//! own: it is the same when the world is made smaller to find out what a failure needs.

use std::time::Duration;

use crate::dice::{Dice, Purpose};
use crate::faults::Kind;
use crate::network::Weather;
use crate::watchers::Start;

/// A quarter of the kinds of faults is left out of each world.
const LEFT_OUT: u32 = 250;

/// Most that a clock gains or loses, parts per million.
const DRIFT_PPM: u64 = 50_000;

const KINDS: &[(u32, Kind)] = &[
    (10, Kind::Crash),
    (8, Kind::CrashLeader),
    (2, Kind::CrashAll),
    (2, Kind::PowerCut),
    (8, Kind::PowerInTheMiddle),
    (14, Kind::CrashInCheckpoint),
    (4, Kind::FlippedBits),
    (6, Kind::Pause),
    (5, Kind::Stall),
    (3, Kind::FailedSync),
    (2, Kind::FullDisk),
    (10, Kind::Isolate),
    (5, Kind::Split),
    (6, Kind::OneWay),
    (6, Kind::RoughWeather),
    (4, Kind::Drift),
    (6, Kind::Transfer),
    (4, Kind::Checkpoint),
    (4, Kind::Rewrite),
    (12, Kind::MemberStep),
];

/// See the module.
#[derive(Debug)]
pub(crate) struct Mix {
    /// Operations after which a fault comes, ascending.
    pub(crate) faults: Vec<u64>,
    pub(crate) kinds: Vec<(u32, Kind)>,
    /// Shortest and longest, ticks: of what is soon over, and of what is not.
    pub(crate) short: (u32, u32),
    pub(crate) long: (u32, u32),
    /// Most that a clock gains or loses, parts per million.
    pub(crate) drift_ppm: u64,
    /// When nothing is wrong with the network.
    pub(crate) weather: Weather,
    /// Of a thousand snapshots, those that are sent twice.
    pub(crate) snapshots_twice: u32,
    pub(crate) clients: usize,
    /// Longest rest of a client between two operations, ticks.
    pub(crate) rest: u32,
    /// Patience of a client, ticks.
    pub(crate) patience: (u32, u32),
    pub(crate) watchers: usize,
    pub(crate) watch: WatchMix,
}

/// What watching clients do.
#[derive(Clone, Debug)]
pub(crate) struct WatchMix {
    pub(crate) starts: Vec<(u32, Start)>,
    pub(crate) acts: Vec<(u32, WatchAct)>,
    /// Longest rest between two acts, ticks.
    pub(crate) rest: u32,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum WatchAct {
    Create,
    Cancel,
    Progress,
    Elsewhere,
    /// Slow: whatever is queued stays there.
    Rest,
    Take,
}

impl Mix {
    pub(crate) fn draw(seed: u64, operations: u64, faults: u64, tick: Duration) -> Self {
        let dice = &mut Dice::apart(seed, Purpose::Mix, 0);
        let long_min = [5, 20, 20, 60][dice.below(4)];
        let is_rough = dice.in_thousand(300);
        Self {
            faults: places(operations, faults, dice),
            kinds: dice.swarm(KINDS, LEFT_OUT),
            short: (5, [20, 40, 40, 80][dice.below(4)]),
            long: (long_min, long_min + [20, 130, 130, 300][dice.below(4)]),
            drift_ppm: [1_000, DRIFT_PPM][dice.below(2)],
            weather: if is_rough { Weather::breezy(tick, dice) } else { Weather::fair(tick) },
            snapshots_twice: [0, 200, 700][dice.below(3)],
            clients: dice.between(2, 18) as usize,
            rest: dice.between(1, 6) as u32,
            patience: (20, [60, 150, 150, 300][dice.below(4)]),
            watchers: dice.between(1, 5) as usize,
            watch: WatchMix::draw(dice),
        }
    }
}

impl WatchMix {
    fn draw(dice: &mut Dice) -> Self {
        let starts =
            [(4, Start::Now), (1, Start::Future), (3, Start::Past), (2, Start::PerhapsCompacted)];
        let mut acts = dice.swarm(
            &[
                (10, WatchAct::Cancel),
                (10, WatchAct::Progress),
                (2, WatchAct::Elsewhere),
                (10, WatchAct::Rest),
            ],
            LEFT_OUT,
        );
        // Without these two nobody watches.
        acts.extend([(20, WatchAct::Create), (140, WatchAct::Take)]);
        let rest = [6, 12, 12, 60][dice.below(4)];
        Self { starts: dice.swarm(&starts, LEFT_OUT), acts, rest }
    }
}

/// Where the faults of a world come: evenly, anywhere, or many at once and then none for long.
fn places(operations: u64, faults: u64, dice: &mut Dice) -> Vec<u64> {
    if operations == 0 || faults == 0 {
        return Vec::new();
    }
    let count = faults + dice.between(0, faults / 2);
    let every = operations / (count + 1);
    let mut places: Vec<u64> = match dice.below(3) {
        0 => (1..=count).map(|number| number * every).collect(),
        1 => (0..count).map(|_| dice.between(1, operations - 1)).collect(),
        _ => {
            let storms: Vec<u64> =
                (0..dice.between(2, 6)).map(|_| dice.between(1, operations - 1)).collect();
            let near = |dice: &mut Dice| {
                let storm = storms[dice.below(storms.len())];
                (storm + dice.between(0, operations / 40)).min(operations - 1)
            };
            (0..count).map(|_| near(dice)).collect()
        }
    };
    places.sort_unstable();
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_world_has_its_own_mix_and_at_least_as_many_faults_as_wanted() {
        let tick = Duration::from_millis(10);
        let mut left_out = [0; KINDS.len()];
        for seed in 0..200 {
            let mix = Mix::draw(seed, 2_000, 24, tick);
            assert!(mix.faults.len() >= 24 && mix.faults.len() <= 36);
            assert!(mix.faults.is_sorted() && mix.faults.iter().all(|at| (1..2_000).contains(at)));
            for (place, (weight, _)) in mix.kinds.iter().enumerate() {
                left_out[place] += u64::from(*weight == 0);
            }
        }
        assert!(left_out.iter().all(|worlds| (20..100).contains(worlds)), "{left_out:?}");
        assert!(Mix::draw(1, 0, 24, tick).faults.is_empty());
        assert!(Mix::draw(1, 100, 0, tick).faults.is_empty());
    }
}
