//! The v2 tree in the world: what is asked of it, and watchers that go from member to member.
//!
//! Half the worlds have one, with dice of its own: a world without is the same as before there was any.

use bytes::Bytes;
use quorate::proto::quorate::log::v2_request::Method;
use quorate::proto::quorate::log::{V2Request, V2Sync};
use quorate::state::Command;
use quorate::state::v2::{self, Found};

use crate::checker::Checker;
use crate::dice::{Dice, Purpose};
use crate::tree::Tree;
use crate::users;
use crate::violation::{Verdict, Violation, ensure};
use crate::workload::{Op, TreeRead};
use crate::world::{Event, Plan, World};

const NAME: &str = "tree_watch_gapless";

/// Events that are kept for watchers.
const KEPT: u64 = 1_000;

/// A node is gone so long after its time, by the leader's clock, at the latest, if nothing is wrong; milliseconds.
const LATE_MS: i64 = 2_000;

pub(crate) struct Trees {
    exists: bool,
    /// Of a thousand operations, those that concern the tree.
    share: u32,
    /// Of a thousand of those, the changes of users.
    of_users: u32,
    ttl_max_s: u64,
    values: u64,
    pub(crate) watchers: Vec<TreeWatcher>,
}

pub(crate) struct TreeWatcher {
    path: &'static str,
    recursive: bool,
    /// The first index that it has not heard of.
    pub(crate) next: u64,
    /// Where it waits: node and boot.
    at: Option<(u64, u64, v2::Watch)>,
}

impl Trees {
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut dice = Dice::apart(plan.seed, Purpose::Tree, 0);
        let exists = plan.tree && dice.in_thousand(500);
        let watched = [("/", true), ("/d0", true), ("/d1/1", false), ("/d2/1/1", false)];
        let watcher = |(path, recursive): (&'static str, bool)| TreeWatcher {
            path,
            recursive,
            next: 1,
            at: None,
        };
        let of_users = match Dice::apart(plan.seed, Purpose::Users, 0).below(3) {
            0 => 100,
            _ => 0,
        };
        Self {
            exists,
            of_users,
            share: [100, 250, 250, 500][dice.below(4)],
            ttl_max_s: [1, 3, 10][dice.below(3)],
            values: 0,
            watchers: if exists { watched.map(watcher).into() } else { Vec::new() },
        }
    }

    /// An operation on the tree, if the next one is.
    pub(crate) fn draw(&mut self, checker: &Checker, seed: u64, number: u64) -> Option<Op> {
        if !self.exists {
            return None;
        }
        let dice = &mut Dice::apart(seed, Purpose::Tree, number);
        if !dice.in_thousand(self.share) {
            return None;
        }
        let of_users = &mut Dice::apart(seed, Purpose::Users, number + 1);
        if of_users.in_thousand(self.of_users) {
            return Some(Op::Command(Command::V2Auth(users::drawn(of_users))));
        }
        Some(match dice.below(4) {
            0 => Op::Tree(TreeRead {
                path: path(&checker.tree, dice),
                recursive: dice.in_thousand(500),
                serializable: dice.in_thousand(400),
            }),
            _ => Op::Command(Command::V2(self.request(&checker.tree, dice))),
        })
    }

    fn request(&mut self, tree: &Tree, dice: &mut Dice) -> V2Request {
        self.values += 1;
        let path = path(tree, dice);
        let mut request = V2Request {
            path: Bytes::from(path.clone()),
            value: Bytes::from(format!("v{}", self.values)),
            ttl_s: dice.in_thousand(250).then(|| dice.between(0, self.ttl_max_s) as i64),
            ..V2Request::default()
        };
        let method = match dice.below(20) {
            0..=5 => Method::Set,
            6..=8 => {
                request.dir = dice.in_thousand(400);
                Method::Create
            }
            9..=10 => Method::CreateInOrder,
            11..=12 => {
                // A directory's TTL is renewed without a value.
                request.refresh = dice.in_thousand(500);
                Method::Update
            }
            13..=16 => Method::CompareAndSwap,
            17..=18 => {
                request.dir = dice.in_thousand(300);
                request.recursive = dice.in_thousand(300);
                Method::Delete
            }
            _ => Method::CompareAndDelete,
        };
        if request.refresh || request.dir {
            request.value = Bytes::new();
        }
        if matches!(method, Method::CompareAndSwap | Method::CompareAndDelete) {
            compares(tree, &path, &mut request, dice);
        }
        request.method = method.into();
        request
    }
}

/// What is there, mostly; sometimes what was there before.
fn compares(tree: &Tree, path: &str, request: &mut V2Request, dice: &mut Dice) {
    let (value, index) = tree.file(path).unwrap_or_else(|| (Bytes::from_static(b"v1"), 1));
    let index = index - u64::from(dice.in_thousand(300)).min(index - 1);
    match dice.below(3) {
        0 => request.prev_value = value,
        1 => request.prev_index = index,
        _ => (request.prev_value, request.prev_index) = (value, index),
    }
}

