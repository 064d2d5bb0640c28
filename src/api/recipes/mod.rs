//! Methods that are made of other methods: etcd's locks and elections, whose calls become transactions and watches of the
//! service below, and a Range in pieces.
//!
//! ```text
//!   service     which methods these are; everything else goes through
//!   steps       the calls that they are made of
//!   queue       a key in a line of keys: joins it, waits for its turn, leaves it
//!   lock, election, range    the methods
//! ```
//!
//! The keys are those of etcd's `concurrency` package, so that its clients and these methods queue in one line. Knows nothing
//! of: engines and wires.

mod election;
mod lock;
mod queue;
mod range;
mod service;
mod steps;

pub use service::Recipes;
