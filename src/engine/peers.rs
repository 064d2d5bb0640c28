//! What arrives from other members.

use bytes::Bytes;
use prost::Message as _;

use super::handle::Handle;
use super::outbox::AskKind;
use super::shared::{AskReply, DriverMessage, Forwarded};
use crate::base::MemberId;
use crate::consensus::{CheckpointMark, wire};
use crate::proto::quorate::peer::{
    KeepAliveRequest, MembersResponse, ProposeRequest, TimeToLiveRequest,
};
use crate::state::Members;
use crate::storage::{Fault, SnapshotError, SnapshotHeader, Stage};

/// A snapshot on its way in; dropped before the end, it leaves nothing behind.
pub struct IncomingSnapshot {
    handle: Handle,
    from: MemberId,
    message: wire::RaftMessage,
    stage: Stage,
}

impl Handle {
    /// Raft messages, as `Outbox::send` was given them by the other side.
    pub fn peer_messages(&self, from: MemberId, messages: Vec<Bytes>) {
        self.shared.meters.received(from, &messages);
        let count = messages.len() as u64;
        // A full inbox loses them, which Raft repairs.
        if self.shared.driver.push(DriverMessage::Peer { from, messages }).is_err() {
            self.shared.meters.peer(from).refused.add(count);
        }
    }

    /// A question of `from` (none: a node that wants to join); an empty reply is "I do not understand".
    pub fn peer_ask(&self, from: Option<MemberId>, kind: AskKind, body: Bytes, reply: AskReply) {
        match (from, kind) {
            (Some(from), AskKind::Propose | AskKind::ProposeChange) => {
                let Ok(request) = ProposeRequest::decode(body) else { return reply(Bytes::new()) };
                let ProposeRequest { entries, term } = request;
                let is_change = kind == AskKind::ProposeChange;
                let forwarded = Forwarded { from, entries, term, is_change, reply };
                // Full or closed: dropping the reply tells the other side that the question was lost.
                let _ = self.shared.driver.push(DriverMessage::ForwardedProposals(forwarded));
            }
            (Some(_), AskKind::KeepAlive) => match KeepAliveRequest::decode(body) {
                Ok(request) => {
                    let deadline = self.clock().now() + self.shared.config.election_timeout() * 5;
                    self.renew_for_peer(request.id, deadline, reply);
                }
                Err(_) => reply(Bytes::new()),
            },
            (Some(_), AskKind::TimeToLive) => match TimeToLiveRequest::decode(body) {
                Ok(request) => {
                    let deadline = self.clock().now() + self.shared.config.election_timeout() * 5;
                    self.time_to_live_for_peer(request.id, deadline, reply);
                }
                Err(_) => reply(Bytes::new()),
            },
            (_, AskKind::Members) => reply(self.members_for_peer()),
            (Some(_), AskKind::Hash) => self.hash_for_peer(body, reply),
            (None, _) => reply(Bytes::new()),
        }
    }

    pub fn peer_unreachable(&self, peer: MemberId) {
        self.shared.meters.peer(peer).unreachable.increment();
        self.shared.driver.push_internal(DriverMessage::Unreachable(peer));
    }

    /// The end of what `Outbox::send_snapshot` was given.
    pub fn snapshot_sent(&self, to: MemberId, ok: bool) {
        self.shared.driver.push_internal(DriverMessage::SnapshotSent { to, ok });
    }

    /// A snapshot begins: `header` is the Raft message that announces it.
    pub fn incoming_snapshot(
        &self,
        from: MemberId,
        header: Bytes,
    ) -> Result<IncomingSnapshot, IncomingError> {
        let copy = SnapshotHeader::decode(&header)?;
        let message = wire::RaftMessage::decode(header.slice(SnapshotHeader::BYTES..))?;
        let stage = self.shared.store.stage(copy)?;
        Ok(IncomingSnapshot { handle: self.clone(), from, message, stage })
    }

    fn members_for_peer(&self) -> Bytes {
        let members = self.shared.state.members();
        let response =
            MembersResponse { cluster_id: self.shared.config.cluster.0, members: members.list() };
        Bytes::from(response.encode_to_vec())
    }
}

/// Why a snapshot cannot be taken in.
#[derive(Debug, thiserror::Error)]
pub enum IncomingError {
    #[error(transparent)]
    Invalid(#[from] wire::Invalid),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl IncomingSnapshot {
    /// The next piece of the copy, in order.
    pub fn write(&mut self, chunk: &[u8]) -> Result<(), IncomingError> {
        Ok(self.stage.write(chunk)?)
    }

    /// All pieces are here: verified, synced, and handed to Raft with what the copy itself says of its index, term
    /// and members.
    pub fn finish(self) -> Result<(), IncomingError> {
        let Self { handle, from, mut message, stage } = self;
        let staged = stage.finish()?;
        let members = Members::load(&staged.view()?)?;
        let stamp = staged.stamp();
        message.set_snapshot(&CheckpointMark {
            index: stamp.applied,
            term: stamp.term,
            voters: members.voters(),
            learners: members.learners(),
        });
        handle.shared.driver.push_internal(DriverMessage::Staged { from, message, staged });
        Ok(())
    }
}
