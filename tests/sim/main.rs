//! The simulated world: the engine's own turns, N times in one thread, on a disk, a network and clocks that a seed
//! decides over.
//!
//! `cargo test --test sim` runs a few dozen worlds; `SIM_SEEDS=2000 cargo test --release --test sim` runs many;
//! `SIM_SEED=7` runs one. A world that fails writes its event log to `target/sim` and is made smaller (docs/testing.md).
#![allow(clippy::unwrap_used, reason = "a test says what it expects by failing")]
#![allow(dead_code, reason = "some knobs of the simulated parts are for the golden transcripts")]

mod alarms;
mod carrying;
mod catches;
mod checker;
mod checkpoints;
mod churn;
mod clients;
mod clock;
mod damage;
mod dice;
mod disk;
mod ending;
mod faults;
mod history;
mod invariants;
mod lmdb;
mod members;
mod mix;
mod model;
mod network;
mod node;
mod orders;
mod ownership;
mod post;
#[path = "../../examples/replay/log.rs"]
mod replay_log;
mod report;
mod running;
mod sabotage;
mod scenarios;
mod script;
mod shrink;
mod tolerance;
mod totals;
mod trace;
mod tree;
mod trees;
mod users;
mod violation;
mod wal;
mod watchers;
mod watching;
mod wgl;
mod workload;
mod world;
mod worlds;
