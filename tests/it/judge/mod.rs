//! The judge of histories: the simulated world's own files, so that real processes are held to the same promises.
//!
//! Those files name each other from the root of their test binary, so `main.rs` passes these names on.

#[path = "../../sim/alarms.rs"]
pub(crate) mod alarms;
#[path = "../../sim/checker.rs"]
pub(crate) mod checker;
#[path = "../../sim/dice.rs"]
pub(crate) mod dice;
#[path = "../../sim/history.rs"]
pub(crate) mod history;
pub(crate) mod invariants;
#[path = "../../sim/members.rs"]
pub(crate) mod members;
#[path = "../../sim/model.rs"]
pub(crate) mod model;
#[path = "../../sim/ownership.rs"]
pub(crate) mod ownership;
#[path = "../../sim/totals.rs"]
pub(crate) mod totals;
#[path = "../../sim/tree.rs"]
pub(crate) mod tree;
#[path = "../../sim/users.rs"]
pub(crate) mod users;
#[path = "../../sim/violation.rs"]
pub(crate) mod violation;
#[path = "../../sim/watchers.rs"]
pub(crate) mod watchers;
#[path = "../../sim/workload.rs"]
pub(crate) mod workload;
