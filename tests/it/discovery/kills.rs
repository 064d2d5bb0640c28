//! Founders that are killed at any moment of their founding, by each of the ways: the cluster forms, once.
//!
//! `QUORATE_BOOTSTRAP_ROUNDS` says how often for each way, `QUORATE_FAULT_SEED` who is hit and when.

use std::thread::sleep;
use std::time::Duration;

use super::nodes::{Node, are_one};
use super::zone::{Zone, host, srv};
use crate::dice::Dice;
use crate::harness::Seat;
use crate::program::{Folder, until};

const NAMES: [&str; 3] = ["n1", "n2", "n3"];

/// Kills of each round, at the most.
const KILLS: u64 = 4;

fn rounds() -> usize {
    std::env::var("QUORATE_BOOTSTRAP_ROUNDS").map_or(2, |text| text.parse().unwrap())
}

/// What the dice do to each round; another part of them for each way.
fn dice(way: u64) -> Dice {
    let seed: u64 = std::env::var("QUORATE_FAULT_SEED").map_or(7, |text| text.parse().unwrap());
    Dice::new(seed * 10 + way)
}

fn pause(dice: &mut Dice, ms_max: u64) {
    sleep(Duration::from_millis(dice.between(0, ms_max)));
}

/// They start one after the other in some order, and meanwhile and afterwards some of them are killed and started again;
/// `beside` is called where the service may be hit, too. In the end they are one, and were never two.
fn round(folder: &Folder, nodes: &mut [Node], dice: &mut Dice, mut beside: impl FnMut(&mut Dice)) {
    let mut waiting: Vec<usize> = (0..nodes.len()).collect();
    let mut running: Vec<usize> = Vec::new();
    let mut kills = dice.between(1, KILLS);
    let mut clusters = Vec::new();
    while kills > 0 || !waiting.is_empty() {
        if !waiting.is_empty() && (running.is_empty() || dice.in_thousand(600)) {
            let next = waiting.remove(dice.below(waiting.len()));
            nodes[next].start(folder);
            running.push(next);
        } else if kills > 0 {
            kills -= 1;
            let victim = running[dice.below(running.len())];
            clusters.extend(nodes[victim].cluster());
            nodes[victim].kill();
            pause(dice, 300);
            beside(dice);
            nodes[victim].start(folder);
        }
        // A founding takes a second or two.
        pause(dice, 900);
    }
    let cluster = are_one(folder, nodes);
    assert!(clusters.iter().all(|other| *other == cluster), "{cluster}, and before {clusters:?}");
    until("it takes a write", || {
        (folder.run(&["--endpoints", &nodes[0].url(), "put", "a", "1"]).code == 0).then_some(())
    });
}

#[test]
fn founders_by_discovery_are_killed_at_any_moment() {
    let (_seat, mut dice) = (Seat::take(), dice(1));
    for at in 0..rounds() {
        let folder = Folder::new();
        let mut service = Node::service(&folder);
        let (token, endpoint) = (format!("round{at}"), service.url());
        let url = service.size(&token, "3");
        service.size_of_token(&folder, &token, "3");
        let by_url = ["--discovery", url.as_str()];
        let by_token =
            ["--discovery-token", token.as_str(), "--discovery-endpoints", endpoint.as_str()];
        let words = if at % 2 == 0 { &by_url[..] } else { &by_token };
        println!("round {at}: {words:?}");
        let mut nodes = NAMES.map(|name| Node::new(name, words));
        round(&folder, &mut nodes, &mut dice, |dice| {
            if dice.in_thousand(400) {
                service.kill();
                pause(dice, 300);
                service.start(&folder);
            }
        });
        // It was asked for one cluster, and has the entries of one.
        service.serves();
        let listed = match at % 2 {
            0 => service.ask("GET", &format!("/v2/keys/_etcd/registry/{token}"), "").1,
            _ => {
                let prefix = format!("/_etcd/registry/{token}/members/");
                folder.run(&["--endpoints", &endpoint, "get", "--prefix", &prefix]).ok()
            }
        };
        assert_eq!(listed.matches("=http://").count(), 3, "{listed}");
    }
}

#[test]
fn founders_by_dns_are_killed_at_any_moment() {
    let Some(mut zone) = Zone::serve(&[]) else { return };
    let (_seat, mut dice) = (Seat::take(), dice(2));
    let server = zone.server.to_string();
    for at in 0..rounds() {
        let folder = Folder::new();
        let words = ["--discovery-srv", "q.test", "--dns-server", &server];
        let mut nodes = NAMES.map(|name| Node::new(name, &words));
        let mut records = vec![host("here.q.test", "127.0.0.1")];
        records.extend(
            nodes.iter().map(|node| srv("_etcd-server._tcp.q.test", "here.q.test", node.peer)),
        );
        zone.write(&records);
        println!("round {at}: by DNS");
        round(&folder, &mut nodes, &mut dice, |_| {});
    }
}

#[test]
fn founders_by_a_list_are_killed_at_any_moment() {
    let (_seat, mut dice) = (Seat::take(), dice(3));
    for at in 0..rounds() {
        let folder = Folder::new();
        let mut nodes = NAMES.map(|name| Node::new(name, &[]));
        let entries: Vec<String> =
            nodes.iter().map(|node| format!("{}={}", node.name, node.peer_url())).collect();
        let list = format!("--initial-cluster={}", entries.join(","));
        for node in &mut nodes {
            node.words(&[&list]);
        }
        println!("round {at}: by a list");
        round(&folder, &mut nodes, &mut dice, |_| {});
    }
}
