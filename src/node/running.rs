//! What a node is once it runs: a member, or a proxy in a member's place.
//!
//! ```text
//!   data directory of a proxy ──► proxy, whatever the settings say      of a member ──► member
//!   neither: proxy on | readonly ──► proxy         off ──► member; if the cluster is full, and discovery-fallback says so, a proxy
//! ```

use crate::base::SystemClock;
use crate::storage::DataDir;

use super::config::{Config, ProxyMode};
use super::error::Error;
use super::founding;
use super::member::Node;
use super::proxy::{Proxy, Whom};
use super::stop::Stopped;

/// See the module.
#[allow(clippy::large_enum_variant, reason = "there is one")]
pub enum Running {
    Member(Node),
    Proxy(Proxy),
}

impl Running {
    /// Starts what the data directory is, else what the settings ask for.
    pub fn start(config: Config) -> Result<Self, Error> {
        let is_member = DataDir::holds_a_member(&config.data_dir);
        let is_proxy = Proxy::lives_in(&config.data_dir);
        if is_member && is_proxy {
            return Err(Error::BothMemberAndProxy { path: config.data_dir });
        }
        if is_member && config.proxy.mode != ProxyMode::Off {
            tracing::warn!(
                "the data directory is a member's: it starts as one, and proxy is ignored"
            );
        }
        if is_proxy && config.proxy.mode == ProxyMode::Off {
            tracing::warn!(
                data_dir = %config.data_dir.display(),
                "the data directory is a proxy's: it starts as one; remove it, or name another one, to start a member"
            );
        }
        if is_member || (!is_proxy && config.proxy.mode == ProxyMode::Off) {
            return Self::member(config);
        }
        let clock = SystemClock::new();
        // What a proxy remembers counts more: then nobody is asked who founded the cluster.
        let whom = match Proxy::remembers(&config.data_dir)? {
            true => Vec::new(),
            false => founding::peers(&config, &clock)?,
        };
        Proxy::start(config, Whom::Peers(whom)).map(Self::Proxy)
    }

    /// A member; a proxy of the members, if the cluster is full and that is asked for.
    fn member(config: Config) -> Result<Self, Error> {
        let kept = config.proxy.is_fallback.then(|| config.clone());
        let error = match Node::start(config) {
            Ok(node) => return Ok(Self::Member(node)),
            Err(error) => error,
        };
        match (error.full_cluster(), kept) {
            (Some(urls), Some(config)) => {
                // The service may be gone before the first of them has answered.
                Proxy::remember(&config.data_dir, &urls)?;
                tracing::info!(
                    "discovery: the cluster is full: falling back to a proxy of its members"
                );
                Proxy::start(config, Whom::Peers(urls)).map(Self::Proxy)
            }
            _ => Err(error),
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Self::Member(node) => node.name(),
            Self::Proxy(proxy) => proxy.name(),
        }
    }

    /// Resolves when it serves.
    pub async fn ready(&self) {
        match self {
            Self::Member(node) => node.ready().await,
            Self::Proxy(proxy) => proxy.ready().await,
        }
    }

    /// Resolves when it stops by itself.
    pub async fn stopped(&self) -> Stopped {
        match self {
            Self::Member(node) => node.stopped().await,
            Self::Proxy(_) => std::future::pending().await,
        }
    }

    /// Reads certificates, keys, trust and revocation lists again now.
    pub fn reload(&self) {
        match self {
            Self::Member(node) => node.reload(),
            Self::Proxy(proxy) => proxy.reload(),
        }
    }

    /// Stops in order; blocks for a few seconds at most.
    pub fn drain(self) {
        match self {
            Self::Member(node) => node.drain(),
            Self::Proxy(proxy) => proxy.drain(),
        }
    }
}
