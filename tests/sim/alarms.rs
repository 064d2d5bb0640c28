//! What raised alarms forbid, as etcd has it.
//!
//! NOSPACE refuses what may grow the store: puts, grants, whatever writes the v2 tree or its users and does not delete,
//! and transactions that might put, in whichever branch and however deep. CORRUPT refuses every change of keys and leases, even a transaction that would only read but goes
//! through the log; it goes first. Neither stops a read. Unlike etcd, a majority of voters of which nobody is corrupt
//! goes on without those who are, and a member that is removed takes its alarms along.

use std::collections::BTreeSet;

use quorate::proto::etcdserverpb::alarm_request::AlarmAction;
use quorate::proto::etcdserverpb::request_op::Request;
use quorate::proto::etcdserverpb::{AlarmMember, AlarmRequest, AlarmType, RequestOp, TxnRequest};
use quorate::proto::quorate::log::v2_auth::Change;
use quorate::proto::quorate::log::v2_request::Method;
use quorate::state::{Command, Rejection};

use crate::members::Roll;

/// Who raised what.
#[derive(Debug, Default)]
pub(crate) struct Alarms(BTreeSet<(u64, i32)>);

impl Alarms {
    /// Any that is raised.
    pub(crate) fn first(&self) -> Option<AlarmMember> {
        self.0.first().map(|&(member_id, alarm)| AlarmMember { member_id, alarm })
    }

    pub(crate) fn forbids(&self, command: &Command, roll: &Roll) -> Option<Rejection> {
        let is_raised = |wanted: AlarmType| self.0.iter().any(|(_, alarm)| *alarm == wanted as i32);
        let (changes, grows) = match command {
            Command::Put(_) | Command::LeaseGrant(_) => (true, true),
            Command::Txn(txn) => (true, might_put(txn)),
            Command::V2(request) => {
                (true, !matches!(request.method(), Method::Delete | Method::CompareAndDelete))
            }
            Command::V2Auth(request) => {
                (true, matches!(request.change, Some(Change::User(_) | Change::Role(_))))
            }
            Command::DeleteRange(_) | Command::Compact(_) | Command::LeaseRevoke(_) => {
                (true, false)
            }
            _ => (false, false),
        };
        match () {
            () if changes && self.is_corrupt(roll) => Some(Rejection::Corrupt),
            () if grows && is_raised(AlarmType::Nospace) => Some(Rejection::NoSpace),
            () => None,
        }
    }

    fn is_corrupt(&self, roll: &Roll) -> bool {
        let corrupt = self.0.iter().filter(|(_, alarm)| *alarm == AlarmType::Corrupt as i32);
        let corrupt: BTreeSet<u64> = corrupt.map(|(member, _)| *member).collect();
        let (voters, sound) = (roll.voters(), |voter: &&u64| !corrupt.contains(voter));
        !corrupt.is_empty()
            && (corrupt.iter().any(|member| !roll.contains(*member))
                || 2 * voters.iter().filter(sound).count() <= voters.len())
    }

    /// The member is gone.
    pub(crate) fn forget(&mut self, member: u64) {
        self.0.retain(|(of, _)| *of != member);
    }

    /// What the answer names: the alarm, unless one was lowered that was not raised.
    pub(crate) fn change(&mut self, request: &AlarmRequest) -> Vec<AlarmMember> {
        let entry = (request.member_id, request.alarm);
        let is_told = match request.action() {
            AlarmAction::Activate => {
                self.0.insert(entry);
                true
            }
            AlarmAction::Deactivate => self.0.remove(&entry),
            AlarmAction::Get => unreachable!("the workload raises and lowers"),
        };
        let told = AlarmMember { member_id: request.member_id, alarm: request.alarm };
        is_told.then_some(told).into_iter().collect()
    }
}

fn might_put(txn: &TxnRequest) -> bool {
    let puts = |op: &RequestOp| match &op.request {
        Some(Request::RequestPut(_)) => true,
        Some(Request::RequestTxn(inner)) => might_put(inner),
        _ => false,
    };
    txn.success.iter().chain(&txn.failure).any(puts)
}
