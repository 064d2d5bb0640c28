//! Behaviour as transcripts, and files that must equal what they are generated from.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod consensus;
mod fuzz;
mod generated;
mod mvcc;
#[expect(dead_code, reason = "the simulated world uses more of its disk than the transcripts do")]
#[path = "../sim/disk.rs"]
mod sim_disk;
mod state;
mod state_print;
mod state_tree;
mod state_users;
mod state_words;
mod store;
mod wal;
mod watch;
