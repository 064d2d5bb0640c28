//! One member: builds every room, joins them by channels, drains them in order.
//!
//! ```text
//!   Config ──► bootstrap (who am I?) ──► open (data directory, store, log) ──► engine
//!                   └─ inquiry                                                  │  ▲
//!                                                          outbox ◄─────────────┘  │
//!                                            transport ◄──┘   └──► inbound ────────┘
//!                                                └──► api::Native ──► api::Local ──► engine
//!   Running: a member, or a proxy in its place (proxy ──► crate::proxy ──► members)
//!   chores: address book, publishing, keepers, new certificate files, the member's own end
//! ```
//!
//! Promises: a start that fails leaves nothing half done that the next one cannot repair; a drain loses nothing that
//! was acknowledged. Knows nothing of: where its configuration came from, what a request means.

mod backup;
mod bootstrap;
mod check;
mod chores;
mod config;
mod doors;
mod error;
mod force;
mod founding;
mod gathering;
mod inbound;
mod inquiry;
mod member;
mod offline;
mod open;
mod outbox;
mod proxy;
mod reload;
mod restore;
mod resync;
mod running;
mod stop;
mod versions;
mod wal_place;

pub use backup::{BackupError, backup};
pub use check::check;
pub use config::{
    AuthRules, AutoCompaction, ClusterState, Comparisons, Config, ProxyMode, ProxyRules, Roster,
    RosterMember, TcpRules, TcpUrl,
};
pub use error::Error;
pub use member::Node;
pub use offline::{DefragmentError, HashedFile, defragment, hash_kv};
pub use proxy::{Proxy, Whom};
pub use restore::{Restore, RestoreError, Restored, SnapshotContent, inspect, restore};
pub use resync::Damaged;
pub use running::Running;
pub use stop::Stopped;
pub use wal_place::place_log;
