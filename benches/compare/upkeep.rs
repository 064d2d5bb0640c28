//! What an operator does to a running cluster, again and again under a steady load: what the puts beside it take.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use quorate::base::{Clock, SystemClock};
use serde_json::Value;

use crate::Outcome;
use crate::cluster::{Cluster, Programs, System};
use crate::load;

/// Puts a second: etcd takes more than twice as many on such a machine.
const RATE: u64 = 2_000;
/// The least time of one run; a work that takes longer is waited for.
const SECONDS: u64 = 10;
/// Between two looks at whether the load has ended.
const LOOK: Duration = Duration::from_millis(20);

/// What is done beside the puts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Work {
    Nothing,
    Hash,
    Snapshot,
    Compaction,
    Defragment,
}

/// One work at one system.
#[derive(Debug)]
pub(crate) struct Measured {
    pub title: &'static str,
    /// The report of the puts.
    pub puts: Value,
    /// How often it was done; none of nothing.
    pub times: Vec<Duration>,
}

/// Every work in turn, of etcd and of ours; quiet comes first.
pub(crate) fn both(programs: &Programs, dir: &Path, keys: u64) -> Outcome<[Vec<Measured>; 2]> {
    Ok([all(programs, dir, System::Etcd, keys)?, all(programs, dir, System::Quorate, keys)?])
}

fn all(programs: &Programs, dir: &Path, system: System, keys: u64) -> Outcome<Vec<Measured>> {
    let cluster = Cluster::start(programs, system, dir, 3)?;
    let space = format!("--keys={keys}");
    let filling = ["--in-flight=1", "--duration=1ms", "--warm-up=0s", &space];
    let filling: Vec<String> = filling.map(str::to_owned).into();
    let filled = load::command(&cluster, "get", &filling).stdout(Stdio::null()).status()?;
    if !filled.success() {
        return Err(format!("{} could not be filled", system.name()).into());
    }
    let works = [Work::Nothing, Work::Hash, Work::Snapshot, Work::Compaction, Work::Defragment];
    let mut measured = Vec::new();
    for work in works {
        let one = beside(&cluster, work, &space)?;
        eprintln!("{:<34} {} {:?} {}", one.title, system.name(), one.times, one.puts["latency_us"]);
        measured.push(one);
    }
    Ok(measured)
}

/// Puts at a steady rate, and `work` over and over until they end.
fn beside(cluster: &Cluster, work: Work, space: &str) -> Outcome<Measured> {
    let words = [
        "--in-flight=256".to_owned(),
        format!("--rate={RATE}"),
        format!("--duration={SECONDS}s"),
        space.to_owned(),
    ];
    let mut putting = load::command(cluster, "put", &words)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let clock = SystemClock::new();
    let mut times = Vec::new();
    while putting.try_wait()?.is_none() {
        if work == Work::Nothing {
            std::thread::sleep(LOOK);
            continue;
        }
        let began = clock.now();
        work.run(cluster)?;
        times.push(clock.now() - began);
    }
    let report = told(&putting.wait_with_output()?)?;
    let puts: Value = serde_json::from_str(&report)?;
    if let Some(errors) = puts["errors"].as_u64().filter(|errors| *errors > 0) {
        eprintln!("{}: {errors} errors, the first: {}", cluster.system.name(), puts["error"]);
    }
    Ok(Measured { title: work.title(), puts, times })
}

impl Work {
    fn title(self) -> &'static str {
        match self {
            Self::Nothing => "quiet",
            Self::Hash => "hashes of the history, every member",
            Self::Snapshot => "snapshots of one member",
            Self::Compaction => "compactions, waited for",
            Self::Defragment => "defragmenting one member after the other",
        }
    }

    /// Once, by the same command line at both.
    fn run(self, cluster: &Cluster) -> Outcome<()> {
        match self {
            Self::Nothing => Ok(()),
            Self::Hash => tell(cluster, &["endpoint", "hashkv"]).map(drop),
            Self::Defragment => tell(cluster, &["defrag"]).map(drop),
            Self::Snapshot => {
                let file = cluster.dir.join("upkeep.snapshot");
                if file.exists() {
                    std::fs::remove_file(&file)?;
                }
                let file = file.display().to_string();
                tell_at(cluster, &cluster.endpoints[..1], &["snapshot", "save", &file]).map(drop)
            }
            Self::Compaction => {
                let read = tell(cluster, &["get", "nothing", "--write-out=json"])?;
                let answer: Value = serde_json::from_str(&read)?;
                let revision = answer["header"]["revision"].to_string();
                tell(cluster, &["compaction", "--physical", &revision]).map(drop)
            }
        }
    }
}

/// A command of ours, to every member; etcd is spoken to in gRPC.
fn tell(cluster: &Cluster, words: &[&str]) -> Outcome<String> {
    tell_at(cluster, &cluster.endpoints, words)
}

fn tell_at(cluster: &Cluster, endpoints: &[String], words: &[&str]) -> Outcome<String> {
    let wire = match cluster.system {
        System::Etcd => "grpc",
        System::Quorate => "quic",
    };
    let output = Command::new(&cluster.programs.quorate)
        .args(words)
        .arg(format!("--endpoints={}", endpoints.join(",")))
        .arg(format!("--wire={wire}"))
        .arg("--command-timeout=120s")
        .args(cluster.tls_words())
        .output()?;
    told(&output).map_err(|error| format!("{} {words:?}: {error}", cluster.system.name()).into())
}

/// What a program printed; its complaint where it failed.
fn told(output: &Output) -> Outcome<String> {
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(String::from_utf8(output.stdout.clone())?)
}
