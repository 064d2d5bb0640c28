//! The simulated world: the engine's own turns, N times in one thread, on a disk, a network and clocks that a seed
//! decides over.
//!
//! `cargo test --test sim` runs a few dozen worlds; `SIM_SEEDS=2000 cargo test --release --test sim` runs many;
//! `SIM_SEED=7` runs one, `SIM_TRACE=file` writes down what happened in it.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by failing")]
#![allow(dead_code, reason = "some knobs of the simulated parts are for the golden transcripts")]

mod alarms;
mod carrying;
mod catches;
mod checker;
mod clients;
mod clock;
mod dice;
mod disk;
mod ending;
mod faults;
mod history;
mod invariants;
mod members;
mod model;
mod network;
mod node;
mod ownership;
mod post;
mod running;
mod scenarios;
mod script;
mod tolerance;
mod totals;
mod trace;
mod violation;
mod wal;
mod watchers;
mod wgl;
mod workload;
mod world;
mod worlds;
