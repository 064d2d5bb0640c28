//! Clients: each has one operation at a time, at any member that is up, and goes on when it is answered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate::base::{Moment, RequestId};
use quorate::engine::{Applied, Error, Retry};
use quorate::proto::quorate::log::MemberChange;
use quorate::state::{Command, Reply};
use quorate::storage::Fault;

use crate::checker::Floor;
use crate::dice::{Dice, Purpose};
use crate::invariants::counts_equal_walk;
use crate::mix::Mix;
use crate::totals::Totals;
use crate::violation::{Verdict, Violation, ensure};
use crate::watchers::WatchClient;
use crate::workload::{Op, Workload};
use crate::world::{Event, Plan, World};

/// What a member's callbacks leave behind; looked at after every step.
pub(crate) enum Completion {
    Command {
        op: u64,
        result: Result<Applied, Error>,
    },
    Barrier {
        op: u64,
        result: Result<(), Error>,
    },
    Renewed {
        op: u64,
        result: Result<i64, Error>,
    },
    /// A member's own command has ended.
    Chore {
        node: u64,
        boot: u64,
    },
}

#[derive(Clone, Default)]
pub(crate) struct Completions(Arc<Mutex<Vec<Completion>>>);

impl Completions {
    pub(crate) fn push(&self, completion: Completion) {
        self.0.lock().unwrap().push(completion);
    }

    fn take(&self) -> Vec<Completion> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// An operation that is not answered yet.
struct Pending {
    client: usize,
    node: u64,
    boot: u64,
    began: Moment,
    floor: Floor,
    op: Op,
    request: RequestId,
}

pub(crate) struct Clients {
    workload: Workload,
    pub(crate) watchers: Vec<WatchClient>,
    completions: Completions,
    pending: BTreeMap<u64, Pending>,
    next_op: u64,
    count: usize,
    wanted: u64,
    next_member: u64,
    /// A member step that the next operation takes instead of a drawn one.
    pub(crate) member_step: Option<MemberChange>,
    pub(crate) stopped: bool,
}

impl Clients {
    pub(crate) fn new(plan: &Plan, mix: &Mix, tick: Duration, dice: &mut Dice) -> Self {
        let count = mix.clients.min(plan.clients.unwrap_or(usize::MAX));
        let watchers = mix.watchers.min(plan.watchers.unwrap_or(usize::MAX));
        let ttl_max = (tick.as_millis() as u64 / 10).clamp(2, 10) * dice.between(1, 12);
        Self {
            workload: Workload::new(ttl_max, dice),
            watchers: (0..watchers).map(|_| WatchClient::new()).collect(),
            completions: Completions::default(),
            pending: BTreeMap::new(),
            next_op: 1,
            count,
            wanted: plan.operations.min(plan.until.unwrap_or(u64::MAX)),
            next_member: 100,
            member_step: None,
            stopped: false,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn issued(&self) -> u64 {
        self.next_op - 1
    }

    pub(crate) fn is_done(&self) -> bool {
        self.issued() >= self.wanted
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// No new operations from now on.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
    }

    /// Whether somebody waits for a change of members.
    pub(crate) fn changes_members(&self) -> bool {
        let mut ops = self.pending.values().map(|pending| &pending.op);
        ops.any(|op| matches!(op, Op::Command(Command::MemberChange(_))))
    }

    pub(crate) fn completions(&self) -> Completions {
        self.completions.clone()
    }

    pub(crate) fn new_member(&mut self) -> u64 {
        self.next_member += 1;
        self.next_member
    }

    /// A member crashed: whoever waits for it does not know what became of its operation.
    pub(crate) fn lost(&mut self, node: u64, boot: u64, totals: &mut Totals) -> Vec<usize> {
        let lost: Vec<u64> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.node == node && pending.boot == boot)
            .map(|(op, _)| *op)
            .collect();
        totals.ambiguous += lost.len() as u64;
        let gone = lost.into_iter().filter_map(|op| self.pending.remove(&op));
        gone.map(|pending| pending.client).collect()
    }
}

impl World {
    /// A member that a client can reach.
    pub(crate) fn reachable(&mut self) -> Option<u64> {
        let up: Vec<u64> = self
            .nodes
            .values()
            .filter(|node| node.is_running() && self.checker.roll.contains(node.id))
            .map(|node| node.id)
            .collect();
        self.dice.pick(&up).copied()
    }

