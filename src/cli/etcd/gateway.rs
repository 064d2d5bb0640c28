//! `etcd gateway start`: TCP to whichever endpoint takes it, byte by byte; what is said there is not looked at.
//!
//! Endpoints take turns. One that refuses is left alone until it answers again, which is asked every retry-delay.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use clap::Args;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::base::limits;
use crate::config::{LogFormat, Logging};

use super::super::duration::parse_duration;
use super::super::exit::Exit;
use super::super::{logging, notify, serve, srv};

/// For one connection to begin.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// After an accept that failed: for want of descriptors, most of the time.
const ACCEPT_REST: Duration = Duration::from_millis(100);

#[derive(Args, Debug)]
pub(super) struct Gateway {
    /// Where clients find it
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:23790")]
    listen_addr: String,
    /// The members, with commas
    #[arg(long, value_name = "ADDRESSES", default_value = "127.0.0.1:2379", value_delimiter = ',')]
    endpoints: Vec<String>,
    /// Find them by the SRV records of this domain
    #[arg(long, value_name = "DOMAIN")]
    discovery_srv: Option<String>,
    #[arg(long, value_name = "NAME")]
    discovery_srv_name: Option<String>,
    /// Whether records without TLS count
    #[arg(long)]
    insecure_discovery: bool,
    // etcd verifies by it those that the records name; here their clients do, who see their certificates.
    #[arg(long, value_name = "FILE", hide = true)]
    trusted_ca_file: Option<String>,
    /// Until an endpoint that failed is asked again
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "1m")]
    retry_delay: Duration,
}

struct Remote {
    address: String,
    is_away: AtomicBool,
}

struct Remotes {
    all: Vec<Remote>,
    next: AtomicUsize,
}

impl Gateway {
    /// Until a signal, which is returned.
    pub(super) fn run(self) -> Result<serve::Asked, Exit> {
        logging::start_as_etcd(&Logging::new("info", LogFormat::Auto))?;
        if self.retry_delay.is_zero() {
            return Err(Exit::error("--retry-delay is 0s; it must be longer"));
        }
        let endpoints = match &self.discovery_srv {
            None => self.endpoints.clone(),
            Some(domain) => srv::endpoints(&srv::Asking {
                domain: domain.clone(),
                service: self.discovery_srv_name.clone(),
                dns_server: None,
                insecure: self.insecure_discovery,
            })?,
        };
        if self.trusted_ca_file.is_some() {
            tracing::warn!(
                "--trusted-ca-file does nothing here: bytes are passed on, and clients verify whom they speak with"
            );
        }
        let addresses: Vec<String> =
            endpoints.iter().map(|it| bare(it)).filter(|it| !it.is_empty()).collect();
        if addresses.is_empty() {
            return Err(Exit::error("--endpoints is empty: name one such as 10.0.0.1:2379"));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let asked = runtime.block_on(self.serve(addresses));
        runtime.shutdown_background();
        asked
    }

    async fn serve(&self, addresses: Vec<String>) -> Result<serve::Asked, Exit> {
        let listen = &self.listen_addr;
        let listener = TcpListener::bind(listen)
            .await
            .map_err(|error| Exit::error(format!("--listen-addr {listen}: {error}")))?;
        notify::tell("READY=1");
        tracing::info!(endpoints = ?addresses, %listen, "ready to proxy client requests");
        let remotes = Arc::new(Remotes::new(addresses));
        tokio::select! {
            asked = serve::asked_to_stop() => Ok(asked),
            () = accept(&listener, &remotes) => Err(Exit::error("nobody is listened to any more")),
            () = remotes.look_again(self.retry_delay) => {
                Err(Exit::error("nobody looks after the endpoints any more"))
            }
        }
    }
}

/// `https://host:port/` -> `host:port`: the scheme is the business of both ends.
fn bare(endpoint: &str) -> String {
    let endpoint = endpoint.trim();
    let address = endpoint.split_once("://").map_or(endpoint, |(_, address)| address);
    address.trim_end_matches('/').to_owned()
}

async fn accept(listener: &TcpListener, remotes: &Arc<Remotes>) {
    let places = Arc::new(Semaphore::new(limits::CONNECTIONS_MAX));
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((near, from)) => {
                let remotes = Arc::clone(remotes);
                tokio::spawn(async move {
                    remotes.carry(near, from).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_REST).await;
            }
        }
    }
}

impl Remotes {
    fn new(addresses: Vec<String>) -> Self {
        let remote = |address| Remote { address, is_away: AtomicBool::new(false) };
        Self { all: addresses.into_iter().map(remote).collect(), next: AtomicUsize::new(0) }
    }

    /// Both directions, until both have ended. Without an endpoint that answers the client is hung up on.
    async fn carry(&self, mut near: TcpStream, from: SocketAddr) {
        let Some(mut far) = self.dial().await else {
            tracing::warn!(%from, "no endpoint answers: the connection is closed");
            return;
        };
        let _ = near.set_nodelay(true);
        if let Err(error) = copy_bidirectional(&mut near, &mut far).await {
            tracing::debug!(%from, %error, "a connection has ended");
        }
    }

    /// The next one in turn that takes it.
    async fn dial(&self) -> Option<TcpStream> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        for step in 0..self.all.len() {
            let remote = &self.all[(turn + step) % self.all.len()];
            if remote.is_away.load(Ordering::Relaxed) {
                continue;
            }
            match remote.dial().await {
                Ok(far) => return Some(far),
                Err(error) => {
                    remote.is_away.store(true, Ordering::Relaxed);
                    tracing::warn!(address = remote.address, error, "deactivated endpoint");
                }
            }
        }
        None
    }

    async fn look_again(&self, delay: Duration) {
        loop {
            sleep(delay).await;
            for remote in self.all.iter().filter(|it| it.is_away.load(Ordering::Relaxed)) {
                match remote.dial().await {
                    Ok(_) => {
                        remote.is_away.store(false, Ordering::Relaxed);
                        tracing::info!(address = remote.address, "activated endpoint");
                    }
                    Err(error) => {
                        tracing::warn!(address = remote.address, error, "still no answer");
                    }
                }
            }
        }
    }
}

impl Remote {
    /// The error is a text for people.
    async fn dial(&self) -> Result<TcpStream, String> {
        let dialled = timeout(DIAL_TIMEOUT, TcpStream::connect(&self.address)).await;
        let far = dialled.map_err(|_| "no answer".to_owned())?;
        let far = far.map_err(|error| error.to_string())?;
        let _ = far.set_nodelay(true);
        Ok(far)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_is_not_dialled() {
        assert_eq!(bare("http://127.0.0.1:2379/"), "127.0.0.1:2379");
        assert_eq!(bare(" [::1]:2379"), "[::1]:2379");
    }
}
