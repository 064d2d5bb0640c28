//! The shape of a request, judged before the log: pure, the same at every door, with etcd's texts.
//!
//! What depends on the state (a lease that is not there, a compacted revision) is a rejection at apply instead.

mod intervals;
mod malformed;
mod requests;
mod urls;

pub use malformed::Malformed;
pub use requests::{
    compact, delete_range, is_read_only, lease_grant, member_add, member_update, needs_barrier,
    put, range, txn,
};
