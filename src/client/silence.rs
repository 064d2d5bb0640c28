//! A server that answers nothing, told from one that has nothing to say; pure but for the loop at the end.
//!
//! Whatever a client sends over QUIC, a living server acknowledges within moments, however long its answer takes: a packet
//! that stays unacknowledged for seconds says more than an idle connection. A doubted link gets no new calls; one that is
//! given up fails the calls that wait on it, which say themselves whether repeating is safe.
//!
//! Silence is counted in looks, not by a clock: a program that was stopped itself has not heard anything either.

use std::sync::Weak;
use std::time::Duration;

use tokio::time::sleep;

use super::link::Link;
use crate::transport::Traffic;

const LOOK_EVERY: Duration = Duration::from_millis(500);

/// 1.5 s: longer than a busy machine keeps a server from running.
const DOUBTED_AFTER: u32 = 3;

/// 3 s, in which QUIC itself has asked again several times; less than the deadline of a call.
const GIVEN_UP_AFTER: u32 = 6;

/// What a silence means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    Alive,
    Doubted,
    GivenUp,
}

/// What was seen at the last look.
#[derive(Debug, Default)]
struct Silence {
    heard: u64,
    /// Sent when something was heard last.
    asked: u64,
    /// Looks since then at which something sent was unanswered.
    looks: u32,
}

impl Silence {
    fn look(&mut self, traffic: Traffic) -> Verdict {
        if traffic.heard != self.heard {
            *self = Self { heard: traffic.heard, asked: traffic.asked, looks: 0 };
        } else if traffic.asked != self.asked {
            self.looks += 1;
        }
        match self.looks {
            looks if looks >= GIVEN_UP_AFTER => Verdict::GivenUp,
            looks if looks >= DOUBTED_AFTER => Verdict::Doubted,
            _ => Verdict::Alive,
        }
    }
}

/// Looks after a link as long as it lives.
pub(super) async fn watch_over(link: Weak<Link>) {
    let mut silence = Silence::default();
    loop {
        sleep(LOOK_EVERY).await;
        let Some(link) = link.upgrade() else { return };
        if link.is_over() {
            return;
        }
        let Some(traffic) = link.traffic() else { return };
        match silence.look(traffic) {
            Verdict::Alive => {}
            Verdict::Doubted => link.leave(),
            Verdict::GivenUp => {
                let silent = LOOK_EVERY * GIVEN_UP_AFTER;
                return link.give_up(&format!("it has not answered for {silent:?}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(traffic: &[(u64, u64)]) -> Vec<Verdict> {
        let mut silence = Silence::default();
        traffic.iter().map(|&(asked, heard)| silence.look(Traffic { asked, heard })).collect()
    }

    #[test]
    fn who_is_not_asked_need_not_answer() {
        assert_eq!(verdicts(&[(5, 9); 20]), [Verdict::Alive; 20]);
    }

    #[test]
    fn who_is_asked_and_says_nothing_is_doubted_and_then_given_up() {
        let told = verdicts(&[(5, 9), (6, 9), (6, 9), (7, 9), (7, 9), (7, 9), (8, 9)]);
        let told: Vec<_> = told.iter().map(|verdict| *verdict as u8).collect();
        assert_eq!(told, [0, 0, 0, 1, 1, 1, 2]);
    }

    #[test]
    fn any_word_ends_the_doubt() {
        let told = verdicts(&[(5, 9), (6, 9), (6, 9), (6, 9), (6, 10), (6, 10), (6, 10), (6, 10)]);
        assert_eq!(told[3], Verdict::Doubted);
        assert_eq!(told[4..], [Verdict::Alive; 4]);
    }
}
