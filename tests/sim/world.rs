//! A world: members, network, clients and faults in one thread, in the order of a seed.
//!
//! ```text
//!   queue of events by time ──> a member's turn, a message, a client, a fault
//!        ^                          │ after each: what was posted goes to the network, what was applied to the
//!        └──────────────────────────┘ checker, what changed to the invariants, what was answered to the clients
//! ```
//!
//! The turns are the engine's own; nothing else is: time, network, disk under the log and dice are the world's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use quorate::base::Moment;
use quorate::engine::AskKind;
use quorate::proto::etcdserverpb::Member;
use quorate::storage::SnapshotCopy;

use crate::checker::Checker;
use crate::clients::Clients;
use crate::dice::Dice;
use crate::faults::Faults;
use crate::invariants::{
    AppliedMonotonic, CommittedImmutable, CommittedOnQuorumDisks, ElectionSafety,
    LeaderCompleteness, LeaseNeverEarly, LogMatching, MembershipAgrees, RevisionMonotonic,
};
use crate::members::Roll;
use crate::mix::Mix;
use crate::network::Network;
use crate::node::{Limits, Node, Turn};
use crate::sabotage::Harm;
use crate::totals::Totals;
use crate::trace::Trace;
use crate::trees::Trees;
use crate::violation::{Verdict, Violation};

/// What a world is made of; everything else follows from the seed.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// Operations of the whole world.
    pub(crate) operations: u64,
    /// Faults, at the least; the seed may want half as many more. None if 0.
    pub(crate) faults: u64,
    /// None: as the seed says.
    pub(crate) members: Option<u64>,
    /// The same world, but it ends after so many operations.
    pub(crate) until: Option<u64>,
    /// The same world without these faults, by their numbers.
    pub(crate) without: BTreeSet<u64>,
    /// The same world with at most so many clients and watching clients.
    pub(crate) clients: Option<usize>,
    pub(crate) watchers: Option<usize>,
    /// One check more after every step, for tests of what follows a broken promise.
    pub(crate) also: Option<fn(&World) -> Verdict>,
    /// Keep the whole event log in memory.
    pub(crate) keep_trace: bool,
    /// Half the worlds write the v2 tree, too; without it none does.
    pub(crate) tree: bool,
}

impl Plan {
    pub(crate) fn of_seed(seed: u64) -> Self {
        Self {
            seed,
            operations: 2_000,
            faults: 24,
            members: None,
            until: None,
            without: BTreeSet::new(),
            clients: None,
            watchers: None,
            also: None,
            keep_trace: false,
            tree: true,
        }
    }
}

pub(crate) enum Event {
    Turn {
        node: u64,
        boot: u64,
        turn: Turn,
    },
    /// Raft's tick is due, or a keeper's.
    Tick {
        node: u64,
        boot: u64,
    },
    Messages {
        from: u64,
        to: u64,
        messages: Vec<Bytes>,
    },
    Unreachable {
        node: u64,
        peer: u64,
    },
    Ask {
        id: u64,
        from: u64,
        to: u64,
        kind: AskKind,
        body: Bytes,
    },
    Answer {
        id: u64,
        to: u64,
        body: Option<Bytes>,
    },
    SnapshotBegins {
        id: u64,
    },
    SnapshotEnds {
        id: u64,
    },
    SnapshotSent {
        from: u64,
        boot: u64,
        to: u64,
        ok: bool,
    },
    Client(usize),
    Watch(usize),
    /// A watcher of the v2 tree looks.
    TreeWatch(usize),
    Start {
        node: u64,
    },
    Resume {
        node: u64,
    },
    Retire {
        node: u64,
    },
    Join {
        node: u64,
    },
    /// A member with a damaged log is removed, or another one added in its place.
    Replace {
        node: u64,
    },
    /// A copy is made of a member's database.
    Copy {
        node: u64,
    },
    Fault(u64),
    Heal(u64),
    /// Compare what is not compared after every step.
    Sample,
}

