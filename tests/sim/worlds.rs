//! The runs: many worlds, each of its own seed; and what is done about one that fails.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quorate::base::{Clock as _, SystemClock};

use crate::orders::Orders;
use crate::report::{self, Failure};
use crate::totals::Totals;
use crate::violation::{Violation, ensure};
use crate::world::{Plan, World};

/// Failing worlds after which no new ones begin.
const FAILURES_MAX: usize = 5;

pub(crate) fn run(plan: &Plan) -> Result<Totals, Box<Failure>> {
    let mut world = match World::new(plan.clone()) {
        Ok(world) => world,
        Err(violation) => return Err(Failure::before_it_began(plan, violation)),
    };
    let ended = catch_unwind(AssertUnwindSafe(|| world.run()));
    match ended {
        Ok(Ok(())) => Ok(world.totals),
        Ok(Err(violation)) => Err(Failure::of(&world, violation)),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_default();
            Err(Failure::of(&world, Violation::new("panic", text)))
        }
    }
}

struct Ran {
    totals: Totals,
    failures: Vec<Failure>,
    took: Duration,
}

/// Runs worlds on all cores; the failures in the order of their seeds.
fn run_all(orders: &Orders) -> Ran {
    let clock = SystemClock::new();
    let began = clock.now();
    let (next, end) = (AtomicU64::new(orders.first), orders.first + orders.count);
    let results = Mutex::new((Totals::default(), Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let is_late =
                        orders.seconds.is_some_and(|limit| clock.now().since(began) >= limit);
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let failures = results.lock().unwrap().1.len();
                    if is_late || seed >= end || failures >= FAILURES_MAX {
                        return;
                    }
                    let result = run(&Plan::of_seed(seed));
                    let mut results = results.lock().unwrap();
                    match result {
                        Ok(totals) => results.0 += totals,
                        Err(failure) => results.1.push(*failure),
                    }
                }
            });
        }
    });
    let (totals, mut failures) = results.into_inner().unwrap();
    failures.sort_by_key(|failure: &Failure| failure.plan.seed);
    Ran { totals, failures, took: clock.now().since(began) }
}

#[test]
fn worlds_keep_their_promises() {
    let orders = Orders::of_environment().unwrap_or_else(|mistake| panic!("{mistake}"));
    let ran = match &orders.one {
        Some(one) => run_one(&one.plan()),
        None => {
            println!("worlds from seed {} on", orders.first);
            run_all(&orders)
        }
    };
    let seconds = ran.took.as_secs_f64();
    println!("{}{seconds:>12.1}  seconds", ran.totals);
    for (place, failure) in ran.failures.iter().enumerate() {
        // One small world is enough to begin with; the others can be had by their commands.
        let tries = if place == 0 { orders.tries } else { 0 };
        println!("{}", report::of(failure, &report::logs_dir(), tries));
    }
    let names: Vec<String> = ran
        .failures
        .iter()
        .map(|failure| format!("{} {}", failure.plan.seed, failure.violation))
        .collect();
    assert!(ran.failures.is_empty(), "broken promises:\n{}", names.join("\n"));
    let worlds = ran.totals.worlds;
    let least = if orders.one.is_some() { 1 } else { orders.least };
    assert!(worlds >= least, "{worlds} worlds in {seconds:.0} s, at least {least} are wanted");
    // In a handful of worlds chance has too much to say.
    if worlds >= 1_000 {
        let shortfalls = ran.totals.shortfalls();
        assert!(shortfalls.is_empty(), "the worlds met too little: {shortfalls:?}");
    }
}

fn run_one(plan: &Plan) -> Ran {
    let (totals, failures) = match run(plan) {
        Ok(totals) => (totals, Vec::new()),
        Err(failure) => (Totals::default(), vec![*failure]),
    };
    Ran { totals, failures, took: Duration::ZERO }
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

#[test]
fn a_world_leaves_no_database_open_behind_it() {
    // Without the end of each member some of these leave their maps behind.
    for seed in 20..32 {
        let plan = Plan { operations: 600, faults: 10, ..Plan::of_seed(seed) };
        let mut world = World::new(plan).unwrap_or_else(|violation| panic!("{violation}"));
        world.run().unwrap_or_else(|violation| panic!("{violation}"));
        let dir = world.dir.display().to_string();
        let maps = || {
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            maps.lines().filter(|line| line.contains(&dir)).count()
        };
        assert!(maps() > 0, "its members run, and LMDB's files are mapped");
        drop(world);
        assert_eq!(maps(), 0, "seed {seed}");
    }
}

/// A check that is wrong, as if the world had broken a promise: two crashes and three hundred operations are too much.
fn too_much(world: &World) -> Result<(), Violation> {
    ensure(world.totals.crashes < 2 || world.clients.issued() < 300, "too_much", || {
        format!("{} crashes, {} operations", world.totals.crashes, world.clients.issued())
    })
}

#[test]
fn a_failing_world_leaves_its_log_and_a_smaller_world_that_fails_the_same_check() {
    let dir = tempfile::tempdir().unwrap();
    let plan = Plan { operations: 900, faults: 12, also: Some(too_much), ..Plan::of_seed(11) };
    let failure = run(&plan).expect_err("it crashes more than once");
    assert_eq!(failure.violation.check, "too_much");
    let told = report::of(&failure, dir.path(), 60);
    let read = |name: &str| {
        let path = dir.path().join(name);
        assert!(told.contains(&path.display().to_string()), "{told}");
        std::fs::read_to_string(path).unwrap()
    };
    let (whole, small) = (read("seed-11.log"), read("seed-11-small.log"));
    for log in [&whole, &small] {
        let lines = crate::replay_log::Log::parse(log).unwrap_or_else(|wrong| panic!("{wrong}"));
        assert!(!lines.state_at(lines.lines.len() - 1).leaders().is_empty(), "somebody led");
        assert!(log.lines().last().unwrap().contains(" - violation too_much: "), "{log}");
    }
    let faults = |log: &str| log.lines().filter(|line| line.contains(" fault ")).count();
    let (many, few) = (faults(&whole), faults(&small));
    assert!(few <= 2 && few <= many, "{many} faults, and {few} in the smaller world: {told}");
    assert!(small.starts_with("# world 11"), "{told}");

    // The command in the head of the small one's log is what it is.
    let command = small.lines().find_map(|line| line.strip_prefix("# replay: ")).unwrap();
    assert!(told.contains(command) && command.starts_with("SIM_SEED=11 SIM_UNTIL="), "{command}");
    let set: Vec<(&str, &str)> =
        command.split(' ').filter_map(|word| word.split_once('=')).collect();
    let again = Orders::of_pairs(&set).unwrap().one.unwrap().plan();
    let size = Plan { operations: 900, faults: 12, also: Some(too_much), ..again };
    let failed = run(&size).expect_err("the smaller world fails, too");
    assert_eq!(failed.violation.to_string(), small_violation(&small));
    assert!(failed.operations <= 310 && failed.operations <= failure.operations, "{command}");
}

fn small_violation(log: &str) -> String {
    let last = log.lines().last().unwrap();
    last.split_once(" violation ").unwrap().1.to_owned()
}
