//! The program as a cluster of three, in clear.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use super::super::harness::{Process, Seat, eventually, free_ports, quorate};
use super::calls::{RANGE, get};
use super::client::Client;
use quorate::proto::etcdserverpb as pb;
use tokio::net::TcpStream;

/// See the module.
pub(super) struct Three {
    program: Box<dyn Fn() -> Command + Send + Sync>,
    pub addresses: Vec<SocketAddr>,
    // Before their folder, which has their logs.
    processes: Vec<Option<Process>>,
    ports: Vec<u16>,
    dir: tempfile::TempDir,
    _seat: Seat,
}

impl Three {
    /// Started, and each of them serves.
    pub(super) async fn start() -> Self {
        Self::of(quorate).await
    }

    /// The same of any program with etcd's flags.
    pub(super) async fn of(program: impl Fn() -> Command + Send + Sync + 'static) -> Self {
        let seat = Seat::take();
        let ports = free_ports(6);
        let addresses =
            ports[3..].iter().map(|&port| SocketAddr::from(([127, 0, 0, 1], port))).collect();
        let processes = (0..3).map(|_| None).collect();
        let dir = tempfile::tempdir().unwrap();
        let program = Box::new(program);
        let mut three = Self { program, addresses, processes, ports, dir, _seat: seat };
        for member in 0..3 {
            three.spawn(member, "new");
        }
        for member in 0..3 {
            three.serves(member).await;
        }
        three
    }

    /// Starts one; with `existing` it may come without data to a cluster that knows it.
    pub(super) fn spawn(&mut self, member: usize, state: &str) {
        let name = |n: usize| format!("etcd-0{}", n + 1);
        let members: Vec<String> =
            (0..3).map(|n| format!("{}={}", name(n), self.peer_url(n))).collect();
        let (peer, client) = (self.peer_url(member), format!("http://{}", self.addresses[member]));
        let mut program = (self.program)();
        program.current_dir(self.dir.path()).args(["--name", &name(member)]);
        program.args(["--initial-cluster", &members.join(","), "--initial-cluster-state", state]);
        program.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        program.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        self.processes[member] = Some(Process::spawn(program, &self.log(member)));
    }

    /// Until it answers reads that wait for a majority.
    pub(super) async fn serves(&self, member: usize) {
        let address = self.addresses[member];
        eventually("the TCP door", || async { TcpStream::connect(address).await.ok() }).await;
        let client = Client::dial(address).await;
        eventually("it serves", || async {
            client.call::<pb::RangeResponse>(RANGE, &[], &get("ready")).await.ok()
        })
        .await;
    }

    pub(super) fn peer_url(&self, member: usize) -> String {
        format!("http://127.0.0.1:{}", self.ports[member])
    }

    /// What it has logged, in all its lives.
    pub(super) fn log(&self, member: usize) -> PathBuf {
        self.dir.path().join(format!("n{member}.log"))
    }

    /// Its data is gone.
    pub(super) fn lose(&mut self, member: usize) {
        self.kill(member);
        let data = self.dir.path().join(format!("etcd-0{}.etcd", member + 1));
        let gone = std::fs::remove_dir_all(&data);
        gone.unwrap_or_else(|error| panic!("{}: {error}", data.display()));
    }

    /// Ends one at once.
    pub(super) fn kill(&mut self, member: usize) {
        self.processes[member] = None;
    }
}
