//! UDP between members, and between clients and members, as bad as a test wants it: lost, late, twice, out of order,
//! cut in one direction. Needs no rights.
//!
//! ```text
//!   member 1 --\                        what arrives is told apart by the process that has the socket
//!   member 2 ---> relay of member 3 --> member 3's own address, from one socket for each sender
//!   client   --/                        answers come back to that socket, and go to the sender
//! ```

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;

use super::{Cluster, free_ports};
use crate::dice::Dice;

/// Longest datagram.
const DATAGRAM_BYTES: usize = 65_536;

/// Who sends: a member by its place, or a client.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Party {
    Member(usize),
    Client,
}

/// What happens to datagrams in one direction.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Line {
    pub is_cut: bool,
    /// Of a thousand.
    pub lost: u32,
    pub twice: u32,
    /// Of a thousand; they come up to `late_by` later than the others, and so out of order.
    pub late: u32,
    pub late_by: Duration,
}

impl Line {
    /// Nothing arrives.
    pub(crate) const CUT: Self =
        Self { is_cut: true, lost: 0, twice: 0, late: 0, late_by: Duration::ZERO };
}

#[derive(Default)]
struct Lines {
    by_pair: BTreeMap<(Party, Party), Line>,
    /// Process ids of the members that run.
    processes: Vec<Option<u32>>,
    known: BTreeMap<u16, Party>,
}

/// All relays of a cluster; they end when this is dropped.
pub(crate) struct Relays {
    lines: Arc<Mutex<Lines>>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Relays {
    /// For each member: where others reach it, and where it listens.
    pub(crate) fn start(routes: &[(SocketAddr, SocketAddr)], seed: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let lines = Arc::new(Mutex::new(Lines::default()));
        for (place, &(public, own)) in routes.iter().enumerate() {
            let socket = runtime.block_on(UdpSocket::bind(public)).unwrap();
            let relay = Relay {
                place,
                own,
                socket: Arc::new(socket),
                lines: Arc::clone(&lines),
                dice: Arc::new(Mutex::new(Dice::new(seed + place as u64))),
            };
            runtime.spawn(relay.run());
        }
        Self { lines, runtime: Some(runtime) }
    }

    /// Which processes the members are, so that their datagrams are known.
    pub(crate) fn members_are(&self, processes: Vec<Option<u32>>) {
        let mut lines = lock(&self.lines);
        lines.processes = processes;
        // Ports are given out anew.
        lines.known.clear();
    }

    /// From now on, from one to the other.
    pub(crate) fn set(&self, from: Party, to: Party, line: Line) {
        lock(&self.lines).by_pair.insert((from, to), line);
    }

    /// Every line is good.
    pub(crate) fn heal(&self) {
        lock(&self.lines).by_pair.clear();
    }
}

/// A running cluster whose members and clients reach each other through relays. The members end before the relays do.
pub(crate) fn relayed(count: usize) -> (Cluster, Relays) {
    let mut cluster = Cluster::prepare(count);
    let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    let mut routes = Vec::new();
    for (index, own) in free_ports(count).into_iter().enumerate() {
        let public = cluster.listens(index, &format!("https://127.0.0.1:{own}"));
        routes.push((address(public), address(own)));
    }
    let relays = Relays::start(&routes, 7);
    for index in 0..count {
        cluster.spawn(index);
    }
    relays.members_are(cluster.processes());
    (cluster, relays)
}

impl Drop for Relays {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[derive(Clone)]
struct Relay {
    place: usize,
    own: SocketAddr,
    socket: Arc<UdpSocket>,
    lines: Arc<Mutex<Lines>>,
    dice: Arc<Mutex<Dice>>,
}

impl Relay {
    async fn run(self) {
        let mut senders: BTreeMap<SocketAddr, Arc<UdpSocket>> = BTreeMap::new();
        let mut buffer = vec![0; DATAGRAM_BYTES];
        loop {
            let Ok((length, sender)) = self.socket.recv_from(&mut buffer).await else { continue };
            let party = self.party(sender.port());
            let upstream = match senders.get(&sender) {
                Some(upstream) => Arc::clone(upstream),
                None => {
                    let Ok(socket) = self.upstream().await else { continue };
                    let socket = Arc::new(socket);
                    senders.insert(sender, Arc::clone(&socket));
                    tokio::spawn(self.clone().answers(Arc::clone(&socket), sender));
                    socket
                }
            };
            let way = (party, Party::Member(self.place));
            self.carry(way, buffer[..length].to_vec(), upstream, self.own);
        }
    }

    async fn upstream(&self) -> io::Result<UdpSocket> {
        UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    async fn answers(self, upstream: Arc<UdpSocket>, sender: SocketAddr) {
        let mut buffer = vec![0; DATAGRAM_BYTES];
        loop {
            let Ok((length, _)) = upstream.recv_from(&mut buffer).await else { continue };
            let way = (Party::Member(self.place), self.party(sender.port()));
            self.carry(way, buffer[..length].to_vec(), Arc::clone(&self.socket), sender);
        }
    }

    fn carry(
        &self,
        way: (Party, Party),
        datagram: Vec<u8>,
        socket: Arc<UdpSocket>,
        to: SocketAddr,
    ) {
        let line = lock(&self.lines).by_pair.get(&way).copied().unwrap_or_default();
        let mut dice = lock(&self.dice);
        if line.is_cut || dice.in_thousand(line.lost) {
            return;
        }
        let copies = if dice.in_thousand(line.twice) { 2 } else { 1 };
        for _ in 0..copies {
            // As in a network: what does not fit is lost.
            if !dice.in_thousand(line.late) {
                let _ = socket.try_send_to(&datagram, to);
                continue;
            }
            let late_by = dice.span(Duration::ZERO, line.late_by);
            let (socket, datagram) = (Arc::clone(&socket), datagram.clone());
            tokio::spawn(async move {
                tokio::time::sleep(late_by).await;
                let _ = socket.try_send_to(&datagram, to);
            });
        }
    }

    fn party(&self, port: u16) -> Party {
        let mut lines = lock(&self.lines);
        if let Some(known) = lines.known.get(&port) {
            return *known;
        }
        let owner = lines.processes.iter().position(|process| {
            process.is_some_and(|process| has_port(process, port).unwrap_or(false))
        });
        let party = owner.map_or(Party::Client, Party::Member);
        lines.known.insert(port, party);
        party
    }
}

/// Whether a socket of this process has this UDP port.
fn has_port(process: u32, port: u16) -> io::Result<bool> {
    let mut inodes = Vec::new();
    for table in ["udp", "udp6"] {
        let text = std::fs::read_to_string(format!("/proc/{process}/net/{table}"))?;
        let local = format!(":{port:04X}");
        let rows = text.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        let rows = rows.filter(|row| row.get(1).is_some_and(|address| address.ends_with(&local)));
        inodes.extend(rows.filter_map(|row| Some(format!("socket:[{}]", row.get(9)?))));
    }
    for file in std::fs::read_dir(format!("/proc/{process}/fd"))? {
        let Ok(target) = std::fs::read_link(file?.path()) else { continue };
        if inodes.iter().any(|inode| target.as_os_str() == inode.as_str()) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
