//! Proposals: into the own log as leader, to the leader otherwise, parked while there is none.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;

use super::Driver;
use super::changes::ChangeRefused;
use crate::base::{Index, MemberId, Moment, Sabotage, Term, limits};
use crate::consensus::{Refused, RoleKind};
use crate::engine::Error;
use crate::engine::outbox::{AskKind, Lost};
use crate::engine::shared::{DriverMessage, Forwarded, Proposal};
use crate::engine::waiters::Done;
use crate::proto::quorate::peer::{
    ProposeOutcome, ProposeRequest, ProposeResponse, propose_outcome::Refusal,
};

/// Proposals that wait for a leader, for room in the overlay, or for the next turn.
pub(super) type Parked = VecDeque<Proposal>;

/// Questions that wait at the leader of a term.
#[derive(Default)]
pub(super) struct Forwards {
    term: Term,
    in_flight: u32,
}

/// What a member's log said to one proposal.
type Placed = Result<(Term, Index), Error>;

impl Driver {
    pub(super) fn park(&mut self, proposal: Proposal, done: Done) {
        let counter = proposal.counter;
        if let Err(error) = self.admit(proposal.is_priority) {
            done(Err(error));
            return;
        }
        self.shared.waiters().insert(counter, proposal.deadline, done);
        self.parked.push_back(proposal);
    }

    /// Back-pressure is here, never in apply.
    fn admit(&self, is_priority: bool) -> Result<(), Error> {
        let config = &self.shared.config;
        let backlog = self.shared.committed().saturating_sub(self.shared.applied());
        let backlog_max =
            if is_priority { config.apply_backlog_priority_max } else { config.apply_backlog_max };
        if backlog > backlog_max || self.parked.len() >= limits::DRIVER_INBOX_MAX {
            return Err(Error::TooManyRequests);
        }
        Ok(())
    }

    pub(super) fn propose_parked(&mut self, now: Moment) {
        if self.parked.is_empty() {
            return;
        }
        let status = self.core.status();
        let is_full =
            self.shared.store.overlay_bytes() > self.shared.config.overlay_admit_bytes_max;
        if status.role == RoleKind::Leader {
            self.propose_own(now, is_full);
        } else if let Some(leader) = status.leader {
            self.forward(leader, status.term, now, is_full);
        }
        if !self.parked.is_empty() {
            let shared = Arc::clone(&self.shared);
            let waiters = shared.waiters();
            // Whoever's deadline passed has been answered: it must not be proposed any more.
            self.parked.retain(|proposal| waiters.contains(proposal.counter));
        }
    }

    fn propose_own(&mut self, now: Moment, is_full: bool) {
        let mut bytes = 0;
        let mut later = Parked::new();
        while let Some(proposal) = self.parked.pop_front() {
            if bytes > limits::PROPOSE_BATCH_BYTES_MAX {
                later.push_back(proposal);
                break;
            }
            if is_full && !proposal.is_priority {
                later.push_back(proposal);
                continue;
            }
            if !self.shared.waiters().contains(proposal.counter) {
                continue;
            }
            bytes += proposal.data.len();
            match self.propose(&proposal) {
                Ok((term, index)) => {
                    let decided = self.shared.waiters().placed(proposal.counter, term, index);
                    self.decided.extend(decided);
                }
                Err(Error::NoLeader) => later.push_back(proposal),
                Err(error) => {
                    let decided = self.shared.waiters().fail(proposal.counter, error);
                    self.decided.extend(decided);
                }
            }
        }
        later.append(&mut self.parked);
        self.parked = later;
        if bytes > limits::PROPOSE_BATCH_BYTES_MAX {
            // Out of this turn's share: the next one must not wait for a message.
            self.next_tick = self.next_tick.min(now);
        }
    }

    fn propose(&mut self, proposal: &Proposal) -> Placed {
        let placed = match &proposal.change {
            None => self.core.propose(proposal.data.clone()),
            Some(change) => {
                let change = self.checked_change(change, proposal.data.clone())?;
                self.core.propose_change(&change)
            }
        };
        placed.map_err(|refused| match refused {
            Refused::NoLeader { .. } | Refused::Transferring => Error::NoLeader,
            Refused::TooLarge { max } => Error::TooLarge { bytes: proposal.data.len(), limit: max },
            Refused::Busy | Refused::NotReady | Refused::BadTransferee => Error::TooManyRequests,
        })
    }

    /// One question carries everything that waits; a membership change is asked by itself.
    fn forward(&mut self, leader: MemberId, term: Term, now: Moment, is_full: bool) {
        if self.forwards.term != term {
            // Who is asked now has nothing to do with what another leader was asked.
            self.forwards = Forwards { term, in_flight: 0 };
        }
        if self.forwards.in_flight >= limits::FORWARDS_MAX {
            return;
        }
        let mut batch: Vec<Proposal> = Vec::new();
        let mut later = Parked::new();
        let mut bytes = 0;
        for proposal in std::mem::take(&mut self.parked) {
            let waits =
                (is_full && !proposal.is_priority) || bytes > limits::PROPOSE_BATCH_BYTES_MAX;
            if waits {
                later.push_back(proposal);
            } else if !self.shared.waiters().contains(proposal.counter) {
            } else if proposal.change.is_some() {
                self.forward_batch((leader, term), AskKind::ProposeChange, vec![proposal], now);
            } else {
                bytes += proposal.data.len();
                batch.push(proposal);
            }
        }
        self.parked = later;
        if !batch.is_empty() {
            self.forward_batch((leader, term), AskKind::Propose, batch, now);
        }
    }