/// A snapshot on its way.
pub(crate) struct Transfer {
    pub(crate) from: u64,
    pub(crate) from_boot: u64,
    pub(crate) to: u64,
    pub(crate) header: Bytes,
    pub(crate) body: Body,
    /// Sent a second time, by nobody who waits for it.
    pub(crate) is_again: bool,
}

pub(crate) enum Body {
    Copy(SnapshotCopy),
    Bytes(Bytes),
    /// On its way.
    Read,
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) mix: Mix,
    pub(crate) dice: Dice,
    pub(crate) now: Moment,
    queue: BTreeMap<(Moment, u64), Event>,
    next_event: u64,
    pub(crate) limits: Limits,
    pub(crate) founders: Vec<Member>,
    pub(crate) nodes: BTreeMap<u64, Node>,
    pub(crate) net: Network,
    pub(crate) transfers: BTreeMap<u64, Transfer>,
    pub(crate) next_transfer: u64,
    /// Held for members that are paused.
    pub(crate) held: Vec<Event>,
    pub(crate) clients: Clients,
    pub(crate) trees: Trees,
    pub(crate) faults: Faults,
    pub(crate) checker: Checker,
    pub(crate) elections: ElectionSafety,
    pub(crate) completeness: LeaderCompleteness,
    pub(crate) logs: LogMatching,
    pub(crate) committed: CommittedImmutable,
    pub(crate) quorums: CommittedOnQuorumDisks,
    pub(crate) membership: MembershipAgrees,
    pub(crate) applied: AppliedMonotonic,
    pub(crate) revisions: RevisionMonotonic,
    pub(crate) leases: LeaseNeverEarly,
    pub(crate) totals: Totals,
    pub(crate) trace: Trace,
    pub(crate) dir: PathBuf,
    _dir: tempfile::TempDir,
}

impl World {
    pub(crate) fn new(plan: Plan) -> Result<Self, Violation> {
        let mut dice = Dice::new(plan.seed);
        let tick = Duration::from_millis([10, 10, 20, 50, 100][dice.below(5)]);
        let limits = Limits::draw(tick, &mut dice);
        let usual = [3, 3, 3, 5, 4][dice.below(5)];
        let rare = dice.between(1, 9);
        let count = if dice.in_thousand(50) { rare } else { usual };
        let count = plan.members.unwrap_or(count);
        let founders: Vec<Member> = (1..=count).map(member).collect();
        // LMDB is the real one; where it lies must not cost a disk.
        let shm = Path::new("/dev/shm");
        let home = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
        let dir = tempfile::Builder::new().prefix("quorate-sim-").tempdir_in(home).unwrap();
        let mix = Mix::draw(plan.seed, plan.operations, plan.faults, tick);
        let clients = Clients::new(&plan, &mix, tick, &mut dice);
        let mut world = Self {
            checker: Checker::new(&founders),
            faults: Faults::new(mix.faults.clone(), &plan),
            trace: Trace::new(plan.keep_trace),
            net: Network::new(mix.weather),
            mix,
            dir: dir.path().to_owned(),
            _dir: dir,
            now: Moment::from_millis(1),
            queue: BTreeMap::new(),
            next_event: 0,
            nodes: BTreeMap::new(),
            transfers: BTreeMap::new(),
            next_transfer: 1,
            held: Vec::new(),
            elections: ElectionSafety::default(),
            completeness: LeaderCompleteness::default(),
            logs: LogMatching::default(),
            committed: CommittedImmutable::default(),
            quorums: CommittedOnQuorumDisks::default(),
            membership: MembershipAgrees::new(&Roll::new(&founders)),
            applied: AppliedMonotonic::default(),
            revisions: RevisionMonotonic::default(),
            leases: LeaseNeverEarly::new(110),
            trees: Trees::new(&plan),
            totals: Totals { worlds: 1, ..Totals::default() },
            plan,
            dice,
            limits,
            founders,
            clients,
        };
        for id in 1..=count {
            world.add_node(id);
            world.start(id)?;
        }
        for client in 0..world.clients.len() {
            let after = world.ticks(0, 10);
            world.after(after, Event::Client(client));
        }
        for watcher in 0..world.clients.watchers.len() {
            let after = world.ticks(0, 30);
            world.after(after, Event::Watch(watcher));
        }
        for watcher in 0..world.trees.watchers.len() {
            world.after(tick * (watcher as u32 + 3), Event::TreeWatch(watcher));
        }
        world.after(tick * 7, Event::Sample);
        Ok(world)
    }

