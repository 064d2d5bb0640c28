//! `bench`: how much a cluster does, how long each call takes, and what that costs.
//!
//! ```text
//!   run ── args ──► calls (put, get, mixed, txn) ──┐
//!              ├──► watch ────────────────────────┼── drive: threads, connections, tasks ── pace: when a call begins
//!              └──► lease ────────────────────────┘        └── tally: what each took
//!                                    processes: CPU and bytes written, from /proc ── report: text or JSON
//! ```
//!
//! Promises: drives a cluster through the public client, as a program would; with `--rate` the time of a call is counted
//! from when it was due, so that a slow server cannot hide behind a client that waits; nothing before the warm-up is
//! over counts. Knows nothing of: the server's insides.

mod args;
mod calls;
mod drive;
mod keys;
mod lease;
mod pace;
mod processes;
mod report;
mod run;
mod tally;
mod watch;

pub(super) use args::Bench;
pub(super) use processes::resident;
