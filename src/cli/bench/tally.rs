//! What every call took, and how many ended in each second.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::base::Moment;

/// Three digits: what is shown, and 20 kB for a range from 1 µs to an hour.
const DIGITS: u8 = 3;

/// One thread's share of the measurement.
#[derive(Debug)]
pub(super) struct Tally {
    latency: Histogram<u64>,
    /// Calls that ended in each second since the beginning.
    seconds: Vec<u64>,
    pub errors: u64,
    /// The first of them, for people.
    pub error: Option<String>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            latency: Histogram::new(DIGITS).expect("3 is a number of digits that it takes"),
            seconds: Vec::new(),
            errors: 0,
            error: None,
        }
    }
}

impl Tally {
    /// One call that was due at `due` and ended at `now`, of a measurement that began at `began`.
    pub(super) fn count(&mut self, began: Moment, due: Moment, now: Moment) {
        self.time(now - due);
        self.count_in_second(began, now);
    }

    /// What something took that is not counted.
    pub(super) fn time(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        // It grows to what it is told.
        let _always = self.latency.record(micros.max(1));
    }

    /// The same where nobody waited.
    pub(super) fn count_in_second(&mut self, began: Moment, now: Moment) {
        let second = usize::try_from((now - began).as_secs()).unwrap_or(usize::MAX);
        if second >= self.seconds.len() {
            self.seconds.resize(second + 1, 0);
        }
        self.seconds[second] += 1;
    }

    pub(super) fn fail(&mut self, error: String) {
        self.errors += 1;
        self.error.get_or_insert(error);
    }

    pub(super) fn add(&mut self, other: &Self) {
        // Both resize, so nothing is out of range.
        let _never = self.latency.add(&other.latency);
        if other.seconds.len() > self.seconds.len() {
            self.seconds.resize(other.seconds.len(), 0);
        }
        for (sum, count) in self.seconds.iter_mut().zip(&other.seconds) {
            *sum += count;
        }
        self.errors += other.errors;
        if self.error.is_none() {
            self.error.clone_from(&other.error);
        }
    }

    pub(super) fn operations(&self) -> u64 {
        self.seconds.iter().sum()
    }

    /// The fewest calls that ended in one whole second; none for a run without one.
    pub(super) fn worst_second(&self, elapsed: Duration) -> Option<u64> {
        let whole = usize::try_from(elapsed.as_secs()).unwrap_or(usize::MAX);
        (0..whole).map(|second| self.seconds.get(second).copied().unwrap_or(0)).min()
    }

    pub(super) fn latency(&self) -> Latency {
        let at = |quantile| self.latency.value_at_quantile(quantile);
        Latency {
            mean: self.latency.mean(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: self.latency.max(),
        }
    }
}

/// Microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Latency {
    pub mean: f64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_added_and_the_worst_second_is_a_whole_one() {
        let began = Moment::from_millis(500);
        let (mut one, mut two) = (Tally::default(), Tally::default());
        for (due, now) in [(500, 501), (500, 510), (2_000, 2_001), (3_600, 3_700)] {
            one.count(began, Moment::from_millis(due), Moment::from_millis(now));
        }
        two.count(began, Moment::from_millis(600), Moment::from_millis(601));
        two.fail("refused".to_owned());
        one.add(&two);
        assert_eq!((one.operations(), one.errors), (5, 1));
        assert_eq!(one.error.as_deref(), Some("refused"));
        assert_eq!(one.worst_second(Duration::from_millis(3_300)), Some(0), "the third");
        assert_eq!(one.worst_second(Duration::from_millis(2_900)), Some(1));
        assert_eq!(one.worst_second(Duration::from_millis(900)), None);
        let latency = one.latency();
        assert_eq!(latency.p50, 1_000);
        assert!((99_900..=100_100).contains(&latency.max), "{latency:?}");
    }
}
