//! Membership changes as entries: one member at a time (no joint consensus).
//!
//! The crate parses a conf change's `data` with its protobuf 2 parser, once, in the leader's step of a proposal. Ours
//! travels in the crate entry's `context` and `data` stays empty, so that parser never sees a byte (`convert.rs`); the
//! crate itself looks at nothing but the entry's type afterwards, and `apply_conf_change` takes a value, not bytes.

use bytes::Bytes;
use prost::Message as _;
use raft::eraftpb;

use crate::base::MemberId;
use crate::storage::Fault;

/// What happens to the member.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChangeKind {
    /// A new voter, or a learner's promotion.
    AddVoter,
    AddLearner,
    Remove,
}

/// One membership change; `context` is the application's own (the encoded envelope).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    pub kind: ChangeKind,
    pub member: MemberId,
    pub context: Bytes,
}

/// The bytes of a change in an entry; tags are for ever.
#[derive(Clone, PartialEq, prost::Message)]
struct ChangeRecord {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(uint64, tag = "2")]
    member: u64,
    #[prost(bytes = "bytes", tag = "3")]
    context: Bytes,
}

impl Change {
    pub(super) fn encode(&self) -> Bytes {
        let kind = match self.kind {
            ChangeKind::AddVoter => 1,
            ChangeKind::AddLearner => 2,
            ChangeKind::Remove => 3,
        };
        let record = ChangeRecord { kind, member: self.member.0, context: self.context.clone() };
        record.encode_to_vec().into()
    }

    pub(super) fn to_raft(&self) -> eraftpb::ConfChange {
        let change_type = match self.kind {
            ChangeKind::AddVoter => eraftpb::ConfChangeType::AddNode,
            ChangeKind::AddLearner => eraftpb::ConfChangeType::AddLearnerNode,
            ChangeKind::Remove => eraftpb::ConfChangeType::RemoveNode,
        };
        eraftpb::ConfChange { change_type, node_id: self.member.0, ..Default::default() }
    }
}

/// Reads the data of an entry of kind `ConfChange`. What cannot be read was written by a newer version: a fault.
pub fn decode_change(entry_data: &[u8]) -> Result<Change, Fault> {
    let unreadable = |why: String| Fault::corrupt(why, "a membership change in the log");
    let record = ChangeRecord::decode(entry_data)
        .map_err(|error| unreadable(format!("bytes that are no change ({error})")))?;
    let kind = match record.kind {
        1 => ChangeKind::AddVoter,
        2 => ChangeKind::AddLearner,
        3 => ChangeKind::Remove,
        other => return Err(unreadable(format!("the unknown kind {other}"))),
    };
    if record.member == 0 {
        return Err(unreadable("a member without an id".to_owned()));
    }
    Ok(Change { kind, member: MemberId(record.member), context: record.context })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_survives_its_bytes_and_rubbish_is_a_fault() {
        let change = Change {
            kind: ChangeKind::AddLearner,
            member: MemberId(7),
            context: Bytes::from_static(b"envelope"),
        };
        assert_eq!(decode_change(&change.encode()).unwrap(), change);
        assert!(decode_change(b"").is_err());
        assert!(decode_change(&[0xff; 9]).is_err());
        let of_tomorrow = ChangeRecord { kind: 4, member: 1, context: Bytes::new() };
        assert!(decode_change(&of_tomorrow.encode_to_vec()).is_err());
    }
}
