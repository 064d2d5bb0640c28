//! What an entry of the log means: the deterministic state machine over `mvcc`, leases, members, alarms and users.
//!
//! ```text
//!   before the log   check (shape, pure) -> cost (quota)             the same at every door
//!   the log          Envelope { who asked, leader's term, Command }
//!   apply            Machine: (state, entry) -> Outcome { result, rows, events, notes }
//!   publish          after the rows are merged: the caches of `Shared` become what readers see
//!   readers          Query: a view and `Shared`
//! ```
//!
//! Promises: [`Machine::apply`] is a function of (state, entry) and of nothing else: no configuration, no clock, no
//! dice, no version; a rejected command changes nothing; an entry that this binary does not understand is a fault.
//! Knows nothing of: Raft, deadlines, connections, who leads.

mod alarms;
mod apply;
mod auth;
pub mod check;
mod compare;
mod content;
mod cost;
mod envelope;
mod leases;
mod machine;
mod members;
mod query;
#[cfg(test)]
mod random;
mod range;
mod reply;
mod shared;
mod stop;
mod transaction;
mod txn;
pub mod v2;
mod wire;

pub use alarms::Alarms;
pub use auth::{Asker, Auth, AuthNote, LeaseKeys, ROOT, User};
pub use content::ContentRun;
pub use cost::cost;
pub use envelope::{Command, Envelope, conf_change, decode, encode};
pub use leases::Lease;
pub use machine::Machine;
pub use members::Members;
pub use query::{HashRun, KvHash, Query};
pub use range::{Budget, RangeRun};
pub use reply::{LeaseNote, Outcome, Rejection, Reply, V2Reply};
pub use shared::Shared;
pub use stop::Answer;
pub use wire::to_wire;
