//! How many of Raft's appends come and go in a second, and Raft's bytes with them: what was counted, looked at now and
//! then.

use std::sync::{Mutex, PoisonError};

use crate::base::Moment;
use crate::engine::Handle;

/// Of those that came, and of those that went.
#[derive(Debug, Default)]
pub(in crate::api::http) struct Rates {
    pub(super) received: Rate,
    pub(super) sent: Rate,
}

/// Of one direction, between the last two looks.
#[derive(Debug, Default)]
pub(super) struct Rate(Mutex<Looks>);

#[derive(Clone, Copy, Debug, Default)]
struct Looks {
    last: Option<(Moment, u64, u64)>,
    appends_per_s: f64,
    bytes_per_s: f64,
}

impl Rates {
    /// To be called about once a second.
    pub(in crate::api::http) fn look(&self, handle: &Handle) {
        let (meters, now) = (handle.meters(), handle.clock().now());
        let peers = meters.peers();
        let (mut sent, mut sent_bytes, mut received_bytes) = (0, 0, 0);
        for peer in peers.values() {
            sent += peer.sent_appends.value();
            sent_bytes += peer.sent_bytes.value();
            received_bytes += peer.received_bytes.value();
        }
        self.received.look(now, meters.received_appends.value(), received_bytes);
        self.sent.look(now, sent, sent_bytes);
    }
}

impl Rate {
    fn look(&self, now: Moment, appends: u64, bytes: u64) {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = looks.last.replace((now, appends, bytes));
        let Some((then, appends_then, bytes_then)) = last else { return };
        let seconds = now.since(then).as_secs_f64();
        // Counts of members that came and went are forgotten: then they go down.
        let per_s = |count: u64, before: u64| match count.checked_sub(before) {
            Some(more) if seconds > 0.0 => more as f64 / seconds,
            _ => 0.0,
        };
        looks.appends_per_s = per_s(appends, appends_then);
        // Heartbeats alone are no appends.
        looks.bytes_per_s = if looks.appends_per_s > 0.0 { per_s(bytes, bytes_then) } else { 0.0 };
    }

    /// Appends and bytes in a second; zero where nothing came or went.
    pub(super) fn told(&self) -> (f64, f64) {
        let looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (looks.appends_per_s, looks.bytes_per_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_what_came_between_two_looks() {
        let rate = Rate::default();
        let at = |ms| Moment::from_millis(ms);
        rate.look(at(1_000), 10, 1_000);
        assert_eq!(rate.told(), (0.0, 0.0));
        rate.look(at(3_000), 14, 1_500);
        assert_eq!(rate.told(), (2.0, 250.0));
        rate.look(at(4_000), 14, 1_600);
        assert_eq!(rate.told(), (0.0, 0.0), "heartbeats alone");
        rate.look(at(5_000), 3, 100);
        assert_eq!(rate.told(), (0.0, 0.0), "counts began anew");
        rate.look(at(5_000), 4, 100);
        assert_eq!(rate.told(), (0.0, 0.0), "at the same moment");
    }
}
