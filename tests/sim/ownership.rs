//! Every entry has somebody who asked for it before it was there, and every revision one client that made it.

use std::collections::{BTreeMap, BTreeSet};

use quorate::base::RequestId;
use quorate::engine::Applied;
use quorate::proto::etcdserverpb::response_op::Response;
use quorate::proto::etcdserverpb::{ResponseOp, TxnResponse};
use quorate::state::{Command, Envelope, Reply};

use crate::violation::{Verdict, Violation, ensure};

#[derive(Debug, Default)]
pub(crate) struct Ownership {
    asked: BTreeSet<RequestId>,
    /// Who was told that a revision is its own.
    owners: BTreeMap<i64, RequestId>,
}

impl Ownership {
    /// A client's command is handed to a member.
    pub(crate) fn asked(&mut self, request: RequestId) {
        self.asked.insert(request);
    }

    pub(crate) fn committed(&self, index: u64, envelope: &Envelope) -> Verdict {
        let is_known = is_of_members(envelope) || self.asked.contains(&envelope.request());
        ensure(is_known, "asked_for", || {
            format!("entry {index} is {envelope:?}, and no client has asked for it")
        })
    }

    pub(crate) fn acknowledged(&mut self, request: RequestId, applied: &Applied) -> Verdict {
        if changes(&applied.reply)
            && let Some(other) = self.owners.insert(applied.revision, request)
        {
            let text = format!("{request:?} and {other:?} both made revision {}", applied.revision);
            return Err(Violation::new("one_revision_each", text));
        }
        Ok(())
    }
}

/// What members put into the log by themselves.
fn is_of_members(envelope: &Envelope) -> bool {
    match &envelope.command {
        Some(Command::LeaseRevoke(_) | Command::V2Sync(_)) => envelope.leader_term != 0,
        Some(
            Command::LeaseCheckpoint(_)
            | Command::MemberChange(_)
            | Command::MemberPublish(_)
            | Command::Alarm(_),
        ) => true,
        _ => false,
    }
}

/// Whether the answer says that a key was changed.
fn changes(reply: &Reply) -> bool {
    match reply {
        Reply::Put(_) => true,
        Reply::DeleteRange(delete) => delete.deleted > 0,
        Reply::Txn(txn) => txn_changes(txn),
        _ => false,
    }
}

fn txn_changes(txn: &TxnResponse) -> bool {
    let op_changes = |op: &ResponseOp| match &op.response {
        Some(Response::ResponsePut(_)) => true,
        Some(Response::ResponseDeleteRange(delete)) => delete.deleted > 0,
        Some(Response::ResponseTxn(inner)) => txn_changes(inner),
        Some(Response::ResponseRange(_)) | None => false,
    };
    txn.responses.iter().any(op_changes)
}
