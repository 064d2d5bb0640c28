//! A compose file that was written for etcd: three members, each by the command of its service.

use std::path::Path;

use rustix::process::Signal;

use super::Links;
use crate::harness::Seat;
use crate::program::{Process, free_port, until};

const COMPOSE: &str = include_str!("compose.yaml");

/// Name and command of each service.
fn services() -> Vec<(String, Vec<String>)> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for line in COMPOSE.lines() {
        if let Some(name) = line.strip_prefix("  etcd-") {
            found.push((format!("etcd-{}", name.trim_end_matches(':')), Vec::new()));
        } else if let (Some(word), Some((_, words))) =
            (line.strip_prefix("      - '"), found.last_mut())
        {
            words.push(word.trim_end_matches('\'').to_owned());
        }
    }
    found
}

/// All of them, ready; and where their clients find them.
fn up(links: &Links, data: &Path) -> (Vec<Process>, Vec<String>) {
    // In place of the network of containers: an address with ports of its own for each name.
    let hosts: Vec<(String, String)> = (1..=3)
        .flat_map(|n| [2379, 2380].map(|port| format!("etcd-{n}:{port}")))
        .map(|host| (host, format!("127.0.0.1:{}", free_port())))
        .collect();
    let placed = |word: &String| {
        let mut word = word.replace("/etcd-data", &data.display().to_string());
        for (host, address) in &hosts {
            word = word.replace(host, address);
        }
        word
    };
    let mut members: Vec<Process> = Vec::new();
    for (name, words) in &services() {
        let words: Vec<String> = words.iter().map(placed).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        members.push(links.etcd(name, &words));
    }
    for member in &mut members {
        Links::ready(member);
    }
    let clients: Vec<String> = hosts
        .iter()
        .filter(|(host, _)| host.ends_with(":2379"))
        .map(|(_, address)| format!("http://{address}"))
        .collect();
    (members, clients)
}

#[test]
fn a_compose_file_of_etcds_makes_a_cluster() {
    let (_seat, links) = (Seat::take(), Links::new());
    let data = links.folder.path().join("etcd-data");
    std::fs::create_dir(&data).unwrap();
    let (mut members, clients) = up(&links, &data);
    assert_eq!(members.len(), 3);
    let all = clients.join(",");
    assert_eq!(links.etcdctl(&clients[0], &["put", "k", "v"]).ok(), "OK\n");
    for client in &clients {
        assert_eq!(links.etcdctl(client, &["get", "k"]).ok(), "k\nv\n");
    }
    let health = links.etcdctl(&all, &["endpoint", "health"]).ok();
    assert_eq!(
        health.matches("is healthy: successfully committed proposal").count(),
        3,
        "{health}"
    );
    until("each has told where it is", || {
        let listed = links.etcdctl(&all, &["member", "list"]).ok();
        clients.iter().all(|client| listed.contains(client.as_str())).then_some(())
    });
    // Whoever adds a learner says how many there may be.
    for (client, code) in [(&clients[1], 0), (&clients[1], 0), (&clients[0], 1), (&clients[1], 1)] {
        let url = format!("http://127.0.0.1:{}", free_port());
        let added =
            links.etcdctl(client, &["member", "add", "l", "--learner", "--peer-urls", &url]);
        assert_eq!(added.code, code, "{added:?}");
        assert!(code == 0 || added.stderr.contains("too many learner members"), "{added:?}");
    }
    // What changes nothing has said so, and what counts has done something.
    let said = members[0].stderr();
    for told in
        ["snapshot-count does nothing here", "enable-pprof does nothing here", "compared histories"]
    {
        assert!(said.contains(told), "{told}: {said}");
    }
    assert!(members[1].stderr().contains("compared histories"));
    assert!(members[2].stderr().contains("strict-reconfig-check is false"));
    let log = std::fs::read_to_string(data.join("3.log")).unwrap();
    assert!(log.contains("ready to serve client requests"), "{log}");
    assert!(
        data.join("3-wal").read_dir().unwrap().next().is_some(),
        "the log is on the other disk"
    );
    for member in &mut members {
        member.signal(Signal::TERM);
    }
    for member in &mut members {
        member.wait();
    }
}
