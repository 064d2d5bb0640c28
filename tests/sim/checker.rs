//! The history against the model.
//!
//! The committed log gives the order, so nothing is searched: it is replayed on the model as it becomes known, every
//! answer is compared with what the model said at that index (or, for reads, says at their revision), and then real
//! time is checked: what ended before another began stands before it. Outcomes that no client learned are settled by
//! the same log. Linear in the length of the history.

use std::collections::BTreeMap;

use quorate::base::RequestId;
use quorate::consensus::decode_change;
use quorate::engine::Applied;
use quorate::proto::etcdserverpb::{
    AlarmResponse, CompactionResponse, LeaseGrantResponse, LeaseRevokeResponse, Member,
    RangeRequest, RangeResponse, TxnRequest, TxnResponse,
};
use quorate::proto::quorate::log::member_change::Kind;
use quorate::state::v2::{self, Listed};
use quorate::state::{Command, Envelope, Rejection, Reply, decode};
use quorate::storage::{Entry, EntryKind};

use crate::members::Roll;
use crate::model::{Model, header};
use crate::ownership::Ownership;
use crate::tree::Tree;
use crate::users::Users;
use crate::violation::{Verdict, Violation, ensure};
use crate::workload::TreeRead;

/// What the entry at one index did, according to the model.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) term: u64,
    pub(crate) request: RequestId,
    /// None: the reply is not modelled.
    pub(crate) result: Option<Result<Reply, Rejection>>,
    pub(crate) revision: i64,
    pub(crate) compacted: i64,
}

/// What anybody outside knew when an operation began: the last entry that was acknowledged, the newest revision seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Floor {
    pub(crate) index: u64,
    pub(crate) revision: i64,
    /// The newest index of the v2 tree that was seen.
    pub(crate) tree: u64,
}

pub(crate) struct Checker {
    pub(crate) model: Model,
    pub(crate) tree: Tree,
    pub(crate) users: Users,
    pub(crate) roll: Roll,
    /// By index - 2: the first entry behind checkpoint number one has index 2.
    outcomes: Vec<Outcome>,
    by_request: BTreeMap<RequestId, u64>,
    /// Clients were told that these never entered the log.
    denied: BTreeMap<RequestId, String>,
    ownership: Ownership,
    floor: Floor,
}

impl Checker {
    pub(crate) fn new(founders: &[Member]) -> Self {
        Self {
            model: Model::new(),
            tree: Tree::default(),
            users: Users::default(),
            roll: Roll::new(founders),
            outcomes: Vec::new(),
            by_request: BTreeMap::new(),
            denied: BTreeMap::new(),
            ownership: Ownership::default(),
            floor: Floor { index: 1, revision: 1, tree: 0 },
        }
    }

    /// Index of the next entry that is wanted.
    pub(crate) fn next_index(&self) -> u64 {
        self.outcomes.len() as u64 + 2
    }

    pub(crate) fn outcome(&self, index: u64) -> Option<&Outcome> {
        self.outcomes.get(usize::try_from(index.checked_sub(2)?).ok()?)
    }

    pub(crate) fn index_of(&self, request: RequestId) -> Option<u64> {
        self.by_request.get(&request).copied()
    }

    pub(crate) fn floor(&self) -> Floor {
        self.floor
    }

    /// A client's command is handed to a member.
    pub(crate) fn asked(&mut self, request: RequestId) {
        self.ownership.asked(request);
    }

    /// Somebody outside knows this revision: by a read of any kind, an event, progress.
    pub(crate) fn saw(&mut self, revision: i64) {
        self.floor.revision = self.floor.revision.max(revision);
    }

    /// Somebody outside knows this index of the v2 tree.
    pub(crate) fn saw_tree(&mut self, index: u64) {
        self.floor.tree = self.floor.tree.max(index);
    }

    /// Replays the next committed entry; its envelope, unless it is a new leader's.
    pub(crate) fn commit(&mut self, entry: &Entry) -> Result<Option<Envelope>, Violation> {
        let data = match entry.kind {
            EntryKind::Normal => entry.data.clone(),
            EntryKind::ConfChange => {
                decode_change(&entry.data).map_err(|fault| unreadable(entry.index, &fault))?.context
            }
        };
        let mut outcome = Outcome {
            term: entry.term,
            request: RequestId::default(),
            result: Some(Ok(Reply::Nothing)),
            revision: 0,
            compacted: -1,
        };
        let mut known = None;
        if !data.is_empty() {
            let envelope =
                decode(entry.index, &data).map_err(|fault| unreadable(entry.index, &fault))?;
            outcome.request = envelope.request();
            if let Some(told) = self.denied.get(&outcome.request) {
                let text = format!("entry {} is {envelope:?}, and {told}", entry.index);
                return Err(Violation::new("not_proposed_means_not_proposed", text));
            }
            if let Some(other) = self.by_request.insert(outcome.request, entry.index) {
                let text = format!("{:?} is entry {other} and {}", outcome.request, entry.index);
                return Err(Violation::new("proposed_once", text));
            }
            self.ownership.committed(entry.index, &envelope)?;
            outcome.result = self.apply(&envelope, entry.index, entry.term);
            known = Some(envelope);
        }
        outcome.revision = self.model.revision;
        outcome.compacted = self.model.compacted;
        self.outcomes.push(outcome);
        Ok(known)
    }

