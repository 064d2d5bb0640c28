//! One order of all entries: Raft, decided here and acted upon by the engine.
//!
//! ```text
//!   tick, step, propose, read ──> Core ──> Effects ──> send            at once
//!   persisted, applied, ...        │                   persist         to the write-ahead log, one fdatasync
//!                                  │                   after_persist   once `persisted(number)` was called
//!             LogView <── Log <────┘                   commit          apply up to here
//! ```
//!
//! [`Core`] wraps the crate raft 0.7.0 (`RawNode`, asynchronous ready path): calls go in, [`Effects`] come out, nothing
//! blocks. [`wire`] is what members say to each other: our own messages, checked before the crate sees anything.
//!
//! Promises: the same calls in the same order give the same effects, byte for byte; nothing that the network or the
//! disk brings makes it panic; no acknowledgement leaves before what it acknowledges is durable; no entry is proposed
//! twice. Knows nothing of: what an entry means, sockets, files, clocks, threads.

mod change;
mod checkpoint;
mod config;
mod convert;
mod core;
mod effects;
mod guard;
mod log_drain;
mod log_view;
mod reads;
mod ready;
mod status;
pub mod wire;

pub use self::core::{Core, Stepped};
pub use change::{Change, ChangeKind, decode_change};
pub use checkpoint::CheckpointMark;
pub use config::Config;
pub use effects::{
    Class, Effects, Error, Fetch, Outgoing, Persist, ReadId, Refused, Role, RoleKind,
};
pub use status::{Progress, Replication, Status};
