//! What goes wrong, when, and how it is mended again.
//!
//! Each fault has a number and dice of its own: left out, it does not change what the others are.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::task::{Context, Waker};
use std::time::Duration;

use quorate::base::MemberId;
use quorate::consensus::RoleKind;

use crate::clock::STEADY_PPM;
use crate::dice::{Dice, Purpose};
use crate::network::Weather;
use crate::violation::Verdict;
use crate::world::{Event, Plan, World};

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Kind {
    Crash,
    CrashLeader,
    CrashAll,
    /// All members lose their power while one of them commits a checkpoint.
    PowerCut,
    PowerInTheMiddle,
    CrashInCheckpoint,
    /// In the log or in the database of a member that is down.
    FlippedBits,
    Pause,
    Stall,
    FailedSync,
    FullDisk,
    Isolate,
    Split,
    OneWay,
    RoughWeather,
    Drift,
    Transfer,
    Checkpoint,
    Rewrite,
    MemberStep,
}

/// Where in a checkpoint a member crashes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum When {
    Before,
    /// Its pages are written and not synced.
    Inside,
    After,
    /// Inside, and all other members crash, too.
    InsideWithAll,
}

pub(crate) struct Faults {
    /// Operations after which each of them comes, ascending.
    at: Vec<u64>,
    /// Those that have come, or were passed over.
    come: usize,
    without: BTreeSet<u64>,
    is_over: bool,
    /// Crash at the next checkpoint.
    in_checkpoint: BTreeMap<u64, When>,
    /// Members whose disks were made to fail.
    failing: BTreeSet<u64>,
    /// Network faults that are on.
    cuts: u64,
    count: u64,
}

impl Faults {
    pub(crate) fn new(at: Vec<u64>, plan: &Plan) -> Self {
        Self {
            at,
            come: 0,
            without: plan.without.clone(),
            is_over: false,
            in_checkpoint: BTreeMap::new(),
            failing: BTreeSet::new(),
            cuts: 0,
            count: 0,
        }
    }

    /// The numbers of the faults that come after so many operations.
    pub(crate) fn due(&mut self, issued: u64) -> Vec<u64> {
        let mut due = Vec::new();
        while !self.is_over && self.at.get(self.come).is_some_and(|at| *at <= issued) {
            self.come += 1;
            let number = self.come as u64;
            if !self.without.contains(&number) {
                due.push(number);
            }
        }
        due
    }

    /// The numbers of those that have come.
    pub(crate) fn come(&self) -> Vec<u64> {
        (1..=self.come as u64).filter(|number| !self.without.contains(number)).collect()
    }

    /// Whether this member is to crash at this place of its checkpoint.
    pub(crate) fn crashes_in_checkpoint(&self, id: u64) -> Option<When> {
        self.in_checkpoint.get(&id).copied()
    }

    pub(crate) fn crashed_in_checkpoint(&mut self, id: u64) {
        self.in_checkpoint.remove(&id);
    }

    /// Whether a fault of this member's disk is to be expected.
    pub(crate) fn excuses(&self, id: u64) -> bool {
        self.failing.contains(&id)
    }

    pub(crate) fn disk_is_new(&mut self, id: u64) {
        self.failing.remove(&id);
    }
}

impl World {
    pub(crate) fn inject_fault(&mut self, number: u64) -> Verdict {
        if self.faults.is_over {
            return Ok(());
        }
        let mut dice = Dice::apart(self.plan.seed, Purpose::Fault, number);
        let kind = dice.weighted(&self.mix.kinds);
        let Some(id) =
            self.victim(matches!(kind, Kind::CrashLeader | Kind::Stall | Kind::Pause), &mut dice)
        else {
            return Ok(());
        };
        self.note(id, "fault", format_args!("{number} {kind:?}"));
        self.totals.faults += 1;
        self.inject(kind, id, &mut dice)
    }

