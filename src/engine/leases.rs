//! Renewals and remaining times: answered by the leader's lessor, asked for by everybody else.

use std::sync::MutexGuard;

use bytes::Bytes;
use prost::Message as _;
use tokio::sync::oneshot;

use super::error::Error;
use super::handle::Handle;
use super::lessor::{Lessor, Renewal};
use super::outbox::{AskKind, Lost};
use super::shared::{AskReply, ReadDone};
use super::waiters::Done;
use crate::base::{LeaseId, MemberId, Moment, Term};
use crate::proto::quorate::log::lease_checkpoint::Remaining;
use crate::proto::quorate::log::{LeaseCheckpoint, LeaseRevoke};
use crate::proto::quorate::peer::{
    KeepAliveRequest, KeepAliveResponse, TimeToLiveRequest, TimeToLiveResponse,
};
use crate::state::Command;

/// What is left of a lease that is not there, seconds.
const UNKNOWN: i64 = -1;

/// Told the TTL in seconds, 0 for a lease that is unknown or expired.
pub type Renewed = Box<dyn FnOnce(Result<i64, Error>) + Send>;

impl Handle {
    /// The TTL of the renewed lease in seconds; 0 if it is unknown or has expired.
    pub async fn keep_alive(&self, id: LeaseId, deadline: Moment) -> Result<i64, Error> {
        let (sender, receiver) = oneshot::channel();
        self.renew(id, deadline, Box::new(move |result| drop(sender.send(result))));
        receiver.await.unwrap_or(Err(Error::Stopped))
    }

    /// The same with a callback.
    pub fn renew(&self, id: LeaseId, deadline: Moment, renewed: Renewed) {
        match self.renew_here(id) {
            Renewal::NotLeader => self.ask_renewal(id, deadline, renewed),
            renewal => self.end_renewal(renewal, id, deadline, renewed),
        }
    }

    /// Remaining seconds; -1 for an unknown lease.
    pub async fn time_to_live(&self, id: LeaseId, deadline: Moment) -> Result<i64, Error> {
        match self.remaining_here(id) {
            Some(UNKNOWN) => {
                self.read_barrier(deadline).await?;
                return self.remaining_here(id).ok_or(Error::NoLeader);
            }
            Some(ttl) => return Ok(ttl),
            None => {}
        }
        let Some(leader) = self.other_leader() else { return Err(Error::NoLeader) };
        let body = Bytes::from(TimeToLiveRequest { id }.encode_to_vec());
        let (sender, receiver) = oneshot::channel();
        let answered = Box::new(move |answer| drop(sender.send(answer)));
        self.shared.outbox.ask(leader, AskKind::TimeToLive, body, deadline, answered);
        let answer: Result<Bytes, Lost> = receiver.await.unwrap_or(Err(Lost));
        let answer = answer.map_err(|Lost| Error::ConnectionLost { leader })?;
        match TimeToLiveResponse::decode(answer) {
            Ok(response) if !response.no_leader => Ok(response.ttl),
            _ => Err(Error::NoLeader),
        }
    }

    /// Expired leases and the term in which they may be revoked; nothing unless this member leads.
    pub fn expired(&self, count_max: usize) -> Option<(Term, LeaseRevoke)> {
        let now = self.shared.clock.now();
        let lessor = self.shared.lessor();
        let revoke = LeaseRevoke { ids: lessor.expired(now, count_max), as_of: lessor.as_of() };
        lessor.term().filter(|_| !revoke.ids.is_empty()).map(|term| (term, revoke))
    }

    /// Long leases whose remaining time is to be recorded, and the term.
    pub fn leases_to_record(&self) -> Option<(Term, LeaseCheckpoint)> {
        let now = self.shared.clock.now();
        let lessor = self.shared.lessor();
        let remaining = |(id, remaining_ttl_s): (LeaseId, i64)| Remaining { id, remaining_ttl_s };
        let leases = lessor.to_record(now).into_iter().map(remaining).collect();
        let record = LeaseCheckpoint { leases, as_of: lessor.as_of() };
        lessor.term().filter(|_| !record.leases.is_empty()).map(|term| (term, record))
    }

    fn renew_here(&self, id: LeaseId) -> Renewal {
        let now = self.shared.clock.now();
        let mut lessor = self.shared.lessor();
        // Nobody votes for another leader within an election timeout of having confirmed this one, so a promise made
        // until then is older than any other leader's count.
        let confirmed = self.shared.confirmed().map(|confirmed| now.since(confirmed));
        if confirmed.is_none_or(|ago| ago >= self.shared.config.election_timeout()) {
            let leads = lessor.term().is_some();
            return if leads { Renewal::Unconfirmed } else { Renewal::NotLeader };
        }
        lessor.renew(id, now)
    }

    fn remaining_here(&self, id: LeaseId) -> Option<i64> {
        let now = self.shared.clock.now();
        let lessor = self.shared.lessor();
        if !lessor.is_leading() || lessor.term().is_none() {
            return None;
        }
        Some(lessor.remaining_s(id, now).unwrap_or(UNKNOWN))
    }

    fn other_leader(&self) -> Option<MemberId> {
        self.shared.raft_status().leader.filter(|&leader| leader != self.shared.config.member)
    }