    pub(crate) fn client_acts(&mut self, client: usize) -> Verdict {
        if self.clients.stopped {
            return Ok(());
        }
        let Some(node) = self.reachable() else {
            let wait = self.ticks(2, 10);
            self.after(wait, Event::Client(client));
            return Ok(());
        };
        let op = match self.clients.member_step.take() {
            Some(change) => Op::Command(Command::MemberChange(change)),
            None => {
                let number = self.clients.next_op;
                let mut dice = Dice::apart(self.plan.seed, Purpose::Operation, number);
                let of_tree = self.trees.draw(&self.checker, self.plan.seed, number);
                of_tree
                    .unwrap_or_else(|| self.clients.workload.draw(&self.checker.model, &mut dice))
            }
        };
        self.begin(client, node, op)
    }

    pub(crate) fn begin(&mut self, client: usize, id: u64, op: Op) -> Verdict {
        let number = self.clients.next_op;
        self.clients.next_op += 1;
        self.totals.operations += 1;
        for fault in self.faults.due(self.clients.issued()) {
            let wait = self.ticks(0, 3);
            self.after(wait, Event::Fault(fault));
        }
        let (low, high) = self.mix.patience;
        let patience = self.ticks(low, high);
        let node = self.nodes.get_mut(&id).expect("it is reachable");
        let local = node.drift.show(self.now, &node.clock);
        let boot = node.boot;
        let deadline = local + patience;
        let up = node.up.as_ref().expect("it is up");
        let completions = self.clients.completions();
        let mut request = RequestId::default();
        match &op {
            Op::Command(command) => {
                let done = Box::new(move |result| {
                    completions.push(Completion::Command { op: number, result })
                });
                request = up.handle.submit(command.clone(), deadline, done);
                self.checker.asked(request);
            }
            Op::Range(range) if range.serializable => {
                completions.push(Completion::Barrier { op: number, result: Ok(()) });
            }
            Op::Tree(read) if read.serializable => {
                completions.push(Completion::Barrier { op: number, result: Ok(()) });
            }
            Op::Range(_) | Op::ReadTxn(_) | Op::Tree(_) => {
                let done = Box::new(move |result| {
                    completions.push(Completion::Barrier { op: number, result })
                });
                up.handle.barrier(deadline, done);
            }
            Op::KeepAlive(lease) => {
                let done = Box::new(move |result| {
                    completions.push(Completion::Renewed { op: number, result })
                });
                up.handle.renew(*lease, deadline, done);
            }
        }
        let (began, floor) = (self.now, self.checker.floor());
        self.note(id, "begins", format_args!("op {number} of client {client}: {}", brief(&op)));
        let pending = Pending { client, node: id, boot, began, floor, op, request };
        self.clients.pending.insert(number, pending);
        self.poke(id);
        self.collect(id);
        self.complete()
    }

    /// Takes what members answered since the last step.
    pub(crate) fn complete(&mut self) -> Verdict {
        for completion in self.clients.completions.take() {
            let op = match &completion {
                Completion::Command { op, .. }
                | Completion::Barrier { op, .. }
                | Completion::Renewed { op, .. } => *op,
                Completion::Chore { node, boot } => {
                    let node = self.nodes.get_mut(node).filter(|node| node.boot == *boot);
                    if let Some(up) = node.and_then(|node| node.up.as_mut()) {
                        up.is_proposing = false;
                    }
                    continue;
                }
            };
            // Nobody waits any more when the member was lost in between.
            let Some(pending) = self.clients.pending.remove(&op) else { continue };
            let (client, node) = (pending.client, pending.node);
            let outcome = ended(&completion);
            match completion {
                Completion::Command { result, .. } => self.commanded(&pending, result)?,
                Completion::Barrier { result, .. } => self.read(&pending, result)?,
                Completion::Renewed { result, .. } => self.renewed(&pending, result)?,
                Completion::Chore { .. } => {}
            }
            self.note(node, "ends", format_args!("op {op}: {outcome}"));
            let wait = self.ticks(0, self.mix.rest);
            self.after(wait, Event::Client(client));
        }
        Ok(())
    }

