//! [`Service`](crate::proto::Service) on this member's engine.
//!
//! ```text
//!   batch -> decode, check -> writes   -> Handle::submit, one each; the reply is the completion
//!                          -> reads    -> one barrier for the batch (none if serializable) -> reader pool, in slices
//!                          -> the rest -> a task: remaining TTL, leadership, physical compaction
//!   streams: Watch, LeaseKeepAlive on the door's runtime; Snapshot on a thread
//! ```
//!
//! It knows etcd's requests and what must surround them (shapes, quota, headers); what they mean is `state`'s.

mod cluster;
mod downgrade;
mod events;
mod header;
mod leases;
mod maintenance;
mod reads;
mod service;
mod snapshot;
mod watches;
mod writes;

pub(super) use cluster::{Changing, change};
pub(super) use service::API_VERSION;
pub use service::{Config, Local};
