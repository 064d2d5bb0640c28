//! Runs one load against one cluster and reads its report.

use std::process::Command;

use serde_json::Value;

use crate::Outcome;
use crate::cluster::{Cluster, System};
use crate::rows::Row;

/// The report of one run.
pub(crate) fn run(cluster: &Cluster, row: &Row, seconds: u64) -> Outcome<Value> {
    let seconds = row.seconds.unwrap_or(seconds);
    let mut words = row.words.clone();
    words.push(format!("--duration={seconds}s"));
    words.extend(pid_words(cluster));
    let text = call(cluster, row.load, &words)?;
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
        call(cluster, "get", &words)?;
    }
    Ok(())
}

/// The words of both programs are the same, but for where the processes are named.
fn pid_words(cluster: &Cluster) -> Vec<String> {
    let pids: Vec<String> = cluster.pids().iter().map(u32::to_string).collect();
    match cluster.system {
        System::Etcd => vec![format!("--pid={}", pids.join(","))],
        System::Quorate => pids.iter().map(|pid| format!("--pid={pid}")).collect(),
    }
}

/// The command, ready to run: `load` with `words` against `cluster`.
pub(crate) fn command(cluster: &Cluster, load: &str, words: &[String]) -> Command {
    let mut command = match cluster.system {
        System::Etcd => Command::new(&cluster.programs.etcd_load),
        System::Quorate => {
            let mut command = Command::new(&cluster.programs.quorate);
            command.arg("bench");
            command
        }
    };
    command.arg(load).args(words).arg(format!("--endpoints={}", cluster.endpoints.join(",")));
    command.args(cluster.tls_words());
    if cluster.system == System::Quorate {
        command.arg("--write-out=json").arg("--command-timeout=30s");
    }
    command
}

fn call(cluster: &Cluster, load: &str, words: &[String]) -> Outcome<String> {
    let done = command(cluster, load, words).output()?;
    if !done.status.success() {
        let text = String::from_utf8_lossy(&done.stderr);
        return Err(format!("{} {load} {words:?}: {text}", cluster.system.name()).into());
    }
    Ok(String::from_utf8(done.stdout)?)
}
