//! A member's clock: it starts at a time of its own and may run fast or slow against the world's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quorate::base::{Clock, Moment};

/// Parts per million of a clock that neither gains nor loses.
pub(crate) const STEADY_PPM: u64 = 1_000_000;

/// Read by a member through [`Clock`]; set by the world.
#[derive(Debug, Default)]
pub(crate) struct SimClock {
    now: AtomicU64,
    /// What the wall shows when the member's own time begins, milliseconds.
    wall_ms: i64,
}

impl SimClock {
    /// Of a member whose own time begins at `local`. Walls differ by less than a second at first.
    pub(crate) fn new(local: Moment) -> Self {
        let local_ms = (local.0 / 1_000_000) as i64;
        Self { now: AtomicU64::new(0), wall_ms: WALL_MS - local_ms + local_ms % 1_000 }
    }

    /// What it shows at a time of the member's own.
    pub(crate) fn wall_ms_at(&self, local: Moment) -> i64 {
        self.wall_ms + (local.0 / 1_000_000) as i64
    }
}

/// Far from all wall clocks.
const WALL_MS: i64 = 1_600_000_000_000;

impl Clock for SimClock {
    fn now(&self) -> Moment {
        Moment(self.now.load(Ordering::Relaxed))
    }

    /// Not equal on any two members.
    fn wall_ms(&self) -> i64 {
        self.wall_ms_at(self.now())
    }
}

/// How the member's time follows from the world's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drift {
    world: Moment,
    local: Moment,
    ppm: u64,
}

impl Drift {
    pub(crate) fn new(world: Moment, local: Moment) -> Self {
        Self { world, local, ppm: STEADY_PPM }
    }

    pub(crate) fn local(&self, world: Moment) -> Moment {
        let passed = u128::from(world.0.saturating_sub(self.world.0));
        Moment(self.local.0 + (passed * u128::from(self.ppm) / 1_000_000) as u64)
    }

    /// The world's time at which the member's clock will show at least `local`.
    pub(crate) fn world(&self, local: Moment) -> Moment {
        let to_pass = u128::from(local.0.saturating_sub(self.local.0));
        let nanos = (to_pass * 1_000_000).div_ceil(u128::from(self.ppm));
        self.world + Duration::from_nanos(nanos as u64)
    }

    /// Runs at another rate from `world` on.
    pub(crate) fn set_ppm(&mut self, world: Moment, ppm: u64) {
        *self = Self { world, local: self.local(world), ppm };
    }

    pub(crate) fn show(&self, world: Moment, clock: &SimClock) -> Moment {
        let local = self.local(world);
        clock.now.store(local.0, Ordering::Relaxed);
        local
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_clock_gains_and_never_jumps() {
        let mut drift = Drift::new(Moment::ZERO, Moment::from_millis(500));
        assert_eq!(drift.local(Moment::from_millis(100)), Moment::from_millis(600));
        drift.set_ppm(Moment::from_millis(100), 1_100_000);
        assert_eq!(drift.local(Moment::from_millis(100)), Moment::from_millis(600));
        assert_eq!(drift.local(Moment::from_millis(200)), Moment::from_millis(710));
        assert_eq!(drift.world(Moment::from_millis(710)), Moment::from_millis(200));
    }
}
