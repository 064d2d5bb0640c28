//! The members' machines are network namespaces, and the kernel is what cuts, loses, refuses and narrows: what no relay
//! can do is met here, too (a socket that is told that nobody listens, a cable that is pulled, a firewall that refuses
//! what leaves).

use std::io::{self, Write as _};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use super::{Stage, rounds, trials};
use crate::dice::Dice;
use crate::harness::{Cluster, Machines};
use crate::recorded::Trial;

/// Where members and clients live.
const PLAN: [(&str, &str); 3] = [("n1", "10.0.0.1"), ("n2", "10.0.0.2"), ("n3", "10.0.0.3")];
const CLIENTS: &str = "10.0.0.254";

/// Commands that are to be acknowledged while the network is broken.
const MEANWHILE: u64 = 20;

/// The narrowest that QUIC has to live with, and what a cable carries by itself, bytes.
const NARROW: &str = "1280";
const WIDE: &str = "1500";

fn three() -> Option<Stage<Arc<Machines>>> {
    if let Err(error) = Command::new("nft").arg("--version").output() {
        // Not by println: that of a test that passes is not shown.
        let _ =
            writeln!(io::stderr(), "SKIPPED: networks that lose datagrams need nftables: {error}");
        return None;
    }
    let machines = Arc::new(Machines::connect(&PLAN)?);
    machines.enter(CLIENTS);
    let mut cluster = Cluster::prepare_on(&machines, PLAN.len());
    for index in 0..PLAN.len() {
        cluster.spawn(index);
    }
    Some(Stage { cluster, extra: machines })
}

/// Statements of nft.
fn from(members: &[usize], verdict: &str) -> String {
    let line = |at: &usize| format!("ip saddr {} meta l4proto udp {verdict}\n", PLAN[*at].1);
    members.iter().map(line).collect()
}

fn to(members: &[usize], verdict: &str) -> String {
    from(members, verdict).replace("saddr", "daddr")
}

/// One way to break a network; its name.
fn break_it(machines: &Machines, leader: usize, dice: &mut Dice, number: usize) -> &'static str {
    let others: Vec<usize> = (0..PLAN.len()).filter(|at| *at != leader).collect();
    match number % 9 {
        0 => {
            machines.filter(leader, &from(&others, "drop"), "");
            "a leader that is deaf towards the others"
        }
        1 => {
            machines.cable(leader, &["down"]);
            "a leader's cable is pulled"
        }
        2 => {
            let lost = dice.between(5, 15);
            let loses = format!("meta l4proto udp numgen random mod 100 < {lost} drop");
            (0..PLAN.len()).for_each(|at| machines.filter(at, &loses, ""));
            "datagrams are lost everywhere"
        }
        3 => {
            machines.filter(leader, "", &to(&others, "drop"));
            "a leader's own firewall refuses what it sends to the others"
        }
        4 => {
            machines.filter(leader, &from(&others, "reject"), "");
            "a leader's machine says that nobody listens"
        }
        5 => {
            others.iter().for_each(|at| machines.filter(*at, &from(&[leader], "drop"), ""));
            "a leader that nobody else hears"
        }
        6 => {
            let other = others[dice.below(2)];
            machines.filter(leader, &from(&[other], "drop"), &to(&[other], "drop"));
            "one line of three is cut"
        }
        7 => {
            (0..PLAN.len()).for_each(|at| machines.cable(at, &["mtu", NARROW]));
            "every cable is narrower than it was"
        }
        _ => {
            machines.filter(leader, "meta l4proto udp drop", "meta l4proto udp drop");
            "a leader that is cut from everybody"
        }
    }
}

fn heal(machines: &Machines) {
    for at in 0..PLAN.len() {
        machines.filter(at, "", "");
        machines.cable(at, &["up", "mtu", WIDE]);
    }
}

#[test]
fn the_kernel_cuts_loses_and_refuses_what_members_send() {
    let cut =
        async |stage: &mut Stage<Arc<Machines>>, trial: &Trial, dice: &mut Dice, number: usize| {
            let Stage { cluster, extra: machines } = stage;
            let (leader, _) = cluster.leader().await;
            println!("network: {}", break_it(machines, leader, dice, number));
            trial.goes_on(MEANWHILE).await;
            tokio::time::sleep(Duration::from_millis(dice.between(0, 2_500))).await;
            heal(machines);
        };
    trials("namespaces", rounds("QUORATE_NETNS_ROUNDS", 3), three, cut);
}
