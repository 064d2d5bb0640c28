//! What members say to each other about the log: our own messages, in protobuf by prost (docs/protocol.md).
//!
//! The crate's protobuf parser (RUSTSEC-2024-0437) never sees a byte from the network: [`RaftMessage::decode`] reads
//! and checks here, and only what passed is turned into the crate's values. Promises: whatever the bytes, the answer
//! is a message of sound shape or [`Invalid`]. Knows nothing of: this member's log and term (`guard.rs` does).

use bytes::Bytes;
use prost::Message as _;

use crate::base::{MemberId, limits};

use super::CheckpointMark;

/// Terms and indexes are smaller: nothing the crate adds to them can overflow.
const NUMBER_MAX: u64 = 1 << 62;

/// A read context has 24 bytes; the longest other one is the word of a leadership transfer.
const CONTEXT_BYTES_MAX: usize = 64;

/// The context of a read: member, boot nonce, counter.
pub(super) const READ_CONTEXT_BYTES: usize = 24;

/// A refused message: it is counted and logged, and reaches nothing.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Invalid {
    #[error("bytes that are no raft message: {0}")]
    Undecodable(String),
    #[error("a raft message of the unknown kind {0}")]
    UnknownKind(i32),
    #[error("a message from {claimed} to {to} on the connection of {from} to {id}")]
    Misdirected { from: MemberId, claimed: MemberId, to: MemberId, id: MemberId },
    /// A field that is missing, too large, or contradicts another.
    #[error("a {kind:?} with {what}")]
    Shape { kind: Kind, what: &'static str },
    /// A field that contradicts what this member knows to be true: one of the two has lost or damaged its log.
    #[error(
        "a {kind:?} that contradicts this member's log: {what}; if it repeats, re-sync the damaged member with `quorate member resync`"
    )]
    Contradiction { kind: Kind, what: String },
}

/// Kinds of messages; numbers are for ever. Proposals and the crate's local messages have none: they never cross.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, prost::Enumeration)]
#[repr(i32)]
pub enum Kind {
    Unspecified = 0,
    Append = 1,
    AppendResponse = 2,
    Vote = 3,
    VoteResponse = 4,
    PreVote = 5,
    PreVoteResponse = 6,
    Heartbeat = 7,
    HeartbeatResponse = 8,
    Snapshot = 9,
    TimeoutNow = 10,
    ReadIndex = 11,
    ReadIndexResponse = 12,
}

/// One message. Which fields a kind uses stands in docs/protocol.md; the others are 0.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RaftMessage {
    #[prost(enumeration = "Kind", tag = "1")]
    pub kind: i32,
    #[prost(uint64, tag = "2")]
    pub from: u64,
    #[prost(uint64, tag = "3")]
    pub to: u64,
    #[prost(uint64, tag = "4")]
    pub term: u64,
    /// Append: of the entry before the first. AppendResponse: of the entry at `reject_hint`. Votes: of the last entry.
    #[prost(uint64, tag = "5")]
    pub log_term: u64,
    /// Append: of the entry before the first. AppendResponse: durable up to here, or the index that was refused.
    /// Votes: of the last entry. ReadIndexResponse: the commit index.
    #[prost(uint64, tag = "6")]
    pub index: u64,
    #[prost(message, repeated, tag = "7")]
    pub entries: Vec<Entry>,
    #[prost(uint64, tag = "8")]
    pub commit: u64,
    #[prost(uint64, tag = "9")]
    pub commit_term: u64,
    #[prost(message, optional, tag = "10")]
    pub snapshot: Option<Snapshot>,
    #[prost(bool, tag = "11")]
    pub reject: bool,
    #[prost(uint64, tag = "12")]
    pub reject_hint: u64,
    /// Heartbeats and reads: the read they carry. Vote: the word of a transfer.
    #[prost(bytes = "bytes", tag = "13")]
    pub context: Bytes,
}