    fn inject(&mut self, kind: Kind, id: u64, dice: &mut Dice) -> Verdict {
        let tick = self.limits.tick;
        let mut lasting = |(low, high): (u32, u32)| dice.span(tick * low, tick * high);
        let (short, long) = (lasting(self.mix.short), lasting(self.mix.long));
        match kind {
            Kind::Crash | Kind::CrashLeader => self.crash_for(id, long, dice)?,
            Kind::CrashAll => self.crash_all(None, dice)?,
            Kind::PowerCut => {
                self.faults.in_checkpoint.insert(id, When::InsideWithAll);
                self.force_checkpoint(id);
            }
            Kind::PowerInTheMiddle => {
                self.faults.failing.insert(id);
                self.nodes[&id].disk.burn_after(dice.between(1, 8));
            }
            Kind::CrashInCheckpoint => {
                let when = [When::Before, When::Inside, When::Inside, When::After][dice.below(4)];
                self.faults.in_checkpoint.insert(id, when);
                self.force_checkpoint(id);
            }
            Kind::FlippedBits => self.flip_bits(id, long, dice)?,
            Kind::Pause => self.pause(id, long),
            Kind::Stall => self.stall(id, long),
            Kind::FailedSync => {
                self.faults.failing.insert(id);
                self.nodes[&id].disk.fail_syncs(1);
            }
            Kind::FullDisk => {
                self.faults.failing.insert(id);
                self.nodes[&id].disk.set_capacity(Some(0));
            }
            Kind::Isolate => self.cut(&[id], true, true, long),
            Kind::Split => {
                let mut ids: Vec<u64> = self.nodes.keys().copied().collect();
                dice.shuffle(&mut ids);
                ids.truncate(ids.len().div_ceil(2));
                self.cut(&ids, true, true, long);
            }
            Kind::OneWay => {
                let inbound = dice.in_thousand(500);
                self.cut(&[id], inbound, !inbound, long);
            }
            Kind::RoughWeather => {
                self.net.weather = Weather::rough(tick, dice);
                self.mend_after(long);
            }
            Kind::Drift => self.drift(id, dice),
            Kind::Transfer => self.transfer_leader(id, short),
            Kind::Checkpoint => self.force_checkpoint(id),
            Kind::Rewrite => self.rewrite(id),
            Kind::MemberStep => self.draw_member_step(dice),
        }
        Ok(())
    }

    /// A client asks for the disk space that the database does not use; whether it gets any is not compared.
    fn rewrite(&mut self, id: u64) {
        if let Some(handle) = self.nodes.get(&id).and_then(|node| node.handle()) {
            handle.submit_rewrite(Box::new(|_| {}));
            self.poke(id);
        }
    }

    /// Somebody who is running: the leader, if it is to be.
    fn victim(&self, prefers_leader: bool, dice: &mut Dice) -> Option<u64> {
        let running: Vec<u64> =
            self.nodes.values().filter(|node| node.is_running()).map(|node| node.id).collect();
        let leader = self.leader().filter(|_| prefers_leader);
        leader.or_else(|| dice.pick(&running).copied())
    }

    /// The running leader of the highest term.
    pub(crate) fn leader(&self) -> Option<u64> {
        let statuses = self.nodes.values().filter(|node| node.is_running()).filter_map(|node| {
            let status = node.up.as_ref()?.parts.driver.core().status();
            (status.role == RoleKind::Leader).then_some((status.term, node.id))
        });
        statuses.max().map(|(_, id)| id)
    }

    /// All but one: with the power, each with its own luck, or only their processes.
    pub(crate) fn crash_all(&mut self, but: Option<u64>, dice: &mut Dice) -> Verdict {
        let power = but.is_some() || dice.in_thousand(700);
        let ids: Vec<u64> = self.nodes.keys().copied().filter(|id| Some(*id) != but).collect();
        for id in ids {
            if self.nodes[&id].up.is_some() {
                self.crash(id, power)?;
                let wait = dice.span(self.limits.tick, self.limits.tick * 40);
                self.after(wait, Event::Start { node: id });
            }
        }
        self.totals.crashes_of_all += 1;
        Ok(())
    }

