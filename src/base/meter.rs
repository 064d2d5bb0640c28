//! Numbers that are counted in passing and read now and then: what a member tells of itself.
//!
//! Each is on its own: two read one after the other may be of different moments. Nothing is ever decided by them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A number that goes up, or is set.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub fn increment(&self) {
        self.add(1);
    }

    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How often something took how long: buckets whose bounds double from one to the next.
#[derive(Debug)]
pub struct Histogram {
    first: Duration,
    /// How many took at most the bucket's bound and more than the one before; the last has no bound.
    buckets: Vec<Counter>,
    nanos: Counter,
}

impl Histogram {
    /// `buckets` bounds, the first of them `first`.
    pub fn new(first: Duration, buckets: usize) -> Self {
        let buckets = (0..=buckets).map(|_| Counter::default()).collect();
        Self { first, buckets, nanos: Counter::default() }
    }

    pub fn observe(&self, took: Duration) {
        let mut bound = self.first;
        let last = self.buckets.len() - 1;
        let mut place = 0;
        while place < last && took > bound {
            bound *= 2;
            place += 1;
        }
        self.buckets[place].increment();
        self.nanos.add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Each bound with the number of those that took at most so long.
    pub fn buckets(&self) -> Vec<(Duration, u64)> {
        let mut bound = self.first;
        let mut sum = 0;
        let mut found = Vec::with_capacity(self.buckets.len() - 1);
        for bucket in &self.buckets[..self.buckets.len() - 1] {
            sum += bucket.value();
            found.push((bound, sum));
            bound *= 2;
        }
        found
    }

    pub fn count(&self) -> u64 {
        self.buckets.iter().map(Counter::value).sum()
    }

    /// Of all that was observed.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanos.value())
    }
}

/// How long something takes: the last, the shortest, the longest, the average, and how far they lie apart.
#[derive(Debug, Default)]
pub struct Latency(Mutex<Sums>);

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    count: u64,
    last: f64,
    sum: f64,
    squares: f64,
    least: f64,
    most: f64,
}

/// What a [`Latency`] has seen, in milliseconds; all zero before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Latencies {
    pub current_ms: f64,
    pub average_ms: f64,
    pub deviation_ms: f64,
    pub minimum_ms: f64,
    pub maximum_ms: f64,
}

impl Latency {
    pub fn observe(&self, took: Duration) {
        let ms = took.as_secs_f64() * 1_000.0;
        let mut sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sums.least = if sums.count == 0 { ms } else { sums.least.min(ms) };
        sums.count += 1;
        sums.last = ms;
        sums.sum += ms;
        sums.squares += ms * ms;
        sums.most = sums.most.max(ms);
    }

    pub fn told(&self) -> Latencies {
        let sums = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sums.count == 0 {
            return Latencies::default();
        }
        let average_ms = sums.sum / sums.count as f64;
        let variance = sums.squares / sums.count as f64 - average_ms * average_ms;
        Latencies {
            current_ms: sums.last,
            average_ms,
            // What rounding leaves may lie below zero.
            deviation_ms: variance.max(0.0).sqrt(),
            minimum_ms: sums.least,
            maximum_ms: sums.most,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_have_an_average_and_a_spread() {
        let latency = Latency::default();
        assert_eq!(latency.told(), Latencies::default());
        for ms in [2, 4, 4, 4, 5, 5, 7, 9] {
            latency.observe(Duration::from_millis(ms));
        }
        let told = latency.told();
        assert!((told.average_ms - 5.0).abs() < 1e-9 && (told.deviation_ms - 2.0).abs() < 1e-9);
        assert_eq!((told.current_ms, told.minimum_ms, told.maximum_ms), (9.0, 2.0, 9.0));
    }

    #[test]
    fn each_duration_falls_into_the_bucket_it_fits() {
        let ms = Duration::from_millis;
        let histogram = Histogram::new(ms(1), 3);
        for took in [ms(0), ms(1), ms(2), ms(3), ms(4), ms(5)] {
            histogram.observe(took);
        }
        assert_eq!(histogram.buckets(), [(ms(1), 2), (ms(2), 3), (ms(4), 5)]);
        assert_eq!((histogram.count(), histogram.sum()), (6, ms(15)));
    }
}
