//! One connection at a time to several endpoints (and the leader's for writes): who is next, who dials, and when a link
//! is given up.
//!
//! ```text
//!   link wanted --> current usable? --yes--> it
//!                        | no
//!                   one round of dialling at a time, shared by all who wait:
//!                   the endpoint whose turn it is, a moment later the next, ... the first Hello wins
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::calls::failed;
use super::config::{Config, Endpoint, Wire};
#[cfg(feature = "server")]
use super::grpc::Grpc;
use super::leading::Leading;
use super::link::Link;
use super::{Error, auth};
use crate::base::{Backoff, Clock, Moment, SystemClock};
use crate::discovery::Resolver;
use crate::proto::hello::{ClientHello, PROTOCOL_VERSION};
use crate::proto::{Code, Retry, Status};
use crate::transport::{DialOptions, Dialer};

/// A silent endpoint delays the next one by this much only.
const STAGGER: Duration = Duration::from_millis(250);

/// Waits between rounds in which no endpoint answered.
const ROUND_WAIT_FIRST: Duration = Duration::from_millis(50);
const ROUND_WAIT_MAX: Duration = Duration::from_secs(1);

/// A server that says nothing for so long is given up (etcdctl's).
const IDLE: Duration = Duration::from_secs(6);
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// How long QUIC is waited for before TCP is tried, too, where either will do.
#[cfg(feature = "server")]
const QUIC_FIRST: Duration = Duration::from_millis(400);

/// See the module.
#[derive(Debug)]
pub(super) struct Endpoints {
    pub config: Config,
    pub clock: SystemClock,
    pub leading: Leading,
    endpoints: Vec<Endpoint>,
    dialer: Dialer,
    /// What new connections say; none until somebody gave one.
    token: Mutex<Option<String>>,
    state: Mutex<State>,
}

/// Why an endpoint has no link: a text for people; with a status where it would not let this user in.
#[derive(Debug)]
pub(super) struct NoLink {
    pub text: String,
    pub refusal: Option<Error>,
}

/// Whose requests a link carries, with their token; empty: none.
pub(super) enum Whose {
    /// The certificate's, too.
    Own(String),
    /// They have no certificate here.
    Others(String),
}

impl From<String> for NoLink {
    fn from(text: String) -> Self {
        Self { text, refusal: None }
    }
}

/// The outcome of a round of dialling, once there is one.
type Round = watch::Receiver<Option<Result<Arc<Link>, Error>>>;

#[derive(Debug)]
struct State {
    link: Option<Arc<Link>>,
    round: Option<Round>,
    /// Whose turn it is.
    first: usize,
    is_closed: bool,
}

impl Endpoints {
    pub(super) fn new(config: Config) -> Result<Self, Error> {
        let endpoints = config.parsed()?;
        Self::with(config, endpoints)
    }

    /// The same with these, which may be none where nobody asks for a link.
    pub(super) fn with(config: Config, endpoints: Vec<Endpoint>) -> Result<Self, Error> {
        let options =
            DialOptions { timeout: config.dial_timeout, idle: IDLE, keep_alive: Some(KEEP_ALIVE) };
        let files = config.tls.clone().unwrap_or_default();
        let names = config.dns_server.map_or_else(Resolver::system, Resolver::at).names();
        let dialer = Dialer::new(&files, options, names)
            .map_err(|error| Error::Config(error.to_string()))?;
        let state = State { link: None, round: None, first: 0, is_closed: false };
        let clock = SystemClock::new();
        let leading = Leading::default();
        let token = Mutex::new(config.token.clone());
        Ok(Self { config, clock, leading, endpoints, dialer, token, state: Mutex::new(state) })
    }

