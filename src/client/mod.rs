//! The public Rust client.
//!
//! ```text
//!   Client --send--> Endpoints --one at a time--> Link --unary lanes (1 to 4)--> server
//!      |                 dial, race, move on        +-- moved answers
//!      |                 writes: the leader's Link, if it was found
//!      +--watch--> task: all watchers of a client, resumed after a lost connection
//!      +--lease--> task: all leases of a client, renewed at a third of their time
//!      +--recipes: sessions, locks, elections, written with these calls alone
//!   Passages --dial--> Passage: the same links for a proxy, which decides for itself
//! ```
//!
//! Promises: a call is answered once, within its deadline; a write whose outcome is unknown is never repeated; a
//! watch misses nothing and repeats nothing. Knows nothing of the server's insides: `default-features = false` builds
//! it alone. A guide is in `docs/client.md`, programs are in `examples/`.

#![warn(missing_docs)]

mod auth;
mod calls;
mod cluster;
mod config;
mod endpoints;
mod error;
#[cfg(feature = "server")]
mod grpc;
mod kv;
mod lane;
mod leading;
mod lease;
mod link;
#[cfg(feature = "server")]
mod passage;
mod ranging;
mod recipes;
mod registry;
mod request;
mod silence;
mod snapshot;
mod watch;
mod watching;

pub use crate::proto::{Code, Retry, Status, etcdserverpb, mvccpb};
pub use crate::tls::ClientFiles;
pub use auth::Access;
pub use calls::Client;
pub use config::{Config, Login, Wire};
pub use error::Error;
pub use kv::{
    Calling, Compare, Comparing, Delete, Get, Op, Put, SortOrder, SortTarget, Txn, prefix_end,
};
pub use lease::LeaseKeeper;
pub use ranging::RangeStream;
pub use recipes::{Election, Held, Leader, Leadership, Mutex, Observer, Session};
pub use request::Request;
pub use snapshot::{Saved, Snapshot};
pub use watch::{Watch, Watcher};
#[cfg(feature = "server")]
pub(crate) use {
    lane::Failure,
    link::{StreamRecv, StreamSend},
    passage::{Manner, Passage, Passages},
};
