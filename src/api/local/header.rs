//! The headers of answers, and the encoding of replies that came through the log.

use bytes::Bytes;
use prost::Message;

use crate::base::{ClusterId, MemberId, Term};
use crate::engine::Applied;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::ResponseHeader;
use crate::state::Reply;

/// Who answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub cluster: ClusterId,
    pub member: MemberId,
}

impl Header {
    pub(super) fn at(self, revision: i64, term: Term) -> Option<ResponseHeader> {
        Some(ResponseHeader {
            cluster_id: self.cluster.0,
            member_id: self.member.0,
            revision,
            raft_term: term,
        })
    }

    /// etcd leaves the revision out of what is about the cluster.
    pub(super) fn of_cluster(self, term: Term) -> Option<ResponseHeader> {
        self.at(0, term)
    }

    /// What apply has pinned stays; the rest is filled in.
    pub(super) fn complete(
        self,
        pinned: Option<ResponseHeader>,
        revision: i64,
        term: Term,
    ) -> Option<ResponseHeader> {
        let revision =
            pinned.map(|header| header.revision).filter(|&pinned| pinned != 0).unwrap_or(revision);
        self.at(revision, term)
    }

    /// The answer of an applied command. `change` is which membership request it was.
    pub(super) fn encode(self, applied: Applied, change: Change) -> Bytes {
        let Applied { reply, revision, term, .. } = applied;
        let header = |pinned| self.complete(pinned, revision, term);
        let bytes = match reply {
            Reply::Put(mut put) => {
                put.header = header(put.header.take());
                put.encode_to_vec()
            }
            Reply::DeleteRange(mut delete) => {
                delete.header = header(delete.header.take());
                delete.encode_to_vec()
            }
            Reply::Txn(mut txn) => {
                txn.header = header(txn.header.take());
                txn.encode_to_vec()
            }
            Reply::Compact(mut compact) => {
                compact.header = header(compact.header.take());
                compact.encode_to_vec()
            }
            Reply::LeaseGrant(mut grant) => {
                grant.header = header(grant.header.take());
                grant.encode_to_vec()
            }
            Reply::LeaseRevoke(mut revoke) => {
                revoke.header = header(revoke.header.take());
                revoke.encode_to_vec()
            }
            Reply::Alarm(mut alarm) => {
                alarm.header = header(alarm.header.take());
                alarm.encode_to_vec()
            }
            Reply::Members { member, members } => {
                change.encode(self.of_cluster(term), member, members)
            }
            // Nobody can ask for these through a door.
            Reply::Nothing
            | Reply::LeaseCheckpoint
            | Reply::Published
            | Reply::V2(_)
            | Reply::V2Auth(_)
            | Reply::V2Synced(_)
            | Reply::Auth => Vec::new(),
        };
        bytes.into()
    }
}

/// Which of etcd's membership requests is answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Change {
    /// None of them.
    No,
    Add,
    Remove,
    Update,
    Promote,
}

impl Change {
    fn encode(
        self,
        header: Option<ResponseHeader>,
        member: Option<pb::Member>,
        members: Vec<pb::Member>,
    ) -> Vec<u8> {
        match self {
            Self::No => Vec::new(),
            Self::Add => pb::MemberAddResponse { header, member, members }.encode_to_vec(),
            Self::Remove => pb::MemberRemoveResponse { header, members }.encode_to_vec(),
            Self::Update => pb::MemberUpdateResponse { header, members }.encode_to_vec(),
            Self::Promote => pb::MemberPromoteResponse { header, members }.encode_to_vec(),
        }
    }
}