    fn apply(
        &mut self,
        envelope: &Envelope,
        index: u64,
        term: u64,
    ) -> Option<Result<Reply, Rejection>> {
        if envelope.leader_term != 0 && envelope.leader_term != term {
            return Some(Err(Rejection::OtherTerm));
        }
        let by_leader = envelope.leader_term != 0;
        let model = &mut self.model;
        let command = envelope.command.as_ref().expect("decoded");
        if let Some(forbidden) = model.alarms.forbids(command, &self.roll) {
            return Some(Err(forbidden));
        }
        Some(match command {
            Command::Put(put) => model.put(put).map(Reply::Put),
            Command::DeleteRange(delete) => Ok(Reply::DeleteRange(model.delete(delete))),
            Command::Txn(txn) => model.txn(txn).map(Reply::Txn),
            Command::Compact(request) => model
                .compact(request.revision)
                .map(|()| Reply::Compact(CompactionResponse { header: header(model.revision) })),
            Command::LeaseGrant(request) => model.grant(request.id, request.ttl, index).map(|()| {
                Reply::LeaseGrant(LeaseGrantResponse {
                    header: header(model.revision),
                    id: request.id,
                    ttl: request.ttl,
                    error: String::new(),
                })
            }),
            Command::LeaseRevoke(request) => {
                model.revoke(&request.ids, by_leader, request.as_of).map(|()| {
                    Reply::LeaseRevoke(LeaseRevokeResponse { header: header(model.revision) })
                })
            }
            Command::LeaseCheckpoint(request) => {
                for record in &request.leases {
                    model.record(record.id, record.remaining_ttl_s, request.as_of, index);
                }
                Ok(Reply::LeaseCheckpoint)
            }
            Command::MemberChange(change) => {
                let changed = self.roll.change(change);
                if let (Ok(None), Some(gone)) = (&changed, &change.member) {
                    model.alarms.forget(gone.id);
                }
                changed.map(|member| Reply::Members { member, members: self.roll.list() })
            }
            Command::MemberPublish(publish) => {
                let told = publish.member.as_ref().expect("the world names the member");
                self.roll.publish(told).map(|()| Reply::Published)
            }
            Command::V2(request) => {
                Ok(Reply::V2(Box::new(self.tree.apply(request, envelope.proposed_at_ms))))
            }
            Command::V2Auth(request) => {
                let (told, steps) = self.users.apply(request);
                self.tree.pass(steps);
                Ok(Reply::V2Auth(Box::new(told)))
            }
            Command::Auth(_) => unreachable!("no world has users of the v3 API"),
            Command::V2Sync(sync) => {
                Ok(Reply::V2Synced(self.tree.expire(sync.time_ms, envelope.proposed_at_ms)))
            }
            Command::Alarm(request) => {
                let alarms = model.alarms.change(request);
                Ok(Reply::Alarm(AlarmResponse { header: header(model.revision), alarms }))
            }
        })
    }

    /// A command was acknowledged.
    pub(crate) fn acknowledged(
        &mut self,
        request: RequestId,
        floor: Floor,
        applied: &Applied,
    ) -> Verdict {
        let Applied { reply, revision, index, term } = applied;
        self.ownership.acknowledged(request, applied)?;
        let Some(outcome) = self.outcome(*index) else {
            let text = format!("{request:?} at {index}, and nobody has applied that");
            return Err(Violation::new("acked_survives", text));
        };
        ensure(outcome.request == request && outcome.term == *term, "acked_survives", || {
            format!("{request:?} was acknowledged at {index} of {term}, and there is {outcome:?}")
        })?;
        let agrees = outcome.revision == *revision
            && outcome.result.as_ref().is_none_or(|result| result.as_ref() == Ok(reply));
        ensure(agrees, "answers", || {
            format!(
                "entry {index} was answered {reply:?} at {revision}, and the model says {outcome:?}"
            )
        })?;
        ensure(*index > floor.index, "real_time", || {
            format!("entry {index} began when {} was acknowledged", floor.index)
        })?;
        self.floor.index = self.floor.index.max(*index);
        self.saw(*revision);
        if let Reply::V2(reply) = reply {
            self.saw_tree(reply.index);
        }
        Ok(())
    }

