//! Clusters as two articles about etcd make them, word by word, with the program's name exchanged and nothing else.

use super::harness::{Machines, Process, Seat, eventually, run, stdout};
use crate::program::output;

/// penguinit, "Golang을 통해서 etcd 간단하게 알아보기" (2024): what its docker-compose.yml sets.
const COMPOSE: &str = "
  etcd-node1:
    environment:
      - ETCD_NAME=node1
      - ETCD_INITIAL_ADVERTISE_PEER_URLS=http://etcd-node1:2380
      - ETCD_LISTEN_PEER_URLS=http://0.0.0.0:2380
      - ETCD_LISTEN_CLIENT_URLS=http://0.0.0.0:2379
      - ETCD_ADVERTISE_CLIENT_URLS=http://etcd-node1:2379
      - ETCD_INITIAL_CLUSTER=node1=http://etcd-node1:2380,node2=http://etcd-node2:2380,node3=http://etcd-node3:2380
      - ETCD_INITIAL_CLUSTER_TOKEN=etcd-cluster-1
      - ETCD_INITIAL_CLUSTER_STATE=new

  etcd-node2:
    environment:
      - ETCD_NAME=node2
      - ETCD_INITIAL_ADVERTISE_PEER_URLS=http://etcd-node2:2380
      - ETCD_LISTEN_PEER_URLS=http://0.0.0.0:2380
      - ETCD_LISTEN_CLIENT_URLS=http://0.0.0.0:2379
      - ETCD_ADVERTISE_CLIENT_URLS=http://etcd-node2:2379
      - ETCD_INITIAL_CLUSTER=node1=http://etcd-node1:2380,node2=http://etcd-node2:2380,node3=http://etcd-node3:2380
      - ETCD_INITIAL_CLUSTER_TOKEN=etcd-cluster-1
      - ETCD_INITIAL_CLUSTER_STATE=new

  etcd-node3:
    environment:
      - ETCD_NAME=node3
      - ETCD_INITIAL_ADVERTISE_PEER_URLS=http://etcd-node3:2380
      - ETCD_LISTEN_PEER_URLS=http://0.0.0.0:2380
      - ETCD_LISTEN_CLIENT_URLS=http://0.0.0.0:2379
      - ETCD_ADVERTISE_CLIENT_URLS=http://etcd-node3:2379
      - ETCD_INITIAL_CLUSTER=node1=http://etcd-node1:2380,node2=http://etcd-node2:2380,node3=http://etcd-node3:2380
      - ETCD_INITIAL_CLUSTER_TOKEN=etcd-cluster-1
      - ETCD_INITIAL_CLUSTER_STATE=new
";

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

/// Host name and variables of each service.
fn services() -> Vec<(&'static str, Vec<(&'static str, &'static str)>)> {
    let mut services: Vec<(&str, Vec<(&str, &str)>)> = Vec::new();
    for line in COMPOSE.lines().map(str::trim) {
        match (line.strip_prefix("- "), line.strip_suffix(':')) {
            (Some(variable), _) => {
                services.last_mut().unwrap().1.push(variable.split_once('=').unwrap());
            }
            (None, Some(host)) if host != "environment" => services.push((host, Vec::new())),
            _ => {}
        }
    }
    services
}

#[test]
fn the_first_articles_containers_form_a_cluster() {
    let _seat = Seat::take();
    let services = services();
    let addresses = ["172.18.0.2", "172.18.0.3", "172.18.0.4"];
    let plan: Vec<(&str, &str)> = services.iter().map(|(host, _)| *host).zip(addresses).collect();
    let Some(machines) = Machines::connect(&plan) else { return };
    let start = |at: usize| {
        // As the image starts it: docker/Dockerfile.
        let mut command = machines.command(at, &["quorate", "serve"]);
        command.envs(services[at].1.iter().copied());
        Process::spawn(command, &machines.log(at))
    };
    let mut members: Vec<Process> = (0..3).map(start).collect();
    run(async {
        // `docker exec -it etcd-node1 etcdctl get key`, and the Go program's put.
        let cli = |at: usize, words: &[&str]| {
            output(&mut machines.command(at, &[&["quorate"], words].concat()))
        };
        eventually("a put", || async {
            cli(0, &["put", "key", "value"]).status.success().then_some(())
        })
        .await;
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
        let by_name = "http://etcd-node1:2379,http://etcd-node2:2379,http://etcd-node3:2379";
        let health = stdout(cli(2, &["--endpoints", by_name, "endpoint", "health"]));
        assert_eq!(health.matches("is healthy").count(), 3, "{health}");
    });
    for member in &members {
        tells_the_risk_and_nothing_else(&member.log());
    }
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
        let line = COMMANDS[at].replacen("etcd ", "exec quorate ", 1);
        Process::spawn(machines.command(at, &["sh", "-c", &line]), &machines.log(at))
    };
    let mut members: Vec<Process> = (0..3).map(start).collect();
    run(async {
        let cli = |at: usize, words: &[&str]| {
            output(&mut machines.command(at, &[&["quorate"], words].concat()))
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
