//! Real etcds bootstrap through our discovery service: 3.5 by a URL in clear, 3.6 by a token over HTTPS;
//! and members of ours.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::nodes::{Node, are_one};
use super::service::{CA, Service, try_ask};
use crate::interop::made;
use crate::program::{Process, free_port, until};

/// A real etcd on its way into a cluster.
struct Etcd {
    port: u16,
    process: Process,
}

impl Etcd {
    fn start(service: &Service, program: &Path, n: usize, flags: &[&str]) -> Self {
        let (port, peer) = (free_port(), free_port());
        let (client, peer) =
            (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer}"));
        let name = format!("etcd{n}");
        let mut command = Command::new(program);
        command.current_dir(service.folder.path()).args(["--name", &name, "--data-dir", &name]);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(flags);
        Self { port, process: service.folder.spawn_command(&name, command) }
    }

    /// How many members it tells of; none while it serves nobody.
    fn members(&self) -> Option<usize> {
        // One that bootstraps listens already, and answers nothing.
        let patience = Duration::from_secs(1);
        let listed = try_ask(self.port, "POST", "/v3/cluster/member/list", "{}", patience)?;
        let found: serde_json::Value = serde_json::from_str(&listed.body).ok()?;
        Some(found["members"].as_array()?.len())
    }
}

/// Three of them, and not before the third; a fourth is told that the cluster is full.
fn bootstraps(service: &Service, program: &Path, line: usize, more: &[&str]) {
    let made = service.command(&["discovery", "new", "real", "--size", "3"]).ok();
    let flags = made.lines().nth(line).unwrap().split(' ').chain(more.iter().copied());
    let flags: Vec<&str> = flags.collect();
    let start = |n: usize| Etcd::start(service, program, n, &flags);
    let mut etcds = vec![start(1), start(2)];
    let listed = || service.command(&["discovery", "list"]).ok();
    until("two of three have registered", || listed().contains("2 of 3").then_some(()));
    assert!(etcds.iter().all(|etcd| etcd.members().is_none()), "two of three serve nobody");
    etcds.push(start(3));
    for etcd in &etcds {
        until("a real etcd serves", || etcd.members().filter(|members| *members == 3));
    }
    let told = listed();
    assert!(told.starts_with("real, 3 of 3, "), "{told}");
    for name in ["etcd1", "etcd2", "etcd3"] {
        assert!(told.contains(name), "{told}");
    }
    let mut fourth = start(4);
    assert!(!fourth.process.wait().success());
    let said = fourth.process.stderr();
    assert!(said.contains("cluster is full") || said.contains("already used"), "{said}");
}

#[test]
fn etcd_3_5_bootstraps_by_a_url() {
    let Some(program) = made("etcd-3.5") else { return };
    bootstraps(&Service::start(), &program, 1, &["--discovery-fallback", "exit"]);
}

#[test]
fn etcd_3_6_bootstraps_by_a_token() {
    let Some(program) = made("etcd-3.6") else { return };
    bootstraps(&Service::secure(), &program, 2, &["--discovery-cacert", CA]);
}

#[test]
fn our_own_members_meet_there_by_both_protocols() {
    let service = Service::start();
    for (line, token) in [(1, "url"), (2, "token")] {
        let made = service.command(&["discovery", "new", token, "--size", "3"]).ok();
        let words: Vec<&str> = made.lines().nth(line).unwrap().split(' ').collect();
        let mut nodes: Vec<Node> =
            (1..=3).map(|n| Node::new(&format!("{token}{n}"), &words)).collect();
        for node in &mut nodes {
            node.start(&service.folder);
        }
        are_one(&service.folder, &nodes);
        let listed = service.command(&["discovery", "list"]).ok();
        assert!(listed.contains(&format!("{token}, 3 of 3, ")), "{listed}");
    }
}
