//! How much of one HTTP/2 connection is read before others have their turn, and how many frames that ask for nothing it
//! may send.
//!
//! The library reads as long as there is something, and answers every ping; a runtime of one thread waits for it. So a
//! connection is read for a while, and then stands behind everybody else who is ready.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::coop::consume_budget;
use tokio::time::Instant;

use crate::base::limits;
use crate::transport::Bound;

/// See the module. Of one connection.
pub(super) struct Pace {
    cost: u32,
    bytes: usize,
    /// Bytes of the next read: no more than a turn costs, as far as the last one tells.
    room: usize,
    /// Frames that ask for nothing which it may still send, and since when that is so.
    patience: u32,
    since: Instant,
    /// Told when that is over.
    tell: Box<dyn Fn() + Send>,
}

/// More than a task has in one turn.
const BUDGET_MAX: usize = 1_024;

/// What was read at a time.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Seen {
    /// To read and to obey them: 1 for a usual frame.
    pub cost: u32,
    /// Frames that ask for nothing, nor answer anything.
    pub noise: u32,
}

impl Pace {
    pub(super) fn new(tell: impl Fn() + Send + 'static) -> Self {
        let (patience, since) = (limits::HTTP2_NOISE_MAX, Instant::now());
        Self {
            cost: 0,
            bytes: 0,
            room: limits::HTTP2_TURN_BYTES,
            patience,
            since,
            tell: Box::new(tell),
        }
    }

    /// Pending once a turn is over; the next one comes behind everything that is ready.
    pub(super) fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.cost < limits::HTTP2_TURN_FRAMES && self.bytes < limits::HTTP2_TURN_BYTES {
            return Poll::Ready(());
        }
        self.rest();
        // The library asks again within the same turn of its task, so the task is made to have none left: then nothing of
        // it goes on until the others have had theirs.
        for _ in 0..BUDGET_MAX {
            if pin!(consume_budget()).poll(context).is_pending() {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// How many bytes to read at most: small frames are many in a buffer.
    pub(super) fn room(&self) -> usize {
        self.room
    }

    /// Nothing more is there: the turn is over by itself.
    pub(super) fn rest(&mut self) {
        (self.cost, self.bytes) = (0, 0);
    }

    /// So much was read. An error ends the connection.
    pub(super) fn read(&mut self, bytes: usize, seen: Seen) -> io::Result<()> {
        self.cost += seen.cost;
        self.bytes += bytes;
        self.room = room_after(bytes, seen.cost);
        if self.bears(seen.noise, Instant::now) {
            return Ok(());
        }
        (self.tell)();
        Err(io::Error::other(Bound::Noise.text()))
    }

    /// Whether so much noise is borne; the clock is read only where it counts.
    fn bears(&mut self, noise: u32, now: impl Fn() -> Instant) -> bool {
        if noise > self.patience {
            let now = now();
            let more = regained(now.saturating_duration_since(self.since));
            self.since = now;
            self.patience = (self.patience + more).min(limits::HTTP2_NOISE_MAX);
        }
        let left = self.patience.checked_sub(noise);
        self.patience = left.unwrap_or(self.patience);
        left.is_some()
    }
}

/// What a turn is worth in bytes, if what comes next costs as much as these.
fn room_after(bytes: usize, cost: u32) -> usize {
    let room = bytes.saturating_mul(limits::HTTP2_TURN_FRAMES as usize) / cost.max(1) as usize;
    room.clamp(limits::HTTP2_READ_BYTES_MIN, limits::HTTP2_TURN_BYTES)
}

/// In so long a time.
fn regained(passed: Duration) -> u32 {
    let more = passed.as_secs_f64() * f64::from(limits::HTTP2_NOISE_PER_SECOND);
    more.min(f64::from(limits::HTTP2_NOISE_MAX)) as u32
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_turn_ends_by_frames_and_by_bytes() {
        let mut context = Context::from_waker(Waker::noop());
        let mut pace = Pace::new(|| {});
        for (bytes, cost) in [(limits::HTTP2_TURN_BYTES, 1), (9, limits::HTTP2_TURN_FRAMES)] {
            assert!(pace.poll_turn(&mut context).is_ready());
            pace.read(bytes, Seen { cost, noise: 0 }).unwrap();
            assert!(pace.poll_turn(&mut context).is_pending());
            assert!(pace.poll_turn(&mut context).is_ready());
        }
    }

    #[test]
    fn what_costs_more_than_a_turn_is_read_in_small_pieces_until_it_costs_less() {
        let mut pace = Pace::new(|| {});
        let mut room = |bytes, cost| {
            pace.read(bytes, Seen { cost, noise: 0 }).unwrap();
            pace.room()
        };
        assert_eq!(room(8_192, 8 * limits::HTTP2_TURN_FRAMES), 1_024);
        // As long as it goes on so.
        assert_eq!(room(1_024, limits::HTTP2_TURN_FRAMES), 1_024);
        assert_eq!(room(100, 8 * limits::HTTP2_TURN_FRAMES), limits::HTTP2_READ_BYTES_MIN);
        assert_eq!(room(16_000, 2), limits::HTTP2_TURN_BYTES);
        assert_eq!(room(16_000, 0), limits::HTTP2_TURN_BYTES);
    }

    #[test]
    fn noise_is_borne_at_its_rate() {
        let mut pace = Pace::new(|| {});
        let began = pace.since;
        let mut bears = |noise, seconds| pace.bears(noise, || began + Duration::from_secs(seconds));
        assert!(bears(limits::HTTP2_NOISE_MAX, 0));
        assert!(bears(limits::HTTP2_NOISE_PER_SECOND, 1));
        assert!(!bears(1, 1));
        assert!(bears(limits::HTTP2_NOISE_MAX, 3_600));
    }
}
