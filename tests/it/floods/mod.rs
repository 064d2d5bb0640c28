//! Clients that mean harm: others stay served, memory stays bounded, and the member is well after it.
//!
//! A real member, and beside the attackers an honest client on each wire that writes and reads all the time. How fast it is
//! served is measured by benches/floods, which runs the same attacks.

mod quic;
mod tcp;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quorate::client::{Client, Config, Wire};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinHandle;

use super::harness::{
    Cluster, Load, Process, Seat, check_all, eventually, free_ports, quorate, run,
};
use tcp::Target;

/// What a member may hold of memory while it is attacked, bytes: far below what the attacks would make of it without
/// bounds, far above what it has when it is quiet.
const MEMORY_MAX: u64 = 3 << 29;

/// Puts, each with a get behind it, of an honest client while an attack goes on.
const ROUNDS: usize = 20;

/// Before they are counted: the attack has begun, and the honest client is connected.
const ROUNDS_BEFORE: usize = 5;

/// One member without TLS, for which the attackers need no certificate.
struct Alone {
    process: Process,
    address: SocketAddr,
    _dir: tempfile::TempDir,
    _seat: Seat,
}

impl Alone {
    fn start() -> Self {
        more_descriptors();
        let seat = Seat::take();
        let dir = tempfile::tempdir().unwrap();
        let ports = free_ports(2);
        let [client, peer] = [ports[0], ports[1]].map(|port| format!("http://127.0.0.1:{port}"));
        let mut command = quorate();
        command.current_dir(dir.path()).args([
            "serve",
            "--name=n1",
            "--data-dir=data",
            &format!("--listen-client-urls={client}"),
            &format!("--advertise-client-urls={client}"),
            &format!("--listen-peer-urls={peer}"),
            &format!("--initial-advertise-peer-urls={peer}"),
            &format!("--initial-cluster=n1={peer}"),
        ]);
        let process = Process::spawn(command, &dir.path().join("n1.log"));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports[0]));
        Self { process, address, _dir: dir, _seat: seat }
    }

    async fn client(&self, wire: Wire) -> Client {
        let url = format!("http://{}", self.address);
        eventually("an honest client's connection", || async {
            let mut config = Config::new([url.clone()]);
            config.wire = wire;
            config.dial_timeout = Duration::from_secs(10);
            // About correctness: an answer comes, on a machine that does a hundred other things.
            config.request_timeout = Duration::from_secs(20);
            Client::connect(config).await.ok()
        })
        .await
    }

    fn target(&self, connections: usize, each: usize) -> Target {
        Target {
            address: self.address,
            from: ([127, 0, 0, 66], 0).into(),
            connections,
            each,
            prefix: "honest".to_owned(),
            long: "long".to_owned(),
            made: Arc::default(),
        }
    }

    /// A megabyte under each of eight keys.
    async fn fill(&self) {
        let client = self.client(Wire::Quic).await;
        for number in 0..8 {
            client.put(format!("long/{number}"), "x".repeat(1_000_000)).await.unwrap();
        }
    }

    /// Of one counter in `/metrics`.
    async fn refused(&self, bound: &str) -> u64 {
        let page = page(self.address, "/metrics").await;
        let name = format!("quorate_refused_total{{bound=\"{bound}\"}} ");
        let line = page.lines().find_map(|line| line.strip_prefix(&name));
        line.unwrap_or_else(|| panic!("no {name} in {page}")).parse().unwrap()
    }
}

/// Sockets of both sides of the attack, and of other tests in this process.
fn more_descriptors() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

async fn page(address: SocketAddr, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    eventually(path, || async {
        let mut stream = tokio::net::TcpStream::connect(address).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.ok()?;
        text.starts_with("HTTP/1.1 200").then_some(text)
    })
    .await
}

/// Bytes that a process has for itself: pages of its files are the kernel's to take back.
fn memory(pid: u32) -> u64 {
    let status =
        fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
}

/// Writes and reads, each of which is answered.
async fn honest_rounds(client: &Client, name: &str, rounds: usize) {
    for round in 0..rounds {
        let (key, value) = (format!("honest/{name}/{}", round % 7), format!("{round}"));
        client.put(key.clone(), value.clone()).await.unwrap();
        let read = client.get(key).await.unwrap();
        assert_eq!(read.kvs[0].value, value.as_bytes());
    }
}