    /// A leader's answer; what has to enter the log first is waited for, and nothing is called unknown before
    /// everything is applied that was acknowledged: a member that is ahead of this one may have told of a grant.
    fn end_renewal(&self, renewal: Renewal, id: LeaseId, deadline: Moment, renewed: Renewed) {
        match renewal {
            Renewal::Ttl(ttl) => renewed(Ok(ttl)),
            Renewal::Unknown => {
                let look_again = self.look_again(id, deadline, renewed);
                self.barrier(deadline, look_again);
            }
            Renewal::NotLeader => renewed(Err(Error::NoLeader)),
            Renewal::Unconfirmed => {
                let handle = self.clone();
                let confirmed = Box::new(move |confirmed: Result<(), Error>| {
                    match confirmed.map(|()| handle.renew_here(id)) {
                        Ok(Renewal::Unconfirmed) => renewed(Err(Error::NoLeader)),
                        Ok(renewal) => handle.end_renewal(renewal, id, deadline, renewed),
                        Err(error) => renewed(Err(error)),
                    }
                });
                self.barrier(deadline, confirmed);
            }
            // Its keys may still be seen: the answer waits until they are gone. What was found expired may have gone
            // before, and another lease be granted with its id that this member had not applied.
            Renewal::Expired { as_of } => {
                let revoke = Command::LeaseRevoke(LeaseRevoke { ids: vec![id], as_of });
                let look_again = self.look_again(id, deadline, renewed);
                self.submit_leading(revoke, deadline, Box::new(|done| look_again(done.map(drop))));
            }
            // A record that is forgotten is a renewal.
            Renewal::NeedsReset => {
                let leases = vec![Remaining { id, remaining_ttl_s: 0 }];
                let command = Command::LeaseCheckpoint(LeaseCheckpoint { leases, as_of: 0 });
                let look_again = self.look_again(id, deadline, renewed);
                self.submit_leading(command, deadline, Box::new(|done| look_again(done.map(drop))));
            }
        }
    }

    /// What is told once a barrier or an entry of this renewal is through: everything that was acknowledged before it
    /// is applied by then, so who is unknown now is gone.
    fn look_again(&self, id: LeaseId, deadline: Moment, renewed: Renewed) -> ReadDone {
        let handle = self.clone();
        Box::new(move |caught_up| match caught_up.map(|()| handle.renew_here(id)) {
            Ok(Renewal::Unknown) => renewed(Ok(0)),
            Ok(renewal) => handle.end_renewal(renewal, id, deadline, renewed),
            Err(error) => renewed(Err(error)),
        })
    }

    /// Remaining times that are about to enter the log; those that are not true any more are taken out. What was
    /// renewed after this, once the lessor is let go, is queued behind them.
    pub(super) fn begin_record(&self, command: &mut Command) -> Option<MutexGuard<'_, Lessor>> {
        let Command::LeaseCheckpoint(record) = command else { return None };
        let now = self.shared.clock.now();
        let mut lessor = self.shared.lessor();
        record.leases.retain(|lease| {
            let forgets = lease.remaining_ttl_s == 0;
            forgets || lessor.begin_record(lease.id, lease.remaining_ttl_s, now)
        });
        Some(lessor)
    }

    /// A command that only this leader may give, while it leads.
    fn submit_leading(&self, command: Command, deadline: Moment, done: Done) {
        let term = self.shared.lessor().term();
        match term {
            Some(term) => {
                self.submit_as(command, term, deadline, done);
            }
            None => done(Err(Error::NoLeader)),
        }
    }

    fn ask_renewal(&self, id: LeaseId, deadline: Moment, renewed: Renewed) {
        let Some(leader) = self.other_leader() else {
            renewed(Err(Error::NoLeader));
            return;
        };
        let body = Bytes::from(KeepAliveRequest { id }.encode_to_vec());
        let answered = Box::new(move |answer: Result<Bytes, Lost>| {
            let response = answer.ok().and_then(|body| KeepAliveResponse::decode(body).ok());
            renewed(match response {
                Some(response) if !response.no_leader => Ok(response.ttl),
                _ => Err(Error::NoLeader),
            });
        });
        self.shared.outbox.ask(leader, AskKind::KeepAlive, body, deadline, answered);
    }

    /// Another member asks for a renewal.
    pub(super) fn renew_for_peer(&self, id: LeaseId, deadline: Moment, reply: AskReply) {
        let renewal = self.renew_here(id);
        let renewed: Renewed = Box::new(move |result| {
            let (ttl, no_leader) = result.map_or((0, true), |ttl| (ttl, false));
            reply(Bytes::from(KeepAliveResponse { ttl, no_leader }.encode_to_vec()));
        });
        self.end_renewal(renewal, id, deadline, renewed);
    }

    /// Another member asks what is left.
    pub(super) fn time_to_live_for_peer(&self, id: LeaseId, deadline: Moment, reply: AskReply) {
        let told = |ttl: Option<i64>| {
            let response = TimeToLiveResponse { ttl: ttl.unwrap_or(0), no_leader: ttl.is_none() };
            reply(Bytes::from(response.encode_to_vec()));
        };
        let remaining = self.remaining_here(id);
        if remaining != Some(UNKNOWN) {
            return told(remaining);
        }
        let handle = self.clone();
        self.barrier(
            deadline,
            Box::new(move |caught_up| {
                told(caught_up.ok().and_then(|()| handle.remaining_here(id)))
            }),
        );
    }
}
