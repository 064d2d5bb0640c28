//! The committed log as the judge's model knows it, with each client's command found by its bytes.

use std::collections::BTreeMap;

use quorate::base::{Moment, RequestId};
use quorate::state::{Command, Envelope, decode, encode};
use quorate::storage::{Entry, EntryKind};

use super::recorder::{Answer, Note};
use crate::checker::Checker;
use crate::violation::Violation;
use crate::workload::Op;

/// A client's command by its bytes alone.
fn content(command: &Command) -> Vec<u8> {
    encode(&Envelope::new(RequestId::default(), command.clone())).to_vec()
}

/// Where a command stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub index: u64,
    pub term: u64,
    pub request: RequestId,
}

/// The log up to the last entry that was acknowledged, replayed.
pub(super) struct Committed<'a> {
    pub entries: &'a [Entry],
    by_content: BTreeMap<Vec<u8>, Found>,
    pub checker: Checker,
    /// Leases' ends that a leader put there.
    pub expiries: Vec<bool>,
}

impl<'a> Committed<'a> {
    pub(super) fn of(notes: &[(Moment, Note)], logs: &'a [Vec<Entry>]) -> Result<Self, Violation> {
        let mut longest: &[Entry] = &[];
        for log in logs.iter().filter(|log| log.len() > longest.len()) {
            longest = log;
        }
        let mut by_content = BTreeMap::new();
        let mut expiries = Vec::new();
        let mut checker = Checker::new(&[]);
        for entry in longest {
            let is_expiry = match envelope(entry)? {
                Some(envelope) => note_content(&mut by_content, entry, &envelope)?,
                None => false,
            };
            expiries.push(is_expiry);
        }
        let last = last_acknowledged(notes, &by_content);
        let entries = &longest[..longest.partition_point(|entry| entry.index <= last)];
        by_content.retain(|_, found| found.index <= last);
        for found in by_content.values() {
            checker.asked(found.request);
        }
        for entry in entries {
            if entry.index != checker.next_index() {
                let text = format!("entry {} follows {}", entry.index, checker.next_index() - 1);
                return Err(Violation::new("truth", text));
            }
            checker.commit(entry)?;
        }
        Ok(Self { entries, by_content, checker, expiries })
    }

    pub(super) fn last(&self) -> u64 {
        self.entries.last().map_or(1, |entry| entry.index)
    }

    pub(super) fn find(&self, op: &Op) -> Option<Found> {
        match op {
            Op::Command(command) => self.by_content.get(&content(command)).copied(),
            _ => None,
        }
    }

    /// The place in `entries` of what made a revision.
    pub(super) fn maker_of(&self, revision: i64) -> usize {
        self.entries.partition_point(|entry| {
            self.checker.outcome(entry.index).is_some_and(|outcome| outcome.revision < revision)
        })
    }
}

fn envelope(entry: &Entry) -> Result<Option<Envelope>, Violation> {
    if entry.kind == EntryKind::ConfChange || entry.data.is_empty() {
        return Ok(None);
    }
    let unreadable = |fault: quorate::storage::Fault| Violation::new("truth", fault.to_string());
    decode(entry.index, &entry.data).map(Some).map_err(unreadable)
}

/// True for a leader's expiry of leases.
fn note_content(
    by_content: &mut BTreeMap<Vec<u8>, Found>,
    entry: &Entry,
    envelope: &Envelope,
) -> Result<bool, Violation> {
    let Some(command) = &envelope.command else { return Ok(false) };
    match command {
        Command::LeaseRevoke(_) if envelope.leader_term != 0 => return Ok(true),
        Command::Put(_)
        | Command::DeleteRange(_)
        | Command::Txn(_)
        | Command::Compact(_)
        | Command::LeaseGrant(_)
        | Command::LeaseRevoke(_) => {}
        _ => return Ok(false),
    }
    let found = Found { index: entry.index, term: entry.term, request: envelope.request() };
    if let Some(before) = by_content.insert(content(command), found) {
        let text = format!("{command:?} is entry {} and {}", before.index, entry.index);
        return Err(Violation::new("proposed_once", text));
    }
    Ok(false)
}

fn last_acknowledged(notes: &[(Moment, Note)], by_content: &BTreeMap<Vec<u8>, Found>) -> u64 {
    let mut asked = BTreeMap::new();
    let mut last = 1;
    for (_, note) in notes {
        match note {
            Note::Invoked { operation, op: Op::Command(command) } => {
                asked.insert(*operation, command);
            }
            Note::Returned { operation, answer: Answer::Reply { .. } } => {
                let found =
                    asked.get(operation).and_then(|command| by_content.get(&content(command)));
                last = last.max(found.map_or(1, |found| found.index));
            }
            _ => {}
        }
    }
    last
}
