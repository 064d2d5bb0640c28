//! Locks and elections, in the keys of etcd's concurrency package: holders of both kinds of client take turns.
//!
//! ```text
//!   name/<lease id in hex>   one key per session; the smallest create revision has the turn
//!
//!   enter --txn: if my key is new, put it--> wait: watch the one key before mine until it is deleted --> my turn
//!                                              |
//!                                              +-- the session is lost: an error
//! ```
//!
//! Nobody polls, and a deletion wakes one waiter. What a holder believes ends no later than its lease at the server:
//! [`Session::lost`] says so. A place that is dropped is given back; a write of somebody who was late is refused by
//! putting [`Held::is_held`] or [`Leadership::is_held`] into the transaction that makes it. Knows nothing of
//! connections: it is written with the client's public calls.

mod election;
mod mutex;
mod place;
mod session;

pub use election::{Election, Leader, Leadership, Observer};
pub use mutex::{Held, Mutex};
pub use session::Session;
