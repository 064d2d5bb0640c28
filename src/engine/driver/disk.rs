//! What the driver does about its own disk.

use std::sync::atomic::Ordering;

use super::Driver;
use crate::base::Moment;
use crate::engine::watchdog::{self, Verdict};

impl Driver {
    pub(super) fn watch_disk(&mut self, now: Moment) {
        let since = match self.shared.write_since.load(Ordering::Acquire) {
            0 => None,
            nanos => Some(Moment(nanos - 1)),
        };
        let timeout = self.shared.config.election_timeout();
        if watchdog::judge(since, now, timeout, true) == Verdict::Fine {
            self.core.hold(false);
            return;
        }
        let status = self.core.status();
        let leads_others = status.progress.iter().any(|peer| !peer.learner);
        let verdict = watchdog::judge(since, now, timeout, leads_others);
        self.core.hold(verdict != Verdict::Fine);
        match verdict {
            Verdict::Fine | Verdict::Hold => {}
            Verdict::Transfer => {
                let voters = status.progress.iter().filter(|peer| !peer.learner);
                let best = voters.max_by_key(|peer| (peer.matched, peer.member));
                if let Some(best) = best
                    && status.transferring.is_none()
                {
                    let to = best.member;
                    let refused = self.core.transfer(to).err();
                    tracing::warn!(%to, ?refused, "a write takes too long: handing over");
                }
            }
            Verdict::StepDown => {
                tracing::warn!("a write takes too long: stepping down");
                self.core.step_down();
            }
        }
    }
}
