//! A world of one member that is told what to do and never fails: what it says makes honest histories, to be judged as
//! they are and again after somebody has tampered with them.

use std::sync::Arc;

use bytes::Bytes;
use quorate::base::{ClusterId, KeyRange, MemberId, Moment, RequestId};
use quorate::engine::{Applied, Delivered};
use quorate::mvcc::EventBatch;
use quorate::proto::etcdserverpb::{Member, PutRequest, RangeRequest};
use quorate::state::{Command, Envelope, Machine, Query, encode};
use quorate::storage::{Batch, Entry, EntryKind, Nothing, Rows};
use quorate::watch::{Delivery, Matched, Spec, Which};

use crate::history::{History, Outcome, Step};
use crate::workload::Op;

const TERM: u64 = 1;

/// An operation that was begun.
#[derive(Clone, Debug)]
pub(crate) struct Begun {
    pub(crate) operation: u64,
    request: Option<RequestId>,
    op: Op,
}

pub(crate) struct Script {
    pub(crate) history: History,
    pub(crate) now: Moment,
    pub(crate) batches: Vec<Arc<EventBatch>>,
    rows: Batch<'static, Nothing>,
    machine: Machine,
    operations: u64,
}

impl Script {
    pub(crate) fn new() -> Self {
        let member = Member { id: 1, ..Member::default() };
        let (first, stamp) = Machine::genesis(ClusterId(1), &[member]);
        let mut rows = Batch::new(&Nothing);
        merge(&mut rows, &first);
        let machine = Machine::load(&rows, stamp).unwrap();
        let (history, batches) = (History::default(), Vec::new());
        Self { history, now: Moment::ZERO, batches, rows, machine, operations: 0 }
    }

    pub(crate) fn revision(&self) -> i64 {
        self.machine.stamp().revision
    }

    /// From beginning to end, with nothing beside it.
    pub(crate) fn call(&mut self, op: Op) -> Outcome {
        let begun = self.begin(op);
        let outcome = self.execute(&begun);
        self.end(&begun, outcome.clone());
        outcome
    }

    pub(crate) fn put(&mut self, key: &str, value: &str) -> Outcome {
        self.call(put(key, value))
    }

    pub(crate) fn get(&mut self, key: &str) -> Outcome {
        self.call(get(key))
    }

    pub(crate) fn begin(&mut self, op: Op) -> Begun {
        self.operations += 1;
        let operation = self.operations;
        let is_command = matches!(op, Op::Command(_));
        let request = is_command.then(|| self.request(MemberId(1), operation));
        self.push(Step::Invoked { operation, request, op: op.clone() });
        Begun { operation, request, op }
    }

    /// What the operation does, and says if anybody is told.
    pub(crate) fn execute(&mut self, begun: &Begun) -> Outcome {
        let revision = self.revision();
        match &begun.op {
            Op::Command(command) => {
                self.commit(Envelope::new(begun.request.unwrap(), command.clone()))
            }
            Op::Range(range) => {
                Outcome::Range { revision, result: self.query().range(range).unwrap() }
            }
            Op::ReadTxn(txn) => Outcome::Txn { revision, result: self.query().txn(txn).unwrap() },
            Op::KeepAlive(id) => {
                let ttl_s = self.query().lease(*id).map_or(0, |lease| lease.ttl);
                Outcome::KeptAlive { ttl_s, term: TERM }
            }
            Op::Tree(_) => unreachable!("no script reads the v2 tree"),
        }
    }

    pub(crate) fn end(&mut self, begun: &Begun, outcome: Outcome) {
        self.push(Step::Returned { operation: begun.operation, outcome });
    }

    /// A command of the leader's own.
    pub(crate) fn lead(&mut self, command: Command) {
        self.operations += 1;
        let request = self.request(MemberId(2), self.operations);
        self.commit(Envelope::of_leader(request, command, TERM));
    }

    fn request(&self, member: MemberId, counter: u64) -> RequestId {
        RequestId { member, nonce: 1, counter }
    }

    fn commit(&mut self, envelope: Envelope) -> Outcome {
        let (index, data) = (self.machine.stamp().applied + 1, encode(&envelope));
        let outcome = self.machine.apply(&self.rows, index, TERM, &data).unwrap();
        merge(&mut self.rows, &outcome.rows);
        self.machine.publish();
        self.push(Step::Committed(Entry { term: TERM, index, kind: EntryKind::Normal, data }));
        self.batches.extend(outcome.events.map(Arc::new));
        let revision = outcome.stamp.revision;
        match outcome.result {
            Ok(reply) => Outcome::Applied(Applied { reply, revision, index, term: TERM }),
            Err(rejection) => Outcome::Rejected(rejection),
        }
    }

    /// Client 1 watches everything with previous values, from now or from `start_revision`.
    pub(crate) fn watch(&mut self, start_revision: i64) {
        let spec = Spec {
            denied: None,
            range: KeyRange::From(Bytes::new()),
            start_revision,
            progress_notify: true,
            no_put: false,
            no_delete: false,
            prev_kv: true,
            fragment: false,
            id: None,
        };
        self.push(Step::Watched { client: 1, spec });
        self.deliver(Delivery::Created { id: 1, revision: self.revision() });
    }

    pub(crate) fn deliver(&mut self, delivery: Delivery) {
        let previous = match &delivery {
            Delivery::Events { batch, .. } => Some(Arc::new(self.query().previous(batch).unwrap())),
            _ => None,
        };
        let deliveries = vec![Delivered { delivery, previous }];
        self.push(Step::Heard { client: 1, deliveries });
    }

    /// The events of `revision`, at the places of `which`.
    pub(crate) fn events(&mut self, revision: i64, events: Which) {
        let batch = self.batches.iter().find(|batch| batch.revision == revision).unwrap();
        let matched = Matched { id: 1, events, prev_kv: true, fragment: false };
        self.deliver(Delivery::Events { batch: Arc::clone(batch), watchers: vec![matched] });
    }

    pub(crate) fn progress(&mut self, revision: i64) {
        self.deliver(Delivery::Progress { id: 1, revision });
    }

    pub(crate) fn pass(&mut self, ms: u64) {
        self.now = Moment(self.now.0 + Moment::from_millis(ms).0);
    }

    fn query(&self) -> Query<&Batch<'static, Nothing>> {
        Query::new(&self.rows, self.machine.stamp(), self.machine.shared())
    }

    fn push(&mut self, step: Step) {
        self.history.push(self.now, step);
    }
}

pub(crate) fn put(key: &str, value: &str) -> Op {
    Op::Command(Command::Put(PutRequest {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
        prev_kv: true,
        ..PutRequest::default()
    }))
}

pub(crate) fn get(key: &str) -> Op {
    let key = Bytes::copy_from_slice(key.as_bytes());
    Op::Range(RangeRequest { key, ..RangeRequest::default() })
}

fn merge(store: &mut Batch<'static, Nothing>, rows: &Rows) {
    for ((table, key), value) in rows {
        match value {
            Some(value) => store.put(*table, key.clone(), value.clone()),
            None => store.delete(*table, key.clone()),
        }
    }
}
