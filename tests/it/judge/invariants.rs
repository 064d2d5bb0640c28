//! Of what must hold after every step of a simulated world, the part that a history shows.

#[path = "../../sim/invariants/lease_never_early.rs"]
mod lease_never_early;
#[path = "../../sim/invariants/watch_gapless.rs"]
mod watch_gapless;

pub(crate) use lease_never_early::LeaseNeverEarly;
pub(crate) use watch_gapless::WatchGapless;
