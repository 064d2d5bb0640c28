//! The tree of etcd's v2 API: files and directories with an index of their own, beside the versioned keys and unseen by
//! them.
//!
//! ```text
//!   path     what a key is, and what is hidden
//!   rows     table v2: nodes, expiry times, the last events, the index
//!   tree     one request -> rows and an event, or an error that changes nothing
//!   remove   nodes that go, by request or in time
//!   list     what readers see of a node
//!   history  the last events in RAM, and which of them a watcher is told
//!   error    etcd's numbers and causes
//!   auth     users and roles, and what they may
//! ```
//!
//! Promises: a function of rows and entry; time is the envelope's. The history is rows like the nodes are, so a watcher
//! goes on from its index after a restart and on any member. Knows nothing of: HTTP, who waits.

mod auth;
mod error;
mod history;
mod list;
mod path;
mod remove;
mod rows;
mod tree;

pub(super) use auth::change_auth;
pub use auth::{Auth, AuthRefused, AuthTold, ROOT};
pub use error::Error;
pub(super) use history::Told;
pub use history::{Found, History, Watch};
pub(super) use list::listed;
pub use list::{Listed, Listing, ttl_s};
pub use path::clean;
pub(super) use rows::next_expiry;
pub(super) use tree::{Done, apply, expire, pass};
