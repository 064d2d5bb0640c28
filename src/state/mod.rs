//! What an entry of the log means: the deterministic state machine over `mvcc`, leases, members and alarms.
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

pub mod check;
mod cost;
mod envelope;
mod members;
mod reply;

pub use cost::cost;
pub use envelope::{Command, Envelope, conf_change, decode, encode};
pub use members::Members;
pub use reply::{LeaseNote, Rejection, Reply};