    /// Runs the world to its end.
    pub(crate) fn run(&mut self) -> Verdict {
        while !self.clients.is_done() {
            self.step()?;
        }
        self.heal_everything()?;
        self.converge()?;
        self.final_checks()?;
        self.totals.virtual_seconds += self.now.0 / 1_000_000_000;
        self.totals.trace_lines += self.trace.lines();
        Ok(())
    }

    pub(crate) fn step(&mut self) -> Verdict {
        let Some(((at, _), event)) = self.queue.pop_first() else {
            return Err(Violation::new("liveness", "nothing will ever happen again"));
        };
        self.now = self.now.max(at);
        self.handle(event)?;
        self.plan.also.map_or(Ok(()), |check| check(self))
    }

    pub(crate) fn at(&mut self, at: Moment, event: Event) {
        self.queue.insert((at.max(self.now), self.next_event), event);
        self.next_event += 1;
    }

    pub(crate) fn after(&mut self, wait: Duration, event: Event) {
        self.at(self.now + wait, event);
    }

    /// A time between `low` and `high` ticks.
    pub(crate) fn ticks(&mut self, low: u32, high: u32) -> Duration {
        self.dice.span(self.limits.tick * low, self.limits.tick * high)
    }

    fn handle(&mut self, event: Event) -> Verdict {
        match event {
            Event::Turn { node, boot, turn } => self.turn(node, boot, turn),
            Event::Tick { node, boot } => self.tick(node, boot),
            Event::Messages { from, to, messages } => self.deliver(from, to, messages),
            Event::Unreachable { node, peer } => self.unreachable(node, peer),
            Event::Ask { id, from, to, kind, body } => self.deliver_ask(id, from, to, kind, body),
            Event::Answer { id, to, body } => self.deliver_answer(id, to, body),
            Event::SnapshotBegins { id } => self.snapshot_begins(id),
            Event::SnapshotEnds { id } => self.snapshot_ends(id),
            Event::SnapshotSent { from, boot, to, ok } => self.snapshot_sent(from, boot, to, ok),
            Event::Client(client) => self.client_acts(client),
            Event::Watch(watcher) => self.watcher_acts(watcher),
            Event::TreeWatch(watcher) => self.tree_watcher_acts(watcher),
            Event::Start { node } => self.start(node),
            Event::Resume { node } => self.resume(node),
            Event::Retire { node } => self.retire(node),
            Event::Join { node } => self.join(node),
            Event::Replace { node } => self.replace(node),
            Event::Copy { node } => self.copy_database(node),
            Event::Fault(number) => self.inject_fault(number),
            Event::Heal(fault) => self.heal(fault),
            Event::Sample => self.sample(),
        }
    }

    pub(crate) fn add_node(&mut self, id: u64) {
        let node = Node::new(id, &self.dir, self.now, &mut self.dice);
        node.disk.lie_every(Harm::LyingDisk.is_on().then_some(3));
        self.nodes.insert(id, node);
    }

    /// Writes a line of the event log; node 0 is the world itself.
    pub(crate) fn note(&mut self, node: u64, event: &str, text: std::fmt::Arguments<'_>) {
        self.trace.note(self.now, node, event, text);
    }
}

/// A founder, or a member that is about to be added.
pub(crate) fn member(id: u64) -> Member {
    Member {
        id,
        name: format!("n{id}"),
        peer_ur_ls: vec![format!("https://10.0.0.{id}:2380")],
        client_ur_ls: vec![format!("https://10.0.0.{id}:2379")],
        is_learner: false,
    }
}
