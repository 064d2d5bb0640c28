//! What goes wrong with machines, done to real processes while clients write down all they see; every history is judged.
//!
//! Each fault has a number of rounds: few by default, many by an environment variable (docs/testing.md). Rounds share
//! a cluster, five at a time, so that a history stays small and its log whole.

mod disk;
mod disks;
mod divergence;
mod flips;
mod kills;
mod members;
mod namespaces;
mod pages;
mod partitions;
mod platter;
mod power;
mod resync;
mod trials;

use trials::{Stage, rounds, trials, trials_of};
