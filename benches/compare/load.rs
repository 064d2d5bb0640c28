//! Runs one load against one cluster and reads its report.

use std::process::Command;

use serde_json::Value;

use crate::Outcome;
use crate::cluster::{Cluster, System};
use crate::rows::{Driver, Row};

/// The report of one run.
pub(crate) fn run(cluster: &Cluster, row: &Row, seconds: u64) -> Outcome<Value> {
    let seconds = row.seconds.unwrap_or(seconds);
    let mut words = row.words.clone();
    words.push(format!("--duration={seconds}s"));
    words.extend(pid_words(cluster, row.driver));
    let text = call(cluster, row.driver, row.load, &words)?;
    let report: Value = serde_json::from_str(&text)
        .map_err(|error| format!("{}: {error}: {text}", cluster.system.name()))?;
    let errors = report["errors"].as_u64().unwrap_or(0);
    if errors > 0 {
        eprintln!("{}: {errors} errors, the first: {}", cluster.system.name(), report["error"]);
    }
    Ok(report)
}

/// Writes the keys that a row reads, before anything is measured.
pub(crate) fn prepare(cluster: &Cluster, row: &Row) -> Outcome<()> {
    let mut words: Vec<String> = row
        .words
        .iter()
        .filter(|word| ["--keys", "--prefix"].iter().any(|flag| word.starts_with(flag)))
        .cloned()
        .collect();
    words.extend(["--in-flight=1", "--duration=1ms", "--warm-up=0s"].map(str::to_owned));
    if row.prepares {
        call(cluster, row.driver, "get", &words)?;
    }
    Ok(())
}

/// The words of both programs are the same, but for where the processes are named.
fn pid_words(cluster: &Cluster, driver: Driver) -> Vec<String> {
    let pids: Vec<String> = cluster.pids().iter().map(u32::to_string).collect();
    match drives(cluster, driver) {
        Driver::Etcds => vec![format!("--pid={}", pids.join(","))],
        Driver::Ours => pids.iter().map(|pid| format!("--pid={pid}")).collect(),
    }
}

/// Nobody drives etcd but its own client.
fn drives(cluster: &Cluster, driver: Driver) -> Driver {
    match cluster.system {
        System::Etcd => Driver::Etcds,
        System::Quorate => driver,
    }
}

/// The command, ready to run: `load` with `words` against `cluster`, by each system's own client.
pub(crate) fn command(cluster: &Cluster, load: &str, words: &[String]) -> Command {
    driven(cluster, Driver::Ours, load, words)
}

fn driven(cluster: &Cluster, driver: Driver, load: &str, words: &[String]) -> Command {
    let driver = drives(cluster, driver);
    let mut command = match driver {
        Driver::Etcds => Command::new(&cluster.programs.etcd_load),
        Driver::Ours => {
            let mut command = Command::new(&cluster.programs.quorate);
            command.arg("bench");
            command
        }
    };
    command.arg(load).args(words).arg(format!("--endpoints={}", cluster.endpoints.join(",")));
    command.args(cluster.tls_words());
    if driver == Driver::Ours {
        command.arg("--write-out=json").arg("--command-timeout=30s");
    }
    command
}

fn call(cluster: &Cluster, driver: Driver, load: &str, words: &[String]) -> Outcome<String> {
    let done = driven(cluster, driver, load, words).output()?;
    if !done.status.success() {
        let text = String::from_utf8_lossy(&done.stderr);
        return Err(format!("{} {load} {words:?}: {text}", cluster.system.name()).into());
    }
    Ok(String::from_utf8(done.stdout)?)
}
