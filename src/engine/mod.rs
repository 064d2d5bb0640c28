//! The stairwell: proposals go down, applied results come up. It owns the threads; below it nothing awaits.
//!
//! ```text
//!   Handle --+                       +--> Applier --> Checkpoint (LMDB)
//!            v                       |        |
//!   peers -> Driver (consensus) -> LogTurn    +-----> HubTurn (watchers)
//!            |     (one fdatasync for all that waits)
//!            +--> Outbox -> peers             Snapshots, reader pool
//! ```
//!
//! Everything is written as turns: take what is in the bounded inbox and the time, do one step, leave results in
//! other inboxes. A thread is a short loop around a turn; the simulation calls the same turns in the order of a seed.
//!
//! Promises: a request is answered exactly once, and an answer says whether trying again is safe; a write is
//! acknowledged when a majority has it on disk and this member has applied it. Knows nothing of: QUIC, wires, texts.

mod applier;
mod checkpoint;
mod config;
mod driver;
mod error;
mod handle;
mod hashes;
mod hub;
mod inbox;
mod leases;
mod lessor;
mod log_turn;
mod meters;
mod outbox;
mod parts;
mod peers;
mod readers;
mod shared;
mod snapshots;
mod status;
#[cfg(test)]
mod tests;
mod threads;
mod tokens;
mod tree;
mod trim;
mod waiters;
mod watchdog;

pub use applier::Applier;
pub use checkpoint::Checkpoint;
pub use config::Config;
pub use driver::{ChangeRefused, Driver};
pub use error::{Error, Retry};
pub use handle::Handle;
pub use hub::{Delivered, HubTurn, Previous, WatchStream};
pub use leases::Renewed;
pub use log_turn::LogTurn;
pub use meters::{Meters, PeerMeters};
pub use outbox::{Answered, AskKind, Lost, Outbox};
pub use parts::{Foundation, Parts};
pub use peers::{IncomingError, IncomingSnapshot};
pub use readers::LongJob;
pub use shared::{AskReply, Finished, ReadDone};
pub use snapshots::Snapshots;
pub use status::{RaftStatus, Status};
pub use threads::{Threads, be_nice};
pub use tree::{Outcomes, TreeMeters};
pub use waiters::{Applied, Done};
