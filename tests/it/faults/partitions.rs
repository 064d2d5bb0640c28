//! The network between members is cut, in one direction or in both, or loses, delays, repeats and reorders.

use std::time::Duration;

use super::{Stage, rounds, trials};
use crate::dice::Dice;
use crate::harness::{Line, Party, Relays, relayed};
use crate::recorded::Trial;

const MEMBERS: usize = 3;

/// Commands that are to be acknowledged while the network is broken.
const MEANWHILE: u64 = 20;

/// A bad day of a bad network.
const BAD: Line =
    Line { is_cut: false, lost: 50, twice: 50, late: 200, late_by: Duration::from_millis(60) };

/// Which cuts are made, in turn: all, or those that `QUORATE_PARTITION_KINDS` names.
fn kinds() -> Vec<usize> {
    let all = "0,1,2,3,4,5".to_owned();
    let chosen = std::env::var("QUORATE_PARTITION_KINDS").unwrap_or(all);
    chosen.split(',').map(|kind| kind.trim().parse().unwrap()).collect()
}

/// Members and clients reach each other through relays.
fn stage() -> Option<Stage<Relays>> {
    let (cluster, extra) = relayed(MEMBERS);
    Some(Stage { cluster, extra })
}

#[test]
fn the_network_is_cut_and_as_bad_as_it_gets() {
    let kinds = kinds();
    let cut = async |stage: &mut Stage<Relays>, trial: &Trial, dice: &mut Dice, number: usize| {
        let Stage { cluster, extra: relays } = stage;
        let (leader, _) = cluster.leader().await;
        let others = (0..MEMBERS).filter(|index| *index != leader).map(Party::Member);
        let others: Vec<Party> = others.collect();
        let leader = Party::Member(leader);
        let both_ways = |one: Party, other: Party| {
            relays.set(one, other, Line::CUT);
            relays.set(other, one, Line::CUT);
        };
        match kinds[number % kinds.len()] {
            // Alone, but clients come.
            0 => others.iter().for_each(|other| both_ways(leader, *other)),
            // Heard, and deaf.
            1 => others.iter().for_each(|other| relays.set(*other, leader, Line::CUT)),
            // Hears, and mute.
            2 => others.iter().for_each(|other| relays.set(leader, *other, Line::CUT)),
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
            5 => others.iter().chain(&[Party::Client]).for_each(|other| both_ways(leader, *other)),
            other => panic!("there is no kind {other} of cuts"),
        }
        trial.goes_on(MEANWHILE).await;
        tokio::time::sleep(Duration::from_millis(dice.between(0, 2_500))).await;
        relays.heal();
    };
    trials("partition", rounds("QUORATE_PARTITION_ROUNDS", 4), stage, cut);
}
