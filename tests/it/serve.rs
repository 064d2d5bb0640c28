//! A cluster by static initial cluster: with TOML files and certificates, and with etcd's plain flags.

use std::process::Command;

use super::harness::{Cluster, Process, Seat, eventually, free_ports, quorate, run, stdout};
use crate::program::output;

#[test]
fn what_one_member_takes_every_member_gives() {
    let cluster = Cluster::start(3);
    run(async {
        for writer in 0..3 {
            let (key, value) = (format!("written on {writer}"), format!("value {writer}"));
            assert_eq!(cluster.ask(&[writer], &["put", &key, &value]), "OK\n");
            let expected = format!("{key}\n{value}\n");
            for reader in 0..3 {
                assert_eq!(cluster.ask(&[reader], &["get", &key]), expected);
                let serializable = ["get", "--consistency=s", &key];
                eventually("a serializable read", || async {
                    (cluster.ask(&[reader], &serializable) == expected).then_some(())
                })
                .await;
            }
        }
        one_leader(&cluster.ask(&[0, 1, 2], &["endpoint", "status", "-w", "table"]), 3);
        let health = cluster.ask(&[1], &["endpoint", "health", "--cluster"]);
        assert_eq!(health.matches("is healthy: successfully committed proposal").count(), 3);
        cluster.same_hash().await;
    });
}

#[test]
fn a_watch_on_one_member_sees_what_others_write() {
    let cluster = Cluster::start(3);
    let log = cluster.dir().join("watch.log");
    let mut command = cluster.cli(&[2]);
    command.args(["watch", "--prefix", "greeting"]);
    let watch = Process::spawn(command, &log);
    run(async {
        // A watch that has no revision begins when the server has it: until then events pass it by.
        eventually("the watch", || async {
            cluster.ask(&[0], &["put", "greeting probe", ""]);
            watch.log().contains("probe").then_some(())
        })
        .await;
        cluster.ask(&[0], &["put", "greeting", "hello"]);
        cluster.ask(&[1], &["put", "greeting", "hello again"]);
        assert_eq!(cluster.ask(&[0], &["del", "greeting"]), "1\n");
        let expected = "PUT\ngreeting\nhello\nPUT\ngreeting\nhello again\nDELETE\ngreeting\n\n";
        eventually("the three events", || async { watch.log().ends_with(expected).then_some(()) })
            .await;
    });
}

#[test]
fn etcds_flags_without_certificates_found_a_cluster() {
    let _seat = Seat::take();
    let dir = tempfile::tempdir().unwrap();
    let ports = free_ports(6);
    let peer = |n: usize| format!("http://127.0.0.1:{}", ports[n]);
    let client = |n: usize| format!("http://127.0.0.1:{}", ports[3 + n]);
    let initial: Vec<String> = (0..3).map(|n| format!("infra{n}={}", peer(n))).collect();
    let start = |n: usize| {
        let mut command = quorate();
        command.current_dir(dir.path());
        command.args(["--name", &format!("infra{n}")]);
        command.args(["--initial-advertise-peer-urls", &peer(n)]);
        command.args(["--listen-peer-urls", &peer(n)]);
        command.args(["--listen-client-urls", &client(n)]);
        command.args(["--advertise-client-urls", &client(n)]);
        command.args(["--initial-cluster-token", "etcd-cluster-1"]);
        command.args(["--initial-cluster", &initial.join(",")]);
        command.args(["--initial-cluster-state", "new"]);
        Process::spawn(command, &dir.path().join(format!("infra{n}.log")))
    };
    let _members: Vec<Process> = (0..3).map(start).collect();
    let endpoints = (0..3).map(client).collect::<Vec<_>>().join(",");
    let cli = |endpoints: &str, args: &[&str]| -> Command {
        let mut command = quorate();
        command.current_dir(dir.path()).arg("--endpoints").arg(endpoints).args(args);
        command
    };
    run(async {
        eventually("a put", || async {
            let put = output(&mut cli(&endpoints, &["put", "k", "v"]));
            put.status.success().then_some(())
        })
        .await;
        for n in 0..3 {
            assert_eq!(stdout(output(&mut cli(&client(n), &["get", "k"]))), "k\nv\n");
            // The members' address serves clients, too.
            assert_eq!(stdout(output(&mut cli(&peer(n), &["get", "k"]))), "k\nv\n");
        }
        let status = ["endpoint", "status", "-w", "table"];
        one_leader(&stdout(output(&mut cli(&endpoints, &status))), 3);
        // A member tells its client URL once it serves.
        let rest = |n| format!("started, infra{n}, {}, {}, false", peer(n), client(n));
        eventually("all members published", || async {
            let members = stdout(output(&mut cli(&endpoints, &["member", "list"])));
            (0..3).all(|n| members.contains(&rest(n))).then_some(())
        })
        .await;
        for n in 0..3 {
            assert!(dir.path().join(format!("infra{n}.etcd")).is_dir());
        }
    });
}

/// The table of `endpoint status` has `rows` members, and one of them leads.
fn one_leader(table: &str, rows: usize) {
    let cells = |line: &str| -> Vec<String> {
        line.split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let lines: Vec<Vec<String>> =
        table.lines().filter(|line| line.starts_with('|')).map(cells).collect();
    let (header, members) = lines.split_first().unwrap();
    let column = header.iter().position(|cell| cell == "IS LEADER").unwrap();
    assert_eq!(members.len(), rows, "{table}");
    let leaders = members.iter().filter(|cells| cells[column] == "true").count();
    assert_eq!(leaders, 1, "{table}");
}
