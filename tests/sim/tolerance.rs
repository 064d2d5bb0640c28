//! Clusters of one to nine voters serve with as many members lost as the table says, and refuse with one more lost.

use std::time::Duration;

use quorate::proto::etcdserverpb::{PutRequest, RangeRequest};
use quorate::state::Command;

use crate::workload::Op;
use crate::world::{Plan, World};

fn put() -> Op {
    let put = PutRequest { key: "k".into(), value: "v".into(), ..PutRequest::default() };
    Op::Command(Command::Put(put))
}

fn get() -> Op {
    Op::Range(RangeRequest { key: "k".into(), ..RangeRequest::default() })
}

/// Asks a living member for a write and a linearizable read, again and again; whether both were served in time.
fn serves(world: &mut World, patience_ticks: u32) -> bool {
    let limit = world.now + world.limits.tick * patience_ticks;
    let before = (world.totals.acknowledged, world.totals.reads);
    while world.now < limit {
        let living = world.nodes.values().find(|node| node.is_running()).map(|node| node.id);
        let Some(id) = living else { return false };
        if world.clients.is_idle() {
            for op in [put(), get()] {
                world.begin(0, id, op).unwrap_or_else(|violation| panic!("{violation}"));
            }
        }
        world.step().unwrap_or_else(|violation| panic!("{violation}"));
        if world.totals.acknowledged > before.0 && world.totals.reads > before.1 {
            return true;
        }
    }
    world.totals.acknowledged > before.0 || world.totals.reads > before.1
}

fn settle(world: &mut World) {
    let limit = world.now + Duration::from_secs(60);
    while !world.clients.is_idle() {
        assert!(world.now < limit, "operations did not end");
        world.step().unwrap_or_else(|violation| panic!("{violation}"));
    }
}

#[test]
fn a_cluster_serves_with_its_tolerance_lost_and_not_with_one_more() {
    for voters in 1..=9 {
        let plan =
            Plan { operations: 0, faults: 0, members: Some(voters), ..Plan::of_seed(voters) };
        let mut world = World::new(plan).unwrap_or_else(|violation| panic!("{violation}"));
        world.clients.stop();
        assert!(serves(&mut world, 600), "{voters} voters serve");
        settle(&mut world);
        let tolerance = (voters - 1) / 2;
        // The leader is among the lost.
        let leader = world.leader().expect("they served");
        let others = (1..=voters).filter(|id| *id != leader);
        let lost: Vec<u64> = [leader].into_iter().chain(others).collect();
        for &id in &lost[..tolerance as usize] {
            world.crash(id, true).unwrap_or_else(|violation| panic!("{violation}"));
        }
        assert!(serves(&mut world, 600), "{voters} voters serve without {tolerance}");
        settle(&mut world);
        let one_more = lost[tolerance as usize];
        world.crash(one_more, true).unwrap_or_else(|violation| panic!("{violation}"));
        assert!(!serves(&mut world, 600), "{voters} voters refuse without {}", tolerance + 1);
        settle(&mut world);
        world.start(one_more).unwrap_or_else(|violation| panic!("{violation}"));
        assert!(serves(&mut world, 600), "{voters} voters serve again");
    }
}
