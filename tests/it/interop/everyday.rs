//! What programs in five languages do every day, against three members with mutual TLS.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::super::harness::{Cluster, run};
use super::{Foreign, answers, made, prepared, skipped};

/// Longest time for one program; each takes seconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// A line by which a program asks that a member die.
const KILL: &str = "kill one\n";

/// Runs `program` with what it must know of a cluster, and with a leader that dies if it asks for that.
fn drive(mut program: Command) {
    let mut cluster = Cluster::start(3);
    let endpoints: Vec<&str> =
        cluster.members.iter().map(|member| member.url.trim_start_matches("https://")).collect();
    program.arg(endpoints.join(","));
    let certs = cluster.dir().join("certs");
    program.args(["ca.crt", "client-root.crt", "client-root.key"].map(|file| certs.join(file)));
    let mut foreign = Foreign::spawn(program);
    if foreign.until(PATIENCE, |out| out.ends_with(KILL)).is_none() {
        let mut leader = 0;
        run(async { leader = cluster.leader().await.0 });
        cluster.kill(leader);
        foreign.tell("done");
    }
    let out = foreign.end(PATIENCE);
    assert!(out.ends_with("\nok\n"), "its last line is not ok:\n{out}");
}

#[test]
fn go_with_clientv3_and_concurrency() {
    let Some(program) = made("go/everyday") else { return };
    drive(Command::new(program));
}

#[test]
fn go_as_kubernetes_uses_it() {
    let Some(program) = made("go/kubernetes") else { return };
    drive(Command::new(program));
}

#[test]
fn rust_with_etcd_client() {
    let Some(program) = made("rust/everyday") else { return };
    drive(Command::new(program));
}

#[test]
fn javascript_with_etcd3() {
    let Some(modules) = made("node/node_modules") else { return };
    if !answers("node", &["--version"]) {
        return skipped("node").unwrap_or_default();
    }
    let mut node = Command::new("node");
    node.env("NODE_PATH", modules).arg(source("node/everyday.js"));
    drive(node);
}

#[test]
fn java_with_jetcd() {
    let Some(jar) = made("java/everyday.jar") else { return };
    if !answers("java", &["-version"]) {
        return skipped("java").unwrap_or_default();
    }
    let libraries = jar.with_file_name("libraries").join("*");
    let mut java = Command::new("java");
    java.arg("-cp").arg(format!("{}:{}", jar.display(), libraries.display())).arg("Everyday");
    drive(java);
}

#[test]
fn python_with_etcd3_and_etcd3gw() {
    let own = prepared().join("python/bin/python");
    let python = match std::env::var_os("QUORATE_PYTHON") {
        Some(python) => PathBuf::from(python),
        None if own.exists() => own,
        None => PathBuf::from("python3"),
    };
    let everyday = source("python/everyday.py");
    // It ends at once if it has its libraries and nothing to do.
    if !answers(&python, &[&everyday.display().to_string()]) {
        return skipped("a Python with etcd3 and etcd3gw").unwrap_or_default();
    }
    let mut command = Command::new(python);
    command.arg(everyday);
    drive(command);
}

/// A program that needs no building.
fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(name)
}
