//! Where the addresses of host names come from: the system, or somebody who is asked in its place.

use std::fmt::Debug;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use tokio::net::lookup_host;

/// Finds the addresses of a host; the error is for people.
pub trait Lookup: Debug + Send + Sync {
    fn addresses<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, String>> + Send + 'a>>;
}

/// Whom to ask; by default the system.
#[derive(Clone, Debug, Default)]
pub struct Names(Option<Arc<dyn Lookup>>);

impl Names {
    pub fn by(lookup: Arc<dyn Lookup>) -> Self {
        Self(Some(lookup))
    }

    /// Every address of a host, with this port.
    pub async fn find(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        if let Ok(address) = host.parse() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        match &self.0 {
            None => match lookup_host((host, port)).await {
                Ok(found) => Ok(found.collect()),
                Err(error) => Err(error.to_string()),
            },
            Some(lookup) => {
                let found = lookup.addresses(host).await?;
                Ok(found.into_iter().map(|address| SocketAddr::new(address, port)).collect())
            }
        }
    }
}
