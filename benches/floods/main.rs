//! How an honest client is served while hostile ones do what they can: its puts and linearizable gets, quiet and beside
//! each flood, over gRPC and over QUIC, and the memory of the member; and the same floods against an etcd.
//!
//! ```text
//!   ulimit -n 65536; cargo bench --bench floods                            # everything, printed as a table
//!   ulimit -n 65536; cargo bench --bench floods -- --etcd /usr/bin/etcd    # beside an etcd
//!   ulimit -n 65536; cargo bench --bench floods -- --only tcp:deaf --seconds 3
//! ```
//!
//! The attackers are another process, which the kernel runs when nobody else wants to: they share this machine, and what
//! they take of its processors is not the member's doing. What that costs nevertheless is the row "company": the same
//! process, busy, and attacking nobody. The floods are those of tests/it/floods, where it is tested that everybody is
//! answered.

#![allow(clippy::disallowed_methods, reason = "real processes are measured by a real clock")]

mod member;
mod page;
mod processors;
#[path = "../../tests/it/floods/quic.rs"]
mod quic;
#[path = "../../tests/it/floods/tcp.rs"]
mod tcp;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use quorate::client::{Client, Config, Wire};

use member::{Member, System};
use page::{Row, Samples};
use processors::Processors;
use tcp::Target;

/// Whatever stops a run; the text says what to do.
type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Where the attackers come from.
const ATTACKERS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 66)), 0);

const COMPANY: &str = "company";
/// What is measured between the floods, all of it together: a quiet minute of the same hour, not of an earlier one.
const QUIET: &str = "quiet";

/// Quiet that is measured on each wire before each flood.
const QUIET_FOR: Duration = Duration::from_secs(2);

/// Before it is measured, a flood has so long to rise.
const RISE: Duration = Duration::from_millis(1_500);

#[derive(Debug, Parser)]
#[command(name = "floods")]
struct Args {
    /// An etcd server, to be flooded likewise [default: none]
    #[arg(long, value_name = "FILE")]
    etcd: Option<PathBuf>,
    /// The quorate program [default: the one built with this bench]
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_quorate"))]
    quorate: PathBuf,
    /// Seconds of each measurement
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    seconds: u64,
    /// Only floods whose name begins with one of these
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    /// Where data lies while it runs
    #[arg(long, value_name = "DIR", default_value = "target/floods")]
    dir: PathBuf,
    /// Be the attackers: the flood's name
    #[arg(long, value_name = "NAME", hide = true, requires = "target")]
    attack: Option<String>,
    /// Whom they attack
    #[arg(long, value_name = "ADDRESS", hide = true)]
    target: Option<SocketAddr>,
    /// What `cargo bench` says to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

/// One flood, and how large it is.
#[derive(Clone, Copy, Debug)]
enum Flood {
    /// Nobody is attacked, by threads that are busy: as many as there are processors.
    Company,
    Tcp(tcp::Attack),
    Quic(quic::Attack),
}

impl Flood {
    fn all() -> Vec<Self> {
        let tcp = tcp::Attack::ALL.into_iter().map(Self::Tcp);
        let quic = quic::Attack::ALL.into_iter().map(Self::Quic);
        std::iter::once(Self::Company).chain(tcp).chain(quic).collect()
    }

    fn name(self) -> String {
        let (wire, attack) = match self {
            Self::Company => return COMPANY.to_owned(),
            Self::Tcp(attack) => ("tcp", format!("{attack:?}")),
            Self::Quic(attack) => ("quic", format!("{attack:?}")),
        };
        format!("{wire}:{}", attack.to_lowercase())
    }

    /// (connections, calls or streams or watchers on each)
    fn size(self) -> (usize, usize) {
        match self {
            Self::Company => (0, 0),
            Self::Tcp(attack) => match attack {
                tcp::Attack::Silence => (3_000, 0),
                tcp::Attack::SlowHeads => (1_000, 0),
                tcp::Attack::Garbage => (100, 0),
                tcp::Attack::Pings | tcp::Attack::Resets | tcp::Attack::Continuations => (8, 0),
                tcp::Attack::SilentCalls => (20, 1_000),
                tcp::Attack::HalfMessages => (20, 40),
                tcp::Attack::UnreadAnswers => (50, 20),
                tcp::Attack::DeafWatches => (300, 2),
                tcp::Attack::UnreadPages => (20, 4),
            },
            Self::Quic(attack) => match attack {
                quic::Attack::Garbage => (1, 0),
                quic::Attack::Handshakes | quic::Attack::NoHello => (100, 0),
                quic::Attack::IdleStreams => (50, 60),
                quic::Attack::HalfFrames => (20, 30),
                quic::Attack::UnreadAnswers => (20, 1),
                quic::Attack::DeafWatches => (50, 20),
            },
        }
    }