    fn forward_batch(
        &mut self,
        (leader, term): (MemberId, Term),
        kind: AskKind,
        batch: Vec<Proposal>,
        now: Moment,
    ) {
        let counters: Vec<u64> = batch.iter().map(|proposal| proposal.counter).collect();
        let deadline = batch.iter().map(|proposal| proposal.deadline).max().unwrap_or(now);
        {
            let mut waiters = self.shared.waiters();
            for &counter in &counters {
                waiters.forwarded(counter, term);
            }
        }
        self.forwards.in_flight += 1;
        let entries = batch.into_iter().map(|proposal| proposal.data).collect();
        let body = Bytes::from(ProposeRequest { entries, term }.encode_to_vec());
        let shared = Arc::clone(&self.shared);
        let answered = Box::new(move |answer: Result<Bytes, Lost>| {
            let asked = (leader, term);
            let message = DriverMessage::ForwardAnswered { counters, asked, answer };
            shared.driver.push_internal(message);
        });
        self.shared.outbox.ask(leader, kind, body, deadline, answered);
    }

    /// The leader said what became of each; nothing that it refused entered its log.
    pub(super) fn forward_answered(
        &mut self,
        counters: &[u64],
        (leader, term): (MemberId, Term),
        answer: Result<Bytes, Lost>,
    ) {
        if self.forwards.term == term {
            self.forwards.in_flight = self.forwards.in_flight.saturating_sub(1);
        }
        let outcomes = answer.ok().and_then(|body| ProposeResponse::decode(body).ok());
        let outcomes = outcomes.map(|response| response.outcomes).unwrap_or_default();
        let mut waiters = self.shared.waiters();
        for (position, &counter) in counters.iter().enumerate() {
            let decided = match outcomes.get(position) {
                None if Sabotage::LostCalledNotProposed.is_on() => {
                    waiters.fail(counter, Error::LeaderChanged)
                }
                None => waiters.fail(counter, Error::ConnectionLost { leader }),
                Some(outcome) => match outcome.refusal() {
                    Refusal::Accepted => waiters.placed(counter, outcome.term, outcome.index),
                    Refusal::NoLeader => waiters.fail(counter, Error::LeaderChanged),
                    Refusal::Busy => waiters.fail(counter, Error::TooManyRequests),
                    Refusal::TooLarge => waiters.fail(
                        counter,
                        Error::TooLarge { bytes: 0, limit: self.shared.config.request_bytes_max },
                    ),
                    Refusal::Refused => waiters
                        .fail(counter, Error::Refused(ChangeRefused::from_text(&outcome.text))),
                },
            };
            self.decided.extend(decided);
        }
    }

    /// Another member's proposals; this member is, or was, the leader.
    pub(super) fn propose_forwarded(&mut self, forwarded: Forwarded) {
        let Forwarded { from, entries, term, is_change, reply } = forwarded;
        tracing::trace!(peer = %from, entries = entries.len(), "forwarded proposals");
        // Who asked counts on it: what is not applied before an entry of a later term will never be.
        let is_meant = term == 0 || term == self.core.status().term;
        let admitted = if is_meant { self.admit(is_change) } else { Err(Error::LeaderChanged) };
        let outcomes = entries
            .into_iter()
            .map(|data| {
                let placed = match &admitted {
                    Ok(()) => self.propose_foreign(data, is_change),
                    Err(error) => Err(error.clone()),
                };
                outcome(placed)
            })
            .collect();
        reply(Bytes::from(ProposeResponse { outcomes }.encode_to_vec()));
    }

    fn propose_foreign(&mut self, data: Bytes, is_change: bool) -> Placed {
        let limit = self.shared.config.request_bytes_max + limits::REQUEST_OVERHEAD_BYTES;
        if data.len() > limit {
            return Err(Error::TooLarge { bytes: data.len(), limit });
        }
        let change = if is_change { super::changes::decode(&data) } else { None };
        if is_change && change.is_none() {
            return Err(Error::NoLeader);
        }
        let proposal = Proposal {
            counter: 0,
            data,
            change: change.map(Box::new),
            is_priority: is_change,
            deadline: Moment::NEVER,
        };
        self.propose(&proposal)
    }
}

fn outcome(placed: Placed) -> ProposeOutcome {
    let (refusal, text) = match placed {
        Ok((term, index)) => {
            let refusal = Refusal::Accepted.into();
            return ProposeOutcome { refusal, term, index, text: String::new() };
        }
        Err(Error::TooManyRequests) => (Refusal::Busy, String::new()),
        Err(Error::TooLarge { .. }) => (Refusal::TooLarge, String::new()),
        Err(Error::Refused(rejection)) => (Refusal::Refused, rejection.to_string()),
        Err(_) => (Refusal::NoLeader, String::new()),
    };
    ProposeOutcome { refusal: refusal.into(), term: 0, index: 0, text }
}
