//! When a call begins: as soon as the last one ended, or when it is due.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::base::{Clock, Moment, SystemClock};

/// How often those look who have nothing to do until the end.
const LOOK: Duration = Duration::from_millis(20);

/// The window of a measurement, moved by whoever drives it and read by every task.
#[derive(Debug)]
pub(super) struct Window {
    pub clock: SystemClock,
    began: AtomicU64,
    ended: AtomicU64,
    /// Calls that may still begin.
    left: AtomicU64,
}

impl Window {
    /// With `total`, only so many calls begin.
    pub(super) fn new(total: Option<u64>) -> Self {
        Self {
            clock: SystemClock::new(),
            began: AtomicU64::new(u64::MAX),
            ended: AtomicU64::new(u64::MAX),
            left: AtomicU64::new(total.unwrap_or(u64::MAX)),
        }
    }

    pub(super) fn begin(&self) -> Moment {
        let now = self.clock.now();
        self.began.store(now.0, Ordering::Release);
        now
    }

    /// Ends it, unless somebody did before; when it ended.
    pub(super) fn end(&self) -> Moment {
        let now = self.clock.now();
        let open = u64::MAX;
        let ended = self.ended.compare_exchange(open, now.0, Ordering::AcqRel, Ordering::Acquire);
        ended.map_or_else(Moment, |_| now)
    }

    /// Whether another call may begin.
    pub(super) fn takes_one(&self) -> bool {
        let take = |left: u64| left.checked_sub(1);
        !self.is_over()
            && self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    pub(super) fn is_over(&self) -> bool {
        self.ended.load(Ordering::Acquire) != u64::MAX
    }

    /// Resolves when it is over, a few milliseconds late.
    pub(super) async fn over(&self) {
        while !self.is_over() {
            sleep(LOOK).await;
        }
    }

    /// When it began, if `now` is inside it.
    pub(super) fn holds(&self, now: Moment) -> Option<Moment> {
        let began = self.began.load(Ordering::Acquire);
        (began <= now.0 && now.0 <= self.ended.load(Ordering::Acquire)).then_some(Moment(began))
    }
}

/// Calls that are due, of one thread: the `n`th of `threads` takes every `threads`th of all.
#[derive(Debug)]
pub(super) struct Due {
    ready: Semaphore,
    taken: AtomicU64,
    thread: u64,
    schedule: Schedule,
    began: AtomicU64,
}

/// An even stream of calls.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    /// Calls a second, of all threads.
    pub rate: u64,
    pub threads: u64,
}

impl Schedule {
    /// How long after the beginning call `number` is due.
    fn due(self, number: u64) -> Duration {
        let nanos = u128::from(number) * 1_000_000_000 / u128::from(self.rate);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How many calls are due so long after the beginning.
    fn count(self, after: Duration) -> u64 {
        let count = after.as_nanos() * u128::from(self.rate) / 1_000_000_000;
        u64::try_from(count).unwrap_or(u64::MAX - 1) + 1
    }

    /// How many of the first `count` calls are `thread`'s.
    fn share(self, count: u64, thread: u64) -> u64 {
        (count + self.threads - 1 - thread) / self.threads
    }
}

impl Due {
    pub(super) fn new(schedule: Schedule, thread: u64) -> Self {
        let (taken, began) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { ready: Semaphore::new(0), taken, thread, schedule, began }
    }

    /// Waits for the next call, and says when it was due. None when the run is over.
    pub(super) async fn next(&self) -> Option<Moment> {
        self.ready.acquire().await.ok()?.forget();
        let turn = self.taken.fetch_add(1, Ordering::Relaxed);
        let number = turn * self.schedule.threads + self.thread;
        Some(Moment(self.began.load(Ordering::Relaxed)) + self.schedule.due(number))
    }
}

/// Makes calls due, from now until the window is over. It wants a thread of its own: a runtime's timer is good to a
/// millisecond only.
pub(super) fn keep_time(window: &Window, dues: &[Arc<Due>]) {
    let Some(schedule) = dues.first().map(|due| due.schedule) else { return };
    let began = window.clock.now();
    for due in dues {
        due.began.store(began.0, Ordering::Relaxed);
    }
    let mut made = 0;
    while !window.is_over() {
        let count = schedule.count(window.clock.now() - began);
        for due in dues {
            let ready = schedule.share(count, due.thread) - schedule.share(made, due.thread);
            due.ready.add_permits(usize::try_from(ready).unwrap_or(0));
        }
        made = count;
        std::thread::sleep((began + schedule.due(made)) - window.clock.now());
    }
    for due in dues {
        due.ready.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_due_evenly() {
        let schedule = Schedule { rate: 1_000, threads: 2 };
        assert_eq!(schedule.due(5), Duration::from_millis(5));
        assert_eq!(schedule.count(Duration::ZERO), 1);
        assert_eq!(schedule.count(Duration::from_millis(5)), 6);
        assert_eq!((schedule.share(5, 0), schedule.share(5, 1)), (3, 2));
    }

    #[tokio::test]
    async fn a_call_is_counted_from_when_it_was_due_however_late_it_begins() {
        let window = Arc::new(Window::new(None));
        let schedule = Schedule { rate: 1_000_000, threads: 2 };
        let dues: Vec<_> = (0..2).map(|thread| Arc::new(Due::new(schedule, thread))).collect();
        let timing = {
            let (window, dues) = (Arc::clone(&window), dues.clone());
            std::thread::spawn(move || keep_time(&window, &dues))
        };
        let began = dues[0].next().await.unwrap();
        for number in 1..6 {
            let due = dues[number as usize % 2].next().await.unwrap();
            assert_eq!(due, began + schedule.due(number));
        }
        window.end();
        timing.join().unwrap();
        while dues[0].next().await.is_some() {}
    }

    #[test]
    fn only_so_many_calls_begin_and_only_those_inside_count() {
        let window = Window::new(Some(1));
        assert_eq!(window.holds(window.clock.now()), None, "warming up");
        let began = window.begin();
        assert_eq!(window.holds(window.clock.now()), Some(began));
        assert!(window.takes_one());
        assert!(!window.takes_one());
        let ended = window.end();
        assert!(window.is_over());
        assert_eq!(window.holds(ended + Duration::from_nanos(1)), None);
    }
}
