//! Clients: each has one operation at a time, at any member that is up, and goes on when it is answered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate::base::{Moment, RequestId};
use quorate::engine::{Applied, Error, Retry};
use quorate::proto::etcdserverpb::Member;
use quorate::proto::quorate::log::MemberChange;
use quorate::proto::quorate::log::member_change::Kind;
use quorate::state::{Command, Reply};
use quorate::watch::Delivery;

use crate::checker::Floor;
use crate::dice::Dice;
use crate::invariants::counts_equal_walk;
use crate::totals::Totals;
use crate::violation::{Verdict, Violation, ensure};
use crate::watchers::WatchClient;
use crate::workload::{Op, Workload};
use crate::world::{Event, Plan, World, member};

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
    /// Longest rest between two operations, ticks.
    rest: u32,
    next_member: u64,
    /// A member step that the next operation takes instead of a drawn one.
    pub(crate) member_step: Option<MemberChange>,
    stopped: bool,
}

impl Clients {
    pub(crate) fn new(plan: &Plan, tick: Duration, dice: &mut Dice) -> Self {
        let count = dice.between(4, 16) as usize;
        let ttl_max = (tick.as_millis() as u64 / 10).clamp(2, 10) * dice.between(1, 12);
        Self {
            workload: Workload::new(ttl_max, dice),
            watchers: (0..dice.between(2, 4)).map(|_| WatchClient::new()).collect(),
            completions: Completions::default(),
            pending: BTreeMap::new(),
            next_op: 1,
            count,
            wanted: plan.operations,
            rest: dice.between(1, 6) as u32,
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
    fn reachable(&mut self) -> Option<u64> {
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
            None => self.clients.workload.draw(&self.checker.model, &mut self.dice),
        };
        self.begin(client, node, op)
    }

    pub(crate) fn begin(&mut self, client: usize, id: u64, op: Op) -> Verdict {
        let number = self.clients.next_op;
        self.clients.next_op += 1;
        self.totals.operations += 1;
        if self.faults.is_due(self.clients.issued()) {
            let wait = self.ticks(0, 3);
            self.after(wait, Event::Fault);
        }
        let patience = self.ticks(20, 150);
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
            Op::Range(_) | Op::ReadTxn(_) => {
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
        self.note(format_args!("client {client} at {id}: op {number} {}", brief(&op)));
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
            let client = pending.client;
            match completion {
                Completion::Command { result, .. } => self.commanded(&pending, result)?,
                Completion::Barrier { result, .. } => self.read(&pending, result)?,
                Completion::Renewed { result, .. } => self.renewed(&pending, result)?,
                Completion::Chore { .. } => {}
            }
            self.note(format_args!("op {op} ends"));
            let wait = self.ticks(0, self.clients.rest);
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
        let failed = |fault: quorate::storage::Fault| Violation::new("fault", fault.to_string());
        let Some(handle) = self.nodes.get(&pending.node).and_then(|node| node.handle()) else {
            return Ok(());
        };
        let query = handle.query().map_err(failed)?;
        self.totals.reads += 1;
        let revision = query.revision();
        match &pending.op {
            Op::Range(request) => {
                let floor = (!request.serializable).then_some(pending.floor);
                let answer = query.range(request).map_err(failed)?;
                drop(query);
                self.checker.range(request, revision, floor, answer.as_ref().map_err(|e| *e))?;
                let up = self.nodes.get(&pending.node).and_then(|node| node.up.as_ref());
                match up.filter(|_| self.dice.in_thousand(100)) {
                    Some(up) => counts_equal_walk(pending.node, up, request),
                    None => Ok(()),
                }
            }
            Op::ReadTxn(request) => {
                let answer = query.txn(request).map_err(failed)?;
                drop(query);
                let floor = Some(pending.floor);
                self.checker.read_txn(request, revision, floor, answer.as_ref().map_err(|e| *e))
            }
            _ => Ok(()),
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

    /// A change of members that makes sense now.
    pub(crate) fn draw_member_step(&mut self) {
        let roll = &self.checker.roll;
        let (voters, learners) = (roll.voters(), roll.learners());
        let change =
            |kind: Kind, member: Member| MemberChange { kind: kind as i32, member: Some(member) };
        let named = |id| Member { id, ..Member::default() };
        let step = match learners.first() {
            Some(&learner) if self.dice.in_thousand(700) => change(Kind::Promote, named(learner)),
            Some(&learner) if self.dice.in_thousand(300) => change(Kind::Remove, named(learner)),
            _ if voters.len() > 2 && self.dice.in_thousand(450) => {
                let out = *self.dice.pick(&voters).expect("there are some");
                change(Kind::Remove, named(out))
            }
            _ if voters.len() >= 7 => return,
            _ => {
                let id = self.clients.new_member();
                let new = Member { name: String::new(), client_ur_ls: Vec::new(), ..member(id) };
                let learner = learners.is_empty() && self.dice.in_thousand(600);
                change(if learner { Kind::AddLearner } else { Kind::AddVoter }, new)
            }
        };
        self.clients.member_step = Some(step);
    }

    pub(crate) fn watcher_acts(&mut self, number: usize) -> Verdict {
        if self.clients.stopped {
            return Ok(());
        }
        let at = self.clients.watchers[number].at;
        let alive = at.filter(|(id, boot)| {
            self.nodes.get(id).is_some_and(|node| node.boot == *boot && node.up.is_some())
        });
        match alive {
            None => self.watch_elsewhere(number)?,
            Some((id, _)) if self.nodes[&id].is_paused => {}
            Some((id, _)) => match self.dice.below(12) {
                0 if self.clients.watchers[number].len() < 6 => {
                    let spec =
                        self.clients.watchers[number].draw(&self.checker.model, &mut self.dice);
                    self.with_stream(id, number, |stream| stream.create(spec));
                }
                1 => {
                    if let Some(watcher) = self.clients.watchers[number].cancel(&mut self.dice) {
                        self.with_stream(id, number, |stream| stream.cancel(watcher));
                    }
                }
                2 => self.with_stream(id, number, |stream| stream.progress()),
                3 if self.dice.in_thousand(200) => self.watch_elsewhere(number)?,
                // Slow: whatever is queued stays there.
                4 => {}
                _ => self.take_deliveries(number)?,
            },
        }
        let wait = self.ticks(0, 12);
        self.after(wait, Event::Watch(number));
        Ok(())
    }

    fn with_stream(
        &mut self,
        id: u64,
        number: usize,
        work: impl FnOnce(&quorate::engine::WatchStream),
    ) {
        let up = self.nodes.get(&id).and_then(|node| node.up.as_ref());
        if let Some(stream) = up.and_then(|up| up.streams.get(&number)) {
            work(stream);
            self.poke(id);
        }
    }

    /// Opens the stream at another member (or the same again) and asks for everything from where it was heard.
    pub(crate) fn watch_elsewhere(&mut self, number: usize) -> Verdict {
        if let Some((old, boot)) = self.clients.watchers[number].at.take()
            && let Some(node) = self.nodes.get_mut(&old).filter(|node| node.boot == boot)
            && let Some(up) = node.up.as_mut()
        {
            up.streams.remove(&number);
        }
        let Some(id) = self.reachable() else { return Ok(()) };
        let Some(node) = self.nodes.get_mut(&id) else { return Ok(()) };
        let boot = node.boot;
        let Some(up) = node.up.as_mut() else { return Ok(()) };
        let stream = up.handle.watch_stream();
        for spec in self.clients.watchers[number].reconnected(&mut self.totals) {
            stream.create(spec);
        }
        up.streams.insert(number, stream);
        self.clients.watchers[number].at = Some((id, boot));
        self.note(format_args!("watch client {number} is at {id}"));
        self.poke(id);
        Ok(())
    }

    /// Everything that waits on a stream; true if there was anything.
    pub(crate) fn take_deliveries(&mut self, number: usize) -> Result<(), Violation> {
        let Some((id, boot)) = self.clients.watchers[number].at else { return Ok(()) };
        let node = self.nodes.get(&id).filter(|node| node.boot == boot);
        let stream = node.and_then(|node| node.up.as_ref()).and_then(|up| up.streams.get(&number));
        let Some(deliveries) = stream.and_then(|stream| stream.take()) else { return Ok(()) };
        self.trace.note(self.now, format_args!("watch client {number} takes {}", deliveries.len()));
        for delivered in &deliveries {
            self.checker.saw(told_revision(&delivered.delivery));
        }
        let watcher = &mut self.clients.watchers[number];
        let again = watcher.take(&deliveries, &self.checker.model, &mut self.totals)?;
        self.poke(id);
        for spec in again {
            self.with_stream(id, number, |stream| stream.create(spec));
        }
        Ok(())
    }
}

/// The revision that a delivery shows to a client; 0 for none.
pub(crate) fn told_revision(delivery: &Delivery) -> i64 {
    match delivery {
        Delivery::Created { revision, .. } | Delivery::Progress { revision, .. } => *revision,
        Delivery::Events { batch, .. } => batch.revision,
        Delivery::Refused { .. } | Delivery::Canceled { .. } => 0,
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
