//! What a proxy is built from.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::client;
use crate::proto::etcdserverpb as pb;

/// Settings of a [`Proxy`](super::Proxy).
#[derive(Clone)]
pub struct Config {
    /// How members are dialled. Its endpoints are asked who the members are; where a member cannot be reached at its
    /// own URLs, it is looked for at these.
    pub client: client::Config,
    /// Asked who the members are where none of those says so.
    pub finder: Option<Arc<dyn Finder>>,
    /// Between two questions who the members are, while all goes well.
    pub refresh: Duration,
    /// How long a member that failed is asked after the others only.
    pub rest: Duration,
}

/// Somebody else who knows the members.
pub trait Finder: Send + Sync + 'static {
    /// Blocks for seconds at most; the error is for people.
    fn find(&self) -> Result<Vec<pb::Member>, String>;

    /// The members are these now. Blocks no longer than a file takes.
    fn found(&self, members: &[pb::Member]);
}

/// Why a proxy does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Client(#[from] client::Error),
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
}
