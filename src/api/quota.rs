//! The quota at admission: how full this member's database is, and when to raise the alarm. One for all doors.
//!
//! It is local and lags: the size is asked for now and then, and what was admitted since is added. It only raises the
//! alarm; the alarm, replicated, is what refuses on every member.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::base::{MemberId, Moment};
use crate::engine::Handle;
use crate::proto::etcdserverpb::alarm_request::AlarmAction;
use crate::proto::etcdserverpb::{AlarmRequest, AlarmType};
use crate::state::{Command, Rejection, cost};

/// How long a size is believed.
const SIZE_AGE_MAX: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Debug)]
pub struct Quota {
    member: MemberId,
    /// Bytes; 0 is no quota.
    limit: u64,
    bytes: AtomicU64,
    measured_at: AtomicU64,
    /// An alarm is on its way into the log.
    is_raising: AtomicBool,
}

impl Quota {
    pub(super) fn new(limit: u64, member: MemberId) -> Self {
        Self {
            member,
            limit,
            bytes: AtomicU64::new(0),
            measured_at: AtomicU64::new(u64::MAX),
            is_raising: AtomicBool::new(false),
        }
    }

    /// Refuses what does not fit, and tells all members that this one is full: they refuse until the alarm is taken back.
    pub(super) fn admit(
        self: &Arc<Self>,
        handle: &Handle,
        command: &Command,
        now: Moment,
        deadline: Moment,
    ) -> Result<(), Rejection> {
        let measure = || handle.status().ok().map(|status| status.db_bytes_in_use);
        if self.admits(cost(command), now, measure) {
            return Ok(());
        }
        self.raise(handle, deadline);
        Err(Rejection::NoSpace)
    }

    fn raise(self: &Arc<Self>, handle: &Handle, deadline: Moment) {
        if !self.begin_raising() {
            return;
        }
        tracing::warn!(quota_bytes = self.limit, "the quota is used up: raising the alarm");
        let alarm = AlarmRequest {
            action: AlarmAction::Activate.into(),
            member_id: self.member.0,
            alarm: AlarmType::Nospace.into(),
        };
        let raising = Arc::clone(self);
        handle.submit(
            Command::Alarm(alarm),
            deadline,
            Box::new(move |result| {
                raising.end_raising();
                if let Err(error) = result {
                    tracing::warn!(%error, "the alarm was not raised; the next write tries again");
                }
            }),
        );
    }

    /// Whether `cost` more bytes fit; `measure` asks for the size in use.
    fn admits(&self, cost: u64, now: Moment, measure: impl FnOnce() -> Option<u64>) -> bool {
        if self.limit == 0 || cost == 0 {
            return true;
        }
        let measured_at = self.measured_at.load(Ordering::Acquire);
        if measured_at == u64::MAX || now.since(Moment(measured_at)) >= SIZE_AGE_MAX {
            self.measured_at.store(now.0, Ordering::Release);
            if let Some(bytes) = measure() {
                self.bytes.store(bytes, Ordering::Release);
            }
        }
        if self.bytes.load(Ordering::Acquire).saturating_add(cost) >= self.limit {
            return false;
        }
        self.bytes.fetch_add(cost, Ordering::AcqRel);
        true
    }

    /// True for the one who is to raise the alarm; the others need not.
    fn begin_raising(&self) -> bool {
        !self.is_raising.swap(true, Ordering::AcqRel)
    }

    fn end_raising(&self) {
        self.is_raising.store(false, Ordering::Release);
    }

    /// Bytes; 0 is no quota.
    pub(super) const fn limit(&self) -> u64 {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_admitted_counts_until_the_size_is_measured_again() {
        let quota = Quota::new(1_000, MemberId(1));
        let at = Moment::from_millis;
        assert!(quota.admits(600, at(1), || Some(0)));
        assert!(!quota.admits(400, at(2), || panic!("too early")), "full is full");
        assert!(quota.admits(399, at(3), || panic!("too early")));
        assert!(!quota.admits(1, at(4), || panic!("too early")));
        assert!(quota.admits(400, at(501), || Some(500)), "rows were deleted");
        assert!(quota.admits(0, at(501), || None), "what costs nothing always fits");
        assert!(Quota::new(0, MemberId(1)).admits(u64::MAX, at(0), || panic!("no quota")));
    }

    #[test]
    fn one_alarm_at_a_time() {
        let quota = Quota::new(1, MemberId(1));
        assert!(quota.begin_raising());
        assert!(!quota.begin_raising());
        quota.end_raising();
        assert!(quota.begin_raising());
    }
}
