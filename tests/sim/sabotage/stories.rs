//! Worlds that are told what happens.

use std::time::Duration;

use bytes::Bytes;
use quorate::base::KeyRange;
use quorate::consensus::RoleKind;
use quorate::consensus::wire::{Kind, RaftMessage};
use quorate::proto::etcdserverpb::{LeaseGrantRequest, PutRequest, RangeRequest};
use quorate::state::Command;
use quorate::storage::Disk as _;
use quorate::watch::Spec;

use crate::dice::Dice;
use crate::node::Turn;
use crate::violation::{Verdict, Violation};
use crate::workload::Op;
use crate::world::{Plan, World};

/// Writes; the one whose entry is damaged; a word that stands in every value.
const PUTS: u64 = 9;
const DAMAGED: u64 = 4;

/// Entries lie on two of three members, one of which finds a bit flipped in the middle of its log. It refuses to start,
/// and says where. If it starts, it and the third member elect a leader.
pub(super) fn damage_in_the_log(seed: u64) -> Verdict {
    let (mut world, leader) = settled(seed)?;
    let (other, absent) = (leader % 3 + 1, (leader + 1) % 3 + 1);
    for id in [leader, other] {
        world.net.cut(id, absent);
        world.net.cut(absent, id);
    }
    for number in 1..=PUTS {
        world.begin(0, leader, put(value(number)))?;
        until(&mut world, |world| world.clients.is_idle())?;
    }
    world.crash(other, true)?;
    if !flip(&world, other) {
        return Ok(());
    }
    match world.start(other) {
        Err(refused) if refused.check == "recovery" && refused.text.contains(".wal") => {
            return Ok(());
        }
        started => started?,
    }
    world.crash(leader, true)?;
    world.net.mend_all();
    until(&mut world, |world| world.leader().is_some())?;
    pass(&mut world, 100)
}

/// A leader is paused while another is elected and acknowledges a write. It comes back and is asked for the key at once,
/// while it still believes in itself.
pub(super) fn a_leader_comes_back(seed: u64) -> Verdict {
    let (mut world, leader) = settled(seed)?;
    depose(&mut world, leader)?;
    world.resume(leader)?;
    world.begin(0, leader, get())?;
    pass(&mut world, 100)
}

/// The same, and the leader was paused between a read's question to the others and their answers: they wait for it.
pub(super) fn a_leader_comes_back_to_old_answers(seed: u64) -> Verdict {
    let (mut world, leader) = settled(seed)?;
    world.begin(0, leader, get())?;
    // Its question leaves in its next turn, which is due at once; the answers travel.
    let sent = world.now + world.limits.tick / 150;
    until(&mut world, |world| world.now >= sent)?;
    depose(&mut world, leader)?;
    world.resume(leader)?;
    world.begin(0, leader, get())?;
    pass(&mut world, 100)
}

/// Two candidates of one term; one is elected. The voter between them loses its power, and the network delivers the
/// other's request to it once more.
pub(super) fn a_vote_is_asked_for_again(seed: u64) -> Verdict {
    let mut world = quiet(seed)?;
    let (one, voter, other) = (1, 2, 3);
    world.net.cut(one, other);
    world.net.cut(other, one);
    for id in [one, other] {
        world.nodes[&id].handle().expect("it is up").campaign();
        world.poke(id);
    }
    until(&mut world, |world| world.leader().is_some())?;
    let leader = world.leader().expect("there is one");
    let loser = if leader == one { other } else { one };
    let term =
        world.nodes[&leader].up.as_ref().map_or(0, |up| up.parts.driver.core().status().term);
    let Some(up) = world.nodes[&loser].up.as_ref() else { return Ok(()) };
    let status = up.parts.driver.core().status();
    if (status.role, status.term) != (RoleKind::Candidate, term) {
        return Ok(());
    }
    let index = up.log.last_index();
    let again = RaftMessage {
        kind: Kind::Vote as i32,
        from: loser,
        to: voter,
        term,
        index,
        log_term: up.log.term(index).unwrap_or(0),
        ..RaftMessage::default()
    };
    world.crash(voter, true)?;
    world.start(voter)?;
    world.deliver(loser, voter, vec![again.encode()])?;
    pass(&mut world, 30)
}

