//! The members as the committed log says; the rules of etcd's reconfiguration in a few lines.

use std::collections::{BTreeMap, BTreeSet};

use quorate::proto::etcdserverpb::Member;
use quorate::proto::quorate::log::MemberChange;
use quorate::proto::quorate::log::member_change::Kind;
use quorate::state::Rejection;

#[derive(Clone, Debug, Default)]
pub(crate) struct Roll {
    present: BTreeMap<u64, Member>,
    removed: BTreeSet<u64>,
}

impl Roll {
    pub(crate) fn new(founders: &[Member]) -> Self {
        let present = founders.iter().map(|member| (member.id, member.clone())).collect();
        Self { present, removed: BTreeSet::new() }
    }

    pub(crate) fn list(&self) -> Vec<Member> {
        self.present.values().cloned().collect()
    }

    pub(crate) fn contains(&self, id: u64) -> bool {
        self.present.contains_key(&id)
    }

    pub(crate) fn voters(&self) -> Vec<u64> {
        self.present.values().filter(|member| !member.is_learner).map(|member| member.id).collect()
    }

    pub(crate) fn learners(&self) -> Vec<u64> {
        self.present.values().filter(|member| member.is_learner).map(|member| member.id).collect()
    }

    pub(crate) fn change(&mut self, change: &MemberChange) -> Result<Option<Member>, Rejection> {
        let member = change.member.clone().unwrap_or_default();
        if self.removed.contains(&member.id) {
            return Err(Rejection::MemberRemoved);
        }
        let known = self.present.get(&member.id).cloned();
        let member = match (change.kind(), known) {
            (Kind::AddVoter | Kind::AddLearner, Some(_)) => return Err(Rejection::MemberExist),
            (Kind::AddVoter, None) => Member { is_learner: false, ..member },
            (Kind::AddLearner, None) if !self.learners().is_empty() => {
                return Err(Rejection::TooManyLearners);
            }
            (Kind::AddLearner, None) => Member { is_learner: true, ..member },
            (_, None) => return Err(Rejection::MemberNotFound),
            (Kind::Promote, Some(known)) if !known.is_learner => {
                return Err(Rejection::MemberNotLearner);
            }
            (Kind::Promote, Some(known)) => Member { is_learner: false, ..known },
            (Kind::Remove, Some(known)) if !known.is_learner && self.voters().len() == 1 => {
                return Err(Rejection::LastVoter);
            }
            (Kind::Remove, Some(known)) => {
                self.present.remove(&known.id);
                self.removed.insert(known.id);
                return Ok(None);
            }
            (Kind::Update, Some(known)) => Member { peer_ur_ls: member.peer_ur_ls, ..known },
        };
        self.present.insert(member.id, member.clone());
        Ok(Some(member))
    }

    pub(crate) fn publish(&mut self, told: &Member) -> Result<(), Rejection> {
        let known = self.present.get_mut(&told.id).ok_or(Rejection::MemberNotFound)?;
        known.name.clone_from(&told.name);
        known.client_ur_ls.clone_from(&told.client_ur_ls);
        Ok(())
    }
}
