//! Alarms: what a member raised for all, and what it forbids.

use std::collections::BTreeSet;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use super::cost::cost;
use super::envelope::Command;
use super::members::Members;
use super::reply::Rejection;
use crate::base::MemberId;
use crate::proto::etcdserverpb::{AlarmMember, AlarmType};
use crate::storage::{Direction, Fault, Read, Table};

/// The alarms that are raised.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Alarms(BTreeSet<(MemberId, AlarmType)>);

impl Alarms {
    /// Of one type, or of every type when it is `None`; by member.
    pub fn list(&self, wanted: AlarmType) -> Vec<AlarmMember> {
        let raised = self.0.iter();
        raised
            .filter(|(_, alarm)| wanted == AlarmType::None || *alarm == wanted)
            .map(|(member, alarm)| message(*member, *alarm))
            .collect()
    }

    pub fn is_raised(&self, wanted: AlarmType) -> bool {
        self.0.iter().any(|(_, alarm)| *alarm == wanted)
    }

    pub fn is_raised_by(&self, member: MemberId, wanted: AlarmType) -> bool {
        self.0.contains(&(member, wanted))
    }

    /// Whether the command may be applied: without space nothing that grows, in a corrupt cluster no change of keys and
    /// leases. Reads go on, as in etcd: who repairs the cluster must see what is in it.
    pub fn gate(&self, command: &Command, members: &Members) -> Result<(), Rejection> {
        if is_of_clients(command) && self.is_corrupt(members) {
            return Err(Rejection::Corrupt);
        }
        if self.is_raised(AlarmType::Nospace) && cost(command) > 0 {
            return Err(Rejection::NoSpace);
        }
        Ok(())
    }

    /// Whether nobody knows any more what the cluster's keys are: somebody is told to be corrupt who is no member, or
    /// those who are not are no majority. Else the others go on without the member that is.
    fn is_corrupt(&self, members: &Members) -> bool {
        let mut corrupt =
            self.0.iter().filter(|(_, alarm)| *alarm == AlarmType::Corrupt).peekable();
        if corrupt.peek().is_none() {
            return false;
        }
        let voters = members.voters();
        let is_sound = |voter: &&MemberId| !self.is_raised_by(**voter, AlarmType::Corrupt);
        corrupt.any(|(member, _)| members.member(*member).is_none())
            || voters.iter().filter(is_sound).count() <= voters.len() / 2
    }

    /// Whether anything changed.
    pub(super) fn set(&mut self, member: MemberId, alarm: AlarmType, raised: bool) -> bool {
        match raised {
            true => self.0.insert((member, alarm)),
            false => self.0.remove(&(member, alarm)),
        }
    }

    pub(super) fn load<R: Read>(read: &R) -> Result<Self, Fault> {
        let mut alarms = Self::default();
        let mut failed = None;
        let all = (Bound::Unbounded, Bound::Unbounded);
        read.scan(Table::Alarms, all.0, all.1, Direction::Ascending, &mut |row| {
            let Some(alarm) = from_row(row.key) else {
                let what = format!("no alarm in row {:02x?}", row.key);
                failed = Some(Fault::corrupt(what, "table alarms"));
                return ControlFlow::Break(());
            };
            alarms.0.insert(alarm);
            ControlFlow::Continue(())
        })?;
        failed.map_or(Ok(alarms), Err)
    }
}

fn is_of_clients(command: &Command) -> bool {
    match command {
        Command::Put(_)
        | Command::DeleteRange(_)
        | Command::Txn(_)
        | Command::Compact(_)
        | Command::LeaseGrant(_)
        | Command::LeaseRevoke(_)
        | Command::V2(_)
        | Command::V2Auth(_) => true,
        // Whoever is to take the alarm back must be able to log in.
        Command::Auth(_)
        | Command::LeaseCheckpoint(_)
        | Command::Alarm(_)
        | Command::MemberChange(_)
        | Command::MemberPublish(_)
        | Command::V2Sync(_) => false,
    }
}

/// One alarm as clients see it.
pub(super) fn message(member: MemberId, alarm: AlarmType) -> AlarmMember {
    AlarmMember { member_id: member.0, alarm: alarm as i32 }
}

/// Key of a row in `alarms`.
pub(super) fn to_row(member: MemberId, alarm: AlarmType) -> Bytes {
    Bytes::from([&member.0.to_be_bytes()[..], &(alarm as i32).to_be_bytes()].concat())
}

fn from_row(key: &[u8]) -> Option<(MemberId, AlarmType)> {
    let (member, alarm) = key.split_at_checked(8)?;
    let member = u64::from_be_bytes(member.try_into().ok()?);
    let alarm = AlarmType::try_from(i32::from_be_bytes(alarm.try_into().ok()?)).ok()?;
    Some((MemberId(member), alarm))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::etcdserverpb::{Member, PutRequest};
    use crate::proto::quorate::log::LeaseCheckpoint;
    use crate::state::members;
    use crate::storage::{Batch, Nothing};

    /// Voters of these ids, and one learner.
    fn members_of(voters: &[u64], learner: u64) -> Members {
        let mut batch = Batch::new(&Nothing);
        for id in voters.iter().copied().chain([learner]) {
            let member = Member { id, is_learner: id == learner, ..Member::default() };
            let (key, value) = members::to_row(MemberId(id), Some(&member));
            batch.put(Table::Members, key, value);
        }
        Members::load(&batch).unwrap()
    }

    #[test]
    fn a_majority_goes_on_without_those_who_are_corrupt() {
        let members = members_of(&[1, 2, 3], 4);
        let write = Command::Put(PutRequest::default());
        let own = Command::LeaseCheckpoint(LeaseCheckpoint::default());
        for (corrupt, is_refused) in [
            (&[][..], false),
            (&[1], false),
            (&[4], false),
            (&[1, 4], false),
            (&[1, 2], true),
            (&[0], true),
            (&[9], true),
            (&[9, 1], true),
        ] {
            let mut alarms = Alarms::default();
            for member in corrupt {
                alarms.set(MemberId(*member), AlarmType::Corrupt, true);
            }
            let refused = alarms.gate(&write, &members) == Err(Rejection::Corrupt);
            assert_eq!(refused, is_refused, "{corrupt:?}");
            assert_eq!(alarms.gate(&own, &members), Ok(()));
        }
        let mut alone = Alarms::default();
        alone.set(MemberId(1), AlarmType::Corrupt, true);
        assert_eq!(alone.gate(&write, &members_of(&[1], 2)), Err(Rejection::Corrupt));
        assert_eq!(alone.gate(&write, &members_of(&[1, 3], 2)), Err(Rejection::Corrupt));
    }

    #[test]
    fn alarms_come_back_from_their_rows() {
        let mut batch = Batch::new(&Nothing);
        batch.put(Table::Alarms, to_row(MemberId(7), AlarmType::Nospace), "");
        let alarms = Alarms::load(&batch).unwrap();
        assert!(alarms.is_raised_by(MemberId(7), AlarmType::Nospace));
        batch.put(Table::Alarms, "no alarm", "");
        let text = Alarms::load(&batch).unwrap_err().to_string();
        assert!(text.contains("table alarms"), "{text}");
    }
}