    /// What the client was told.
    pub(super) fn given(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// A link for a write where the leader is sought: the leader's, or that of a member that forwards.
    pub(super) async fn link_for_writes(
        self: &Arc<Self>,
        until: Moment,
    ) -> Result<Arc<Link>, Error> {
        let leader = self.leading.link();
        let link = match (&leader, self.current()) {
            // While the leader takes writes nobody waits for another connection.
            (Some(leader), None) => Arc::clone(leader),
            (_, Some(current)) => current,
            (None, None) => self.link(until).await?,
        };
        self.search_leader(&link);
        Ok(leader.unwrap_or(link))
    }

    /// A usable link; dials as often as it takes until `until`.
    pub(super) async fn link(self: &Arc<Self>, until: Moment) -> Result<Arc<Link>, Error> {
        let mut backoff = Backoff::new(ROUND_WAIT_FIRST, ROUND_WAIT_MAX);
        let mut last = None;
        loop {
            let Ok(outcome) = timeout(self.remaining(until), self.link_once()).await else {
                return Err(last.unwrap_or_else(|| self.nobody_yet()));
            };
            let error = match outcome {
                Err(error @ Error::Connect { .. }) => error,
                done => return done,
            };
            let wait = backoff.next_wait();
            if self.remaining(until) <= wait {
                return Err(error);
            }
            last = Some(error);
            sleep(wait).await;
        }
    }

    /// A usable link, or the failure of one round.
    pub(super) async fn link_once(self: &Arc<Self>) -> Result<Arc<Link>, Error> {
        let mut round = {
            let mut state = self.lock();
            if state.is_closed {
                return Err(Error::Closed);
            }
            if let Some(link) = &state.link {
                if link.is_usable() {
                    return Ok(Arc::clone(link));
                }
                let lost = Arc::clone(&link.endpoint);
                state.link = None;
                state.first = self.after(&lost);
            }
            match &state.round {
                Some(round) => round.clone(),
                None => {
                    let round = self.begin_round(state.first);
                    state.round = Some(round.clone());
                    round
                }
            }
        };
        match round.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Err(Error::Closed)),
            // The runtime is going away.
            Err(_) => Err(Error::Closed),
        }
    }

    /// The member behind `link` cannot serve now: the next call goes to another endpoint, if there is one.
    pub(super) fn turn_from(&self, link: &Arc<Link>) {
        if self.has_others() {
            link.leave();
        }
    }

    /// Whether there is more than one endpoint.
    pub(super) fn has_others(&self) -> bool {
        self.endpoints.len() > 1
    }

    /// Whether a failure is the member's own and of the moment: it has no leader, or another one would serve.
    pub(super) fn is_passing(&self, status: &Status) -> bool {
        let elsewhere = status.retry == Retry::NotProposed && self.has_others();
        status.code == Code::Unavailable || elsewhere
    }

    /// The endpoint in use, if there is a connection.
    pub(super) fn current(&self) -> Option<Arc<Link>> {
        self.lock().link.clone().filter(|link| link.is_usable())
    }

    pub(super) fn remaining(&self, until: Moment) -> Duration {
        until.since(self.clock.now())
    }

    /// Closes the connection, and waits until the server has been told.
    pub(super) async fn close(&self) {
        let link = {
            let mut state = self.lock();
            state.is_closed = true;
            state.link.take()
        };
        if let Some(link) = link {
            link.close();
        }
        self.leading.close();
        self.dialer.close().await;
    }

    fn begin_round(self: &Arc<Self>, first: usize) -> Round {
        let (tell, told) = watch::channel(None);
        let endpoints = Arc::clone(self);
        tokio::spawn(async move {
            let outcome = endpoints.race(first).await;
            {
                let mut state = endpoints.lock();
                state.round = None;
                match &outcome {
                    Ok(link) if state.is_closed => link.close(),
                    Ok(link) => state.link = Some(Arc::clone(link)),
                    Err(_) => {}
                }
            }
            tell.send_replace(Some(outcome));
        });
        told
    }

    /// The first endpoint that says Hello.
    async fn race(self: &Arc<Self>, first: usize) -> Result<Arc<Link>, Error> {
        let count = self.endpoints.len();
        let mut racing = JoinSet::new();
        let mut started = 0;
        let mut tried = Vec::new();
        loop {
            if started < count {
                let endpoints = Arc::clone(self);
                let index = (first + started) % count;
                racing.spawn(async move { endpoints.dial(&endpoints.endpoints[index]).await });
                started += 1;
            }
            tokio::select! {
                Some(ended) = racing.join_next() => match ended {
                    Ok(Ok(link)) => return Ok(link),
                    // The others would not, either.
                    Ok(Err(NoLink { refusal: Some(refusal), .. })) => return Err(refusal),
                    Ok(Err(NoLink { text, .. })) => tried.push(text),
                    Err(error) => tried.push(error.to_string()),
                },
                () = sleep(STAGGER), if started < count => {}
            }
            if racing.is_empty() && started == count {
                return Err(Error::Connect { tried });
            }
        }
    }

    /// A link, as whom the settings say.
    pub(super) async fn dial(&self, endpoint: &Endpoint) -> Result<Arc<Link>, NoLink> {
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_known = token.is_some();
        let link = self.dial_with(endpoint, token.unwrap_or_default()).await?;
        let Some(login) = self.config.login.as_ref().filter(|_| !is_known) else { return Ok(link) };
        let shown = timeout(self.config.request_timeout, auth::token(&link, login)).await;
        let token = match shown {
            Ok(Ok(Some(token))) => token,
            // Nobody asks who we are.
            Ok(Ok(None)) => return Ok(link),
            Ok(Err(failure)) => {
                let error = failed(&link, failure);
                let text = format!("{}: {}", endpoint.text, error.text());
                let is_answer = matches!(&error, Error::Server { status, .. }
                    if status.retry == Retry::Never);
                return Err(NoLink { text, refusal: is_answer.then_some(error) });
            }
            Err(_) => return Err(format!("{}: it let no user in", endpoint.text).into()),
        };
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        link.close();
        Ok(self.dial_with(endpoint, token).await?)
    }

    /// The token that `link` was opened with counts no more.
    pub(super) fn forget_token(&self, link: &Link) {
        let mut token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        if token.as_deref().unwrap_or_default() == link.token {
            *token = None;
        }
    }

    /// Over the wire of the settings.
    async fn dial_with(&self, endpoint: &Endpoint, token: String) -> Result<Arc<Link>, String> {
        match self.config.wire {
            Wire::Quic => self.dial_as(endpoint, Whose::Own(token), false).await,
            #[cfg(feature = "server")]
            Wire::Grpc => self.dial_grpc(endpoint, token).await,
            #[cfg(feature = "server")]
            Wire::Either => self.dial_either(endpoint, token).await,
        }
    }

    /// Over QUIC, with this token; or for what only a member that knows a leader is to answer.
    pub(super) async fn dial_as(
        &self,
        endpoint: &Endpoint,
        whose: Whose,
        requires_leader: bool,
    ) -> Result<Arc<Link>, String> {
        let (token, for_others) = match whose {
            Whose::Own(token) => (token, false),
            Whose::Others(token) => (token, true),
        };
        let url = &endpoint.text;
        let dialled = self.dialer.dial(&endpoint.url).await;
        let connection = dialled.map_err(|why| format!("{url}: {why}"))?;
        let client = self.config.name.clone();
        let versions = vec![PROTOCOL_VERSION];
        let hello = ClientHello { versions, client, token, requires_leader, for_others };
        let open = Link::open(connection, Arc::clone(url), hello, self.config.unary_streams);
        match timeout(self.config.dial_timeout, open).await {
            Ok(opened) => opened.map_err(|why| format!("{url}: {why}")),
            Err(_) => Err(format!("{url}: it accepted the connection and then said nothing")),
        }
    }

    #[cfg(feature = "server")]
    async fn dial_grpc(&self, endpoint: &Endpoint, token: String) -> Result<Arc<Link>, String> {
        let url = &endpoint.text;
        let open = Grpc::open(&endpoint.url, &self.config, &token);
        match timeout(self.config.dial_timeout, open).await {
            Ok(Ok(grpc)) => Ok(Link::over_grpc(Arc::clone(url), token, grpc)),
            Ok(Err(why)) => Err(format!("{url}: {why}")),
            Err(_) => Err(format!("{url}: no answer over TCP")),
        }
    }

    /// QUIC has the first word; TCP is asked where it says nothing for a moment. What QUIC says of a failure is told.
    #[cfg(feature = "server")]
    async fn dial_either(&self, endpoint: &Endpoint, token: String) -> Result<Arc<Link>, String> {
        let own = Whose::Own(token.clone());
        let mut quic = std::pin::pin!(self.dial_as(endpoint, own, false));
        let began = tokio::select! {
            dialled = &mut quic => return dialled,
            () = sleep(QUIC_FIRST) => self.dial_grpc(endpoint, token),
        };
        let mut grpc = std::pin::pin!(began);
        tokio::select! {
            dialled = &mut quic => match dialled {
                Ok(link) => Ok(link),
                Err(why) => grpc.await.map_err(|_| why),
            },
            dialled = &mut grpc => match dialled {
                Ok(link) => Ok(link),
                Err(_) => quic.await,
            },
        }
    }

    fn after(&self, url: &Arc<str>) -> usize {
        let index = self.endpoints.iter().position(|endpoint| endpoint.text == *url);
        index.map_or(0, |index| (index + 1) % self.endpoints.len())
    }

    fn nobody_yet(&self) -> Error {
        let tried =
            self.endpoints.iter().map(|endpoint| format!("{}: no answer yet", endpoint.text));
        Error::Connect { tried: tried.collect() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
