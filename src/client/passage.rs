//! For a proxy: connections to servers by their URLs, and messages through them unread.
//!
//! Unlike a [`Client`](super::Client) nothing is decided here: who is dialled, who is asked, and what is tried again is
//! the proxy's business.

use std::sync::Arc;

use bytes::Bytes;

use super::config::Endpoint;
use super::endpoints::{Endpoints, Whose};
use super::lane::Failure;
use super::link::{Link, StreamRecv, StreamSend};
use super::{Config, Error};
use crate::proto::Method;
use crate::transport::Tunnel;

/// How a server is asked on a connection: said once, in its Hello.
#[derive(Clone, Default, Eq, PartialEq)]
pub(crate) struct Manner {
    /// Of those whose requests are carried.
    pub token: Option<String>,
    /// Whether only a member that knows a leader is to answer.
    pub requires_leader: bool,
}

// Shown without the token.
impl std::fmt::Debug for Manner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Manner");
        shown.field("requires_leader", &self.requires_leader).finish_non_exhaustive()
    }
}

/// One UDP socket that servers are dialled from.
#[derive(Debug)]
pub(crate) struct Passages {
    endpoints: Endpoints,
}

impl Passages {
    /// Must be called inside the runtime that dials. The endpoints may be none; nobody is dialled yet.
    pub(crate) fn new(config: Config) -> Result<Self, Error> {
        let given = if config.endpoints.is_empty() { Vec::new() } else { config.parsed()? };
        Ok(Self { endpoints: Endpoints::with(config, given)? })
    }

    /// Connects to `url` for the proxy's own questions, as whom its settings say; or says why not.
    pub(crate) async fn dial(&self, url: &str) -> Result<Passage, String> {
        let dialled = self.endpoints.dial(&self.endpoint(url)?).await;
        Ok(Passage { link: dialled.map_err(|why| why.text)? })
    }

    /// Connects to `url` for others: the proxy's certificate says nothing of them.
    pub(crate) async fn dial_for(&self, url: &str, manner: &Manner) -> Result<Passage, String> {
        let whose = Whose::Others(manner.token.clone().unwrap_or_default());
        let endpoint = self.endpoint(url)?;
        let link = self.endpoints.dial_as(&endpoint, whose, manner.requires_leader).await?;
        Ok(Passage { link })
    }

    fn endpoint(&self, url: &str) -> Result<Endpoint, String> {
        let is_secure = self.endpoints.config.tls.is_some();
        Endpoint::parse(url, is_secure).map_err(|error| error.to_string())
    }

    /// The token that this connection was opened with counts no more: the next one shows the password again.
    pub(crate) fn renews(&self, passage: &Passage, text: &str) -> bool {
        self.endpoints.renews(&passage.link, text)
    }

    /// Closes every connection, and waits until the servers have been told.
    pub(crate) async fn close(&self) {
        self.endpoints.close().await;
    }
}

/// A connection to one server; cheap to clone, closed with the last clone.
#[derive(Clone, Debug)]
pub(crate) struct Passage {
    link: Arc<Link>,
}

impl Passage {
    /// As it was dialled.
    pub(crate) fn url(&self) -> &str {
        &self.link.endpoint
    }

    /// What the server's Hello said of it: its cluster and its member, both 0 for a proxy.
    pub(crate) fn whose(&self) -> (u64, u64) {
        (self.link.hello.cluster_id, self.link.hello.member_id)
    }

    /// Streams that the server takes on this connection, beside the calls'.
    pub(crate) fn streams_max(&self) -> usize {
        (self.link.hello.streams_max as usize).saturating_sub(2)
    }

    /// Whether new calls belong here.
    pub(crate) fn is_usable(&self) -> bool {
        self.link.is_usable()
    }

    /// A unary call; `deadline_ms` is what the server is told. Dropped before its answer, it is canceled.
    pub(crate) async fn call(
        &self,
        method: Method,
        body: &[u8],
        deadline_ms: u32,
    ) -> Result<Bytes, Failure> {
        self.link.call(method, body, deadline_ms).await
    }

    /// A stream of its own for `method`.
    pub(crate) async fn stream(&self, method: Method) -> Result<(StreamSend, StreamRecv), Failure> {
        self.link.stream(method).await
    }

    /// A stream that speaks HTTP/1.1 with the server.
    pub(crate) async fn http(&self) -> Result<Tunnel, Failure> {
        self.link.http().await
    }
}