    /// A command was rejected by apply.
    pub(crate) fn rejected(&self, request: RequestId, rejection: Rejection) -> Verdict {
        let expected = self.index_of(request).and_then(|index| self.outcome(index));
        let result = expected.and_then(|outcome| outcome.result.as_ref());
        let agrees = match (expected, result) {
            (Some(_), Some(result)) => result.as_ref() == Err(&rejection),
            (Some(_), None) => true,
            (None, _) => false,
        };
        ensure(agrees, "answers", || {
            format!("{request:?} was rejected with {rejection:?}, and the model says {expected:?}")
        })
    }

    /// A client was told that its command never entered the log, and may repeat it.
    pub(crate) fn denied(&mut self, request: RequestId, told: String) -> Verdict {
        if let Some(index) = self.index_of(request) {
            let text = format!("{request:?} is entry {index}, and {told}");
            return Err(Violation::new("not_proposed_means_not_proposed", text));
        }
        self.denied.insert(request, told);
        Ok(())
    }

    /// A read of a member's state at `revision`. A serializable one has no floor.
    pub(crate) fn range(
        &mut self,
        request: &RangeRequest,
        revision: i64,
        floor: Option<Floor>,
        result: Result<&RangeResponse, Rejection>,
    ) -> Verdict {
        self.read_in_time(revision, floor)?;
        let expected = match request.revision {
            asked if asked > revision => Err(Rejection::FutureRev),
            _ => Ok(self.model.range_at(request, revision)),
        };
        match (result, &expected) {
            // Compaction is published before anything is deleted: a member may refuse what the log has compacted.
            (Err(Rejection::Compacted), _) => {
                let asked = if request.revision > 0 { request.revision } else { revision };
                ensure(asked < self.model.compacted, "answers", || {
                    format!(
                        "{request:?} at {revision} is compacted, and the log says up to {}",
                        self.model.compacted
                    )
                })
            }
            (found, expected) => {
                ensure(found == expected.as_ref().map_err(|e| *e), "answers", || {
                    format!(
                        "{request:?} at {revision} was answered {found:?}, and the model says {expected:?}"
                    )
                })
            }
        }?;
        let compacted = self.compacted_at(floor);
        let asked = request.revision;
        ensure(result.is_err() || asked <= 0 || asked >= compacted, "answers", || {
            format!("{request:?} was answered although {compacted} was compacted before it began")
        })
    }

    pub(crate) fn read_txn(
        &mut self,
        request: &TxnRequest,
        revision: i64,
        floor: Option<Floor>,
        result: Result<&TxnResponse, Rejection>,
    ) -> Verdict {
        self.read_in_time(revision, floor)?;
        // The member may know of any compaction between what was acknowledged before and what is committed by now.
        let known = [self.compacted_at(floor), self.model.compacted];
        let expected = known.map(|known| self.model.read_txn_at(request, revision, known));
        let agrees = expected.iter().any(|one| result == one.as_ref().map_err(|e| *e));
        ensure(agrees, "answers", || {
            format!(
                "{request:?} at {revision} was answered {result:?}, and the model says {expected:?}"
            )
        })
    }

    /// A listing of a member's tree, told at `now_ms`. A serializable one has no floor.
    pub(crate) fn tree_read(
        &mut self,
        read: &TreeRead,
        now_ms: i64,
        floor: Option<Floor>,
        result: Result<&Listed, &v2::Error>,
    ) -> Verdict {
        let index = result.map_or_else(|error| error.index, |listed| listed.index);
        ensure(index <= self.tree.index, "answers", || {
            format!("a read of the tree at {index}, and the log has come to {}", self.tree.index)
        })?;
        self.saw_tree(index);
        let least = floor.map_or(0, |floor| floor.tree);
        ensure(index >= least, "real_time", || {
            format!("a linearizable read saw the tree at {index} and began when {least} was known")
        })?;
        let expected = self.tree.listing(&read.path, read.recursive, index, now_ms);
        let found = result.map(|listed| &listed.listing);
        ensure(found == expected.as_ref(), "answers", || {
            format!("{read:?} at {index} was answered {found:?}, and the model says {expected:?}")
        })
    }

    fn read_in_time(&mut self, revision: i64, floor: Option<Floor>) -> Verdict {
        ensure(revision <= self.model.revision, "answers", || {
            format!("a read at {revision}, and the log has come to {}", self.model.revision)
        })?;
        self.saw(revision);
        let Some(floor) = floor else { return Ok(()) };
        ensure(revision >= floor.revision, "real_time", || {
            format!(
                "a linearizable read saw {revision} and began when {} was known",
                floor.revision
            )
        })
    }

    fn compacted_at(&self, floor: Option<Floor>) -> i64 {
        let outcome = floor.and_then(|floor| self.outcome(floor.index));
        outcome.map_or(-1, |outcome| outcome.compacted)
    }
}

fn unreadable(index: u64, fault: &dyn std::fmt::Display) -> Violation {
    Violation::new("committed_immutable", format!("entry {index} cannot be read: {fault}"))
}

/// Whether the change puts a new member on the roll.
pub(crate) fn adds(kind: Kind) -> bool {
    matches!(kind, Kind::AddVoter | Kind::AddLearner)
}
