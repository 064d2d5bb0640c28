//! What the engine wants from the network: the arrow from the engine to the transport, turned around.
//!
//! `node` implements it with QUIC, the simulation with a seeded network. Whatever is sent may be lost; whatever is
//! asked is answered once, if only with [`Lost`].

use bytes::Bytes;

use crate::base::{MemberId, Moment};
use crate::consensus::Class;
use crate::storage::SnapshotCopy;

/// Kinds of questions between members; numbers on the wire, never used for anything else.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u16)]
pub enum AskKind {
    /// `ProposeRequest` -> `ProposeResponse`: entries for the leader's log.
    Propose = 1,
    /// The same with one membership change, which passes the leader's checks first.
    ProposeChange = 2,
    /// `KeepAliveRequest` -> `KeepAliveResponse`.
    KeepAlive = 3,
    /// `TimeToLiveRequest` -> `TimeToLiveResponse`.
    TimeToLive = 4,
    /// `MembersRequest` -> `MembersResponse`; allowed before membership.
    Members = 5,
    /// `HashRequest` -> `HashResponse`.
    Hash = 6,
}

impl AskKind {
    pub fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            1 => Self::Propose,
            2 => Self::ProposeChange,
            3 => Self::KeepAlive,
            4 => Self::TimeToLive,
            5 => Self::Members,
            6 => Self::Hash,
            _ => return None,
        })
    }
}

/// The question or its answer was lost, or nobody answered in time: it may or may not have had its effect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lost;

/// Called once with the answer.
pub type Answered = Box<dyn FnOnce(Result<Bytes, Lost>) + Send>;

/// See the module. Nothing here may block.
pub trait Outbox: Send + Sync {
    /// Raft messages, in order within a class; dropped when the peer is slow or away.
    fn send(&self, to: MemberId, class: Class, messages: Vec<Bytes>);

    fn ask(&self, to: MemberId, kind: AskKind, body: Bytes, deadline: Moment, answered: Answered);

    /// A snapshot: `header` is the Raft message that announces it. Its end is told to `Handle::snapshot_sent`.
    fn send_snapshot(&self, to: MemberId, header: Bytes, copy: SnapshotCopy);
}
