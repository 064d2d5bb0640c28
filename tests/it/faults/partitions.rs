//! The network between members is cut, in one direction or in both, or loses, delays, repeats and reorders.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Stage, rounds, trials};
use crate::dice::Dice;
use crate::harness::{Cluster, Line, Party, Relays};
use crate::ports::free_ports;
use crate::recorded::Trial;

const MEMBERS: usize = 3;

/// Commands that are to be acknowledged while the network is broken.
const MEANWHILE: u64 = 20;

const CUT: Line = Line { is_cut: true, lost: 0, twice: 0, late: 0, late_by: Duration::ZERO };

/// A bad day of a bad network.
const BAD: Line =
    Line { is_cut: false, lost: 50, twice: 50, late: 200, late_by: Duration::from_millis(60) };

/// A running cluster whose members and clients reach each other through relays.
fn relayed() -> Option<Stage<Relays>> {
    let mut cluster = Cluster::prepare(MEMBERS);
    let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    let mut routes = Vec::new();
    for (index, own) in free_ports(MEMBERS).into_iter().enumerate() {
        let public = cluster.listens(index, &format!("https://127.0.0.1:{own}"));
        routes.push((address(public), address(own)));
    }
    let relays = Relays::start(&routes, 7);
    for index in 0..MEMBERS {
        cluster.spawn(index);
    }
    relays.members_are(cluster.processes());
    Some(Stage { cluster, extra: relays })
}

#[test]
fn the_network_is_cut_and_as_bad_as_it_gets() {
    let cut = async |stage: &mut Stage<Relays>, trial: &Trial, dice: &mut Dice, number: usize| {
        let Stage { cluster, extra: relays } = stage;
        let (leader, _) = cluster.leader().await;
        let others = (0..MEMBERS).filter(|index| *index != leader).map(Party::Member);
        let others: Vec<Party> = others.collect();
        let leader = Party::Member(leader);
        let both_ways = |one: Party, other: Party| {
            relays.set(one, other, CUT);
            relays.set(other, one, CUT);
        };
        match number % 6 {
            // Alone, but clients come.
            0 => others.iter().for_each(|other| both_ways(leader, *other)),
            // Heard, and deaf.
            1 => others.iter().for_each(|other| relays.set(*other, leader, CUT)),
            // Hears, and mute.
            2 => others.iter().for_each(|other| relays.set(leader, *other, CUT)),
            // One line of three.
            3 => both_ways(leader, others[dice.below(2)]),
            // For members and clients alike.
            4 => {
                let all: Vec<Party> = (0..MEMBERS).map(Party::Member).collect();
                for &one in &all {
                    for &other in all.iter().chain(&[Party::Client]) {
                        relays.set(one, other, BAD);
                        relays.set(other, one, BAD);
                    }
                }
            }
            // From everybody.
            _ => others.iter().chain(&[Party::Client]).for_each(|other| both_ways(leader, *other)),
        }
        trial.goes_on(MEANWHILE).await;
        tokio::time::sleep(Duration::from_millis(dice.between(0, 2_500))).await;
        relays.heal();
    };
    trials("partition", rounds("QUORATE_PARTITION_ROUNDS", 4), relayed, cut);
}
