//! The same complaint at most once a minute: whoever is wrong tries again ten times a second.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::base::Moment;

const EVERY: Duration = Duration::from_secs(60);

/// Complaints remembered; beyond it the old ones are forgotten, and may be heard once more.
const KEYS_MAX: usize = 1_024;

#[derive(Debug, Default)]
pub(super) struct Throttle {
    said: Mutex<BTreeMap<String, Moment>>,
}

impl Throttle {
    /// Whether the complaint named `key` may be heard now.
    pub(super) fn allows(&self, key: String, now: Moment) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.get(&key).is_some_and(|last| now.since(*last) < EVERY) {
            return false;
        }
        if said.len() >= KEYS_MAX {
            said.clear();
        }
        said.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_heard_once_a_minute() {
        let throttle = Throttle::default();
        let heard = |key: &str, ms| throttle.allows(key.to_owned(), Moment::from_millis(ms));
        assert!(heard("a", 0) && heard("b", 1));
        assert!(!heard("a", 59_999) && heard("a", 60_000) && !heard("a", 60_001));
    }
}
