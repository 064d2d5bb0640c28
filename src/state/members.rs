//! Who belongs to the cluster: the one source of truth, from which Raft's ConfState, the addresses of peers and the
//! answers to clients are derived.
//!
//! Promises: an id that was removed never comes back; there is always a voter. Knows nothing of who is up or healthy:
//! that is judged before the log.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;
use prost::Message;

use super::reply::Rejection;
use crate::base::{MemberId, limits};
use crate::proto::etcdserverpb::Member;
use crate::proto::quorate::log::MemberChange;
use crate::proto::quorate::log::member_change::Kind;
use crate::storage::{Direction, Fault, Read, Table};

/// First byte of a row: a member's message follows.
const PRESENT: u8 = 1;
/// First byte of a row: removed for ever.
const REMOVED: u8 = 2;

/// All members, and the marks of those that were removed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Members {
    present: BTreeMap<MemberId, Member>,
    removed: BTreeSet<MemberId>,
}

impl Members {
    pub fn voters(&self) -> Vec<MemberId> {
        self.ids(false)
    }

    pub fn learners(&self) -> Vec<MemberId> {
        self.ids(true)
    }

    pub fn member(&self, id: MemberId) -> Option<&Member> {
        self.present.get(&id)
    }

    /// Whether the id was a member's once and is refused for ever.
    pub fn is_removed(&self, id: MemberId) -> bool {
        self.removed.contains(&id)
    }

    /// All members in the order of their ids.
    pub fn list(&self) -> Vec<Member> {
        self.present.values().cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.present.len()
    }

    pub fn is_empty(&self) -> bool {
        self.present.is_empty()
    }

    /// Whether the change may happen; the same before the log and at apply.
    pub fn check(&self, change: &MemberChange) -> Result<(), Rejection> {
        let Some(member) = change.member.as_ref().filter(|member| member.id != 0) else {
            return Err(Rejection::MemberNotFound);
        };
        let id = MemberId(member.id);
        if self.is_removed(id) {
            return Err(Rejection::MemberRemoved);
        }
        let known = self.member(id);
        match change.kind() {
            Kind::AddVoter | Kind::AddLearner => self.check_add(member, change),
            Kind::Promote => match known {
                None => Err(Rejection::MemberNotFound),
                Some(known) if !known.is_learner => Err(Rejection::MemberNotLearner),
                Some(_) => Ok(()),
            },
            Kind::Remove => match known {
                None => Err(Rejection::MemberNotFound),
                Some(known) if !known.is_learner && self.voters().len() == 1 => {
                    Err(Rejection::LastVoter)
                }
                Some(_) => Ok(()),
            },
            Kind::Update if known.is_none() => Err(Rejection::MemberNotFound),
            Kind::Update => self.check_urls(member),
        }
    }

    fn check_add(&self, member: &Member, change: &MemberChange) -> Result<(), Rejection> {
        if self.present.contains_key(&MemberId(member.id)) {
            return Err(Rejection::MemberExist);
        }
        self.check_urls(member)?;
        let learners_max = match change.learners_max {
            0 => limits::LEARNERS_MAX,
            max => usize::try_from(max).unwrap_or(usize::MAX),
        };
        if change.kind() == Kind::AddLearner && self.learners().len() >= learners_max {
            return Err(Rejection::TooManyLearners);
        }
        if self.len() >= limits::MEMBERS_MAX {
            return Err(Rejection::TooManyMembers { max: limits::MEMBERS_MAX });
        }
        Ok(())
    }

    /// No two members listen on one address.
    fn check_urls(&self, member: &Member) -> Result<(), Rejection> {
        let others = self.present.values().filter(|other| other.id != member.id);
        let taken: BTreeSet<&String> = others.flat_map(|other| &other.peer_ur_ls).collect();
        match member.peer_ur_ls.iter().any(|url| taken.contains(url)) {
            true => Err(Rejection::PeerUrlExist),
            false => Ok(()),
        }
    }

    /// What the change makes of the member: its new record, or none when it is removed.
    pub(super) fn change(
        &mut self,
        change: &MemberChange,
    ) -> Result<(MemberId, Option<Member>), Rejection> {
        self.check(change)?;
        let asked = change.member.clone().unwrap_or_default();
        let id = MemberId(asked.id);
        let known = || self.present.get(&id).cloned().unwrap_or_default();
        let member = match change.kind() {
            Kind::AddVoter => Some(Member { is_learner: false, ..asked }),
            Kind::AddLearner => Some(Member { is_learner: true, ..asked }),
            Kind::Promote => Some(Member { is_learner: false, ..known() }),
            Kind::Update => Some(Member { peer_ur_ls: asked.peer_ur_ls, ..known() }),
            Kind::Remove => None,
        };
        self.set(id, member.clone());
        Ok((id, member))
    }

