//! Between our messages and the crate's values: field by field, no parser.
//!
//! A membership change travels in the crate entry's `context`, its `data` stays empty (see `change.rs`); a read's
//! context is the data of the one entry that the crate expects.

use bytes::Bytes;
use raft::eraftpb::{self, EntryType, MessageType};

use crate::base::MemberId;
use crate::storage::{Entry, EntryKind};

use super::CheckpointMark;
use super::effects::{Class, Outgoing};
use super::wire::{self, Kind, RaftMessage};

const KINDS: [(Kind, MessageType); 12] = [
    (Kind::Append, MessageType::MsgAppend),
    (Kind::AppendResponse, MessageType::MsgAppendResponse),
    (Kind::Vote, MessageType::MsgRequestVote),
    (Kind::VoteResponse, MessageType::MsgRequestVoteResponse),
    (Kind::PreVote, MessageType::MsgRequestPreVote),
    (Kind::PreVoteResponse, MessageType::MsgRequestPreVoteResponse),
    (Kind::Heartbeat, MessageType::MsgHeartbeat),
    (Kind::HeartbeatResponse, MessageType::MsgHeartbeatResponse),
    (Kind::Snapshot, MessageType::MsgSnapshot),
    (Kind::TimeoutNow, MessageType::MsgTimeoutNow),
    (Kind::ReadIndex, MessageType::MsgReadIndex),
    (Kind::ReadIndexResponse, MessageType::MsgReadIndexResp),
];

/// A checked message as the crate's; none for a kind that has no counterpart.
pub(super) fn to_raft(message: RaftMessage, kind: Kind) -> Option<eraftpb::Message> {
    let (_, msg_type) = KINDS.iter().find(|(ours, _)| *ours == kind)?;
    let mut out = eraftpb::Message {
        msg_type: *msg_type,
        from: message.from,
        to: message.to,
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        commit: message.commit,
        commit_term: message.commit_term,
        reject: message.reject,
        reject_hint: message.reject_hint,
        ..Default::default()
    };
    if let Some(mark) = message.snapshot_mark() {
        out.set_snapshot(mark.to_snapshot());
    }
    match kind {
        Kind::ReadIndex | Kind::ReadIndexResponse => {
            let entry = eraftpb::Entry { data: message.context, ..Default::default() };
            out.set_entries(vec![entry].into());
        }
        _ => {
            out.context = message.context;
            let entries: Vec<eraftpb::Entry> =
                message.entries.into_iter().map(entry_to_raft).collect();
            out.set_entries(entries.into());
        }
    }
    Some(out)
}

/// What the crate wants sent; none for a kind that never crosses.
pub(super) fn from_raft(mut message: eraftpb::Message) -> Option<Outgoing> {
    let (kind, _) = KINDS.iter().find(|(_, theirs)| *theirs == message.msg_type)?;
    let mut out = RaftMessage {
        kind: *kind as i32,
        from: message.from,
        to: message.to,
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        commit: message.commit,
        commit_term: message.commit_term,
        reject: message.reject,
        reject_hint: message.reject_hint,
        context: std::mem::take(&mut message.context),
        entries: Vec::new(),
        snapshot: None,
    };
    let entries: Vec<eraftpb::Entry> = message.take_entries().into();
    match kind {
        Kind::ReadIndex | Kind::ReadIndexResponse => {
            out.context = entries.into_iter().next()?.data;
        }
        Kind::Snapshot => out.set_snapshot(&CheckpointMark::from_snapshot(message.get_snapshot())),
        _ => out.entries = entries.into_iter().map(entry_to_wire).collect(),
    }
    let class = match kind {
        Kind::Append | Kind::AppendResponse => Class::Append,
        Kind::Snapshot => Class::Snapshot,
        _ => Class::Control,
    };
    Some(Outgoing { to: MemberId(out.to), class, message: out })
}

fn entry_to_raft(entry: wire::Entry) -> eraftpb::Entry {
    let kind = if entry.kind == 1 { EntryKind::ConfChange } else { EntryKind::Normal };
    raft_entry(kind, entry.term, entry.index, entry.data)
}

fn entry_to_wire(entry: eraftpb::Entry) -> wire::Entry {
    let entry = to_stored(entry);
    let kind = u32::from(entry.kind == EntryKind::ConfChange);
    wire::Entry { kind, term: entry.term, index: entry.index, data: entry.data }
}

pub(super) fn from_stored(entry: Entry) -> eraftpb::Entry {
    raft_entry(entry.kind, entry.term, entry.index, entry.data)
}

/// The crate's `EntryConfChangeV2` cannot occur: nothing here proposes or decodes one.
pub(super) fn to_stored(entry: eraftpb::Entry) -> Entry {
    let (kind, data) = match entry.entry_type {
        EntryType::EntryNormal => (EntryKind::Normal, entry.data),
        EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
            (EntryKind::ConfChange, entry.context)
        }
    };
    Entry { term: entry.term, index: entry.index, kind, data }
}

pub(super) fn raft_entry(kind: EntryKind, term: u64, index: u64, bytes: Bytes) -> eraftpb::Entry {
    let mut entry = eraftpb::Entry { term, index, ..Default::default() };
    match kind {
        EntryKind::Normal => entry.data = bytes,
        EntryKind::ConfChange => {
            entry.entry_type = EntryType::EntryConfChange;
            entry.context = bytes;
        }
    }
    entry
}
