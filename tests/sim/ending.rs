//! The end of a world: mended, it must come to rest, and everything must be there.

use quorate::proto::etcdserverpb::{PutRequest, RangeRequest};
use quorate::state::Command;

use crate::invariants::{StateAgreement, acked_survives, counts_equal_walk};
use crate::violation::{Verdict, Violation, ensure};
use crate::workload::{Op, lower};
use crate::world::{Event, World};

/// A mended world comes to rest within so many ticks.
const CONVERGENCE_TICKS: u32 = 3_000;

impl World {
    /// Runs until `done`, for a limited time.
    fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) -> Verdict {
        let limit = self.now + self.limits.tick * CONVERGENCE_TICKS;
        while !done(self) {
            if self.now > limit {
                let text = format!("{what} within {CONVERGENCE_TICKS} ticks:\n{}", self.describe());
                return Err(Violation::new("convergence", text));
            }
            for _ in 0..50 {
                self.step()?;
            }
        }
        Ok(())
    }

    /// What was under way ends, every member serves a write, everybody arrives at the same place.
    pub(crate) fn converge(&mut self) -> Verdict {
        self.restore_images();
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.start(id)?;
        }
        self.until("operations did not end", |world| world.clients.is_idle())?;
        self.until("no member leads", |world| world.leader().is_some())?;
        self.until("damage was not found", |world| world.finds_damage())?;
        self.until("no member leads", |world| world.leader().is_some())?;
        self.until("a damaged member did not leave", |world| world.remove_damaged())?;
        self.until("an alarm did not end", |world| world.lower_alarms())?;
        for id in self.checker.roll.voters() {
            self.serve(id)?;
        }
        self.catch_up()
    }

    /// All members have applied everything that is committed; leases may go on expiring afterwards.
    fn catch_up(&mut self) -> Verdict {
        self.until("members did not catch up", |world| {
            let last = world.checker.next_index() - 1;
            let ids = world.checker.roll.list();
            ids.iter().all(|member| {
                let up = world.nodes.get(&member.id).and_then(|node| node.up.as_ref());
                up.is_some_and(|up| {
                    let status = up.parts.driver.core().status();
                    up.store.stamp().applied == last && status.leader.is_some()
                })
            })
        })
    }

    /// True when none is raised; begins to lower one when nobody is at it.
    fn lower_alarms(&mut self) -> bool {
        let Some(raised) = self.checker.model.alarms.first() else { return true };
        if let Some(leader) = self.leader().filter(|_| self.clients.is_idle()) {
            // Its outcome is checked like any other's; if it is lost, another one follows.
            let _ = self.begin(0, leader, lower(raised));
        }
        false
    }

    /// A write at this member is acknowledged, sooner or later.
    fn serve(&mut self, id: u64) -> Verdict {
        let mut begun = None;
        self.until(&format!("{id} served no write"), |world| {
            if !world.clients.is_idle() {
                return false;
            }
            if begun.is_some_and(|acknowledged| world.totals.acknowledged > acknowledged) {
                return true;
            }
            // One that was raised by a command of unknown outcome may come only with a leader's first entry.
            if !world.lower_alarms() {
                begun = None;
                return false;
            }
            if world.nodes.get(&id).is_some_and(|node| node.is_running()) {
                let put = PutRequest {
                    key: "end".into(),
                    value: format!("{id}").into(),
                    ..Default::default()
                };
                begun = Some(world.totals.acknowledged);
                // Its outcome is checked like any other's.
                let _ = world.begin(0, id, Op::Command(Command::Put(put)));
            }
            false
        })
    }

    pub(crate) fn final_checks(&mut self) -> Verdict {
        for number in 0..self.clients.watchers.len() {
            let heard = self.until("a watcher did not hear everything", |world| {
                world.keep_watching(number).is_err() || {
                    let watcher = &world.clients.watchers[number];
                    watcher.is_complete(&world.checker.model).is_ok()
                }
            });
            // A broken promise says more than that it took too long.
            self.keep_watching(number)?;
            self.clients.watchers[number].is_complete(&self.checker.model).and(heard)?;
        }
        for number in 0..self.trees.watchers.len() {
            self.until("a watcher of the tree did not hear everything", |world| {
                let heard = world.hear_tree(number);
                heard.is_err() || world.trees.watchers[number].next > world.checker.tree.index
            })?;
            self.hear_tree(number)?;
        }
        self.until("what had expired stayed in the tree", |world| world.tree_is_in_time())?;
        self.catch_up()?;
        let everything =
            RangeRequest { key: "\0".into(), range_end: "\0".into(), ..RangeRequest::default() };
        let ups: Vec<(u64, &crate::node::Up)> = self
            .nodes
            .values()
            .filter(|node| self.checker.roll.contains(node.id))
            .filter_map(|node| Some((node.id, node.up.as_ref()?)))
            .collect();
        ensure(!ups.is_empty(), "convergence", || "nobody is left".to_owned())?;
        for &(id, up) in &ups {
            acked_survives(id, up, &self.checker)?;
            StateAgreement::leases(id, up, &self.checker)?;
            StateAgreement::tree(id, up, &self.checker)?;
            counts_equal_walk(id, up, &everything)?;
            StateAgreement::hash(ups[0], (id, up))?;
            if up.store.stamp() == ups[0].1.store.stamp() {
                StateAgreement::rows((ups[0].0, &ups[0].1.store), (id, &up.store))?;
            }
        }
        Ok(())
    }

    /// Takes what there is; moves on when the member was removed.
    fn keep_watching(&mut self, number: usize) -> Verdict {
        let at = self.clients.watchers[number].at;
        let lives = at.is_some_and(|(id, boot)| {
            let node = self.nodes.get(&id).filter(|node| node.boot == boot && node.up.is_some());
            node.is_some() && self.checker.roll.contains(id)
        });
        if lives { self.take_deliveries(number) } else { self.watch_elsewhere(number) }
    }

    /// Compares what is too much work for every step.
    pub(crate) fn sample(&mut self) -> Verdict {
        let ups: Vec<u64> = self
            .nodes
            .values()
            .filter(|node| node.up.is_some() && !self.is_suspect(node.id))
            .map(|node| node.id)
            .collect();
        if let (Some(&one), Some(&other)) = (self.dice.pick(&ups), self.dice.pick(&ups)) {
            let up = |id: u64| self.nodes[&id].up.as_ref().expect("it is up");
            StateAgreement::hash((one, up(one)), (other, up(other)))?;
            StateAgreement::leases(one, up(one), &self.checker)?;
            StateAgreement::tree(one, up(one), &self.checker)?;
            let range =
                RangeRequest { key: "k/1".into(), range_end: "k/4".into(), ..Default::default() };
            counts_equal_walk(one, up(one), &range)?;
        }
        let wait = self.ticks(20, 60);
        self.after(wait, Event::Sample);
        Ok(())
    }

    /// Where everybody stands, for a failure.
    pub(crate) fn describe(&self) -> String {
        let mut text = format!("committed {}\n", self.checker.next_index() - 1);
        for node in self.nodes.values() {
            let status = node.up.as_ref().map(|up| {
                let core = up.parts.driver.core().status();
                let stamp = up.store.stamp();
                format!("{core:?} {stamp:?} log {}..={}", up.log.first_index(), up.log.last_index())
            });
            text.push_str(&format!(
                "{} boot {} paused {} retired {}: {}\n",
                node.id,
                node.boot,
                node.is_paused,
                node.is_retired,
                status.unwrap_or_else(|| "down".to_owned())
            ));
        }
        text
    }
}