    /// Whether a system has what it is against.
    fn concerns(self, system: System) -> bool {
        match (self, system) {
            (_, System::Quorate) => true,
            (Self::Tcp(_) | Self::Company, System::Etcd) => true,
            (Self::Quic(_), System::Etcd) => false,
        }
    }
}

fn main() -> Outcome<()> {
    let args = Args::parse();
    if let (Some(attack), Some(target)) = (&args.attack, args.target) {
        return attackers(attack, target);
    }
    let mut rows = Vec::new();
    let mut systems = vec![(System::Quorate, args.quorate.clone())];
    systems.extend(args.etcd.clone().map(|etcd| (System::Etcd, etcd)));
    for (system, program) in systems {
        let member = Member::start(system, &program, &args.dir)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        rows.extend(runtime.block_on(measure_all(&args, &member))?);
    }
    println!("{}", page::table(&rows));
    Ok(())
}

async fn measure_all(args: &Args, member: &Member) -> Outcome<Vec<Row>> {
    let system = member.system;
    let wires: &[Wire] = match system {
        System::Quorate => &[Wire::Grpc, Wire::Quic],
        System::Etcd => &[Wire::Grpc],
    };
    let mut clients = Vec::new();
    for wire in wires {
        let mut config = Config::new([format!("http://{}", member.address)]);
        config.wire = *wire;
        config.request_timeout = Duration::from_secs(30);
        clients.push((*wire, Client::connect(config).await?));
    }
    for number in 0..8 {
        clients[0].1.put(format!("long/{number}"), "x".repeat(1_000_000)).await?;
    }
    let seconds = Duration::from_secs(args.seconds);
    let mut quiet = vec![Samples::default(); clients.len()];
    let mut rows = Vec::new();
    settle(&clients, member).await?;
    for flood in Flood::all() {
        let name = flood.name();
        let is_wanted = args.only.is_empty() || args.only.iter().any(|only| name.starts_with(only));
        if !is_wanted || !flood.concerns(system) {
            continue;
        }
        for ((_, client), quiet) in clients.iter().zip(&mut quiet) {
            quiet.extend(honest(client, QUIET_FOR, member).await?);
        }
        let mut attackers = start_attackers(&name, member.address)?;
        tokio::time::sleep(RISE).await;
        for (wire, client) in &clients {
            let samples = honest(client, seconds, member).await;
            let measured = samples.map(Samples::measured);
            eprintln!("{} {name} {wire:?}: {measured:?}", system.name());
            let measured = measured.unwrap_or_default();
            rows.push(Row { system, flood: name.clone(), wire: *wire, measured });
        }
        attackers.kill()?;
        attackers.wait()?;
        settle(&clients, member).await?;
    }
    let quiet = clients.iter().zip(quiet).map(|((wire, _), samples)| {
        let measured = samples.measured();
        Row { system, flood: QUIET.to_owned(), wire: *wire, measured }
    });
    Ok(quiet.chain(rows).collect())
}

/// Puts and linearizable gets by turns, one at a time.
async fn honest(client: &Client, seconds: Duration, member: &Member) -> Outcome<Samples> {
    let began = Instant::now();
    let mut samples = Samples { memory: member.memory()?, ..Samples::default() };
    let before = Processors::now()?;
    let mut round = 0_u64;
    while began.elapsed() < seconds {
        let key = format!("honest/{}", round % 1_000);
        let asked = Instant::now();
        client.put(key.clone(), "x".repeat(256)).await?;
        samples.puts.push(asked.elapsed());
        let asked = Instant::now();
        client.get(key).await?;
        samples.gets.push(asked.elapsed());
        round += 1;
        if round.is_multiple_of(50) {
            samples.memory = samples.memory.max(member.memory()?);
        }
    }
    samples.processors = Processors::now()?.since(before);
    Ok(samples)
}

/// Until the member answers as if nothing had been, so that one flood is not measured in the next one's row.
async fn settle(clients: &[(Wire, Client)], member: &Member) -> Outcome<()> {
    tokio::time::sleep(RISE).await;
    for (_, client) in clients {
        let _settled = honest(client, Duration::from_secs(1), member).await?;
    }
    Ok(())
}

fn start_attackers(name: &str, target: SocketAddr) -> Outcome<Child> {
    let program = std::env::current_exe()?;
    let attackers = Command::new("chrt")
        .args(["--idle", "0"])
        .arg(program)
        .args(["--attack", name, "--target", &target.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn();
    Ok(attackers.map_err(|error| format!("cannot start the attackers by chrt: {error}"))?)
}

/// Until this process is killed.
fn attackers(name: &str, address: SocketAddr) -> Outcome<()> {
    let flood = Flood::all().into_iter().find(|flood| flood.name() == name);
    let flood = flood.ok_or_else(|| format!("no flood is called {name}"))?;
    let (connections, each) = flood.size();
    let (prefix, long) = ("honest".to_owned(), "long".to_owned());
    let made = std::sync::Arc::default();
    let target = Target { address, from: ATTACKERS, connections, each, prefix, long, made };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match flood {
            Flood::Company => company(),
            Flood::Tcp(attack) => attack.run(target).await,
            Flood::Quic(attack) => attack.run(target).await,
        }
    });
    Ok(())
}

/// Has every processor to do until this process is killed.
fn company() {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..processors {
            scope.spawn(|| {
                loop {
                    std::hint::spin_loop();
                }
            });
        }
    });
}

/// A folder that is there and empty.
fn fresh(dir: &Path) -> Outcome<()> {
    if dir.exists() {
        std::fs::remove_dir_all(dir)?;
    }
    Ok(std::fs::create_dir_all(dir)?)
}
