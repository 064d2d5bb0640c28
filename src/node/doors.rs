//! The front doors of one member, and the wires that lead to them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::api::{Http, HttpAccess, HttpConfig, Native, NativeConfig, Quota, Registry, Vitals};
use crate::base::limits;
use crate::engine::Handle;
use crate::tls::Keychain;
use crate::transport::{self, Listener, PeerInbound, Purpose, Tcp, TcpListen, Transport};

use super::config::TcpRules;

/// What the HTTP door is and tells, beside what the service does.
pub(super) struct About {
    pub engine: Handle,
    pub request_bytes_max: usize,
    pub quota: Arc<Quota>,
    pub gateway: bool,
    pub v2: bool,
    pub rules: TcpRules,
    /// What TCP is for where clients are let in over QUIC.
    pub clients: Purpose,
    /// Addresses of TCP alone.
    pub listens: Vec<TcpListen>,
}

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
        about: About,
        service: Registry,
        peers: Arc<dyn PeerInbound>,
    ) -> Result<Self, transport::Error> {
        let native_config = NativeConfig::new(config.cluster, config.member);
        let native = Arc::new(Native::new(Arc::new(service.believing_loopback()), native_config));
        let (listeners, clock) = (config.listeners.clone(), Arc::clone(&config.clock));
        let keychain: Arc<Keychain> = Arc::clone(&config.keychain);
        let transport = Arc::new(Transport::start(config, peers, Arc::clone(&native) as _)?);
        let clients = client_doors(&listeners, &transport.addresses(), about.clients);
        let listens: Vec<TcpListen> = clients.into_iter().chain(about.listens).collect();
        let vitals =
            Vitals { handle: about.engine, transport: Arc::clone(&transport), quota: about.quota };
        let message_bytes_max = about.request_bytes_max + limits::REQUEST_OVERHEAD_BYTES;
        let rules = about.rules;
        let http_config = HttpConfig {
            message_bytes_max,
            gateway: about.gateway,
            v2: about.v2,
            streams_max: rules.streams_max,
            keep_alive: rules.keep_alive,
            keep_alive_timeout: rules.keep_alive_timeout,
            access: HttpAccess { origins: rules.origins, hosts: rules.hosts },
            registry: Some(service.clone()),
            vitals: Some(vitals),
            ..HttpConfig::default()
        };
        let http = Arc::new(Http::new(Arc::new(service), http_config));
        let tcp = Tcp::start(&listens, &keychain, &clock, Arc::clone(&http) as _)?;
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

/// TCP beside QUIC wherever clients are let in; `addresses` are the listeners', where a port of 0 has become a real one.
fn client_doors(
    listeners: &[Listener],
    addresses: &[SocketAddr],
    purpose: Purpose,
) -> Vec<TcpListen> {
    let door = |(listener, address): (&Listener, &SocketAddr)| {
        Some(TcpListen { address: *address, scheme: listener.doors.clients?, purpose })
    };
    listeners.iter().zip(addresses).filter_map(door).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Scheme;

    #[test]
    fn an_address_of_members_alone_has_no_door_for_clients() {
        let url = |text: &str| [text.parse().unwrap()];
        let (peers, clients) = (url("https://127.0.0.1:1"), url("http://127.0.0.1:2"));
        let listeners = Listener::of(&peers, &clients).unwrap();
        let addresses: Vec<SocketAddr> = listeners.iter().map(|it| it.address).collect();
        let doors = client_doors(&listeners, &addresses, Purpose::Clients);
        let seen: Vec<_> = doors.iter().map(|it| (it.address.port(), it.scheme)).collect();
        assert_eq!(seen, [(2, Scheme::Http)]);
    }
}
