//! Clusters as articles about etcd make them, word by word, and the articles' own programs against them.

use std::time::Duration;

use super::harness::{Machines, Process, Seat, eventually, run, stdout};
use super::interop::{Foreign, made};
use crate::program::output;

/// penguinit, "Golang을 통해서 etcd 간단하게 알아보기" (2024): its docker-compose.yml.
const COMPOSE: &str = include_str!("../../docker/article.yaml");

/// The second article, about etcd 3.3.9 on three virtual machines: one command for each.
const COMMANDS: [&str; 3] = [
    r#"etcd --name etcd-01 \
--initial-advertise-peer-urls http://192.168.56.101:2380 \
--listen-peer-urls http://192.168.56.101:2380 \
--listen-client-urls http://192.168.56.101:2379,http://127.0.0.1:2379 \
--advertise-client-urls http://192.168.56.101:2379 \
--initial-cluster-token "etcd-cluster-1" \
--initial-cluster etcd-01=http://192.168.56.101:2380,etcd-02=http://192.168.56.102:2380,etcd-03=http://192.168.56.103:2380 \
--initial-cluster-state new"#,
    r#"etcd --name etcd-02 \
--initial-advertise-peer-urls http://192.168.56.102:2380 \
--listen-peer-urls http://192.168.56.102:2380 \
--listen-client-urls http://192.168.56.102:2379,http://127.0.0.1:2379 \
--advertise-client-urls http://192.168.56.102:2379 \
--initial-cluster-token "etcd-cluster-1" \
--initial-cluster etcd-01=http://192.168.56.101:2380,etcd-02=http://192.168.56.102:2380,etcd-03=http://192.168.56.103:2380 \
--initial-cluster-state new"#,
    r#"etcd --name etcd-03 \
--initial-advertise-peer-urls http://192.168.56.103:2380 \
--listen-peer-urls http://192.168.56.103:2380 \
--listen-client-urls http://192.168.56.103:2379,http://127.0.0.1:2379 \
--advertise-client-urls http://192.168.56.103:2379 \
--initial-cluster-token "etcd-cluster-1" \
--initial-cluster etcd-01=http://192.168.56.101:2380,etcd-02=http://192.168.56.102:2380,etcd-03=http://192.168.56.103:2380 \
--initial-cluster-state new"#,
];

/// Longest time for one program of an article: none takes half a minute.
const PATIENCE: Duration = Duration::from_secs(120);

/// Host name and variables of each service.
fn services() -> Vec<(&'static str, Vec<(&'static str, &'static str)>)> {
    let mut services: Vec<(&str, Vec<(&str, &str)>)> = Vec::new();
    for line in COMPOSE.lines().map(str::trim) {
        if let Some(host) = line.strip_prefix("container_name: ") {
            services.push((host, Vec::new()));
        }
        let variable = line.strip_prefix("- ETCD_").and_then(|_| line[2..].split_once('='));
        if let Some(variable) = variable {
            services.last_mut().unwrap().1.push(variable);
        }
    }
    services
}

/// Runs an article's program until it prints what the article says. Its own waits are as short as a second, which a busy
/// machine may miss: then it is run again.
fn prints(start: impl Fn() -> Foreign, is_expected: impl Fn(&str) -> bool) {
    for tried in 1.. {
        let mut program = start();
        let out = program.end(PATIENCE);
        if is_expected(&out) {
            return;
        }
        assert!(tried < 3, "it printed:\n{out}");
    }
}

#[test]
fn the_first_articles_containers_form_a_cluster() {
    let _seat = Seat::take();
    let services = services();
    let addresses = ["172.18.0.2", "172.18.0.3", "172.18.0.4"];
    let plan: Vec<(&str, &str)> = services.iter().map(|(host, _)| *host).zip(addresses).collect();
    let Some(machines) = Machines::connect(&plan) else { return };
    let start = |at: usize| {
        let mut command = machines.command(at, &["etcd"]);
        command.envs(services[at].1.iter().copied());
        Process::spawn(command, &machines.log(at))
    };
    let mut members: Vec<Process> = (0..3).map(start).collect();
    run(async {
        let cli = |at: usize, words: &[&str]| {
            output(&mut machines.command(at, &[&["etcdctl"], words].concat()))
        };
        eventually("a put", || async {
            cli(0, &["put", "key", "value"]).status.success().then_some(())
        })
        .await;
        let by_name = "http://etcd-node1:2379,http://etcd-node2:2379,http://etcd-node3:2379";
        the_first_articles_programs(&machines, by_name, &|| cli(0, &["del", "key"]));
        // `docker exec -it etcd-node1 etcdctl get key`
        for at in 0..3 {
            assert_eq!(stdout(cli(at, &["get", "key"])), "key\nvalue\n", "at {at}");
        }
        members[1].kill();
        eventually("two of three serve", || async {
            cli(0, &["put", "key", "new_value"]).status.success().then_some(())
        })
        .await;
        members[1] = start(1);
        eventually("the third is back", || async {
            (cli(1, &["get", "key"]).stdout == b"key\nnew_value\n").then_some(())
        })
        .await;
        let health = stdout(cli(2, &["--endpoints", by_name, "endpoint", "health"]));
        assert_eq!(health.matches("is healthy").count(), 3, "{health}");
    });
    for member in &members {
        tells_the_risk_and_nothing_else(&member.log());
    }
}

