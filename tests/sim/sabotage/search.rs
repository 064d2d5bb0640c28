//! Looks for the first world that finds each bug.
//!
//! `SABOTAGE_SEARCH=1` prints, `SABOTAGE_SEARCH=record` also writes recorded.rs and the table of docs/testing.md;
//! `SABOTAGE_WORLDS` bounds the search, `SABOTAGE_ONLY` takes the bugs whose names contain a word.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quorate::base::{Clock as _, SystemClock};

use super::cases::CASES;
use super::recorded::RECORDED;
use super::trial::Case;

const WORLDS: u64 = 300;

/// Where and by which check a bug was found first.
type Found = BTreeMap<&'static str, (u64, &'static str)>;

#[test]
fn search() {
    let Ok(mode) = std::env::var("SABOTAGE_SEARCH") else { return };
    let only = std::env::var("SABOTAGE_ONLY").unwrap_or_default();
    let worlds = std::env::var("SABOTAGE_WORLDS").ok().and_then(|worlds| worlds.parse().ok());
    let cases: Vec<&Case> = CASES.iter().filter(|case| case.name.contains(&only)).collect();
    let found = search_all(&cases, worlds.unwrap_or(WORLDS));
    if mode == "record" {
        let before = RECORDED.iter().map(|&(name, seed, check)| (name, (seed, check)));
        let mut all: Found = before.collect();
        all.extend(&found);
        record(&all);
    }
    let missed = cases.iter().filter(|case| !found.contains_key(case.name));
    let missed: Vec<&str> = missed.map(|case| case.name).collect();
    assert!(missed.is_empty(), "nothing finds {missed:?}");
}

fn search_all(cases: &[&'static Case], worlds: u64) -> Found {
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Found::new());
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some(first) = search_one(case, worlds) {
                        found.lock().unwrap().insert(case.name, first);
                    }
                }
            });
        }
    });
    found.into_inner().unwrap()
}

fn search_one(case: &'static Case, worlds: u64) -> Option<(u64, &'static str)> {
    let clock = SystemClock::new();
    let took = || Duration::from_nanos(clock.now().0);
    let mut others = BTreeMap::new();
    for seed in 0..worlds {
        let Err(violation) = case.sabotaged(seed) else { continue };
        let meant = case.checks.iter().find(|check| **check == violation.check);
        let Some(check) = meant else {
            *others.entry(violation.check).or_insert(0) += 1;
            continue;
        };
        if let Err(violation) = case.clean(seed) {
            println!("{}: world {seed} fails without the bug: {violation}", case.name);
            continue;
        }
        let mut text = violation.text;
        text.truncate(text.floor_char_boundary(160));
        println!(
            "{}: {check} in world {seed}, others before {others:?}, {:?}\n    {text}",
            case.name,
            took()
        );
        return Some((seed, check));
    }
    println!("{}: NOT FOUND in {worlds} worlds, others {others:?}, {:?}", case.name, took());
    None
}

fn record(found: &Found) {
    let rows: String = CASES
        .iter()
        .filter_map(|case| found.get(case.name).map(|(seed, check)| (case.name, seed, check)))
        .map(|(name, seed, check)| format!("    (\"{name}\", {seed}, \"{check}\"),\n"))
        .collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("tests/sim/sabotage/recorded.rs");
    let text = std::fs::read_to_string(&path).unwrap();
    let head = &text[..text.find("= &[").unwrap() + 4];
    std::fs::write(&path, format!("{head}\n{rows}];\n")).unwrap();
    super::page::write(|name| found.get(name).copied());
}
