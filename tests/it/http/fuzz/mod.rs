//! Doors of the program, shown what nobody meant (docs/testing.md, "Inputs that nobody meant"). Parsers that are pure are in
//! `tests/golden/fuzz`, and so is where inputs come from.
//!
//! What a server owes to any input: it lives, nothing in it panics, its memory stays within bounds, and whoever comes next is
//! served.
//!
//! - `texts`: HTTP/1.1 as bytes: pages, JSON, the v2 API, websockets.
//! - `frames`: HTTP/2 as bytes, gRPC's messages of every method, tokens.
//! - `quic`: our own protocol, and that of the members.
//! - `answers`: what a discovery service and a DNS server answer us.

mod answers;
mod frames;
#[path = "../../../golden/fuzz/mutate.rs"]
mod mutate;
mod quic;
mod texts;

use std::time::Duration;

use quorate::proto::etcdserverpb as pb;

use super::super::harness::{Process, run_within};
use super::alone::Alone;
use super::calls::{PUT, put};
use super::client::Client;
use super::{LONG, soon};
use mutate::Inputs;

/// Longest run that somebody may ask for; each step of it has an end of its own.
const RUN_MAX: Duration = Duration::from_secs(24 * 3_600);

fn run(test: impl Future<Output = ()>) {
    run_within(RUN_MAX, test);
}

/// Inputs between two looks at whether the server serves.
const LOOK: usize = 100;

/// What the server may have in RAM at most: an idle one has a tenth, and what its bounds for one client allow is the rest (messages
/// of 2 MiB, 64 MiB of unfinished ones, windows of 8 MiB).
const RESIDENT_MAX: u64 = 1 << 30;

/// Whoever comes in between is served; `at` is the input that came before.
async fn serves(alone: &Alone, at: usize) {
    let asking = async {
        let client = Client::dial(alone.address).await;
        client.call::<pb::PutResponse>(PUT, &[], &put("served", "v")).await
    };
    let told = tokio::time::timeout(LONG, asking).await;
    assert!(matches!(told, Ok(Ok(_))), "after input {at}: {told:?}; {}", alone.log());
}

/// What must hold of a server's process after everything.
fn sound(process: &Process) {
    let log = process.log();
    let panicked = log.lines().find(|line| line.contains("panicked"));
    assert_eq!(panicked, None);
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its memory");
    let kib: u64 = most.trim().trim_end_matches(" kB").trim().parse().unwrap();
    assert!(kib << 10 < RESIDENT_MAX, "{kib} KiB");
}
