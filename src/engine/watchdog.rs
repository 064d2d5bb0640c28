//! Watches the disk under the log: a leader that cannot write must not keep the cluster waiting.
//!
//! Heartbeats leave without the disk, so a leader whose fsync hangs would lead for ever. After one election timeout
//! it asks the best follower to take over; after another half it steps down. A single voter has nobody to hand over
//! to and only says so. Pure: the driver brings the time.

use std::time::Duration;

use crate::base::Moment;

/// What is to be done about a write that takes too long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// The disk answers.
    Fine,
    /// The write is late: no campaign, no vote for oneself.
    Hold,
    /// Hand over leadership to the member with the highest match.
    Transfer,
    /// The handover did not happen in time.
    StepDown,
}

/// `since` is when the write in flight began; none when the disk is idle.
pub(super) fn judge(
    since: Option<Moment>,
    now: Moment,
    election_timeout: Duration,
    leads_others: bool,
) -> Verdict {
    let Some(since) = since else { return Verdict::Fine };
    let late = now.since(since);
    if late < election_timeout {
        Verdict::Fine
    } else if !leads_others {
        Verdict::Hold
    } else if late < election_timeout + election_timeout / 2 {
        Verdict::Transfer
    } else {
        Verdict::StepDown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_write_hands_over_and_then_steps_down() {
        let timeout = Duration::from_secs(1);
        let at = |ms, leads| judge(Some(Moment::ZERO), Moment::from_millis(ms), timeout, leads);
        assert_eq!(at(999, true), Verdict::Fine);
        assert_eq!(at(1_000, true), Verdict::Transfer);
        assert_eq!(at(1_500, true), Verdict::StepDown);
        assert_eq!(at(9_000, false), Verdict::Hold);
        assert_eq!(judge(None, Moment::NEVER, timeout, true), Verdict::Fine);
    }
}
