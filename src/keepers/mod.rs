//! Our own chores, which propose like clients: each is a pure `next` and a short loop around it.
//!
//! They enter by the same `engine::Handle` as everybody else; what only a leader may propose carries its term, and is
//! refused at apply in any other.

mod compaction;
mod corruption;
mod leases;
mod run;
mod tree;

pub use compaction::{ManyRevisions, OldRevisions};
pub use corruption::{compare_histories, is_diverged};
pub use leases::{EXPIRY_INTERVAL, Expiry, RECORD_INTERVAL, Recorder};
pub use run::{Keeper, run};
pub use tree::{TREE_EXPIRY_INTERVAL, TreeExpiry};
