//! Members running: their turns, and what is looked at after each.

use std::time::Duration;

use quorate::base::Moment;
use quorate::consensus::RoleKind;
use quorate::keepers::Keeper;
use quorate::proto::quorate::log::MemberPublish;
use quorate::proto::quorate::log::member_change::Kind;
use quorate::state::Command;
use quorate::storage::Fault;

use crate::checker::adds;
use crate::clients::Completion;
use crate::disk::Keep;
use crate::invariants::StateAgreement;
use crate::node::{Turn, Unopened, Up};
use crate::sabotage::Harm;
use crate::trace::Trace;
use crate::violation::{Verdict, Violation};
use crate::world::{Event, World, member};

impl World {
    pub(crate) fn start(&mut self, id: u64) -> Verdict {
        let founders =
            self.founders.iter().any(|founder| founder.id == id).then(|| self.founders.clone());
        let Some(node) = self.nodes.get_mut(&id) else { return Ok(()) };
        if node.up.is_some() || node.is_retired || node.is_damaged {
            return Ok(());
        }
        let durable = node.last_durable.applied;
        let recovered = match node.start(&self.limits, founders.as_deref(), self.now) {
            Ok(recovered) => recovered,
            Err(Unopened::Damaged(text)) => return self.refused(id, &text),
            Err(Unopened::Broken(violation)) => return Err(violation),
        };
        let boot = node.boot;
        let applied = node.up.as_ref().map_or(0, |up| up.store.stamp().applied);
        if let Some(recovered) = &recovered {
            self.totals.torn_tails += u64::from(recovered.cut.is_some());
            self.applied.reopened(id, durable, applied)?;
        }
        self.note(id, "start", format_args!("boot {boot} applied {applied} {recovered:?}"));
        self.poke(id);
        self.after(self.limits.tick, Event::Tick { node: id, boot });
        Ok(())
    }

    /// Something came for a member: each of its turns will run soon, in an order of the dice.
    pub(crate) fn poke(&mut self, id: u64) {
        let tick = self.limits.tick;
        for (place, turn) in Turn::ALL.into_iter().enumerate() {
            let Some(node) = self.nodes.get_mut(&id) else { return };
            let boot = node.boot;
            let Some(up) = node.up.as_mut() else { return };
            if std::mem::replace(&mut up.scheduled[place], true) {
                continue;
            }
            let (low, high) = match turn {
                Turn::Driver => (Duration::ZERO, tick / 200),
                Turn::Log => (tick / 200, tick / 10),
                Turn::Applier => (Duration::ZERO, tick / 50),
                Turn::Checkpoint => (Duration::ZERO, tick / 2),
                Turn::Snapshots => (Duration::ZERO, tick),
                Turn::Hub => (Duration::ZERO, tick / 20),
            };
            let mut wait = self.dice.span(low, high);
            if self.dice.in_thousand(5) {
                wait = wait * 40 + tick;
            }
            self.after(wait, Event::Turn { node: id, boot, turn });
        }
    }

