//! Who wants to hear what changed.
//!
//! ```text
//!                        create, start at r
//!                 r > revision |  | r <= revision
//!                              v  v
//!    publish -->  SYNCED <----------------- CATCHING UP <--> PARKED (its stream is slow)
//!                   |      caught up        ^  history in slices
//!                   +-----------------------+
//!               its stream is full: behind from this very revision
//! ```
//!
//! The hub is pure: batches of events, requests and the time go in, deliveries per stream come out, and where it needs
//! the past it asks for a slice of history that many watchers share. A delivery refers to the batch and the events
//! that matched; nothing is copied per watcher.
//!
//! Promises, per watcher: revisions ascend, none is missing, none comes twice, and all events of one revision come
//! together; the created message is first; nothing before its start revision. A slow stream loses nothing and slows
//! nobody: its watchers stop where it is full and read history again when it has drained. A progress message is never
//! ahead of an event that its watchers still miss. Knows nothing of: bytes on the wire, previous values (looked up by
//! the caller through `Event::prev`), permissions.

mod catchup;
mod delivery;
mod hub;
mod index;
#[cfg(test)]
mod model;
mod spec;
mod watcher;

/// What deliveries refer to; whoever encodes them needs no other room.
pub use crate::mvcc::{Event, EventBatch, EventKind};
pub use delivery::{Delivery, Matched, Which};
pub use hub::{HistoryWanted, Hub};
pub use spec::{Config, Denial, Refusal, Spec, StreamId, range};
