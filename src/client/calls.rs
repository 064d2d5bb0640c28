//! The client itself: a call, its deadline, and what is tried again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::time::{sleep, timeout};

use super::endpoints::Endpoints;
use super::lane::Failure;
use super::leading::is_for_the_leader;
use super::link::Link;
use super::{Config, Error, Request, lease, watching};
use crate::base::{Backoff, Clock, Moment};
use crate::proto::{Code, Method, Retry};

/// Waits between attempts of one call.
const RETRY_WAIT_FIRST: Duration = Duration::from_millis(25);
const RETRY_WAIT_MAX: Duration = Duration::from_millis(500);

/// Fresh tokens for one call: users may be changed all the time.
const RENEWALS_MAX: u32 = 3;

/// What the client waits longer than it told the server, so that the server's own answer "timed out", which knows
/// more, comes first.
const DEADLINE_GRACE: Duration = Duration::from_millis(100);

/// A client of a cluster; cheap to clone, and clones share one connection.
///
/// It speaks to one endpoint at a time and moves to the next when the connection is lost, the server goes away or has
/// no leader. Given several endpoints it learns who leads and sends writes (puts, deletions, transactions that write,
/// grants and revocations of leases) there, over a second connection: so a *serializable* read, which asks one member
/// only, may not see a write that was answered just before. What was certainly not done is tried again until the call's deadline; a write whose outcome is unknown
/// never is, and fails with [`Retry::Ambiguous`]. A call's future that is dropped cancels the call.
///
/// ```no_run
/// # async fn example() -> Result<(), quorate::client::Error> {
/// use quorate::client::{Client, Config};
///
/// let client = Client::connect(Config::new(["http://127.0.0.1:2379"])).await?;
/// client.put("greeting", "hello").await?;
/// let answer = client.get("greeting").await?;
/// assert_eq!(answer.kvs[0].value, "hello");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    pub(super) endpoints: Arc<Endpoints>,
    pub(super) watches: Arc<watching::Streams>,
    pub(super) leases: Arc<lease::Keeping>,
    pub(super) timeout: Duration,
}

impl Client {
    /// Connects to the first endpoint that answers. Fails after one round in which none did.
    pub async fn connect(config: Config) -> Result<Self, Error> {
        let client = Self::lazy(config)?;
        client.endpoints.link_once().await?;
        Ok(client)
    }

    /// A client that connects with its first call. Must be called inside a tokio runtime.
    pub fn lazy(config: Config) -> Result<Self, Error> {
        let timeout = config.request_timeout;
        let endpoints = Arc::new(Endpoints::new(config)?);
        Ok(Self {
            watches: Arc::new(watching::Streams::default()),
            leases: Arc::new(lease::Keeping::default()),
            endpoints,
            timeout,
        })
    }

    /// The same client with another time for each call, retries included.
    pub fn within(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    /// The URL of the endpoint in use; none while there is no connection.
    pub fn endpoint(&self) -> Option<String> {
        self.endpoints.current().map(|link| link.endpoint.to_string())
    }

    /// The URL where writes go, if the leader was found; until then they go to [`Client::endpoint`], which forwards.
    pub fn leader_endpoint(&self) -> Option<String> {
        self.endpoints.leading.link().map(|link| link.endpoint.to_string())
    }

    /// Ends every call, watch and lease renewal of all clones and tells the server.
    pub async fn close(self) {
        self.endpoints.close().await;
    }

    /// One unary request of etcd's API, as its message; the other methods are this with a builder before it.
    pub async fn send<R: Request>(&self, request: R) -> Result<R::Response, Error> {
        let body = request.encode_to_vec();
        let (bytes, endpoint) = self.call(R::METHOD, &body, request.is_read()).await?;
        R::Response::decode(bytes).map_err(|error| Error::Protocol {
            endpoint,
            what: format!("its answer to {} cannot be read: {error}", R::METHOD.path()),
        })
    }

    pub(super) fn now(&self) -> Moment {
        self.endpoints.clock.now()
    }

    pub(super) fn deadline(&self) -> Moment {
        self.endpoints.clock.now() + self.timeout
    }

    async fn call(
        &self,
        method: Method,
        body: &[u8],
        is_read: bool,
    ) -> Result<(Bytes, Arc<str>), Error> {
        let until = self.deadline();
        let mut backoff = Backoff::new(RETRY_WAIT_FIRST, RETRY_WAIT_MAX);
        let seeks_leader = !is_read && self.endpoints.seeks_leader();
        let mut renewals = 0;
        loop {
            let link = match seeks_leader && is_for_the_leader(method) {
                true => self.endpoints.link_for_writes(until).await?,
                false => self.endpoints.link(until).await?,
            };
            let error = match self.call_once(&link, method, body, until, is_read).await {
                Ok(bytes) => {
                    if seeks_leader {
                        self.endpoints.leading.saw_answer(&bytes);
                    }
                    return Ok((bytes, Arc::clone(&link.endpoint)));
                }
                Err(error) => error,
            };
            if renewals < RENEWALS_MAX && self.endpoints.renews(&link, &error.text()) {
                renewals += 1;
                continue;
            }
            // Also when this call has no time left: a member that is cut off waits for a leader to the end of every call,
            // and whoever stays there is cut off with it. And when it may not be made again: the next one need not fail.
            if error.code() == Code::Unavailable {
                self.endpoints.turn_from(&link);
            }
            if !self.may_repeat(&error, is_read) {
                return Err(error);
            }
            if error.code() == Code::FailedPrecondition {
                self.endpoints.turn_from(&link);
            }
            let wait = backoff.next_wait();
            if self.endpoints.remaining(until) <= wait {
                return Err(error);
            }
            tracing::debug!(method = method.path(), %error, "trying again");
            sleep(wait).await;
        }
    }

    /// Only what was certainly not done; and reads, when the member could not serve.
    fn may_repeat(&self, error: &Error, is_read: bool) -> bool {
        match error.retry() {
            Retry::Never => false,
            // A learner, say, will refuse for long: without another endpoint, waiting is no use.
            Retry::NotProposed if error.code() == Code::FailedPrecondition => {
                self.endpoints.has_others()
            }
            Retry::NotProposed => true,
            Retry::Ambiguous => is_read && error.code() == Code::Unavailable,
        }
    }

    async fn call_once(
        &self,
        link: &Arc<Link>,
        method: Method,
        body: &[u8],
        until: Moment,
        is_read: bool,
    ) -> Result<Bytes, Error> {
        let remaining = self.endpoints.remaining(until);
        let deadline_ms = u32::try_from(remaining.as_millis()).unwrap_or(u32::MAX).max(1);
        match timeout(remaining + DEADLINE_GRACE, link.call(method, body, deadline_ms)).await {
            Ok(outcome) => outcome.map_err(|failure| failed(link, failure)),
            Err(_) => Err(Error::Timeout {
                endpoint: Arc::clone(&link.endpoint),
                after: self.timeout,
                retry: if is_read { Retry::NotProposed } else { Retry::Ambiguous },
            }),
        }
    }
}

/// The failure of a call or stream on `link`, for people.
pub(super) fn failed(link: &Link, failure: Failure) -> Error {
    let endpoint = Arc::clone(&link.endpoint);
    match failure {
        Failure::Status(status) => Error::Server { endpoint, status },
        Failure::Lost { reason, sent } => {
            let retry = if sent { Retry::Ambiguous } else { Retry::NotProposed };
            Error::Lost { endpoint, reason, retry }
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("endpoints", &self.endpoints.config.endpoints)
            .field("connected", &self.endpoint())
            .finish_non_exhaustive()
    }
}
