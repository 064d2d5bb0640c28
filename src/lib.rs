//! Quorate: what etcd is, in one binary, with QUIC and mutual TLS as its native wire.
//!
//! ```text
//!  roof     cli                    words typed by a person -> config -> node; exit codes; client commands
//!  floor 7  config                 files, env, flags -> node::Config          (no floor below knows figment)
//!  floor 6  node                   builds every room, joins them by channels, drains them in order
//!  floor 5  api      | keepers     front doors (native protocol)        | our own chores propose like clients
//!           proxy                  the same doors without an engine: a service that asks members
//!  floor 4  engine                 the stairwell: proposals go down, applied results come up; owns the threads
//!  floor 3  state    | watch       what an entry means (deterministic)  | who wants to hear what changed
//!  floor 2  mvcc     | consensus   many versions of one key             | one order of all entries (over raft-rs)
//!  floor 1  storage                the log (WAL), the database (LMDB), snapshots: bytes
//!  ground   base     | proto       words, numbers, limits               | wire shapes (generated)
//!
//!  street side (wings, touch only the ground): tls, transport, discovery        client: the public Rust client
//! ```
//!
//! Arrows point down only; rooms on one floor have no door between them; below floor 4 nothing awaits, reads a clock
//! or rolls dice. `tests/tidy.rs` holds the table of who may import whom. The promise of stability covers
//! [`client`] and [`proto`]; every other room is public for the tests alone.

#[doc(hidden)]
pub mod base;
pub mod proto;

#[cfg(feature = "server")]
#[doc(hidden)]
pub mod storage;

pub mod client;
#[doc(hidden)]
pub mod discovery;
#[doc(hidden)]
pub mod tls;
#[doc(hidden)]
pub mod transport;

#[cfg(feature = "server")]
#[doc(hidden)]
pub mod api;
#[cfg(feature = "server")]
#[doc(hidden)]
pub mod cli;
#[cfg(feature = "server")]
#[doc(hidden)]
pub mod config;
#[cfg(feature = "server")]
#[doc(hidden)]
pub mod consensus;
#[cfg(feature = "server")]
#[doc(hidden)]
pub mod engine;
#[cfg(feature = "server")]
#[doc(hidden)]
pub mod keepers;
#[cfg(feature = "server")]
#[doc(hidden)]
pub mod mvcc;
#[cfg(feature = "server")]
#[doc(hidden)]
pub mod node;
#[cfg(feature = "server")]
#[doc(hidden)]
pub mod proxy;
#[cfg(feature = "server")]
#[doc(hidden)]
pub mod state;
#[cfg(feature = "server")]
#[doc(hidden)]
pub mod watch;

/// What the pages say in Rust compiles.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../docs/client.md")]
    struct Client;
}
