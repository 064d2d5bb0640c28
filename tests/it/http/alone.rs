//! The program as a cluster of one, in clear.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::super::harness::{Process, Seat, eventually, free_ports, quorate};
use super::calls::{PUT, RANGE, get, put};
use super::client::Client;
use quorate::proto::etcdserverpb as pb;
use tokio::net::TcpStream;

/// See the module.
pub(super) struct Alone {
    pub address: SocketAddr,
    // Before its folder, which has its log.
    process: Process,
    dir: tempfile::TempDir,
    _seat: Seat,
}

impl Alone {
    /// Started, and serving; one key is written.
    pub(super) async fn start(flags: &[&str]) -> (Self, Client) {
        let (alone, client) = Self::of(quorate(), flags).await;
        let _: pb::PutResponse = client.call(PUT, &[], &put("ready", "")).await.unwrap();
        (alone, client)
    }

    /// The same of any program with etcd's flags, and nothing is written.
    pub(super) async fn of(program: Command, flags: &[&str]) -> (Self, Client) {
        let alone = Self::opened(program, flags).await;
        let client = Client::dial(alone.address).await;
        eventually("it serves", || async {
            client.call::<pb::RangeResponse>(RANGE, &[], &get("ready")).await.ok()
        })
        .await;
        (alone, client)
    }

    /// Started; clients are heard, and it may be without a leader yet.
    pub(super) async fn opened(mut program: Command, flags: &[&str]) -> Self {
        let seat = Seat::take();
        let dir = tempfile::tempdir().unwrap();
        let ports = free_ports(2);
        let url = |n: usize| format!("http://127.0.0.1:{}", ports[n]);
        let address = SocketAddr::from(([127, 0, 0, 1], ports[1]));
        program.current_dir(dir.path()).args(["--name", "n0"]).args(flags);
        program.args(["--initial-cluster", &format!("n0={}", url(0))]);
        program.args(["--listen-peer-urls", &url(0), "--initial-advertise-peer-urls", &url(0)]);
        program.args(["--listen-client-urls", &url(1), "--advertise-client-urls", &url(1)]);
        let process = Process::spawn(program, &dir.path().join("n0.log"));
        eventually("the TCP door", || async { TcpStream::connect(address).await.ok() }).await;
        Self { address, process, dir, _seat: seat }
    }

    /// Its data, and its log.
    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn process(&self) -> &Process {
        &self.process
    }

    /// What it has logged.
    pub(super) fn log(&self) -> String {
        self.process.log()
    }

    /// A signal that it does not end by.
    pub(super) fn signal(&self, name: &str) {
        self.process.signal(name);
    }
}
