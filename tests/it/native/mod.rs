//! The native protocol on loopback: the public client and raw frames against the native door, with a service in
//! memory behind it.

mod calls;
mod leases;
mod member;
pub(crate) mod memory;
pub(crate) mod raw;
mod watches;
mod wire;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate::api::{Native, NativeConfig};
use quorate::base::{ClusterId, MemberId, SystemClock};
use quorate::client::{Client, Config as ClientConfig};
use quorate::proto::Service;
use quorate::tls::{Doors, Keychain, KeychainFiles, Scheme};
use quorate::transport::{
    AskReply, Bounds, Class, ClientConnection, ClientInbound, Config, IncomingSnapshot, Listener,
    Names, PeerInbound, Standing, Transport, Versions,
};

use memory::Memory;

const CLUSTER: ClusterId = ClusterId(0xc1);
const MEMBER: MemberId = MemberId(0xe1);

/// Long enough for any machine; nothing waits so long when it works.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// One endpoint with the native door.
struct Server {
    transport: Arc<Transport>,
    native: Arc<Native>,
    address: SocketAddr,
}

impl Server {
    fn start(service: Arc<dyn Service>) -> Self {
        Self::start_at(service, NativeConfig::new(CLUSTER, MEMBER), 0)
    }

    fn start_at(service: Arc<dyn Service>, config: NativeConfig, port: u16) -> Self {
        let native = Arc::new(Native::new(service, config));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let doors = Doors { peers: None, clients: Some(Scheme::Http) };
        let config = Config {
            cluster: CLUSTER,
            member: MEMBER,
            name: "native".to_owned(),
            boot_nonce: 1,
            reset_secret: [1; 32],
            versions: Versions { min: (0, 1), max: (0, 1) },
            advertise_peer_urls: Vec::new(),
            listeners: vec![Listener { address, doors }],
            keychain: Keychain::load(KeychainFiles::default()).unwrap(),
            clock: Arc::new(SystemClock::new()),
            names: Names::default(),
            guest_asks: Vec::new(),
            bounds: Bounds::new(),
            outbox_bytes_max: 1 << 20,
        };
        let door: Arc<dyn ClientInbound> = Arc::new(Door(Arc::clone(&native)));
        let transport = Arc::new(Transport::start(config, Arc::new(NoPeers), door).unwrap());
        let address = transport.addresses()[0];
        Self { transport, native, address }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The process is gone, and its clients are told.
    async fn stop(self) -> u16 {
        let transport = self.transport;
        tokio::task::spawn_blocking(move || transport.shutdown()).await.unwrap();
        self.address.port()
    }
}

struct Door(Arc<Native>);

impl ClientInbound for Door {
    fn connection(&self, connection: ClientConnection) {
        self.0.connection(connection);
    }
}

struct NoPeers;

impl PeerInbound for NoPeers {
    fn standing(&self, _: MemberId) -> Standing {
        Standing::Unknown
    }

    fn messages(&self, _: MemberId, _: Class, _: Vec<Bytes>) {}

    fn ask(&self, _: Option<MemberId>, _: u16, _: Bytes, reply: AskReply) {
        reply.refuse("no peers here");
    }

    fn snapshot(&self, _: IncomingSnapshot) {}

    fn connected(&self, _: MemberId) {}

    fn unreachable(&self, _: MemberId) {}

    fn removed(&self) {}
}

async fn connect(servers: &[&Server]) -> Client {
    let mut config = ClientConfig::new(servers.iter().map(|server| server.url()));
    config.request_timeout = LONG;
    // These servers count what they are asked.
    config.writes_to_leader = false;
    Client::connect(config).await.unwrap()
}

/// Waits until `reached`; the test fails when that never comes.
pub(crate) async fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let waiting = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(LONG, waiting).await.is_ok(), "never happened: {what}");
}

/// Fails instead of hanging.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LONG, future).await {
        Ok(done) => done,
        Err(_) => panic!("never happened: {what}"),
    }
}
