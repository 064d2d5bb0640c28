//! What goes wrong, when, and how it is mended again.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::task::{Context, Waker};
use std::time::Duration;

use quorate::base::MemberId;
use quorate::consensus::RoleKind;

use crate::clock::STEADY_PPM;
use crate::network::Weather;
use crate::violation::Verdict;
use crate::world::{Event, World};

/// Most that a clock gains or loses, parts per million.
const DRIFT_PPM: u64 = 50_000;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Crash,
    CrashLeader,
    CrashAll,
    PowerInTheMiddle,
    CrashInCheckpoint,
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

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum When {
    Before,
    After,
}

pub(crate) struct Faults {
    /// Operations after which the next one comes.
    next_at: u64,
    every: u64,
    left: u64,
    /// Crash at the next checkpoint.
    in_checkpoint: BTreeMap<u64, When>,
    /// Members whose disks were made to fail.
    failing: BTreeSet<u64>,
    /// Network faults that are on.
    cuts: u64,
    count: u64,
}

impl Faults {
    pub(crate) fn new(count: u64, operations: u64) -> Self {
        let every = operations.checked_div(count + 1).unwrap_or(u64::MAX);
        Self {
            next_at: every,
            every,
            left: count,
            in_checkpoint: BTreeMap::new(),
            failing: BTreeSet::new(),
            cuts: 0,
            count: 0,
        }
    }

    /// Whether a fault comes after so many operations.
    pub(crate) fn is_due(&mut self, issued: u64) -> bool {
        if self.left == 0 || issued < self.next_at {
            return false;
        }
        self.left -= 1;
        self.next_at += self.every;
        true
    }

    pub(crate) fn crash_before_checkpoint(&mut self, id: u64) -> bool {
        self.in_checkpoint.get(&id) == Some(&When::Before)
            && self.in_checkpoint.remove(&id).is_some()
    }

    pub(crate) fn crash_after_checkpoint(&mut self, id: u64) -> bool {
        self.in_checkpoint.get(&id) == Some(&When::After)
            && self.in_checkpoint.remove(&id).is_some()
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
    pub(crate) fn inject_fault(&mut self) -> Verdict {
        let kind = self.dice.weighted(&[
            (10, Kind::Crash),
            (8, Kind::CrashLeader),
            (2, Kind::CrashAll),
            (8, Kind::PowerInTheMiddle),
            (10, Kind::CrashInCheckpoint),
            (6, Kind::Pause),
            (5, Kind::Stall),
            (3, Kind::FailedSync),
            (2, Kind::FullDisk),
            (10, Kind::Isolate),
            (5, Kind::Split),
            (6, Kind::OneWay),
            (6, Kind::RoughWeather),
            (4, Kind::Drift),
            (6, Kind::Transfer),
            (4, Kind::Checkpoint),
            (4, Kind::Rewrite),
            (12, Kind::MemberStep),
        ]);
        self.inject(kind)
    }

    fn inject(&mut self, kind: Kind) -> Verdict {
        let Some(id) = self.victim(matches!(kind, Kind::CrashLeader | Kind::Stall | Kind::Pause))
        else {
            return Ok(());
        };
        self.note(format_args!("fault {kind:?} at {id}"));
        let (short, long) = (self.ticks(5, 40), self.ticks(20, 150));
        match kind {
            Kind::Crash | Kind::CrashLeader => self.crash_for(id, long)?,
            Kind::CrashAll => {
                for id in self.nodes.keys().copied().collect::<Vec<_>>() {
                    let wait = self.ticks(1, 40);
                    self.crash_for(id, wait)?;
                }
            }
            Kind::PowerInTheMiddle => {
                let operations = self.dice.between(1, 8);
                self.faults.failing.insert(id);
                self.nodes[&id].disk.burn_after(operations);
            }
            Kind::CrashInCheckpoint => {
                let when = if self.dice.in_thousand(500) { When::Before } else { When::After };
                self.faults.in_checkpoint.insert(id, when);
                self.force_checkpoint(id);
            }
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
                self.dice.shuffle(&mut ids);
                ids.truncate(ids.len().div_ceil(2));
                self.cut(&ids, true, true, long);
            }
            Kind::OneWay => {
                let inbound = self.dice.in_thousand(500);
                self.cut(&[id], inbound, !inbound, long);
            }
            Kind::RoughWeather => {
                self.net.weather = Weather::rough(self.limits.tick, &mut self.dice);
                self.mend_after(long);
            }
            Kind::Drift => self.drift(id),
            Kind::Transfer => self.transfer_leader(id, short),
            Kind::Checkpoint => self.force_checkpoint(id),
            Kind::Rewrite => self.rewrite(id),
            Kind::MemberStep => self.draw_member_step(),
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
    fn victim(&mut self, prefers_leader: bool) -> Option<u64> {
        let running: Vec<u64> =
            self.nodes.values().filter(|node| node.is_running()).map(|node| node.id).collect();
        let leader = self.leader().filter(|_| prefers_leader);
        leader.or_else(|| self.dice.pick(&running).copied())
    }

    /// The running leader of the highest term.
    pub(crate) fn leader(&self) -> Option<u64> {
        let statuses = self.nodes.values().filter(|node| node.is_running()).filter_map(|node| {
            let status = node.up.as_ref()?.parts.driver.core().status();
            (status.role == RoleKind::Leader).then_some((status.term, node.id))
        });
        statuses.max().map(|(_, id)| id)
    }

    fn crash_for(&mut self, id: u64, down: Duration) -> Verdict {
        let power = self.dice.in_thousand(700);
        self.crash(id, power)?;
        self.after(down, Event::Start { node: id });
        Ok(())
    }

    fn pause(&mut self, id: u64, length: Duration) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.is_paused = true;
            self.totals.pauses += 1;
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
            self.net.weather = Weather::fair(self.limits.tick);
            self.note(format_args!("the network is whole"));
        }
        Ok(())
    }

    fn drift(&mut self, id: u64) {
        let ppm = self.dice.between(STEADY_PPM - DRIFT_PPM, STEADY_PPM + DRIFT_PPM);
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

    fn force_checkpoint(&mut self, id: u64) {
        if let Some(handle) = self.nodes[&id].handle().cloned() {
            poll_once(handle.checkpoint());
        }
        self.poke(id);
    }

    /// Everybody is up and can reach everybody; nothing new goes wrong.
    pub(crate) fn heal_everything(&mut self) -> Verdict {
        self.note(format_args!("everything is mended"));
        self.clients.stop();
        self.faults.left = 0;
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
