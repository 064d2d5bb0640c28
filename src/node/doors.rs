//! The front doors of one member, and the wires that lead to them.

use std::sync::Arc;
use std::time::Duration;

use crate::api::{Http, Native, NativeConfig};
use crate::base::limits;
use crate::proto::Service;
use crate::tls::Keychain;
use crate::transport::{self, Listener, PeerInbound, Tcp, Transport};

/// QUIC for members and our clients, TCP for everybody else's.
pub(super) struct Doors {
    pub transport: Arc<Transport>,
    native: Arc<Native>,
    http: Arc<Http>,
    tcp: Tcp,
}

impl Doors {
    /// Binds every address, first UDP, then TCP with the same numbers where clients are let in.
    pub(super) fn open(
        config: transport::Config,
        request_bytes_max: usize,
        service: Arc<dyn Service>,
        peers: Arc<dyn PeerInbound>,
    ) -> Result<Self, transport::Error> {
        let native_config = NativeConfig::new(config.cluster, config.member);
        let native = Arc::new(Native::new(Arc::clone(&service), native_config));
        let (listeners, clock) = (config.listeners.clone(), Arc::clone(&config.clock));
        let keychain: Arc<Keychain> = Arc::clone(&config.keychain);
        let transport = Arc::new(Transport::start(config, peers, Arc::clone(&native) as _)?);
        // A port of 0 has become a real one.
        let addresses = transport.addresses();
        let listeners: Vec<Listener> = listeners
            .into_iter()
            .zip(addresses)
            .map(|(listener, address)| Listener { address, ..listener })
            .collect();
        let http = Arc::new(Http::new(service, request_bytes_max + limits::REQUEST_OVERHEAD_BYTES));
        let tcp = Tcp::start(&listeners, &keychain, &clock, Arc::clone(&http) as _)?;
        Ok(Self { transport, native, http, tcp })
    }

    /// Tells every client to go elsewhere, and lets what was asked be answered for at most `grace`.
    pub(super) async fn drain(&self, grace: Duration) {
        tokio::join!(self.native.drain(grace), self.http.drain(grace));
    }

    /// The end of every connection.
    pub(super) fn shut(&self) {
        self.transport.shutdown();
        self.tcp.shutdown();
    }
}
