//! Where writes go: the leader's own connection, where there is one.
//!
//! ```text
//!   a write --> a usable link to the leader? --yes--> it
//!                  | no                               +-- an answer of a newer term: look again, behind the back
//!                  v                                  +-- lost, or it cannot serve: forgotten
//!               the link in use, whose member forwards;
//!               meanwhile, behind the back: ask it who leads, dial that member, compare its Hello
//! ```
//!
//! It saves a hop and nothing else: any member takes any write, so nobody waits for the search, and its failure is no
//! failure. A client that was given one endpoint stays there.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prost::Message;
use tokio::time::timeout;

use super::Request;
use super::config::{Endpoint, Wire};
use super::endpoints::Endpoints;
use super::link::Link;
use crate::base::{Clock, Moment};
use crate::proto::Method;
use crate::proto::etcdserverpb as pb;

/// Between two searches, so that a member that cannot be reached is not dialled for every write.
const SEARCH_AGAIN: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Leading {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    link: Option<Arc<Link>>,
    /// In which the link's member led.
    term: u64,
    /// The newest that an answer has shown.
    term_seen: u64,
    is_searching: bool,
    /// No search before.
    rest_until: Moment,
    is_closed: bool,
}

/// The part of an answer that tells the term.
#[derive(Clone, PartialEq, Message)]
struct Headed {
    #[prost(message, tag = "1")]
    header: Option<pb::ResponseHeader>,
}

/// Writes that a leader gains by hearing first hand. Others are rare, or about the asked member itself.
pub(super) fn is_for_the_leader(method: Method) -> bool {
    matches!(
        method,
        Method::Put | Method::DeleteRange | Method::Txn | Method::LeaseGrant | Method::LeaseRevoke
    )
}

impl Leading {
    /// The leader's link, if it is known and usable.
    pub(super) fn link(&self) -> Option<Arc<Link>> {
        let mut state = self.lock();
        if state.link.as_ref().is_some_and(|link| !link.is_usable()) {
            state.link = None;
        }
        state.link.clone()
    }

    /// Whoever answered in a newer term may answer for another leader.
    pub(super) fn saw_answer(&self, body: &[u8]) {
        let Ok(Headed { header: Some(header) }) = Headed::decode(body) else { return };
        let mut state = self.lock();
        state.term_seen = state.term_seen.max(header.raft_term);
    }

    /// Takes and closes what is there, for ever.
    pub(super) fn close(&self) {
        let link = {
            let mut state = self.lock();
            state.is_closed = true;
            state.link.take()
        };
        if let Some(link) = link {
            link.close();
        }
    }

    /// Whether a search is due; if so, the caller makes it.
    fn begin(&self, now: Moment) -> bool {
        let mut state = self.lock();
        let is_known = state.link.is_some() && state.term >= state.term_seen;
        if is_known || state.is_searching || state.is_closed || state.rest_until > now {
            return false;
        }
        state.is_searching = true;
        true
    }

    fn end(&self, now: Moment, found: Option<(Arc<Link>, u64)>) {
        let mut state = self.lock();
        state.is_searching = false;
        state.rest_until = now + SEARCH_AGAIN;
        let Some((link, term)) = found else { return };
        if state.is_closed {
            drop(state);
            return link.close();
        }
        state.link = Some(link);
        state.term = term;
        state.term_seen = state.term_seen.max(term);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Endpoints {
    /// Whether writes are to find the leader. Over gRPC nobody says who it is that answers.
    pub(super) fn seeks_leader(&self) -> bool {
        self.config.writes_to_leader && self.config.wire == Wire::Quic && self.has_others()
    }

    /// Searches for the leader in the background, if that is due; `link` is asked.
    pub(super) fn search_leader(self: &Arc<Self>, link: &Arc<Link>) {
        if !self.leading.begin(self.clock.now()) {
            return;
        }
        let (endpoints, link) = (Arc::clone(self), Arc::clone(link));
        tokio::spawn(async move {
            let found = endpoints.find_leader(&link).await;
            if let Some((leader, term)) = &found {
                tracing::debug!(endpoint = %leader.endpoint, term, "writes go to the leader");
            }
            endpoints.leading.end(endpoints.clock.now(), found);
        });
    }

    async fn find_leader(&self, link: &Arc<Link>) -> Option<(Arc<Link>, u64)> {
        let status = self.ask(link, pb::StatusRequest {}).await?;
        if status.leader == 0 {
            return None;
        }
        let known = [Some(Arc::clone(link)), self.leading.link()];
        let is_leaders =
            |link: &Arc<Link>| link.hello.member_id == status.leader && link.is_usable();
        if let Some(leader) = known.into_iter().flatten().find(is_leaders) {
            return Some((leader, status.raft_term));
        }
        let members = self.ask(link, pb::MemberListRequest { linearizable: false }).await?;
        let leader = members.members.into_iter().find(|member| member.id == status.leader)?;
        for endpoint in self.candidates(link, &leader.client_ur_ls) {
            // Whoever answers there may be another member, or of another cluster.
            match self.dial(&endpoint).await {
                Ok(found)
                    if found.hello.member_id == status.leader
                        && found.hello.cluster_id == link.hello.cluster_id =>
                {
                    return Some((found, status.raft_term));
                }
                Ok(_) => {}
                Err(why) => tracing::debug!(error = why.text, "the leader is not reached there"),
            }
        }
        None
    }

    /// Where the leader may be: at one of its URLs, the given ones first; or under another name that was given.
    fn candidates(&self, link: &Link, urls: &[String]) -> Vec<Endpoint> {
        let is_secure = link.endpoint.starts_with("https://");
        let of_leader: Vec<Endpoint> = urls
            .iter()
            // What a member says of itself must not talk a client out of its security.
            .filter(|url| url.starts_with(if is_secure { "https://" } else { "http://" }))
            .filter_map(|url| Endpoint::parse(url, is_secure).ok())
            .collect();
        let given = self.given().iter().filter(|endpoint| endpoint.text != link.endpoint);
        let (named, others): (Vec<&Endpoint>, Vec<&Endpoint>) =
            given.partition(|endpoint| of_leader.contains(endpoint));
        let learned = of_leader.iter().filter(|endpoint| !named.contains(endpoint));
        named.iter().copied().chain(learned).chain(others).cloned().collect()
    }

    async fn ask<R: Request>(&self, link: &Link, request: R) -> Option<R::Response> {
        let time = self.config.dial_timeout;
        let deadline_ms = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        let body = request.encode_to_vec();
        let answer = timeout(time, link.call(R::METHOD, &body, deadline_ms)).await.ok()?.ok()?;
        R::Response::decode(answer).ok()
    }
}