/// Attacks the member, while honest clients of both wires, and ones that come newly, are served.
async fn served_beside(
    alone: &Alone,
    what: &str,
    target: &Target,
    bound: Option<&str>,
    attack: impl Future<Output = ()> + Send + 'static,
) {
    let (quic, grpc) = (alone.client(Wire::Quic).await, alone.client(Wire::Grpc).await);
    let began = std::time::Instant::now();
    let attacking: JoinHandle<()> = tokio::spawn(attack);
    let (made, wanted) = (Arc::clone(&target.made), target.connections);
    eventually(what, || async { (made.load(Ordering::Relaxed) >= wanted).then_some(()) }).await;
    let mut most = 0;
    for rounds in [ROUNDS_BEFORE, ROUNDS] {
        tokio::join!(honest_rounds(&quic, "quic", rounds), honest_rounds(&grpc, "grpc", rounds));
        most = most.max(memory(alone.process.id()));
        assert!(most < MEMORY_MAX, "{what}: {most} bytes");
        for wire in [Wire::Quic, Wire::Grpc] {
            honest_rounds(&alone.client(wire).await, "new", 2).await;
        }
    }
    assert!(!attacking.is_finished(), "{what} ended by itself");
    if let Some(bound) = bound {
        let refused = || async { (alone.refused(bound).await > 0).then_some(()) };
        eventually(&format!("{what}, a refusal for {bound}"), refused).await;
    }
    attacking.abort();
    let _cancelled = attacking.await;
    assert!(page(alone.address, "/health").await.contains("true"), "{what}");
    honest_rounds(&quic, "quic", 2).await;
    eprintln!("{what}: {:?}, at most {} MiB", began.elapsed(), most >> 20);
}

#[test]
fn over_tcp_everybody_else_is_served() {
    let alone = Alone::start();
    run(async {
        alone.fill().await;
        for attack in tcp::Attack::ALL {
            let (connections, each, bound) = match attack {
                // More than there is room for.
                tcp::Attack::Silence => (1_300, 0, Some("strangers")),
                tcp::Attack::SlowHeads => (400, 0, None),
                tcp::Attack::Garbage => (40, 0, None),
                tcp::Attack::Pings => (4, 0, Some("noise")),
                tcp::Attack::Resets | tcp::Attack::Continuations => (4, 0, None),
                tcp::Attack::SilentCalls => (20, 1_000, Some("silent_calls")),
                tcp::Attack::HalfMessages => (8, 40, Some("unfinished_bytes")),
                tcp::Attack::UnreadAnswers => (20, 20, Some("unsent_bytes")),
                tcp::Attack::DeafWatches => (100, 2, None),
                tcp::Attack::UnreadPages => (20, 4, None),
            };
            let (target, what) = (alone.target(connections, each), format!("TCP, {attack:?}"));
            served_beside(&alone, &what, &target, bound, attack.run(target.clone())).await;
        }
    });
}

#[test]
fn over_quic_everybody_else_is_served() {
    let alone = Alone::start();
    run(async {
        alone.fill().await;
        for attack in quic::Attack::ALL {
            let (connections, each) = match attack {
                quic::Attack::Garbage => (1, 0),
                quic::Attack::Handshakes => (50, 0),
                quic::Attack::NoHello => (50, 0),
                quic::Attack::IdleStreams => (20, 60),
                quic::Attack::HalfFrames => (8, 30),
                quic::Attack::UnreadAnswers => (10, 1),
                quic::Attack::DeafWatches => (20, 20),
            };
            let target = alone.target(connections, each);
            served_beside(
                &alone,
                &format!("QUIC, {attack:?}"),
                &target,
                None,
                attack.run(target.clone()),
            )
            .await;
        }
    });
}

#[test]
fn members_keep_their_quorum_while_one_of_them_is_attacked() {
    more_descriptors();
    let cluster = Cluster::start(3);
    run(async {
        let (attacked, _) = cluster.leader().await;
        let address: SocketAddr =
            cluster.members[attacked].url.trim_start_matches("https://").parse().unwrap();
        let target = Target {
            address,
            from: ([127, 0, 0, 66], 0).into(),
            connections: 1_300,
            each: 0,
            prefix: "load".to_owned(),
            long: "long".to_owned(),
            made: Arc::default(),
        };
        let mut attacking = tokio::task::JoinSet::new();
        attacking.spawn(tcp::Attack::Silence.run(target.clone()));
        attacking.spawn(quic::Attack::Garbage.run(target.clone()));
        let handshakes = Target { connections: 50, ..target };
        attacking.spawn(quic::Attack::Handshakes.run(handshakes));
        let load = Load::start("load", vec![cluster.client_of(&[attacked])]);
        eventually("writes beside the attack", || async { (load.count() > 30).then_some(()) })
            .await;
        attacking.abort_all();
        let written = load.stop().await;
        check_all(&cluster.client_of(&[(attacked + 1) % 3]), &written).await;
        cluster.same_hash().await;
    });
}