/// A leader stands still but for its clock, which finds a lease expired. The next one's client keeps the lease alive;
/// then the first goes on, and hands its revocation to the second.
pub(super) fn a_revocation_comes_late(seed: u64) -> Verdict {
    let (mut world, leader) = settled(seed)?;
    let grant = LeaseGrantRequest { id: 7, ttl: 2 };
    world.begin(0, leader, Op::Command(Command::LeaseGrant(grant)))?;
    until(&mut world, |world| world.clients.is_idle())?;
    world.freeze(leader, Turn::Driver, true);
    until(&mut world, |world| world.leader().is_some_and(|now| now != leader))?;
    let next = world.leader().expect("there is one");
    let end = world.now + Duration::from_secs(4);
    while world.now < end {
        if world.clients.is_idle() {
            world.begin(0, next, Op::KeepAlive(7))?;
        }
        let pause = world.now + Duration::from_millis(300);
        until(&mut world, |world| world.now > pause)?;
    }
    world.freeze(leader, Turn::Driver, false);
    pass(&mut world, 50)
}

/// A member that is too far behind gets a snapshot, and cannot install it yet; then it is cut off until it needs
/// another one.
pub(super) fn two_snapshots(seed: u64) -> Verdict {
    let (mut world, leader) = settled(seed)?;
    let member = leader % 3 + 1;
    fall_behind(&mut world, leader, member)?;
    world.freeze(member, Turn::Applier, true);
    let before = ends(&world, member).1;
    world.net.mend_all();
    until(&mut world, |world| ends(world, member).1 > before)?;
    fall_behind(&mut world, leader, member)?;
    world.net.mend_all();
    pass(&mut world, 100)?;
    world.freeze(member, Turn::Applier, false);
    until(&mut world, |world| {
        let applied = |id: u64| world.nodes[&id].up.as_ref().map(|up| up.store.stamp().applied);
        (1..=3).all(|id| applied(id) == applied(leader))
    })
}

/// A watcher that has heard everything is at a member that falls behind and gets a snapshot: it goes on where it was.
pub(super) fn a_watcher_meets_a_snapshot(seed: u64) -> Verdict {
    let (mut world, leader) = settled(seed)?;
    let everything = Spec {
        denied: None,
        range: KeyRange::From(Bytes::new()),
        start_revision: 0,
        progress_notify: false,
        no_put: false,
        no_delete: false,
        prev_kv: false,
        fragment: false,
        id: None,
    };
    world.clients.watchers[0].adopt(everything);
    world.watch_elsewhere(0)?;
    pass(&mut world, 5)?;
    for number in 0..5 {
        world.begin(0, leader, put(value(number)))?;
        until(&mut world, |world| world.clients.is_idle())?;
    }
    pass(&mut world, 20)?;
    world.take_deliveries(0)?;
    let Some((member, _)) = world.clients.watchers[0].at else { return Ok(()) };
    if member == leader {
        return Ok(());
    }
    fall_behind(&mut world, leader, member)?;
    world.net.mend_all();
    for _ in 0..100 {
        pass(&mut world, 3)?;
        world.take_deliveries(0)?;
    }
    world.clients.watchers[0].is_complete(&world.checker.model)
}

/// Bits flip in rows of a member's database, or in its log, while it is down. It does not start, or does not answer
/// from them.
pub(super) fn damage_in_the_database(seed: u64) -> Verdict {
    let (mut world, leader) = settled(seed)?;
    let member = leader % 3 + 1;
    for number in 0..30 {
        let (key, value) = (format!("k/{number:02}").into(), format!("v{number}").into());
        let put = PutRequest { key, value, ..PutRequest::default() };
        world.begin(0, leader, Op::Command(Command::Put(put)))?;
        until(&mut world, |world| world.clients.is_idle())?;
    }
    // The oldest overlay is checkpointed by now.
    pass(&mut world, 250)?;
    let (down, mut dice) = (world.limits.tick, Dice::new(seed));
    world.flip_bits(member, down, &mut dice)?;
    for _ in 0..10 {
        pass(&mut world, 5)?;
        if world.nodes[&member].is_running() {
            let everything = RangeRequest {
                key: "k/".into(),
                range_end: "k0".into(),
                serializable: true,
                ..RangeRequest::default()
            };
            world.begin(0, member, Op::Range(everything))?;
        }
    }
    Ok(())
}