    /// A member's name and client URLs, told by itself.
    pub(super) fn publish(&mut self, told: &Member) -> Result<(MemberId, Member), Rejection> {
        let id = MemberId(told.id);
        let Some(known) = self.present.get_mut(&id) else {
            return Err(Rejection::MemberNotFound);
        };
        known.name.clone_from(&told.name);
        known.client_ur_ls.clone_from(&told.client_ur_ls);
        Ok((id, known.clone()))
    }

    pub(super) fn set(&mut self, id: MemberId, member: Option<Member>) {
        match member {
            Some(member) => {
                self.present.insert(id, member);
            }
            None => {
                self.present.remove(&id);
                self.removed.insert(id);
            }
        }
    }

    /// The members in the rows of `read`; the table is small.
    pub fn load<R: Read>(read: &R) -> Result<Self, Fault> {
        let mut members = Self::default();
        let mut failed = None;
        let all = (Bound::Unbounded, Bound::Unbounded);
        read.scan(Table::Members, all.0, all.1, Direction::Ascending, &mut |row| {
            match from_row(row.key, row.value) {
                Ok((id, member)) => members.set(id, member),
                Err(fault) => {
                    failed = Some(fault);
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        failed.map_or(Ok(members), Err)
    }

    fn ids(&self, learners: bool) -> Vec<MemberId> {
        let wanted = |member: &&Member| member.is_learner == learners;
        self.present.values().filter(wanted).map(|member| MemberId(member.id)).collect()
    }
}

/// The row of a member, or of the mark that it was removed.
pub(super) fn to_row(id: MemberId, member: Option<&Member>) -> (Bytes, Bytes) {
    let mut value = vec![if member.is_some() { PRESENT } else { REMOVED }];
    if let Some(member) = member {
        value.extend(member.encode_to_vec());
    }
    (Bytes::copy_from_slice(&id.0.to_be_bytes()), Bytes::from(value))
}

fn from_row(key: &[u8], value: &[u8]) -> Result<(MemberId, Option<Member>), Fault> {
    let corrupt = || Fault::corrupt(format!("no member in row {key:02x?}"), "table members");
    let id = u64::from_be_bytes(key.try_into().map_err(|_| corrupt())?);
    match value {
        [REMOVED] => Ok((MemberId(id), None)),
        [PRESENT, message @ ..] => {
            let member = Member::decode(message).map_err(|_| corrupt())?;
            if member.id != id {
                return Err(corrupt());
            }
            Ok((MemberId(id), Some(member)))
        }
        _ => Err(corrupt()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Batch, Nothing};

    fn member(id: u64, is_learner: bool) -> Member {
        Member {
            id,
            peer_ur_ls: vec![format!("https://10.0.0.{id}:2380")],
            is_learner,
            ..Member::default()
        }
    }

    fn change(kind: Kind, id: u64) -> MemberChange {
        let member = Some(member(id, false));
        MemberChange { kind: kind as i32, member, learners_max: 0 }
    }

    #[test]
    fn who_proposes_a_learner_says_how_many_there_may_be() {
        let mut members = Members::default();
        members.change(&change(Kind::AddVoter, 1)).unwrap();
        members.change(&change(Kind::AddLearner, 2)).unwrap();
        let third = change(Kind::AddLearner, 3);
        assert_eq!(members.change(&third), Err(Rejection::TooManyLearners));
        members.change(&MemberChange { learners_max: 2, ..third }).unwrap();
        let fourth = MemberChange { learners_max: 2, ..change(Kind::AddLearner, 4) };
        assert_eq!(members.change(&fourth), Err(Rejection::TooManyLearners));
    }

    #[test]
    fn a_cluster_grows_to_its_limit_and_no_further() {
        let mut members = Members::default();
        for id in 1..=limits::MEMBERS_MAX as u64 {
            members.change(&change(Kind::AddVoter, id)).unwrap();
        }
        let max = limits::MEMBERS_MAX;
        let one_more = members.change(&change(Kind::AddVoter, 999));
        assert_eq!(one_more, Err(Rejection::TooManyMembers { max }));
    }

    #[test]
    fn rows_that_are_no_members_are_corruption() {
        let mut batch = Batch::new(&Nothing);
        let (key, value) = to_row(MemberId(3), Some(&member(3, true)));
        batch.put(Table::Members, key.clone(), value.clone());
        let (gone, mark) = to_row(MemberId(4), None);
        batch.put(Table::Members, gone, mark);
        let members = Members::load(&batch).unwrap();
        assert_eq!(members.learners(), [MemberId(3)]);
        assert!(members.is_removed(MemberId(4)) && members.voters().is_empty());

        for (key, value) in [
            (Bytes::from_static(b"short"), value.clone()),
            (key.clone(), Bytes::from_static(b"\x09")),
            (key, Bytes::new()),
            (Bytes::copy_from_slice(&5u64.to_be_bytes()), value),
        ] {
            let mut batch = Batch::new(&Nothing);
            batch.put(Table::Members, key, value);
            let text = Members::load(&batch).unwrap_err().to_string();
            assert!(text.contains("table members"), "{text}");
        }
    }
}