    fn commanded(&mut self, pending: &Pending, result: Result<Applied, Error>) -> Verdict {
        match result {
            Ok(applied) => {
                self.totals.acknowledged += 1;
                self.checker.acknowledged(pending.request, pending.floor, &applied)?;
                if let Reply::LeaseGrant(grant) = &applied.reply {
                    self.leases.alive(grant.id, pending.began, applied.term)?;
                }
                Ok(())
            }
            Err(Error::Rejected(rejection)) => {
                self.totals.rejected += 1;
                self.checker.rejected(pending.request, rejection)
            }
            Err(error) => match error.retry() {
                Retry::NotProposed | Retry::Never => {
                    self.totals.not_proposed += 1;
                    self.checker.denied(pending.request, format!("its client was told {error:?}"))
                }
                Retry::Ambiguous => {
                    self.totals.ambiguous += 1;
                    Ok(())
                }
            },
        }
    }

    fn read(&mut self, pending: &Pending, result: Result<(), Error>) -> Verdict {
        if result.is_err() {
            return Ok(());
        }
        match self.read_at(pending) {
            Ok(verdict) => verdict,
            // Its client is told of the fault, and the member stops.
            Err(fault) if self.is_of_flipped_rows(pending.node, &fault) => Ok(()),
            Err(fault) => Err(Violation::new("fault", fault.to_string())),
        }
    }

    fn read_at(&mut self, pending: &Pending) -> Result<Verdict, Fault> {
        let Some(handle) = self.nodes.get(&pending.node).and_then(|node| node.handle()) else {
            return Ok(Ok(()));
        };
        let query = handle.query()?;
        self.totals.reads += 1;
        let revision = query.revision();
        match &pending.op {
            Op::Range(request) => {
                let floor = (!request.serializable).then_some(pending.floor);
                let answer = query.range(request)?;
                drop(query);
                let answer = answer.as_ref().map_err(|e| *e);
                if let Err(violation) = self.checker.range(request, revision, floor, answer) {
                    return Ok(Err(violation));
                }
                let counts = self.dice.in_thousand(100) && !self.is_suspect(pending.node);
                let up = self.nodes.get(&pending.node).and_then(|node| node.up.as_ref());
                Ok(match up.filter(|_| counts) {
                    Some(up) => counts_equal_walk(pending.node, up, request),
                    None => Ok(()),
                })
            }
            Op::ReadTxn(request) => {
                let answer = query.txn(request)?;
                drop(query);
                let floor = Some(pending.floor);
                Ok(self.checker.read_txn(request, revision, floor, answer.as_ref().map_err(|e| *e)))
            }
            Op::Tree(read) => {
                let now_ms = handle.clock().wall_ms();
                let answer = query.v2(read.path.as_bytes(), read.recursive, now_ms)?;
                drop(query);
                let floor = (!read.serializable).then_some(pending.floor);
                Ok(self.checker.tree_read(read, now_ms, floor, answer.as_ref()))
            }
            _ => Ok(Ok(())),
        }
    }

    fn renewed(&mut self, pending: &Pending, result: Result<i64, Error>) -> Verdict {
        let Op::KeepAlive(lease) = pending.op else { return Ok(()) };
        match result {
            Ok(ttl) if ttl > 0 => {
                self.totals.renewals += 1;
                let term =
                    self.checker.outcome(self.checker.next_index() - 1).map_or(1, |o| o.term);
                self.leases.alive(lease, pending.began, term)
            }
            Ok(_) => {
                // 0 says that it is not there: but it was before this began, and still is.
                let granted = self.leases.is_known_since(lease, pending.floor.index);
                let lives = self.checker.model.leases.contains_key(&lease);
                ensure(!(granted && lives), "answers", || {
                    format!("a keep-alive of lease {lease:x} was answered 0, and it lives")
                })
            }
            Err(_) => Ok(()),
        }
    }
}

/// How it ended, for the event log.
fn ended(completion: &Completion) -> String {
    match completion {
        Completion::Command { result: Ok(applied), .. } => {
            format!("index {} revision {}", applied.index, applied.revision)
        }
        Completion::Command { result: Err(error), .. }
        | Completion::Barrier { result: Err(error), .. }
        | Completion::Renewed { result: Err(error), .. } => format!("{error:?}"),
        Completion::Barrier { .. } => "read".to_owned(),
        Completion::Renewed { result: Ok(ttl), .. } => format!("{ttl} s left"),
        Completion::Chore { .. } => String::new(),
    }
}

fn brief(op: &Op) -> String {
    let mut text = format!("{op:?}");
    if text.len() > 160 {
        let end = (0..=160).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
    text
}