    pub(crate) fn turn(&mut self, id: u64, boot: u64, turn: Turn) -> Verdict {
        let place = Turn::ALL.iter().position(|other| *other == turn).expect("it is one of them");
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.boot == boot) else {
            return Ok(());
        };
        let local = node.drift.show(self.now, &node.clock);
        let stalled_until = node.stalled_until;
        let is_held = node.is_paused || node.frozen == Some(turn);
        let Some(up) = node.up.as_mut() else { return Ok(()) };
        if is_held {
            up.scheduled[place] = false;
            return Ok(());
        }
        if turn == Turn::Log && stalled_until > self.now {
            if up.parts.log.has_work() {
                up.parts.log.begin(local);
            }
            self.at(stalled_until, Event::Turn { node: id, boot, turn });
            return Ok(());
        }
        up.scheduled[place] = false;
        if turn == Turn::Checkpoint && self.faults.crashes_in_checkpoint(id).is_some() {
            return self.checkpoint_in_danger(id, local);
        }
        self.take_turn(id, turn, local).map(drop)
    }

    /// The turn itself and what follows from it. False if the member did not survive it.
    pub(crate) fn take_turn(
        &mut self,
        id: u64,
        turn: Turn,
        local: Moment,
    ) -> Result<bool, Violation> {
        let node = self.nodes.get_mut(&id);
        let Some(up) = node.and_then(|node| node.up.as_mut()) else { return Ok(false) };
        let before = up.store.stamp().applied;
        let generation = up.store.generation();
        let busy = match up.turn(turn, local) {
            Ok(busy) => busy,
            Err(fault) => return self.faulted(id, turn, &fault).map(|()| false),
        };
        let switched = up.store.generation() != generation;
        if busy {
            note_turn(&mut self.trace, self.now, id, turn, up);
        }
        if switched && turn == Turn::Checkpoint && Harm::CrashesAfterRewrites.is_on() {
            return self.crash_in_checkpoint(id, "after a rewrite, before").map(|()| false);
        }
        match turn {
            Turn::Checkpoint => self.totals.rewritten_databases += u64::from(switched),
            _ => self.totals.snapshot_installs += u64::from(switched),
        }
        self.look(id, turn, before)?;
        self.collect(id);
        self.complete()?;
        if busy {
            self.poke(id);
        }
        Ok(true)
    }

    /// What must hold after a turn of this kind.
    fn look(&mut self, id: u64, turn: Turn, applied_before: u64) -> Verdict {
        match turn {
            Turn::Driver => self.look_at_driver(id),
            Turn::Applier => self.look_at_applier(id, applied_before),
            _ => Ok(()),
        }
    }

    fn look_at_driver(&mut self, id: u64) -> Verdict {
        let Some(up) = self.nodes.get(&id).and_then(|node| node.up.as_ref()) else { return Ok(()) };
        self.logs.check(id, &up.log)?;
        let status = up.parts.driver.core().status();
        self.completeness.seen(status.term, status.commit);
        if status.role == RoleKind::Leader {
            if self.elections.leads(id, status.term)? {
                self.completeness.check(&status, &up.log, &self.checker)?;
                self.totals.leader_changes += 1;
                self.note(id, "leads", format_args!("term {}", status.term));
            }
            self.quorums.check(&status, &self.nodes)?;
            self.membership.check(&status)?;
        }
        Ok(())
    }

    /// New entries go to the checker, in order, the first time anybody applies them.
    fn look_at_applier(&mut self, id: u64, before: u64) -> Verdict {
        let Some(node) = self.nodes.get(&id) else { return Ok(()) };
        let Some(up) = node.up.as_ref() else { return Ok(()) };
        let boot = node.boot;
        let stamp = up.store.stamp();
        if stamp.applied == before {
            return Ok(());
        }
        self.applied.applied(id, boot, stamp.applied)?;
        self.completeness.seen(up.parts.driver.core().status().term, stamp.applied);
        self.revisions.check(id, boot, stamp.revision, stamp.compacted)?;
        let mut low = (before + 1).max(up.log.first_index());
        let mut fresh = Vec::new();
        while low <= stamp.applied {
            let unreadable = |fault: Fault| Violation::new("fault", format!("{id}: {fault}"));
            let entries = up.log.read(low, stamp.applied + 1, 1 << 20).map_err(unreadable)?;
            for entry in &entries {
                if self.committed.applied(id, entry)? {
                    fresh.push(entry.clone());
                }
            }
            let Some(last) = entries.last() else { break };
            low = last.index + 1;
        }
        for entry in fresh {
            self.totals.entries += 1;
            let index = entry.index;
            if let Some(envelope) = self.checker.commit(&entry)? {
                let is_ok =
                    self.checker.outcome(index).is_some_and(|o| !matches!(o.result, Some(Err(_))));
                self.committed_command(&envelope, is_ok, entry.term)?;
            }
        }
        StateAgreement::stamp(id, stamp, &self.checker)
    }

    /// What the world itself has to do about a command that is committed.
    fn committed_command(
        &mut self,
        envelope: &quorate::state::Envelope,
        is_ok: bool,
        term: u64,
    ) -> Verdict {
        match envelope.command.as_ref() {
            Some(Command::MemberChange(change)) if is_ok => {
                self.totals.member_changes += 1;
                self.membership.changed(self.checker.next_index() - 1, &self.checker.roll);
                let id = change.member.as_ref().map_or(0, |member| member.id);
                self.note(id, "member", format_args!("{:?}", change.kind()));
                if adds(change.kind()) {
                    let wait = self.ticks(0, 20);
                    self.after(wait, Event::Join { node: id });
                } else if change.kind() == Kind::Remove {
                    let wait = self.ticks(0, 60);
                    self.after(wait, Event::Retire { node: id });
                }
            }
            Some(Command::Compact(_)) if is_ok => self.totals.compactions += 1,
            Some(Command::V2(_)) if is_ok => self.totals.tree_requests += 1,
            Some(Command::V2Auth(_)) if is_ok => self.totals.tree_users += 1,
            Some(Command::V2Sync(sync)) if is_ok => {
                self.expired_in_time(envelope.origin_member, *sync)?;
            }
            Some(Command::LeaseGrant(grant)) if is_ok => {
                let index = self.checker.next_index() - 1;
                self.leases.granted(grant.id, grant.ttl, index);
            }
            Some(Command::LeaseRevoke(revoke)) if is_ok && envelope.leader_term != 0 => {
                for &lease in &revoke.ids {
                    if self.checker.model.leases.contains_key(&lease) {
                        continue; // another lease under the same id
                    }
                    self.totals.lease_expiries += 1;
                    if let Some(alive) = self.leases.expired(lease, self.now)? {
                        self.totals.lease_expiries_across_leaders += u64::from(alive != term);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn tick(&mut self, id: u64, boot: u64) -> Verdict {
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.boot == boot) else {
            return Ok(());
        };
        let local = node.drift.show(self.now, &node.clock);
        if node.up.is_none() {
            return Ok(());
        }
        if node.is_running() {
            self.keepers(id, local);
            self.poke(id);
        }
        let Some(node) = self.nodes.get(&id) else { return Ok(()) };
        let Some(up) = node.up.as_ref() else { return Ok(()) };
        let due = node.drift.world(up.parts.driver.wake_at()).max(self.now + self.limits.tick / 4);
        self.at(due, Event::Tick { node: id, boot });
        self.complete()
    }

    /// A member's own chores: what has expired, what is to be recorded, who it is.
    fn keepers(&mut self, id: u64, local: Moment) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let boot = node.boot;
        let Some(up) = node.up.as_mut().filter(|up| !up.is_proposing) else { return };
        let members = up.parts.applier.machine().members();
        let me = quorate::base::MemberId(id);
        let is_nameless = members.member(me).is_some_and(|member| member.name.is_empty());
        let due = up.expiry.next(local, &up.handle).or_else(|| up.recorder.next(local, &up.handle));
        let due = due.or_else(|| up.tree.next(local, &up.handle));
        let publish = || Command::MemberPublish(MemberPublish { member: Some(member(id)) });
        let due = due.or_else(|| is_nameless.then(|| (0, publish())));
        let Some((term, command)) = due else { return };
        up.is_proposing = true;
        let completions = self.clients.completions();
        let done = Box::new(move |_| completions.push(Completion::Chore { node: id, boot }));
        up.handle.submit_as(command, term, local + self.limits.tick * 50, done);
    }

    /// A turn met a fault: right if its disk was made to fail, and then the process ends.
    fn faulted(&mut self, id: u64, turn: Turn, fault: &Fault) -> Verdict {
        let text = self.without_paths(&fault.to_string());
        self.note(id, "faulted", format_args!("{turn:?}: {text}"));
        if self.is_of_flipped_rows(id, fault) {
            self.crash(id, true)?;
            return self.refused(id, &fault.to_string());
        }
        if !self.faults.excuses(id) {
            return Err(Violation::new("fault", format!("{id} {turn:?}: {fault}")));
        }
        self.totals.faulted_disks += 1;
        let is_power_cut = self.nodes.get(&id).is_some_and(|node| node.disk.is_burnt());
        let power = is_power_cut || self.dice.in_thousand(500);
        self.crash(id, power)?;
        let wait = self.ticks(1, 40);
        self.after(wait, Event::Start { node: id });
        Ok(())
    }

    /// The process ends, and the power too if `power`.
    pub(crate) fn crash(&mut self, id: u64, power: bool) -> Verdict {
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.up.is_some()) else {
            return Ok(());
        };
        let boot = node.boot;
        let waited = self.clients.lost(id, boot, &mut self.totals);
        self.transfers.retain(|_, transfer| transfer.from != id);
        let keep = if power { Some(Keep::Dice(self.dice.raw())) } else { None };
        let torn = node.crash(keep)?;
        node.disk.set_capacity(None);
        node.disk.fail_syncs(0);
        self.faults.disk_is_new(id);
        self.totals.crashes += 1;
        self.totals.torn_files += torn;
        self.note(id, "crash", format_args!("power {power} torn {torn}"));
        for client in waited {
            let wait = self.ticks(0, 5);
            self.after(wait, Event::Client(client));
        }
        Ok(())
    }

    pub(crate) fn resume(&mut self, id: u64) -> Verdict {
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.is_paused) else {
            return Ok(());
        };
        node.is_paused = false;
        let boot = node.boot;
        self.note(id, "resume", format_args!("boot {boot}"));
        for event in std::mem::take(&mut self.held) {
            let wait = self.dice.span(Duration::ZERO, self.limits.tick / 10);
            self.after(wait, event);
        }
        self.poke(id);
        Ok(())
    }

    /// A turn of a member runs no more, or again.
    pub(crate) fn freeze(&mut self, id: u64, turn: Turn, frozen: bool) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.frozen = frozen.then_some(turn);
            self.poke(id);
        }
    }

    /// A removed member is switched off for good.
    pub(crate) fn retire(&mut self, id: u64) -> Verdict {
        self.crash(id, true)?;
        if let Some(node) = self.nodes.get_mut(&id) {
            node.is_retired = true;
        }
        self.note(id, "retire", format_args!("for good"));
        Ok(())
    }

    /// A member that was added starts with an empty directory.
    pub(crate) fn join(&mut self, id: u64) -> Verdict {
        if self.nodes.contains_key(&id) {
            return Ok(());
        }
        self.add_node(id);
        self.start(id)
    }
}

/// A line of the event log for a turn that did something.
fn note_turn(trace: &mut Trace, now: Moment, id: u64, turn: Turn, up: &Up) {
    let stamp = up.store.stamp();
    let (applied, revision, compacted) = (stamp.applied, stamp.revision, stamp.compacted);
    if turn != Turn::Driver {
        let text =
            format_args!("{turn:?} applied {applied} revision {revision} compacted {compacted}");
        return trace.note(now, id, "turn", text);
    }
    let status = up.parts.driver.core().status();
    let (role, term, commit, last) = (status.role, status.term, status.commit, up.log.last_index());
    let leader = status.leader.map_or(0, |leader| leader.0);
    let text = format_args!(
        "Driver role {role:?} term {term} leader {leader} commit {commit} last {last} applied {applied} revision {revision}"
    );
    trace.note(now, id, "turn", text);
}