/// Something that is there, or one of a few paths that may be.
fn path(tree: &Tree, dice: &mut Dice) -> String {
    let paths = tree.paths();
    if dice.in_thousand(500)
        && let Some(path) = dice.pick(&paths)
    {
        return (*path).clone();
    }
    let mut path = String::new();
    for _ in 0..dice.below(4) {
        let name = if path.is_empty() { "d" } else { "" };
        path = format!("{path}/{name}{}", dice.below(3));
    }
    if path.is_empty() { "/".to_owned() } else { path }
}

impl World {
    pub(crate) fn tree_watcher_acts(&mut self, number: usize) -> Verdict {
        if self.clients.stopped {
            return Ok(());
        }
        if self.dice.in_thousand(100) {
            self.trees.watchers[number].at = None;
        }
        if !self.dice.in_thousand(300) {
            self.hear_tree(number)?;
        }
        let wait = self.ticks(0, 30);
        self.after(wait, Event::TreeWatch(number));
        Ok(())
    }

    /// All that its member tells it now; at another one if that is gone.
    pub(crate) fn hear_tree(&mut self, number: usize) -> Verdict {
        let at = self.trees.watchers[number].at.as_ref().map(|(id, boot, _)| (*id, *boot));
        let lives = at.filter(|(id, boot)| {
            let node = self.nodes.get(id).filter(|node| node.boot == *boot && node.up.is_some());
            node.is_some() && self.checker.roll.contains(*id)
        });
        let Some(id) = lives.map(|(id, _)| id).or_else(|| self.reachable()) else { return Ok(()) };
        let node = &self.nodes[&id];
        let Some(up) = node.up.as_ref().filter(|_| !node.is_paused) else { return Ok(()) };
        let watcher = &mut self.trees.watchers[number];
        if lives.is_none() {
            let watch = up.handle.tree_watch(watcher.path.into(), watcher.recursive, watcher.next);
            watcher.at = Some((id, node.boot, watch));
            self.totals.tree_watchers_moved += 1;
        }
        let Some((_, _, watch)) = watcher.at.as_mut() else { return Ok(()) };
        loop {
            match up.handle.tree_find(watch) {
                Found::Event(event) => {
                    let index = event.node.as_ref().map_or(0, |node| node.modified);
                    let (path, recursive) = (watcher.path, watcher.recursive);
                    nothing_missed(&self.checker.tree, path, recursive, watcher.next, index)?;
                    let told = self.checker.tree.told(index).filter(|_| index >= watcher.next);
                    let agrees = told
                        .is_some_and(|told| told.event == *event && told.is_for(path, recursive).1);
                    ensure(agrees, NAME, || {
                        format!(
                            "the watcher of {path} wants {} and is told {event:?}; the log says {told:?}",
                            watcher.next
                        )
                    })?;
                    watcher.next = index + 1;
                    self.totals.tree_watch_events += 1;
                }
                Found::Nothing => {
                    let end = up.handle.tree_index() + 1;
                    let (path, recursive) = (watcher.path, watcher.recursive);
                    nothing_missed(&self.checker.tree, path, recursive, watcher.next, end)?;
                    watcher.next = watcher.next.max(end);
                    return Ok(());
                }
                Found::Cleared(oldest) => {
                    let newest = up.handle.tree_index();
                    ensure(oldest + KEPT == newest + 1 && watcher.next < oldest, NAME, || {
                        format!("{} is cleared up to {oldest} of {newest}", watcher.next)
                    })?;
                    watcher.next = oldest;
                    watcher.at = None;
                    return Ok(());
                }
            }
        }
    }

    /// A leader's clock said so.
    pub(crate) fn expired_in_time(&mut self, origin: u64, sync: V2Sync) -> Verdict {
        self.totals.tree_expiries += 1;
        let Some(node) = self.nodes.get(&origin) else { return Ok(()) };
        let wall_ms = node.clock.wall_ms_at(node.local(self.now));
        ensure(sync.time_ms <= wall_ms, "tree_never_early", || {
            format!("{origin} says that it is {}, and its clock says {wall_ms}", sync.time_ms)
        })
    }

    /// By the clock of whoever leads.
    pub(crate) fn tree_is_in_time(&self) -> bool {
        let Some(at_ms) = self.checker.tree.next_expiry_ms() else { return true };
        let leader = self.leader().and_then(|id| self.nodes.get(&id));
        leader.is_some_and(|node| at_ms > node.clock.wall_ms_at(node.local(self.now)) - LATE_MS)
    }
}

/// Nothing in `from..to` was for it.
fn nothing_missed(tree: &Tree, path: &str, recursive: bool, from: u64, to: u64) -> Verdict {
    for index in from..to {
        let must = tree.told(index).is_some_and(|told| told.is_for(path, recursive).0);
        if must {
            let text = format!("the watcher of {path} was not told {:?}", tree.told(index));
            return Err(Violation::new(NAME, text));
        }
    }
    Ok(())
}