/// Its programs print what it prints; when they have ended, `key` is `value`.
fn the_first_articles_programs(
    machines: &Machines,
    endpoints: &str,
    forget: &dyn Fn() -> std::process::Output,
) {
    let (Some(put), Some(watch)) = (made("go/first_put"), made("go/first_watch")) else { return };
    let start = |program: &std::path::Path| {
        Foreign::spawn(machines.command(0, &[program.as_os_str(), endpoints.as_ref()]))
    };
    let told = "Watch: PUT \"key\" : \"value\"\n\
                Watch: PUT \"key\" : \"new_value\"\n\
                Watch: DELETE \"key\" : \"\"\n";
    prints(|| start(&watch), |out| out == told);
    stdout(forget());
    prints(|| start(&put), str::is_empty);
}

/// "etcd使用手记" (2023): a single etcd as it starts by itself, and a program that puts, watches and keeps leases.
#[test]
fn the_fourth_articles_program_prints_what_it_says() {
    let Some(program) = made("go/fourth") else { return };
    let _seat = Seat::take();
    let Some(machines) = Machines::connect(&[("mac", "10.0.0.1")]) else { return };
    let member = Process::spawn(machines.command(0, &["etcd"]), &machines.log(0));
    let etcdctl =
        |words: &[&str]| output(&mut machines.command(0, &[&["etcdctl"], words].concat()));
    run(async {
        eventually("it is healthy", || async {
            let told = etcdctl(&["endpoint", "health"]);
            let told = format!(
                "{}{}",
                String::from_utf8_lossy(&told.stdout),
                String::from_utf8_lossy(&told.stderr)
            );
            told.starts_with("127.0.0.1:2379 is healthy: successfully committed proposal: took = ")
                .then_some(())
        })
        .await;
        let mut told: Vec<String> = Vec::new();
        for kind in ["PUT", "DELETE"] {
            let value = if kind == "PUT" { "world" } else { "" };
            told.extend((0..10).map(|n| {
                format!("Watch Type: {kind}; Key: /hb/etcd/watch/key_{n}; Value: {value}")
            }));
        }
        for tried in 1.. {
            let words = [program.as_os_str(), "127.0.0.1:2379".as_ref()];
            let mut program = Foreign::spawn(machines.command(0, &words));
            // It keeps its lease for ever.
            let ended = program.until(PATIENCE, |out| out.matches("KeepAlive TTL:").count() >= 3);
            let out = program.out();
            assert!(ended.is_none(), "it ended: {out}");
            let lines: Vec<&str> = out.lines().collect();
            let (watched, rest): (Vec<&str>, Vec<&str>) =
                lines.iter().partition(|line| line.starts_with("Watch"));
            // What is put before the watch is there is not told; the rest is, in order.
            let is_watched =
                told.ends_with(&watched.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>());
            let is_told = rest.starts_with(&[
                "Get key=/hb/etcd/base, value=123456 ",
                "Lease key=/hb/etcd/lease, value=lease ",
                "KeepAlive TTL:  5",
                "KeepAlive TTL:  5",
            ]);
            if is_watched && !watched.is_empty() && is_told {
                return;
            }
            assert!(tried < 3, "it printed:\n{out}");
        }
    });
    drop(member);
}

#[test]
fn the_second_articles_commands_form_a_cluster() {
    let _seat = Seat::take();
    let plan = [
        ("etcd-01", "192.168.56.101"),
        ("etcd-02", "192.168.56.102"),
        ("etcd-03", "192.168.56.103"),
    ];
    let Some(machines) = Machines::connect(&plan) else { return };
    let start = |at: usize| {
        let line = format!("exec {}", COMMANDS[at]);
        Process::spawn(machines.command(at, &["sh", "-c", &line]), &machines.log(at))
    };
    let mut members: Vec<Process> = (0..3).map(start).collect();
    run(async {
        let cli = |at: usize, words: &[&str]| {
            output(&mut machines.command(at, &[&["etcdctl"], words].concat()))
        };
        let third = ["--endpoints", "http://192.168.56.103:2379", "put", "/message", "Hello world"];
        eventually("a put at the third from the first", || async {
            cli(0, &third).status.success().then_some(())
        })
        .await;
        for at in 0..3 {
            // The machine's own 127.0.0.1:2379 is one of its listen-client-urls.
            assert_eq!(stdout(cli(at, &["get", "/message"])), "/message\nHello world\n", "at {at}");
            assert!(machines.home(at).join(format!("etcd-0{}.etcd", at + 1)).is_dir());
        }
        // The ids that the article's etcd has.
        let expected = "\
            11796896800e7f4d, started, etcd-01, http://192.168.56.101:2380, http://192.168.56.101:2379, false\n\
            4a84c8889f5d7a35, started, etcd-03, http://192.168.56.103:2380, http://192.168.56.103:2379, false\n\
            b3a64181bea306fb, started, etcd-02, http://192.168.56.102:2380, http://192.168.56.102:2379, false\n";
        eventually("all have told their client URLs", || async {
            (cli(1, &["member", "list"]).stdout == expected.as_bytes()).then_some(())
        })
        .await;
        // "etcd-01이 리더인데, 이녀석을 죽이면 어떻게 될까?"
        members[0].kill();
        eventually("the two others serve", || async {
            cli(1, &["put", "/message", "My name is yundream"]).status.success().then_some(())
        })
        .await;
        let read = stdout(cli(2, &["get", "/message", "--print-value-only"]));
        assert_eq!(read, "My name is yundream\n");
    });
    for member in &members {
        tells_the_risk_and_nothing_else(&member.log());
    }
}

/// `http://` between members is warned of; that they found each other is no reason for another warning.
fn tells_the_risk_and_nothing_else(log: &str) {
    assert!(log.contains("members do not verify each other"), "{log}");
    assert!(!log.contains("a handshake failed"), "{log}");
}