    fn crash_for(&mut self, id: u64, down: Duration, dice: &mut Dice) -> Verdict {
        let power = dice.in_thousand(700);
        self.crash(id, power)?;
        self.after(down, Event::Start { node: id });
        Ok(())
    }

    fn pause(&mut self, id: u64, length: Duration) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.is_paused = true;
            self.totals.pauses += 1;
            self.note(id, "paused", format_args!("for {length:?}"));
            self.after(length, Event::Resume { node: id });
        }
    }

    fn stall(&mut self, id: u64, length: Duration) {
        let until = self.now + length;
        if let Some(node) = self.nodes.get_mut(&id) {
            node.stalled_until = until;
            self.totals.stalls += 1;
        }
    }

    /// Cuts the links between these members and the others.
    fn cut(&mut self, inside: &[u64], inbound: bool, outbound: bool, length: Duration) {
        let others: Vec<u64> =
            self.nodes.keys().copied().filter(|id| !inside.contains(id)).collect();
        for &one in inside {
            for &other in &others {
                if outbound {
                    self.net.cut(one, other);
                }
                if inbound {
                    self.net.cut(other, one);
                }
            }
        }
        self.totals.partitions += 1;
        let cuts: Vec<String> =
            self.net.cuts().map(|(from, to)| format!("n{from}>n{to}")).collect();
        self.note(0, "cut", format_args!("{}", cuts.join(" ")));
        self.mend_after(length);
    }

    fn mend_after(&mut self, length: Duration) {
        self.faults.count += 1;
        self.faults.cuts = self.faults.count;
        let fault = self.faults.count;
        self.after(length, Event::Heal(fault));
    }

    /// The network is whole again, unless a later fault has it.
    pub(crate) fn heal(&mut self, fault: u64) -> Verdict {
        if self.faults.cuts == fault {
            self.net.mend_all();
            self.net.weather = self.mix.weather;
            self.note(0, "heal", format_args!("the network is whole"));
        }
        Ok(())
    }

    fn drift(&mut self, id: u64, dice: &mut Dice) {
        let most = self.mix.drift_ppm;
        let ppm = dice.between(STEADY_PPM - most, STEADY_PPM + most);
        self.totals.drifting_clocks += 1;
        let now = self.now;
        if let Some(node) = self.nodes.get_mut(&id) {
            node.drift.set_ppm(now, ppm);
        }
    }

    fn transfer_leader(&mut self, to: u64, patience: Duration) {
        let Some(leader) = self.leader() else { return };
        let local = self.nodes[&leader].local(self.now);
        if let Some(handle) = self.nodes[&leader].handle().cloned() {
            poll_once(handle.transfer_leader(MemberId(to), local + patience));
        }
        self.poke(leader);
    }

    pub(crate) fn force_checkpoint(&mut self, id: u64) {
        if let Some(handle) = self.nodes[&id].handle().cloned() {
            poll_once(handle.checkpoint());
        }
        self.poke(id);
    }

    /// Everybody is up and can reach everybody; nothing new goes wrong.
    pub(crate) fn heal_everything(&mut self) -> Verdict {
        self.note(0, "heal", format_args!("everything is mended"));
        self.clients.stop();
        self.faults.is_over = true;
        self.faults.in_checkpoint.clear();
        self.net.mend_all();
        self.net.weather = Weather::fair(self.limits.tick);
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        for id in ids {
            let now = self.now;
            let Some(node) = self.nodes.get_mut(&id) else { continue };
            node.disk.set_capacity(None);
            node.disk.fail_syncs(0);
            node.disk.mend();
            node.stalled_until = now;
            node.drift.set_ppm(now, STEADY_PPM);
            self.faults.disk_is_new(id);
            self.resume(id)?;
            self.start(id)?;
            self.poke(id);
        }
        Ok(())
    }
}

/// Lets a call leave its message; what it would be answered is of no interest.
fn poll_once<T>(call: impl Future<Output = T>) {
    let mut call = Box::pin(call);
    let _ = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
}
