//! The leader's checks before a membership change enters the log (etcd's strict reconfiguration).
//!
//! They look at the present (who has started, who was heard from), so they cannot be part of apply; what depends on
//! the replicated state alone (ids, addresses, number of learners) is refused there.

use bytes::Bytes;
use prost::Message as _;

use super::Driver;
use crate::base::MemberId;
use crate::consensus::{Change, ChangeKind, Status};
use crate::engine::Error;
use crate::proto::quorate::log::MemberChange;
use crate::proto::quorate::log::member_change::Kind;
use crate::state::{Command, Envelope};

/// Why the leader does not propose a change now.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ChangeRefused {
    #[error("etcdserver: re-configuration failed due to not enough started members")]
    NotEnoughStarted,
    #[error("etcdserver: unhealthy cluster")]
    Unhealthy,
    #[error("etcdserver: can only promote a learner member which is in sync with leader")]
    LearnerNotReady,
}

impl ChangeRefused {
    const ALL: [Self; 3] = [Self::NotEnoughStarted, Self::Unhealthy, Self::LearnerNotReady];

    /// The refusal that the leader put into words for another member.
    pub(super) fn from_text(text: &str) -> Self {
        let matching = |refused: &Self| refused.to_string() == text;
        Self::ALL.into_iter().find(matching).unwrap_or(Self::Unhealthy)
    }
}

/// The membership change in a forwarded envelope; none if it is something else.
pub(super) fn decode(data: &Bytes) -> Option<MemberChange> {
    match Envelope::decode(data.clone()).ok()?.command? {
        Command::MemberChange(change) => Some(change),
        _ => None,
    }
}

/// What the checks look at.
struct Voters {
    count: usize,
    started: usize,
    healthy: usize,
}

impl Driver {
    /// The change as Raft takes it, if this is the time for it.
    pub(super) fn checked_change(
        &self,
        change: &MemberChange,
        context: Bytes,
    ) -> Result<Change, Error> {
        let member = MemberId(change.member.as_ref().map_or(0, |member| member.id));
        let kind = match change.kind() {
            Kind::AddVoter | Kind::Promote => ChangeKind::AddVoter,
            Kind::AddLearner => ChangeKind::AddLearner,
            Kind::Remove => ChangeKind::Remove,
            // Only addresses: an ordinary entry, which never comes here.
            Kind::Update => return Err(Error::NotLeader),
        };
        let status = self.core.status();
        let voters = self.voters(&status, member);
        let allowed = match change.kind() {
            Kind::AddVoter => check_add(&voters, 1),
            Kind::AddLearner => check_health(&voters, voters.count),
            // What is wrong with it, apply says.
            Kind::Promote if self.is_voter(member) => Ok(()),
            Kind::Promote => check_in_sync(&status, member).and_then(|()| check_add(&voters, 0)),
            _ => check_remove(&status, member, &voters),
        };
        allowed.map_err(Error::Refused)?;
        Ok(Change { kind, member, context })
    }

    fn is_voter(&self, member: MemberId) -> bool {
        self.shared.state.members().voters().contains(&member)
    }

    /// The voters but `except`.
    fn voters(&self, status: &Status, except: MemberId) -> Voters {
        let members = self.shared.state.members();
        let mut voters = Voters { count: 0, started: 0, healthy: 0 };
        for id in members.voters().into_iter().filter(|&id| id != except) {
            voters.count += 1;
            let is_started = members.member(id).is_some_and(|member| !member.name.is_empty());
            voters.started += usize::from(is_started);
            let is_active =
                |id| status.progress.iter().any(|peer| peer.member == id && peer.active);
            let is_healthy = id == status.id || is_active(id);
            voters.healthy += usize::from(is_healthy);
        }
        voters
    }
}

fn quorum(count: usize) -> usize {
    count / 2 + 1
}

/// One more voter (`unstarted` of them not running yet) must leave a quorum of running ones.
fn check_add(voters: &Voters, unstarted: usize) -> Result<(), ChangeRefused> {
    let count = voters.count + 1;
    // etcd's exception: a single member may always grow to two.
    let is_first_growth = voters.count == 1 && voters.started == 1;
    if voters.started + (1 - unstarted) < quorum(count) && !is_first_growth {
        return Err(ChangeRefused::NotEnoughStarted);
    }
    if is_first_growth { Ok(()) } else { check_health(voters, count - (1 - unstarted)) }
}

fn check_health(voters: &Voters, count: usize) -> Result<(), ChangeRefused> {
    if voters.healthy < quorum(count) { Err(ChangeRefused::Unhealthy) } else { Ok(()) }
}

fn check_remove(status: &Status, member: MemberId, others: &Voters) -> Result<(), ChangeRefused> {
    let is_peer = status.progress.iter().any(|peer| peer.member == member && !peer.learner);
    let is_voter = is_peer || member == status.id;
    // An unknown member or a learner changes no quorum; what else is wrong with it, apply says.
    if !is_voter || others.count == 0 {
        return Ok(());
    }
    if others.started < quorum(others.count) {
        return Err(ChangeRefused::NotEnoughStarted);
    }
    check_health(others, others.count)
}

/// A learner is ready when it has nine tenths of the leader's log.
fn check_in_sync(status: &Status, member: MemberId) -> Result<(), ChangeRefused> {
    let learner = status.progress.iter().find(|peer| peer.member == member);
    match learner {
        Some(learner) if learner.matched * 10 < status.last_index * 9 => {
            Err(ChangeRefused::LearnerNotReady)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn voters(count: usize, started: usize, healthy: usize) -> Voters {
        Voters { count, started, healthy }
    }

    #[test]
    fn a_voter_is_added_only_if_a_quorum_of_the_new_size_runs() {
        assert_eq!(check_add(&voters(1, 1, 1), 1), Ok(()));
        assert_eq!(check_add(&voters(3, 3, 3), 1), Ok(()));
        assert_eq!(check_add(&voters(3, 2, 3), 1), Err(ChangeRefused::NotEnoughStarted));
        assert_eq!(check_add(&voters(3, 3, 2), 1), Err(ChangeRefused::Unhealthy));
        assert_eq!(check_add(&voters(2, 2, 2), 0), Ok(()));
    }

    #[test]
    fn a_refusal_survives_the_way_to_another_member() {
        for refused in ChangeRefused::ALL {
            assert_eq!(ChangeRefused::from_text(&refused.to_string()), refused);
        }
    }
}
