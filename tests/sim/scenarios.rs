//! What the world once found, told anew as small stories: seeds change their meaning when the world grows.

use std::time::Duration;

use quorate::proto::etcdserverpb::{LeaseGrantRequest, PutRequest, RangeRequest};
use quorate::proto::quorate::log::LeaseRevoke;
use quorate::state::Command;

use crate::dice::Dice;
use crate::lmdb::flip_row;
use crate::node::Turn;
use crate::violation::Verdict;
use crate::workload::Op;
use crate::world::{Plan, World};

/// Three members, no clients, no faults, a leader.
fn quiet(seed: u64) -> World {
    let plan = Plan { operations: 0, faults: 0, members: Some(3), ..Plan::of_seed(seed) };
    let mut world = World::new(plan).unwrap_or_else(|violation| panic!("{violation}"));
    world.clients.stop();
    until(&mut world, |world| world.leader().is_some());
    world
}

fn until(world: &mut World, mut done: impl FnMut(&World) -> bool) {
    let limit = world.now + Duration::from_secs(60);
    while !done(world) {
        assert!(world.now < limit, "it did not happen:\n{}", world.describe());
        world.step().unwrap_or_else(|violation| panic!("{violation}\n{}", world.trace.tail()));
    }
}

fn steps(world: &mut World, count: usize) {
    for _ in 0..count {
        world.step().unwrap_or_else(|violation| panic!("{violation}\n{}", world.trace.tail()));
    }
}

fn begin(world: &mut World, node: u64, op: Op) {
    let begun: Verdict = world.begin(0, node, op);
    begun.unwrap_or_else(|violation| panic!("{violation}"));
}

/// A follower may apply a grant, and acknowledge it, before the leader has applied it: a keep-alive at the leader was
/// answered as if the lease did not exist.
#[test]
fn a_leader_that_lags_in_applying_knows_its_leases() {
    let mut world = quiet(1);
    let leader = world.leader().expect("there is one");
    let follower = leader % 3 + 1;
    until(&mut world, |world| {
        let applied = |id: u64| world.nodes[&id].up.as_ref().map(|up| up.store.stamp().applied);
        // The leader's own entry, at the least: before that it knows of no lease.
        applied(leader) == applied(follower) && applied(leader) > Some(1)
    });
    world.freeze(leader, Turn::Applier, true);
    let grant = LeaseGrantRequest { id: 7, ttl: 100 };
    begin(&mut world, follower, Op::Command(Command::LeaseGrant(grant)));
    until(&mut world, |world| world.totals.acknowledged == 1);
    begin(&mut world, leader, Op::KeepAlive(7));
    // The answer waits; given too early, the checker would have refused it.
    steps(&mut world, 200);
    world.freeze(leader, Turn::Applier, false);
    until(&mut world, |world| world.clients.is_idle());
    assert_eq!(world.totals.renewals, 1);
}

/// A leader that lags in applying finds an old lease expired, while its id has been revoked and granted again: the new
/// lease was revoked in place of the old one, and its keep-alive was answered 0.
#[test]
fn an_id_that_was_granted_again_is_another_lease() {
    let mut world = quiet(2);
    let leader = world.leader().expect("there is one");
    let follower = leader % 3 + 1;
    let grant = |ttl| Op::Command(Command::LeaseGrant(LeaseGrantRequest { id: 7, ttl }));
    begin(&mut world, follower, grant(1));
    until(&mut world, |world| {
        let leases = |id: u64| {
            world.nodes[&id].handle().map(|handle| handle.query().unwrap().leases().len())
        };
        leases(leader) == Some(1)
    });
    world.freeze(leader, Turn::Applier, true);
    let revoke = Command::LeaseRevoke(LeaseRevoke { ids: vec![7], as_of: 0 });
    begin(&mut world, follower, Op::Command(revoke));
    until(&mut world, |world| world.clients.is_idle());
    begin(&mut world, follower, grant(1_000));
    until(&mut world, |world| world.totals.acknowledged == 3);
    // Long enough for the keeper to find the old one expired; `lease_never_early` watches the new one.
    let end = world.now + Duration::from_secs(5);
    until(&mut world, |world| world.now > end);
    // A read round, so that the leader knows that it leads and answers the keep-alive without another.
    begin(&mut world, leader, Op::Range(RangeRequest { key: "k".into(), ..Default::default() }));
    steps(&mut world, 50);
    begin(&mut world, leader, Op::KeepAlive(7));
    steps(&mut world, 50);
    world.freeze(leader, Turn::Applier, false);
    until(&mut world, |world| world.clients.is_idle());
    assert_eq!(world.totals.renewals, 1);
    let end = world.now + Duration::from_secs(1);
    until(&mut world, |world| world.now > end);
    for node in world.nodes.values() {
        let leases = node.handle().unwrap().query().unwrap().leases();
        assert_eq!(leases.len(), 1, "{} has lost the new lease", node.id);
    }
}

/// LMDB has no checksums of its own: a member with flipped bits in its database served them as values.
#[test]
fn a_flipped_bit_in_a_database_stops_the_member_and_is_never_served() {
    let mut world = quiet(3);
    let leader = world.leader().expect("there is one");
    let follower = leader % 3 + 1;
    for n in 0..10 {
        let (key, value) = (format!("k/{n:02}").into(), format!("v{n}").into());
        let put = PutRequest { key, value, ..PutRequest::default() };
        begin(&mut world, leader, Op::Command(Command::Put(put)));
        until(&mut world, |world| world.clients.is_idle());
    }
    until(&mut world, |world| {
        world.nodes[&follower].up.as_ref().is_some_and(|up| up.store.stamp().revision == 11)
    });
    world.force_checkpoint(follower);
    until(&mut world, |world| {
        world.nodes[&follower].up.as_ref().is_some_and(|up| up.store.durable().revision == 11)
    });
    let generation = world.nodes[&follower].up.as_ref().unwrap().store.generation();
    world.crash(follower, true).unwrap_or_else(|violation| panic!("{violation}"));
    let node = world.nodes.get_mut(&follower).unwrap();
    let mut dice = Dice::new(3);
    let mut flip = || flip_row(&node.db_dir, generation, &mut dice).unwrap().is_some();
    assert!(flip(), "there are rows");
    // As many as look like rows after the others.
    while flip() {}
    node.has_flipped_rows = true;
    world.start(follower).unwrap_or_else(|violation| panic!("{violation}"));
    assert!(world.nodes[&follower].up.is_some(), "nobody has read the rows");
    let (key, range_end) = ("k/".into(), "k0".into());
    let range = RangeRequest { key, range_end, serializable: true, ..RangeRequest::default() };
    // What it answers, the checker compares; what it refuses to go on with, `corruption_named` looks at.
    begin(&mut world, follower, Op::Range(range));
    until(&mut world, |world| world.nodes[&follower].is_damaged);
    assert_eq!((world.totals.damaged_databases, world.clients.is_idle()), (1, true));
    assert!(world.leader().is_some(), "the others go on");
}
