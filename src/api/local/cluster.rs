//! Changes of the membership, and of the leadership.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use super::header::Change;
use super::service::{Member, checked, decoded};
use crate::api::status;
use crate::base::{MemberId, Moment};
use crate::engine::{Applied, Error, Handle};
use crate::proto::etcdserverpb as pb;
use crate::proto::quorate::log::MemberChange;
use crate::proto::quorate::log::member_change::Kind;
use crate::proto::{Method, Reply, Status};
use crate::state::{Asker, Command, Rejection, check};

/// Between two attempts at a change for which it is too early.
const AGAIN: Duration = Duration::from_millis(50);

/// A change that lacks at most the new member's id.
pub(in crate::api) struct Changing {
    pub(in crate::api) kind: Kind,
    pub(in crate::api) member: pb::Member,
}

pub(super) fn decode(method: Method, body: Bytes) -> Result<(Change, Changing), Status> {
    let of = |id| pb::Member { id, ..Default::default() };
    // Nobody has this id, and the log takes no change of nobody: whoever read it there would stop.
    let somebody = |member: pb::Member| match member.id {
        0 => Err(status::of_rejection(Rejection::MemberNotFound)),
        _ => Ok(member),
    };
    let (change, kind, member) = match method {
        Method::MemberAdd => {
            let request: pb::MemberAddRequest = checked(method, body, check::member_add)?;
            let kind = if request.is_learner { Kind::AddLearner } else { Kind::AddVoter };
            let member = pb::Member {
                peer_ur_ls: request.peer_ur_ls,
                is_learner: request.is_learner,
                ..Default::default()
            };
            (Change::Add, kind, member)
        }
        Method::MemberRemove => {
            let request: pb::MemberRemoveRequest = decoded(method, body)?;
            (Change::Remove, Kind::Remove, somebody(of(request.id))?)
        }
        Method::MemberUpdate => {
            let request: pb::MemberUpdateRequest = checked(method, body, check::member_update)?;
            let member = pb::Member { peer_ur_ls: request.peer_ur_ls, ..of(request.id) };
            (Change::Update, Kind::Update, somebody(member)?)
        }
        _ => {
            let request: pb::MemberPromoteRequest = decoded(method, body)?;
            (Change::Promote, Kind::Promote, somebody(of(request.id))?)
        }
    };
    Ok((change, Changing { kind, member }))
}

impl Changing {
    /// A new member's id is etcd's: of its URLs and the second in which it was added.
    pub(in crate::api) fn command(mut self, wall_ms: i64) -> MemberChange {
        if matches!(self.kind, Kind::AddVoter | Kind::AddLearner) {
            let seconds = u64::try_from(wall_ms / 1_000).unwrap_or(0);
            self.member.id = MemberId::from_peer_urls(&self.member.peer_ur_ls, "", Some(seconds)).0;
        }
        MemberChange { kind: self.kind.into(), member: Some(self.member), learners_max: 0 }
    }
}

/// Through the log. Whoever had the answer to one change from a member that had applied it may be at the next one before
/// the leader is through with the first; that is no reason to refuse it.
pub(in crate::api) async fn change(
    handle: &Handle,
    asker: Asker,
    change: MemberChange,
    deadline: Moment,
) -> Result<Applied, Error> {
    loop {
        let command = Command::MemberChange(change.clone());
        match handle.propose_for(asker.clone(), command, deadline).await {
            Err(Error::TooManyRequests) if handle.clock().now() + AGAIN < deadline => {
                sleep(AGAIN).await;
            }
            outcome => return outcome,
        }
    }
}

pub(super) async fn move_leader(
    member: Member,
    request: pb::MoveLeaderRequest,
    deadline: Moment,
    reply: Reply,
) {
    let target = MemberId(request.target_id);
    let raft = member.handle.raft();
    // To itself: there is nothing to do.
    if raft.is_leader && target == member.config.member {
        return reply.send(Ok(Bytes::new()));
    }
    let moved = member.handle.transfer_leader(target, deadline).await;
    // etcd's answer has no header: it is empty.
    reply.send(moved.map(|()| Bytes::new()).map_err(|error| status::of_error(&error)));
}
