//! The HTTP door on loopback: gRPC frames written by hand, with a service in memory behind the door, and with the
//! program.

mod alone;
mod calls;
mod client;
mod etcdctl;
mod gateway;
mod hostile;
mod interop;
mod pages;
mod program;
mod recipes;
mod streams;
mod transcripts;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quorate::api::{Http, HttpConfig};
use quorate::base::{Clock, SystemClock};
use quorate::tls::{Keychain, KeychainFiles, Scheme};
use quorate::transport::{Purpose, Tcp, TcpListen};

use super::native::memory::{InMemory, Memory};

/// Long enough for any machine; nothing waits so long when it works.
const LONG: Duration = Duration::from_secs(20);

/// One address with the HTTP door.
struct Server {
    http: Arc<Http>,
    address: SocketAddr,
    _tcp: Tcp,
}

impl Server {
    fn start(memory: &Arc<Memory>) -> Self {
        let service = Arc::new(InMemory(Arc::clone(memory)));
        let http = Arc::new(Http::new(service, HttpConfig::default()));
        let tcp = listen(Purpose::Clients, Arc::clone(&http));
        Self { http, address: tcp.addresses()[0], _tcp: tcp }
    }
}

fn listen(purpose: Purpose, http: Arc<Http>) -> Tcp {
    let keychain = Keychain::load(KeychainFiles::default()).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listen = TcpListen { address, scheme: Scheme::Http, purpose };
    Tcp::start(&[listen], &keychain, &clock, http).unwrap()
}

/// Waits until `reached`; the test fails when that never comes.
async fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let waiting = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(LONG, waiting).await.is_ok(), "never happened: {what}");
}

/// Fails instead of hanging.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LONG, future).await {
        Ok(done) => done,
        Err(_) => panic!("never happened: {what}"),
    }
}
