//! The real program, one module per capability.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]
#![allow(clippy::disallowed_methods, reason = "real processes are measured by a real clock")]

mod bench;
mod catch_up;
mod commands;
mod config;
mod crash;
mod defragment;
mod discovery;
mod dropin;
mod faults;
mod floods;
mod force;
mod harness;
mod http;
mod interop;
#[allow(dead_code, reason = "the simulated world uses the rest of these files")]
mod judge;
mod leader_writes;
mod leases;
mod member_add;
mod membership;
mod migrate;
mod mirror;
mod mistakes;
mod native;
mod permissions;
mod playground;
mod ports;
mod program;
mod proxy;
mod recipes;
mod recorded;
mod reload;
mod restart;
mod restore;
mod samples;
mod seeds;
mod serve;
mod strangers;
mod tls;
mod watch;

// The judge's files name each other from here.
use judge::{
    alarms, checker, dice, history, invariants, members, model, ownership, totals, tree, users,
    violation, watchers, workload,
};
