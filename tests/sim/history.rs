//! What happened in a world, as its clients and its log saw it: plain data, and the judge of it.
//!
//! A history can be made by hand, so that the checks themselves can be checked. The order of its steps is the order of
//! what happened, also within one moment. An answer may be written down late (then more things count as concurrent),
//! never early; an entry before any answer that follows from it.

use std::collections::BTreeMap;

use quorate::base::{Moment, RequestId};
use quorate::engine::{Applied, Delivered};
use quorate::proto::etcdserverpb::{RangeResponse, TxnResponse};
use quorate::state::{Command, Rejection, Reply};
use quorate::storage::Entry;
use quorate::watch::Spec;

use crate::checker::{Checker, Floor};
use crate::invariants::LeaseNeverEarly;
use crate::totals::Totals;
use crate::violation::{Verdict, Violation};
use crate::watchers::{WatchClient, told_revision};
use crate::workload::Op;

/// What came back to a client.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Applied(Applied),
    Rejected(Rejection),
    /// Promised never to be in the log.
    NotProposed,
    Ambiguous,
    /// `revision` is the member's when it read.
    Range {
        revision: i64,
        result: Result<RangeResponse, Rejection>,
    },
    Txn {
        revision: i64,
        result: Result<TxnResponse, Rejection>,
    },
    /// A renewal, by the leader of `term`; 0 seconds is a lease that is not there.
    KeptAlive {
        ttl_s: i64,
        term: u64,
    },
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// `request` is the name that a command's entry carries.
    Invoked {
        operation: u64,
        request: Option<RequestId>,
        op: Op,
    },
    Returned {
        operation: u64,
        outcome: Outcome,
    },
    /// The next entry of the log; the first is 2.
    Committed(Entry),
    Watched {
        client: u64,
        spec: Spec,
    },
    Heard {
        client: u64,
        deliveries: Vec<Delivered>,
    },
    /// The client's stream is gone; what it watches is asked for again.
    Reconnected {
        client: u64,
    },
}

#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) steps: Vec<(Moment, Step)>,
    /// Watchers had all the time they needed to hear everything.
    pub(crate) ends_in_peace: bool,
    /// Thousandths of a TTL that clocks may gain.
    pub(crate) clock_slack: u32,
}

impl History {
    pub(crate) fn push(&mut self, now: Moment, step: Step) {
        self.steps.push((now, step));
    }

    /// Every check on every step; the first violation. Linear in the steps.
    pub(crate) fn judge(&self) -> Verdict {
        let mut judge = Judge::new(self.clock_slack);
        for (now, step) in &self.steps {
            judge.step(*now, step)?;
        }
        if self.ends_in_peace { judge.complete() } else { Ok(()) }
    }
}

/// An operation on its way.
struct Pending<'a> {
    began: Moment,
    floor: Floor,
    request: Option<RequestId>,
    op: &'a Op,
}

struct Judge<'a> {
    checker: Checker,
    leases: LeaseNeverEarly,
    watchers: BTreeMap<u64, WatchClient>,
    pending: BTreeMap<u64, Pending<'a>>,
}

impl<'a> Judge<'a> {
    fn new(clock_slack: u32) -> Self {
        Self {
            checker: Checker::new(&[]),
            leases: LeaseNeverEarly::new(clock_slack),
            watchers: BTreeMap::new(),
            pending: BTreeMap::new(),
        }
    }

    fn step(&mut self, now: Moment, step: &'a Step) -> Verdict {
        match step {
            Step::Invoked { operation, request, op } => {
                if let Some(request) = request {
                    self.checker.asked(*request);
                }
                let (request, floor) = (*request, self.checker.floor());
                self.pending.insert(*operation, Pending { began: now, floor, request, op });
                Ok(())
            }
            Step::Returned { operation, outcome } => match self.pending.remove(operation) {
                Some(pending) => self.returned(&pending, outcome),
                None => {
                    Err(Violation::new("history", format!("{operation} ended before it began")))
                }
            },
            Step::Committed(entry) => self.committed(now, entry),
            Step::Watched { client, spec } => {
                let client = self.watchers.entry(*client).or_insert_with(WatchClient::new);
                client.adopt(spec.clone());
                Ok(())
            }
            Step::Heard { client, deliveries } => self.heard(*client, deliveries),
            Step::Reconnected { client } => {
                if let Some(client) = self.watchers.get_mut(client) {
                    client.reconnected(&mut Totals::default());
                }
                Ok(())
            }
        }
    }

    fn committed(&mut self, now: Moment, entry: &Entry) -> Verdict {
        let Some(envelope) = self.checker.commit(entry)? else { return Ok(()) };
        let outcome = self.checker.outcome(entry.index);
        let is_done = outcome.is_some_and(|outcome| matches!(outcome.result, Some(Ok(_))));
        match &envelope.command {
            Some(Command::LeaseGrant(grant)) if is_done => {
                self.leases.granted(grant.id, grant.ttl, entry.index);
            }
            Some(Command::LeaseRevoke(revoke)) if is_done && envelope.leader_term != 0 => {
                let model = &self.checker.model;
                for id in revoke.ids.iter().filter(|id| !model.leases.contains_key(id)) {
                    self.leases.expired(*id, now)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn returned(&mut self, pending: &Pending<'_>, outcome: &Outcome) -> Verdict {
        let Pending { began, floor, request, op } = pending;
        let request = request.unwrap_or_default();
        match (op, outcome) {
            (_, Outcome::Ambiguous) => Ok(()),
            (Op::Command(_), Outcome::Applied(applied)) => {
                self.checker.acknowledged(request, *floor, applied)?;
                match &applied.reply {
                    Reply::LeaseGrant(grant) => self.leases.alive(grant.id, *began, applied.term),
                    _ => Ok(()),
                }
            }
            (Op::Command(_), Outcome::Rejected(rejection)) => {
                self.checker.rejected(request, *rejection)
            }
            (Op::Command(_), Outcome::NotProposed) => {
                self.checker.denied(request, "its client was told that it is not".to_owned())
            }
            (_, Outcome::NotProposed) => Ok(()),
            (Op::Range(range), Outcome::Range { revision, result }) => {
                let floor = Some(*floor).filter(|_| !range.serializable);
                self.checker.range(range, *revision, floor, result.as_ref().map_err(|e| *e))
            }
            (Op::ReadTxn(txn), Outcome::Txn { revision, result }) => {
                let result = result.as_ref().map_err(|e| *e);
                self.checker.read_txn(txn, *revision, Some(*floor), result)
            }
            (Op::KeepAlive(lease), Outcome::KeptAlive { ttl_s, term }) if *ttl_s > 0 => {
                self.leases.alive(*lease, *began, *term)
            }
            (Op::KeepAlive(_), Outcome::KeptAlive { .. }) => Ok(()),
            _ => Err(Violation::new("history", format!("{op:?} cannot be answered {outcome:?}"))),
        }
    }

    fn heard(&mut self, client: u64, deliveries: &[Delivered]) -> Verdict {
        for delivered in deliveries {
            self.checker.saw(told_revision(&delivered.delivery));
        }
        let Some(watchers) = self.watchers.get_mut(&client) else {
            return Err(Violation::new("history", format!("{client} hears and never watched")));
        };
        watchers.take(deliveries, &self.checker.model, &mut Totals::default()).map(drop)
    }

    fn complete(&self) -> Verdict {
        self.watchers.values().try_for_each(|client| client.is_complete(&self.checker.model))
    }
}
