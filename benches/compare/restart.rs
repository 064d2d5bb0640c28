//! One node with many keys, killed under load: how long until the first linearizable put, and how much memory it took.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use quorate::base::{Clock, SystemClock};
use quorate::client::Client;

use crate::Outcome;
use crate::cluster::{Cluster, Programs, System};
use crate::load;
use crate::memory::{self, Peak, Watch};
use crate::page;

/// Load before each kill, long enough for a checkpoint.
const LOAD: Duration = Duration::from_secs(8);
/// Time for one attempt of the first put.
const ATTEMPT: Duration = Duration::from_millis(100);
/// A server that has not answered by then will not.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub(crate) struct Measured {
    /// From exec to the answer of the first put, the median.
    pub first_put: Duration,
    pub all: Vec<Duration>,
    /// While the keys were written and more were put over them.
    pub loading: Peak,
    /// Right after a restart.
    pub restarted: Peak,
    pub disk_bytes: u64,
}

/// etcd's and ours.
pub(crate) fn both(
    programs: &Programs,
    dir: &Path,
    keys: u64,
    times: usize,
) -> Outcome<[Measured; 2]> {
    Ok([
        one(programs, dir, System::Etcd, keys, times)?,
        one(programs, dir, System::Quorate, keys, times)?,
    ])
}

fn one(
    programs: &Programs,
    dir: &Path,
    system: System,
    keys: u64,
    times: usize,
) -> Outcome<Measured> {
    let mut cluster = Cluster::start(programs, system, dir, 1)?;
    let clock = SystemClock::new();
    let watch = Watch::of(cluster.pids()[0]);
    let space = format!("--keys={keys}");
    let words = |more: &[&str]| -> Vec<String> {
        more.iter().map(|word| (*word).to_owned()).chain([space.clone()]).collect()
    };
    let filling = words(&["--in-flight=1", "--duration=1ms", "--warm-up=0s"]);
    let filled = load::command(&cluster, "get", &filling).stdout(Stdio::null()).status()?;
    if !filled.success() {
        return Err(format!("{} could not be filled", system.name()).into());
    }
    let mut watch = Some(watch);
    let (mut all, mut loading, mut restarted, mut disk_bytes) =
        (Vec::new(), Peak::default(), Peak::default(), 0);
    for _ in 0..times {
        let mut putting =
            load::command(&cluster, "put", &words(&["--in-flight=64", "--duration=60s"]))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()?;
        std::thread::sleep(LOAD);
        if let Some(watch) = watch.take() {
            loading = watch.peak();
            disk_bytes = cluster.disk_bytes()?;
        }
        cluster.kill()?;
        putting.kill()?;
        putting.wait()?;
        let took = first_put(&mut cluster, clock)?;
        eprintln!("{:<34} {} {took:.1?}", "restart, first put", system.name());
        all.push(took);
        restarted = memory::look(cluster.pids()[0]);
    }
    let seconds: Vec<f64> = all.iter().map(Duration::as_secs_f64).collect();
    let first_put =
        Duration::from_secs_f64(page::median(seconds).ok_or("no restart was measured")?);
    Ok(Measured { first_put, all, loading, restarted, disk_bytes })
}

/// Asks before the server is there, again and again, as a program that lost its server would.
fn first_put(cluster: &mut Cluster, clock: SystemClock) -> Outcome<Duration> {
    match cluster.system {
        System::Etcd => {
            let asking = Command::new(&cluster.programs.etcd_load)
                .arg("first")
                .arg(format!("--endpoints={}", cluster.endpoints.join(",")))
                .args(cluster.tls_words())
                .stdout(Stdio::piped())
                .spawn()?;
            // The program itself must not count.
            std::thread::sleep(Duration::from_millis(300));
            let began = clock.wall_ms();
            cluster.start_again()?;
            let answered: i64 =
                String::from_utf8(asking.wait_with_output()?.stdout)?.trim().parse()?;
            Ok(Duration::from_millis(u64::try_from(answered - began)?))
        }
        System::Quorate => {
            let began = clock.now();
            cluster.start_again()?;
            let mut config = cluster.config(&cluster.endpoints[0]);
            config.dial_timeout = ATTEMPT;
            config.request_timeout = Duration::from_secs(1);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut last = None;
                while clock.now() - began < PATIENCE {
                    match Client::connect(config.clone()).await {
                        Ok(client) => match client.put("bench/first", "put").await {
                            Ok(_) => return Ok(clock.now() - began),
                            Err(error) => last = Some(error),
                        },
                        Err(error) => last = Some(error),
                    }
                }
                let last = last.map_or_else(String::new, |error| format!(": {error}"));
                Err(format!("no put was answered for {PATIENCE:?}{last}").into())
            })
        }
    }
}
