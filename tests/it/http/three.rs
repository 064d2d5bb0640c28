//! The program as a cluster of three, in clear.

use std::net::SocketAddr;
use std::process::Command;

use super::super::harness::{Process, Seat, eventually, free_ports, quorate};
use super::calls::{RANGE, get};
use super::client::Client;
use quorate::proto::etcdserverpb as pb;
use tokio::net::TcpStream;

/// See the module.
pub(super) struct Three {
    pub addresses: Vec<SocketAddr>,
    // Before their folder, which has their logs.
    processes: Vec<Option<Process>>,
    _dir: tempfile::TempDir,
    _seat: Seat,
}

impl Three {
    /// Started, and each of them serves.
    pub(super) async fn start() -> Self {
        let seat = Seat::take();
        let dir = tempfile::tempdir().unwrap();
        let ports = free_ports(6);
        let url = |port: usize| format!("http://127.0.0.1:{}", ports[port]);
        let members: Vec<String> = (0..3).map(|n| format!("etcd-0{}={}", n + 1, url(n))).collect();
        let spawn = |n: usize| {
            let mut program: Command = quorate();
            program.current_dir(dir.path()).args(["--name", &format!("etcd-0{}", n + 1)]);
            program.args(["--initial-cluster", &members.join(",")]);
            program.args(["--listen-peer-urls", &url(n)]);
            program.args(["--initial-advertise-peer-urls", &url(n)]);
            program.args(["--listen-client-urls", &url(n + 3)]);
            program.args(["--advertise-client-urls", &url(n + 3)]);
            Some(Process::spawn(program, &dir.path().join(format!("n{n}.log"))))
        };
        let processes = (0..3).map(spawn).collect();
        let addresses: Vec<SocketAddr> =
            (3..6).map(|port| SocketAddr::from(([127, 0, 0, 1], ports[port]))).collect();
        for &address in &addresses {
            eventually("the TCP door", || async { TcpStream::connect(address).await.ok() }).await;
            let client = Client::dial(address).await;
            eventually("it serves", || async {
                client.call::<pb::RangeResponse>(RANGE, &[], &get("ready")).await.ok()
            })
            .await;
        }
        Self { addresses, processes, _dir: dir, _seat: seat }
    }

    /// Ends one at once.
    pub(super) fn kill(&mut self, member: usize) {
        self.processes[member] = None;
    }
}