/// One entry of the log.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Entry {
    /// 0 normal, 1 membership change.
    #[prost(uint32, tag = "1")]
    pub kind: u32,
    #[prost(uint64, tag = "2")]
    pub term: u64,
    #[prost(uint64, tag = "3")]
    pub index: u64,
    #[prost(bytes = "bytes", tag = "4")]
    pub data: Bytes,
}

/// A snapshot's claim; its bytes travel on a stream of their own.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Snapshot {
    #[prost(uint64, tag = "1")]
    pub index: u64,
    #[prost(uint64, tag = "2")]
    pub term: u64,
    #[prost(uint64, repeated, tag = "3")]
    pub voters: Vec<u64>,
    #[prost(uint64, repeated, tag = "4")]
    pub learners: Vec<u64>,
}

impl RaftMessage {
    /// Reads a message and checks its shape.
    pub fn decode(bytes: Bytes) -> Result<Self, Invalid> {
        let message = <Self as prost::Message>::decode(bytes)
            .map_err(|error| Invalid::Undecodable(error.to_string()))?;
        message.check()?;
        Ok(message)
    }

    pub fn encode(&self) -> Bytes {
        self.encode_to_vec().into()
    }

    /// The claim of a `Snapshot` message.
    pub fn snapshot_mark(&self) -> Option<CheckpointMark> {
        let snapshot = self.snapshot.as_ref()?;
        let members = |ids: &[u64]| ids.iter().copied().map(MemberId).collect();
        Some(CheckpointMark {
            index: snapshot.index,
            term: snapshot.term,
            voters: members(&snapshot.voters),
            learners: members(&snapshot.learners),
        })
    }

    /// Makes the claim that of the copy which is really sent: the checkpoint may have moved on since the leader
    /// decided to send one. Never to an older index.
    pub fn set_snapshot(&mut self, mark: &CheckpointMark) {
        let ids = |members: &[MemberId]| members.iter().map(|member| member.0).collect();
        self.snapshot = Some(Snapshot {
            index: mark.index,
            term: mark.term,
            voters: ids(&mark.voters),
            learners: ids(&mark.learners),
        });
    }

    /// The kind, if this version knows it.
    pub fn known_kind(&self) -> Result<Kind, Invalid> {
        match Kind::try_from(self.kind) {
            Ok(Kind::Unspecified) | Err(_) => Err(Invalid::UnknownKind(self.kind)),
            Ok(kind) => Ok(kind),
        }
    }

    /// Everything that can be said without knowing this member's state.
    pub(super) fn check(&self) -> Result<Kind, Invalid> {
        let kind = self.known_kind()?;
        match self.misshapen(kind) {
            Some(what) => Err(Invalid::Shape { kind, what }),
            None => Ok(kind),
        }
    }

