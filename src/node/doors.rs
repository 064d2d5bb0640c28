//! The front doors of one member, and the wires that lead to them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::api::{
    Elsewhere, Http, HttpAccess, HttpConfig, Native, NativeConfig, Quota, Registry, Vitals,
};
use crate::base::limits;
use crate::engine::Handle;
use crate::proto::Service;
use crate::tls::Keychain;
use crate::transport::{self, Listener, PeerInbound, Purpose, Tcp, TcpListen, Transport};

use super::config::{Config, TcpRules, TcpUrl};

/// What the HTTP door is and tells, beside what the service does.
pub(super) struct About {
    /// None: it is no member.
    pub engine: Option<(Handle, Arc<Quota>)>,
    /// The tokens of a member, which `service` serves, too.
    pub registry: Option<Registry>,
    /// Who answers etcd's v2 API in place of the engine.
    pub elsewhere: Option<Arc<dyn Elsewhere>>,
    pub request_bytes_max: usize,
    pub gateway: bool,
    pub v2: bool,
    pub rules: TcpRules,
    /// What TCP is for where clients are let in over QUIC.
    pub clients: Purpose,
    /// Addresses of TCP alone.
    pub listens: Vec<TcpListen>,
}

impl About {
    /// Of a node that is nothing yet.
    pub(super) fn new(config: &Config) -> Self {
        let clients = match config.http_listens.is_empty() {
            true => Purpose::Clients,
            false => Purpose::Grpc,
        };
        Self {
            engine: None,
            registry: None,
            elsewhere: None,
            request_bytes_max: config.request_bytes_max,
            gateway: config.gateway,
            v2: config.v2,
            rules: config.tcp.clone(),
            clients,
            listens: listens(config),
        }
    }
}

/// QUIC for members and our clients, TCP for everybody else's.
pub(super) struct Doors {
    pub transport: Arc<Transport>,
    native: Arc<Native>,
    pub(super) http: Arc<Http>,
    tcp: Tcp,
}

impl Doors {
    /// Binds every address, first UDP, then TCP with the same numbers where clients are let in.
    pub(super) fn open(
        config: transport::Config,
        about: About,
        service: Arc<dyn Service>,
        peers: Arc<dyn PeerInbound>,
    ) -> Result<Self, transport::Error> {
        let bounds = Arc::clone(&config.bounds);
        let native_config = NativeConfig {
            bounds: Arc::clone(&bounds),
            ..NativeConfig::new(config.cluster, config.member)
        };
        let over_quic = match &about.registry {
            Some(registry) => Arc::new(registry.believing_loopback()) as _,
            None => Arc::clone(&service),
        };
        let native = Arc::new(Native::new(over_quic, native_config));
        let (listeners, clock) = (config.listeners.clone(), Arc::clone(&config.clock));
        let keychain: Arc<Keychain> = Arc::clone(&config.keychain);
        let transport = Arc::new(Transport::start(config, peers, Arc::clone(&native) as _)?);
        let clients = client_doors(&listeners, &transport.addresses(), about.clients);
        let listens: Vec<TcpListen> = clients.into_iter().chain(about.listens).collect();
        let vitals = about.engine.map(|(handle, quota)| Vitals {
            handle,
            transport: Arc::clone(&transport),
            quota,
        });
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
            registry: about.registry,
            vitals,
            elsewhere: about.elsewhere,
            bounds: Arc::clone(&bounds),
            timing: rules.times_calls.then(|| Arc::clone(&clock)),
            ..HttpConfig::default()
        };
        let http = Arc::new(Http::new(service, http_config));
        native.lead_http_to(Arc::clone(&http) as _);
        let tcp = Tcp::start(&listens, &keychain, &clock, &bounds, Arc::clone(&http) as _)?;
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

/// Addresses of TCP alone.
fn listens(config: &Config) -> Vec<TcpListen> {
    let all = |urls: &[TcpUrl], purpose| -> Vec<TcpListen> {
        let of = |&(address, scheme): &TcpUrl| TcpListen { address, scheme, purpose };
        urls.iter().map(of).collect()
    };
    let metrics = all(&config.metrics_listens, Purpose::Metrics);
    all(&config.http_listens, Purpose::Http).into_iter().chain(metrics).collect()
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
