//! The HTTP door on loopback: gRPC frames written by hand, with a service in memory behind the door, and with the
//! program.

mod alone;
mod calls;
mod client;
mod compatibility;
mod dashboards;
mod etcdctl;
mod fuzz;
mod gateway;
mod hostile;
mod pages;
mod program;
mod recipes;
mod rules;
mod streams;
mod three;
mod transcripts;
mod users;
mod v2;
mod v2_bounds;
mod v2_clients;
mod v2_kills;
mod v2_users;
mod websocket;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use quorate::api::{Http, HttpConfig};
use quorate::base::{Clock, SystemClock};
use quorate::tls::{Keychain, KeychainFiles, Scheme};
use quorate::transport::{Bounds, Purpose, Tcp, TcpListen};

use super::native::memory::{InMemory, Memory};
use super::native::{LONG, soon, until};

/// One address with the HTTP door.
struct Server {
    http: Arc<Http>,
    address: SocketAddr,
    _tcp: Tcp,
}

impl Server {
    fn start(memory: &Arc<Memory>) -> Self {
        Self::with(memory, HttpConfig::default())
    }

    fn with(memory: &Arc<Memory>, config: HttpConfig) -> Self {
        let service = Arc::new(InMemory(Arc::clone(memory)));
        let http = Arc::new(Http::new(service, config));
        let tcp = listen(Purpose::Clients, Arc::clone(&http));
        Self { http, address: tcp.addresses()[0], _tcp: tcp }
    }
}

fn listen(purpose: Purpose, http: Arc<Http>) -> Tcp {
    let keychain = Keychain::load(KeychainFiles::default()).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listen = TcpListen { address, scheme: Scheme::Http, purpose };
    Tcp::start(&[listen], &keychain, &clock, &Bounds::new(), http).unwrap()
}
