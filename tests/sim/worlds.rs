//! The runs: many worlds, each of its own seed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::totals::Totals;
use crate::violation::Violation;
use crate::world::{Plan, World};

/// Worlds of a plain `cargo test`.
const SEEDS_DEFAULT: u64 = 24;

struct Failure {
    seed: u64,
    violation: Violation,
    tail: String,
}

fn run(plan: Plan) -> Result<(Totals, u64), Box<Failure>> {
    let seed = plan.seed;
    let fail = |violation, tail| Box::new(Failure { seed, violation, tail });
    let mut world = World::new(plan).map_err(|violation| fail(violation, String::new()))?;
    let ended = catch_unwind(AssertUnwindSafe(|| world.run()));
    match ended {
        Ok(Ok(())) => Ok((world.totals, world.trace.hash())),
        Ok(Err(violation)) => Err(fail(violation, world.trace.tail())),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_default();
            Err(fail(Violation::new("panic", text), world.trace.tail()))
        }
    }
}

fn report(failure: &Failure) -> String {
    let Failure { seed, violation, tail } = failure;
    format!(
        "{tail}\nworld {seed}: {violation}\n\nreplay: SIM_SEED={seed} cargo test --release --test sim worlds::\n"
    )
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs worlds on all cores; the failures in the order of their seeds.
fn run_all(seeds: std::ops::Range<u64>) -> (Totals, Vec<Failure>) {
    let next = AtomicU64::new(seeds.start);
    let results = Mutex::new((Totals::default(), Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || results.lock().unwrap().1.len() >= 5 {
                        return;
                    }
                    let result = run(Plan::of_seed(seed));
                    let mut results = results.lock().unwrap();
                    match result {
                        Ok((totals, _)) => results.0 += totals,
                        Err(failure) => results.1.push(*failure),
                    }
                }
            });
        }
    });
    let (totals, mut failures) = results.into_inner().unwrap();
    failures.sort_by_key(|failure| failure.seed);
    (totals, failures)
}

#[test]
fn worlds_keep_their_promises() {
    let seeds = match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let first = number("SIM_FIRST").unwrap_or(0);
            first..first + number("SIM_SEEDS").unwrap_or(SEEDS_DEFAULT)
        }
    };
    let (totals, failures) = run_all(seeds);
    println!("{totals}");
    for failure in &failures {
        println!("{}", report(failure));
    }
    let names: Vec<String> =
        failures.iter().map(|failure| format!("{} {}", failure.seed, failure.violation)).collect();
    assert!(failures.is_empty(), "broken promises:\n{}", names.join("\n"));
    // In a handful of worlds chance has too much to say.
    if totals.worlds >= 100 {
        let shortfalls = totals.shortfalls();
        assert!(shortfalls.is_empty(), "the worlds met too little: {shortfalls:?}");
    }
}

#[test]
fn a_seed_is_a_world() {
    for seed in [3, 4] {
        let run = || {
            let mut world = World::new(Plan {
                operations: 600,
                faults: 10,
                keep_trace: true,
                ..Plan::of_seed(seed)
            })
            .unwrap_or_else(|violation| panic!("{violation}"));
            let ended = world.run().map_err(|violation| violation.to_string());
            (world.trace.whole().to_owned(), ended)
        };
        let (first, second) = (run(), run());
        for (one, other) in first.0.lines().zip(second.0.lines()) {
            assert_eq!(one, other, "seed {seed} went another way");
        }
        assert_eq!(first.0.len(), second.0.len());
        assert_eq!(first.1, second.1);
    }
}
