//! `bench`: how much a cluster does, how long each call takes, and what that costs.
//!
//! ```text
//!   run ── args ──► calls (put, get, mixed, txn) ──┐
//!              ├──► watch ────────────────────────┼── drive: threads, connections, tasks ── pace: when a call begins
//!              └──► lease ────────────────────────┘        └── tally: what each took
//!                                    processes: CPU and bytes written, from /proc ── report: text or JSON
//! ```
//!
//! Promises: drives a cluster through the public client, over connections that keep to the endpoint they reached: a write
//! goes to that member, which forwards it, where a program's client with several endpoints would find the leader
//! (`Config::writes_to_leader`). With `--rate` the time of a call is counted from when it was due, so that a slow server
//! cannot hide behind a client that waits. A call counts if it ends between the warm-up and the end; but the times of
//! `lease` are those of its grants, before that, and a lease or watcher that is lost is told whenever it was. Knows nothing
//! of: the server's insides.

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