    fn misshapen(&self, kind: Kind) -> Option<&'static str> {
        let numbers =
            [self.term, self.log_term, self.index, self.commit, self.commit_term, self.reject_hint];
        if numbers.iter().any(|number| *number > NUMBER_MAX) {
            return Some("a number out of range");
        }
        if self.from == 0 || self.to == 0 || self.from == self.to {
            return Some("no sender or receiver");
        }
        // The crate takes a message of term 0 for one of its own.
        if (self.term == 0) != (kind == Kind::ReadIndex) {
            return Some("a missing or unexpected term");
        }
        if self.context.len() > CONTEXT_BYTES_MAX {
            return Some("a context that is too long");
        }
        if kind != Kind::Append && !self.entries.is_empty() {
            return Some("unexpected entries");
        }
        if kind != Kind::Snapshot && self.snapshot.is_some() {
            return Some("an unexpected snapshot");
        }
        match kind {
            Kind::Append => self.misshapen_append(),
            Kind::Snapshot => self.misshapen_snapshot(),
            Kind::ReadIndex | Kind::ReadIndexResponse => self.misshapen_read(kind),
            Kind::AppendResponse if self.reject && self.index == 0 => Some("a refusal of nothing"),
            Kind::Vote | Kind::PreVote if (self.index == 0) != (self.log_term == 0) => {
                Some("an index without a term")
            }
            _ => None,
        }
    }

    fn misshapen_append(&self) -> Option<&'static str> {
        // To the crate, (an index beyond the log, term 0) matches: it would append behind a gap.
        if (self.index == 0) != (self.log_term == 0) {
            return Some("an index without a term");
        }
        let mut bytes = 0;
        let (mut index, mut term) = (self.index, self.log_term);
        for entry in &self.entries {
            if entry.kind > 1 {
                return Some("an entry of unknown kind");
            }
            if entry.index != index + 1 {
                return Some("entries that do not follow each other");
            }
            if entry.term < term || entry.term == 0 || entry.term > self.term {
                return Some("entries whose terms go back or lie ahead");
            }
            if entry.data.len() > limits::FRAME_BYTES_MAX {
                return Some("an entry that is too large");
            }
            (index, term) = (entry.index, entry.term);
            bytes += entry.data.len();
        }
        if term > self.term {
            return Some("a log term ahead of the term");
        }
        // The sender stops at its limit, but an entry is never cut in two.
        let bytes_max = limits::RAFT_MESSAGE_BYTES_MAX as usize + limits::FRAME_BYTES_MAX;
        (bytes > bytes_max).then_some("too many bytes of entries")
    }

    fn misshapen_snapshot(&self) -> Option<&'static str> {
        let Some(snapshot) = &self.snapshot else {
            return Some("no snapshot");
        };
        if snapshot.index == 0 || snapshot.term == 0 || snapshot.index > NUMBER_MAX {
            return Some("a snapshot of nothing");
        }
        if snapshot.term > self.term {
            return Some("a snapshot of a later term");
        }
        if snapshot.voters.is_empty() {
            return Some("a snapshot without voters");
        }
        let mut members = [snapshot.voters.as_slice(), snapshot.learners.as_slice()].concat();
        if members.len() > limits::MEMBERS_MAX {
            return Some("a snapshot with too many members");
        }
        members.sort_unstable();
        let twice = members.windows(2).any(|pair| pair[0] == pair[1]);
        (twice || members[0] == 0).then_some("a snapshot whose members are none or twice the same")
    }

    fn misshapen_read(&self, kind: Kind) -> Option<&'static str> {
        let Ok(context) = <[u8; READ_CONTEXT_BYTES]>::try_from(self.context.as_ref()) else {
            return Some("no read context");
        };
        let mut member = [0; 8];
        member.copy_from_slice(&context[..8]);
        let asker = if kind == Kind::ReadIndex { self.from } else { self.to };
        (u64::from_be_bytes(member) != asker).then_some("somebody else's read")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(index: u64, log_term: u64, entries: &[(u64, u64)]) -> RaftMessage {
        let entry =
            |(index, term): &(u64, u64)| Entry { index: *index, term: *term, ..Entry::default() };
        let entries = entries.iter().map(entry).collect();
        let kind = Kind::Append as i32;
        RaftMessage {
            kind,
            from: 1,
            to: 2,
            term: 3,
            index,
            log_term,
            entries,
            ..RaftMessage::default()
        }
    }

    fn plain(kind: i32) -> RaftMessage {
        RaftMessage {
            kind,
            from: 1,
            to: 2,
            term: 3,
            index: 5,
            log_term: 2,
            ..RaftMessage::default()
        }
    }

    fn refused(message: &RaftMessage) -> String {
        RaftMessage::decode(message.encode()).unwrap_err().to_string()
    }

    #[test]
    fn what_is_sound_survives_its_bytes() {
        let mut heartbeat = plain(Kind::Heartbeat as i32);
        heartbeat.context = Bytes::from_static(&[7; READ_CONTEXT_BYTES]);
        for message in [append(4, 2, &[(5, 2), (6, 3)]), append(0, 0, &[(1, 1)]), heartbeat] {
            assert_eq!(RaftMessage::decode(message.encode()).unwrap(), message);
        }
    }

    #[test]
    fn rubbish_and_unknown_kinds_are_refused() {
        let garbage = RaftMessage::decode(Bytes::from_static(&[0xff; 40]));
        assert!(matches!(garbage, Err(Invalid::Undecodable(_))));
        for kind in [0, 13, -1] {
            assert!(refused(&plain(kind)).contains("unknown kind"));
        }
    }

    #[test]
    fn appends_are_one_run_of_entries_behind_their_index() {
        assert!(refused(&append(4, 2, &[(6, 3)])).contains("follow each other"));
        assert!(refused(&append(4, 2, &[(5, 3), (5, 3)])).contains("follow each other"));
        assert!(refused(&append(4, 2, &[(5, 1)])).contains("terms go back"));
        assert!(refused(&append(4, 2, &[(5, 4)])).contains("lie ahead"));
        assert!(refused(&append(4, 4, &[])).contains("ahead of the term"));
        assert!(refused(&append(4, 0, &[(5, 3)])).contains("index without a term"));
        let mut of_tomorrow = append(4, 2, &[(5, 3)]);
        of_tomorrow.entries[0].kind = 2;
        assert!(refused(&of_tomorrow).contains("unknown kind"));
        let mut large = append(4, 2, &[(5, 3)]);
        large.entries[0].data = vec![0; limits::FRAME_BYTES_MAX + 1].into();
        assert!(refused(&large).contains("too large"));
    }

    #[test]
    fn terms_numbers_members_and_contexts_have_bounds() {
        let mut message = plain(Kind::Vote as i32);
        message.term = 0;
        assert!(refused(&message).contains("unexpected term"));
        message.term = NUMBER_MAX + 1;
        assert!(refused(&message).contains("out of range"));
        let mut message = plain(Kind::Heartbeat as i32);
        message.to = 1;
        assert!(refused(&message).contains("no sender"));
        let mut message = plain(Kind::Heartbeat as i32);
        message.context = vec![0; CONTEXT_BYTES_MAX + 1].into();
        assert!(refused(&message).contains("too long"));
        let mut message = append(4, 2, &[(5, 3)]);
        message.kind = Kind::Heartbeat as i32;
        assert!(refused(&message).contains("unexpected entries"));
    }

    #[test]
    fn reads_are_the_askers_own() {
        let mut read = plain(Kind::ReadIndex as i32);
        assert!(refused(&read).contains("unexpected term"));
        read.term = 0;
        assert!(refused(&read).contains("no read context"));
        let context = |member: u64| Bytes::from([member, 9, 9].map(u64::to_be_bytes).concat());
        read.context = context(2);
        assert!(refused(&read).contains("somebody else's"));
        read.context = context(1);
        assert_eq!(RaftMessage::decode(read.encode()).unwrap(), read);
    }

    #[test]
    fn a_snapshot_names_its_members_once() {
        let with = |voters: &[u64], learners: &[u64], term: u64| {
            let ids = |ids: &[u64]| ids.iter().copied().map(MemberId).collect();
            let mut message = plain(Kind::Snapshot as i32);
            message.set_snapshot(&CheckpointMark {
                index: 9,
                term,
                voters: ids(voters),
                learners: ids(learners),
            });
            message
        };
        let sound = with(&[1, 2], &[3], 2);
        let mark = RaftMessage::decode(sound.encode()).unwrap().snapshot_mark().unwrap();
        assert_eq!((mark.index, mark.learners), (9, vec![MemberId(3)]));
        assert!(refused(&plain(Kind::Snapshot as i32)).contains("no snapshot"));
        assert!(refused(&with(&[], &[3], 2)).contains("without voters"));
        assert!(refused(&with(&[1, 1], &[], 2)).contains("twice the same"));
        assert!(refused(&with(&[1, 2], &[2], 2)).contains("twice the same"));
        assert!(refused(&with(&[0], &[], 2)).contains("twice the same"));
        assert!(refused(&with(&[1], &[], 4)).contains("later term"));
        let many: Vec<u64> = (1..=limits::MEMBERS_MAX as u64 + 1).collect();
        assert!(refused(&with(&many, &[], 2)).contains("too many members"));
    }
}
