//! A process that dies says no goodbye: the next one on its address says it.

use std::time::Duration;

use super::rig::{keychain, loopback, runtime};
use crate::tls::Scheme;
use crate::transport::endpoint::Endpoint;
use crate::transport::{Bounds, Connection, DialOptions, Dialer, Lost, Names, Url};

/// A process: its one caller is taken in, and stays until the process is dropped, without a word to anybody.
struct Process {
    runtime: tokio::runtime::Runtime,
    endpoint: Endpoint,
}

impl Process {
    fn start(port: u16, secret: [u8; 32]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let entered = runtime.enter();
        let listener = loopback(None, Some(Scheme::Http), port);
        let endpoint =
            Endpoint::bind(listener, &keychain(None, None), &secret, &Bounds::new()).unwrap();
        drop(entered);
        Self { runtime, endpoint }
    }

    fn port(&self) -> u16 {
        self.endpoint.address.port()
    }

    fn takes_one(&self) {
        let quic = self.endpoint.quic.clone();
        self.runtime.spawn(async move {
            let _connection = quic.accept().await.unwrap().await.unwrap();
            std::future::pending::<()>().await;
        });
    }

    fn dies(self) -> u16 {
        let port = self.port();
        let Self { runtime, endpoint } = self;
        // The tasks first: an endpoint that is dropped while they run closes its connections.
        runtime.shutdown_timeout(Duration::from_secs(60));
        drop(endpoint);
        port
    }
}

/// Why a connection ended that outlived one process and met the next.
fn met_the_next(first: [u8; 32], next: [u8; 32]) -> Lost {
    let process = Process::start(0, first);
    process.takes_one();
    let runtime = runtime();
    let options = DialOptions {
        idle: Duration::from_secs(2),
        keep_alive: Some(Duration::from_millis(100)),
        ..DialOptions::default()
    };
    let url = Url { scheme: Scheme::Http, host: "127.0.0.1".into(), port: process.port() };
    let (dialer, connection): (Dialer, Connection) = runtime.block_on(async {
        let dialer = Dialer::new(&Default::default(), options, Names::default()).unwrap();
        let connection = dialer.dial(&url).await.unwrap();
        (dialer, connection)
    });
    assert_eq!(connection.lost(), None);
    let _next = Process::start(process.dies(), next);
    let lost = runtime.block_on(connection.closed());
    drop(dialer);
    lost
}

#[test]
fn a_restarted_member_disowns_the_connections_of_its_earlier_process() {
    assert_eq!(met_the_next([1; 32], [1; 32]), Lost::Reset);
    // Without the secret nobody can: silence has to tell.
    assert_eq!(met_the_next([1; 32], [2; 32]), Lost::TimedOut);
}
