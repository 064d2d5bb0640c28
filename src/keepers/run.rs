//! The loop around keepers: ask each what is due, propose it, wait for its answer, sleep.

use std::time::Duration;

use crate::base::{Moment, Term};
use crate::engine::Handle;
use crate::state::Command;

/// Shortest sleep: a keeper whose proposals fail must not spin.
const SLEEP_MIN: Duration = Duration::from_millis(50);
/// Time a keeper's proposal may take before it is given up, and asked anew.
const DEADLINE: Duration = Duration::from_secs(5);

/// A chore: what is due now, if anything, and the only term in which it may be done.
pub trait Keeper: Send {
    fn next(&mut self, now: Moment, handle: &Handle) -> Option<(Term, Command)>;

    fn wake_at(&self) -> Moment;
}

/// Runs until the engine stops.
pub async fn run(handle: Handle, mut keeper: impl Keeper) {
    while !handle.is_stopped() {
        let now = handle.clock().now();
        if let Some((term, command)) = keeper.next(now, &handle)
            && let Err(error) = handle.propose_as(command, term, now + DEADLINE).await
        {
            // Whoever leads next finds the same thing due.
            tracing::debug!(%error, "a keeper's proposal came to nothing");
            tokio::time::sleep(SLEEP_MIN).await;
        }
        let sleep = keeper.wake_at().since(handle.clock().now());
        tokio::time::sleep(sleep).await;
    }
}
