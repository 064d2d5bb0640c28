//! Members, alarms and the state of one member.

use super::{Client, Error};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::alarm_request::AlarmAction;
use crate::proto::etcdserverpb::downgrade_request::DowngradeAction;

impl Client {
    /// The members, by id. Linearizable, or what the asked member knows.
    pub async fn member_list(&self, linearizable: bool) -> Result<pb::MemberListResponse, Error> {
        self.send(pb::MemberListRequest { linearizable }).await
    }

    /// Adds a voting member that will be reached at `peer_urls`; it is started afterwards.
    pub async fn member_add(
        &self,
        peer_urls: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<pb::MemberAddResponse, Error> {
        self.add(peer_urls.into_iter().map(Into::into).collect(), false).await
    }

    /// Adds a learner: it receives everything and votes only after [`Client::member_promote`].
    pub async fn member_add_learner(
        &self,
        peer_urls: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<pb::MemberAddResponse, Error> {
        self.add(peer_urls.into_iter().map(Into::into).collect(), true).await
    }

    async fn add(
        &self,
        peer_ur_ls: Vec<String>,
        is_learner: bool,
    ) -> Result<pb::MemberAddResponse, Error> {
        self.send(pb::MemberAddRequest { peer_ur_ls, is_learner }).await
    }

    /// Makes a learner that has caught up a voter.
    pub async fn member_promote(&self, id: u64) -> Result<pb::MemberPromoteResponse, Error> {
        self.send(pb::MemberPromoteRequest { id }).await
    }

    /// Removes a member for ever; its id is never used again.
    pub async fn member_remove(&self, id: u64) -> Result<pb::MemberRemoveResponse, Error> {
        self.send(pb::MemberRemoveRequest { id }).await
    }

    /// Gives a member other peer URLs.
    pub async fn member_update(
        &self,
        id: u64,
        peer_urls: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<pb::MemberUpdateResponse, Error> {
        let peer_ur_ls = peer_urls.into_iter().map(Into::into).collect();
        self.send(pb::MemberUpdateRequest { id, peer_ur_ls }).await
    }

    /// What the asked member says of itself.
    pub async fn status(&self) -> Result<pb::StatusResponse, Error> {
        self.send(pb::StatusRequest {}).await
    }

    /// Every raised alarm.
    pub async fn alarm_list(&self) -> Result<pb::AlarmResponse, Error> {
        let mut request = pb::AlarmRequest::default();
        request.set_action(AlarmAction::Get);
        self.send(request).await
    }

    /// Takes back one alarm of one member.
    pub async fn alarm_disarm(&self, alarm: pb::AlarmMember) -> Result<pb::AlarmResponse, Error> {
        let mut request =
            pb::AlarmRequest { member_id: alarm.member_id, alarm: alarm.alarm, action: 0 };
        request.set_action(AlarmAction::Deactivate);
        self.send(request).await
    }

    /// A checksum over the asked member's history up to `revision` (0 is now); equal on all members.
    pub async fn hash_kv(&self, revision: i64) -> Result<pb::HashKvResponse, Error> {
        self.send(pb::HashKvRequest { revision }).await
    }

    /// A checksum over everything the asked member has stored, as it lies there: for comparing a member with itself.
    /// Members differ; [`Client::hash_kv`] is the one to compare them with.
    pub async fn hash(&self) -> Result<pb::HashResponse, Error> {
        self.send(pb::HashRequest {}).await
    }

    /// The asked member gives the disk space back that its database does not use. It serves meanwhile.
    pub async fn defragment(&self) -> Result<pb::DefragmentResponse, Error> {
        self.send(pb::DefragmentRequest {}).await
    }

    /// Asks whether the cluster could go to an older version, sends it there, or takes that back.
    pub async fn downgrade(
        &self,
        action: DowngradeAction,
        version: impl Into<String>,
    ) -> Result<pb::DowngradeResponse, Error> {
        let mut request = pb::DowngradeRequest { action: 0, version: version.into() };
        request.set_action(action);
        self.send(request).await
    }

    /// Hands leadership to another voting member. Only the leader does that: ask it.
    pub async fn move_leader(&self, target_id: u64) -> Result<pb::MoveLeaderResponse, Error> {
        self.send(pb::MoveLeaderRequest { target_id }).await
    }
}