/// The member is alone while the others write until their log does not reach back to its end.
fn fall_behind(world: &mut World, leader: u64, member: u64) -> Verdict {
    for other in (1..=3).filter(|other| *other != member) {
        world.net.cut(member, other);
        world.net.cut(other, member);
    }
    let end = ends(world, member).1;
    for number in 0..2_000 {
        if ends(world, leader).0 > end + 1 {
            return Ok(());
        }
        world.begin(0, leader, put(format!("{number}{}", ".".repeat(200))))?;
        until(world, |world| world.clients.is_idle())?;
    }
    Ok(())
}

/// The first and the last index of a member's log.
fn ends(world: &World, id: u64) -> (u64, u64) {
    let log = world.nodes[&id].up.as_ref().map(|up| &up.log);
    log.map_or((0, 0), |log| (log.first_index(), log.last_index()))
}

/// Three members, no clients, no faults.
fn quiet(seed: u64) -> Result<World, Violation> {
    let plan = Plan { operations: 0, faults: 0, members: Some(3), ..Plan::of_seed(seed) };
    let mut world = World::new(plan)?;
    world.clients.stop();
    Ok(world)
}

/// And a leader, whose first entry everybody has applied.
fn settled(seed: u64) -> Result<(World, u64), Violation> {
    let mut world = quiet(seed)?;
    until(&mut world, |world| world.leader().is_some())?;
    let leader = world.leader().expect("there is one");
    until(&mut world, |world| {
        let applied = |id: u64| world.nodes[&id].up.as_ref().map(|up| up.store.stamp().applied);
        applied(leader) > Some(1) && (1..=3).all(|id| applied(id) == applied(leader))
    })?;
    Ok((world, leader))
}

/// Pauses the leader until another has acknowledged a write.
fn depose(world: &mut World, leader: u64) -> Verdict {
    world.nodes.get_mut(&leader).expect("it leads").is_paused = true;
    until(world, |world| world.leader().is_some_and(|now| now != leader))?;
    let next = world.leader().expect("there is one");
    let before = world.totals.acknowledged;
    world.begin(1, next, put("new".to_owned()))?;
    until(world, |world| world.totals.acknowledged > before)
}

fn put(value: String) -> Op {
    let put = PutRequest { key: "k".into(), value: value.into(), ..PutRequest::default() };
    Op::Command(Command::Put(put))
}

fn get() -> Op {
    Op::Range(RangeRequest { key: "k".into(), ..RangeRequest::default() })
}

/// So many ticks go by.
fn pass(world: &mut World, ticks: u32) -> Verdict {
    let end = world.now + world.limits.tick * ticks;
    until(world, |world| world.now > end)
}

fn value(number: u64) -> String {
    format!("value number {number} of a few")
}

/// Flips a bit of the damaged put's value; false if it is not in the log any more.
fn flip(world: &World, id: u64) -> bool {
    let disk = &world.nodes[&id].disk;
    let wanted = value(DAMAGED);
    for name in disk.list().unwrap().iter().filter(|name| name.ends_with(".wal")) {
        let Some(bytes) = disk.durable(name) else { continue };
        let found = bytes.windows(wanted.len()).position(|window| window == wanted.as_bytes());
        if let Some(at) = found {
            disk.damage(name, at, &[bytes[at] ^ 1]);
            return true;
        }
    }
    false
}

fn until(world: &mut World, mut done: impl FnMut(&World) -> bool) -> Verdict {
    let limit = world.now + Duration::from_secs(120);
    while !done(world) {
        if world.now > limit {
            return Err(Violation::new("convergence", world.describe()));
        }
        world.step()?;
    }
    Ok(())
}
