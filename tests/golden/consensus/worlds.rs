//! Random worlds: messages lost, doubled and out of order, crashes, slow disks, snapshots, membership changes. What must
//! always hold is checked after every step (`cluster.rs`); at the end, with a sound network, everybody agrees.
//!
//! `CONSENSUS_SEED=17 cargo test --test golden worlds` replays one world.

use bytes::Bytes;
use quorate::base::MemberId;
use quorate::consensus::{Change, ChangeKind, Config};

use super::cluster::Cluster;

const WORLDS: u64 = 300;
const STEPS: u32 = 2_500;

fn small(config: &mut Config) {
    config.election_ticks = 5;
    config.message_bytes_max = 64;
    config.inflight_max = 4;
    config.uncommitted_bytes_max = 512;
}

#[test]
fn worlds_keep_raft_s_promises_and_agree_in_the_end() {
    let one = std::env::var("CONSENSUS_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let seeds = one.map_or(0..WORLDS, |seed| seed..seed + 1);
    let mut totals = std::collections::BTreeMap::<&str, u64>::new();
    for seed in seeds {
        let world = std::panic::catch_unwind(|| World::run(seed));
        let Ok(world) = world else { panic!("replay with CONSENSUS_SEED={seed}") };
        for (what, count) in world.counts {
            *totals.entry(what).or_default() += count;
        }
    }
    println!("{totals:?}");
    if one.is_none() {
        for (what, at_least) in [
            ("elections", 600),
            ("installs", 100),
            ("changes", 200),
            ("reads", 500),
            ("fetches", 50),
            ("crashes", 1000),
        ] {
            let count = totals.get(what).copied().unwrap_or(0);
            assert!(count >= at_least, "{count} {what}: these worlds meet too little");
        }
    }
}

struct World {
    cluster: Cluster,
    dice: fastrand::Rng,
    next: u64,
    /// No message passes from the one to the other.
    cut: Option<(u64, u64)>,
}

impl World {
    fn run(seed: u64) -> Cluster {
        let mut dice = fastrand::Rng::with_seed(seed);
        let voters: Vec<u64> = (1..=dice.u64(1..=4)).collect();
        let mut cluster = Cluster::new(&voters, &[], seed, small);
        for id in voters.len() as u64 + 1..=5 {
            cluster.add(id, &[], &[]);
        }
        let ids: Vec<u64> = cluster.members.keys().copied().collect();
        for id in ids {
            cluster.turn(id);
        }
        let mut world = Self { cluster, dice, next: 0, cut: None };
        for _ in 0..STEPS {
            world.step();
        }
        world.heal();
        world.cluster
    }

    fn step(&mut self) {
        let id = self.dice.u64(1..=5);
        match self.dice.u32(0..1000) {
            0..400 => (0..self.dice.u32(1..8)).for_each(|_| self.network()),
            400..600 => (0..self.dice.u32(1..4)).for_each(|_| drop(self.cluster.write(id))),
            600..800 => drop(self.cluster.call(id, |core| core.tick())),
            800..880 => self.propose(id),
            880..910 => drop(self.cluster.read(id)),
            910..925 => self.checkpoint(id),
            925..940 => self.change(id),
            940..948 => drop(self.transfer(id)),
            948..952 => drop(self.cluster.call(id, |core| core.step_down())),
            952..960 => {
                let held = self.dice.bool();
                self.cluster.call(id, |core| core.hold(held));
            }
            960..970 => self.cut = self.dice.bool().then(|| (id, self.dice.u64(1..=5))),
            970..985 if self.cluster.up(id).is_some() => {
                self.cluster.crash(id);
                self.cluster.count("crashes");
            }
            _ => {
                if self.cluster.up(id).is_none() {
                    self.cluster.start(id);
                }
            }
        }
    }

    fn network(&mut self) {
        if self.cluster.network.is_empty() {
            return;
        }
        let position = self.dice.usize(..self.cluster.network.len().min(8));
        let message = &self.cluster.network[position].message;
        let cut = self.cut == Some((message.message.from, message.to.0));
        match self.dice.u32(0..100) {
            0..10 => self.cluster.drop_message(position),
            10..13 => self.cluster.duplicate(position),
            _ if cut => self.cluster.drop_message(position),
            _ => drop(self.cluster.deliver(position)),
        }
    }

    fn propose(&mut self, id: u64) {
        let id = self.cluster.leader().unwrap_or(id);
        for _ in 0..self.dice.u32(1..4) {
            self.next += 1;
            let data = Bytes::from(format!("write {}", self.next));
            self.cluster.call(id, |core| core.propose(data));
        }
    }

    fn checkpoint(&mut self, id: u64) {
        self.cluster.member(id).make_checkpoint();
        let behind = self.dice.u64(0..6);
        self.cluster.member(id).trim(behind);
        self.cluster.turn(id);
    }

    /// One of the changes that the members allow, or may come to regret: the last voter stays.
    fn change(&mut self, of: u64) {
        let Some(leader) = self.cluster.leader() else { return };
        let Some(up) = self.cluster.up(leader) else { return };
        let mark = &up.database.mark;
        let member = MemberId(of);
        let kind = if mark.voters.contains(&member) {
            if mark.voters.len() < 3 {
                return;
            }
            ChangeKind::Remove
        } else if mark.learners.contains(&member) {
            if self.dice.bool() { ChangeKind::AddVoter } else { ChangeKind::Remove }
        } else {
            ChangeKind::AddLearner
        };
        let change = Change { kind, member, context: Bytes::from_static(b"why") };
        self.cluster.call(leader, |core| core.propose_change(&change));
    }

    fn transfer(&mut self, to: u64) -> Option<()> {
        let leader = self.cluster.leader()?;
        self.cluster.call(leader, |core| core.transfer(MemberId(to)))?.0.ok()
    }

    /// Everybody starts, every message arrives, every disk writes: soon all members have applied the same.
    fn heal(&mut self) {
        for id in 1..=5 {
            if self.cluster.up(id).is_none() {
                self.cluster.start(id);
            }
            self.cluster.call(id, |core| core.hold(false));
        }
        for round in 0..400 {
            for id in 1..=5 {
                self.cluster.call(id, |core| core.tick());
            }
            self.quiet();
            if round % 50 == 20 {
                let id = self.cluster.leader().unwrap_or(1);
                self.propose(id);
                self.quiet();
            }
            if round > 30 && self.agrees() {
                return;
            }
        }
        let all: Vec<_> = (1..=5).map(|id| self.cluster.up(id).unwrap().core.status()).collect();
        panic!("no agreement: {all:#?}");
    }

    fn quiet(&mut self) {
        for _ in 0..2_000 {
            if !self.cluster.network.is_empty() {
                self.cluster.deliver(0);
            } else if let Some(id) = (1..=5).find(|id| self.cluster.member(*id).has_writes()) {
                self.cluster.write(id);
            } else {
                return;
            }
        }
    }

    /// The members, as the leader sees them, have applied the same history.
    fn agrees(&self) -> bool {
        let Some(leader) = self.cluster.leader().and_then(|id| self.cluster.up(id)) else {
            return false;
        };
        let mark = &leader.database.mark;
        mark.voters.iter().chain(&mark.learners).all(|member| {
            self.cluster.up(member.0).is_some_and(|up| {
                up.database.mark == *mark && up.database.history == leader.database.history
            })
        })
    }
}
