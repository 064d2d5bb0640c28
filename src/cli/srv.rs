//! `--discovery-srv`: endpoints from the SRV records of a domain.

use std::net::SocketAddr;

use crate::discovery::{self, Resolver, Srv};

use super::exit::{Code, Exit};

/// What the flags and variables say of DNS.
#[derive(Clone, Debug, Default)]
pub(super) struct Asking {
    pub domain: String,
    pub service: Option<String>,
    pub dns_server: Option<SocketAddr>,
    /// Records of http count, too (etcdctl's default).
    pub insecure: bool,
}

/// The endpoints, best first. Blocks: no runtime runs yet.
pub(super) fn endpoints(asking: &Asking) -> Result<Vec<String>, Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = runtime.block_on(ask(asking));
    runtime.shutdown_background();
    found
}

/// The same inside of a runtime.
pub(super) async fn ask(asking: &Asking) -> Result<Vec<String>, Exit> {
    let srv = Srv { domain: asking.domain.clone(), service: asking.service.clone() };
    let resolver = asking.dns_server.map_or_else(Resolver::system, Resolver::at);
    let found = discovery::endpoints(&srv, resolver, !asking.insecure).await;
    found.map_err(|error| Exit::new(Code::BadConnection, error.to_string()))
}

/// `10.0.0.2` or `10.0.0.2:53`.
pub(super) fn server(text: &str) -> Result<SocketAddr, String> {
    Resolver::parse(text)
        .and_then(Resolver::server_address)
        .ok_or_else(|| format!("{text:?} is no address such as 10.0.0.2, or 10.0.0.2:53"))
}
