//! Three nodes that know nothing of each other but a domain.

use std::path::Path;
use std::process::Command;

use quorate::client::{Client, ClientFiles, Config};

use super::zone::{Zone, host, srv};
use crate::harness::{Seat, run};
use crate::program::{Folder, Output, Process, finish, free_port, until};

/// So long that the records of three do not fit into an answer over UDP.
const FILLER: &str = "of-a-cluster-whose-hosts-have-names-that-somebody-paid-for";

pub(super) struct Node {
    pub name: String,
    pub host: String,
    pub address: String,
    pub port: u16,
    pub process: Option<Process>,
}

/// Nodes, their certificates and the zone that has their records.
pub(super) struct Cluster {
    pub folder: Folder,
    pub zone: Zone,
    pub nodes: Vec<Node>,
    _seat: Seat,
}

impl Cluster {
    /// Certificates and records of three nodes, of which none runs; one of them has an IPv6 address. None without a DNS
    /// server.
    pub(super) fn prepare() -> Option<Self> {
        let zone = Zone::serve(&[])?;
        let seat = Seat::take();
        let folder = Folder::new();
        folder.run(&["cert", "ca"]).ok();
        folder.run(&["cert", "client", "root"]).ok();
        let node = |n: usize| {
            let name = format!("n{n}");
            // No two share an end that could be written once.
            let host = format!("{name}.{FILLER}{n}.{FILLER}{n}.{FILLER}{n}.q.test");
            let hosts = format!("{host},q.test");
            folder.run(&["cert", "peer", &name, "--host", &host]).ok();
            folder.run(&["cert", "server", &name, "--host", &hosts]).ok();
            let address = if n == 3 && has_ipv6() { "::1" } else { "127.0.0.1" };
            Node { name, host, address: address.to_owned(), port: free_port(), process: None }
        };
        let nodes = (1..=3).map(node).collect();
        let mut cluster = Self { folder, zone, nodes, _seat: seat };
        cluster.zone.write(&cluster.records());
        Some(cluster)
    }

    pub(super) fn records(&self) -> Vec<String> {
        self.nodes.iter().flat_map(|node| self.records_of(node)).collect()
    }

    fn records_of(&self, node: &Node) -> Vec<String> {
        let mut records = vec![host(&node.host, &node.address)];
        for name in [
            "_etcd-server-ssl._tcp.q.test",
            "_quorate-client._udp.q.test",
            "_etcd-client-ssl._tcp.q.test",
            "_quorate-client._udp.other.test",
            "_etcd-client-x._tcp.cluster.q.test",
        ] {
            records.push(srv(name, &node.host, node.port));
        }
        records
    }

    pub(super) fn start(&mut self, at: usize) {
        let node = &self.nodes[at];
        let ip = match node.address.as_str() {
            "::1" => "[::1]",
            ip => ip,
        };
        let listen = format!("https://{ip}:{}", node.port);
        let advertise = format!("https://{}:{}", node.host, node.port);
        let (name, server) = (node.name.as_str(), self.zone.server.to_string());
        let file = |kind: &str, of: &str| format!("certs/{kind}-{name}.{of}");
        let words = [
            ("name", name.to_owned()),
            ("discovery-srv", "q.test".to_owned()),
            ("dns-server", server),
            ("initial-cluster-token", "by-dns".to_owned()),
            ("listen-peer-urls", listen.clone()),
            ("initial-advertise-peer-urls", advertise.clone()),
            ("listen-client-urls", listen),
            ("advertise-client-urls", advertise),
            ("peer-cert-file", file("peer", "crt")),
            ("peer-key-file", file("peer", "key")),
            ("peer-trusted-ca-file", "certs/ca.crt".to_owned()),
            ("cert-file", file("server", "crt")),
            ("key-file", file("server", "key")),
            ("trusted-ca-file", "certs/ca.crt".to_owned()),
            ("client-cert-auth", "true".to_owned()),
        ];
        let words: Vec<String> =
            words.into_iter().map(|(key, value)| format!("--{key}={value}")).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let process = self.folder.spawn(name, &words);
        self.nodes[at].process = Some(process);
    }

    pub(super) fn log(&self, at: usize) -> String {
        self.nodes[at].process.as_ref().map(Process::stderr).unwrap_or_default()
    }

    /// A client's command with its certificate, and with nothing that says where the cluster is.
    pub(super) fn ask(&self, globals: &[&str], words: &[&str]) -> Output {
        finish(&mut with_certificate(self.folder.command(&[globals, words].concat())))
    }

    #[track_caller]
    pub(super) fn forms(&self) {
        for at in 0..self.nodes.len() {
            until("every node serves", || {
                self.log(at).contains("ready to serve client requests").then_some(())
            });
        }
    }
}

pub(super) fn with_certificate(mut command: Command) -> Command {
    command
        .env("ETCDCTL_CACERT", "certs/ca.crt")
        .env("ETCDCTL_CERT", "certs/client-root.crt")
        .env("ETCDCTL_KEY", "certs/client-root.key");
    command
}

fn has_ipv6() -> bool {
    std::net::UdpSocket::bind("[::1]:0").is_ok()
}

pub(super) fn files(folder: &Path) -> ClientFiles {
    let certs = folder.join("certs");
    ClientFiles {
        trusted_ca: Some(certs.join("ca.crt")),
        cert: Some(certs.join("client-root.crt")),
        key: Some(certs.join("client-root.key")),
        ..ClientFiles::default()
    }
}

#[test]
fn three_nodes_form_by_srv_records_and_clients_find_them() {
    let Some(mut cluster) = Cluster::prepare() else { return };
    assert!(cluster.zone.truncates("_etcd-server-ssl._tcp.q.test"));
    for at in 0..3 {
        cluster.start(at);
    }
    cluster.forms();
    let server = cluster.zone.server.to_string();
    let by_dns = ["--discovery-srv", "q.test", "--dns-server", &server];
    assert_eq!(cluster.ask(&by_dns, &["put", "a", "1"]).ok(), "OK\n");
    let listed = cluster.ask(&by_dns, &["member", "list"]).ok();
    for node in &cluster.nodes {
        let line = format!("started, {}, https://{}:{}", node.name, node.host, node.port);
        assert!(listed.contains(&line), "{listed}");
    }

    // Only the domain is believed: the certificates must be good for it.
    let strictly = |domain: &str| {
        let globals = ["--discovery-srv", domain, "--dns-server", &server];
        cluster.ask(&globals, &["--insecure-discovery=false", "get", "a"])
    };
    assert_eq!(strictly("q.test").ok(), "a\n1\n");
    let refused = strictly("other.test");
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("other.test"), "{refused:?}");

    run(async {
        let found = Config::discover("q.test", Some(cluster.zone.server)).await.unwrap();
        assert_eq!(found.endpoints.len(), 3);
        let client = Client::connect(found.tls(files(cluster.folder.path()))).await.unwrap();
        assert_eq!(client.get("a").await.unwrap().kvs[0].value, "1");
        client.close().await;
    });

    // A member knows its cluster: without DNS it starts again.
    cluster.zone.stop();
    drop(cluster.nodes[0].process.take());
    std::fs::remove_file(cluster.folder.path().join("n1.err")).unwrap();
    cluster.start(0);
    until("the member starts without DNS", || {
        cluster.log(0).contains("the data directory is initialized").then_some(())
    });
    let records = cluster.records();
    cluster.zone.write(&records);
    cluster.forms();
    assert_eq!(cluster.ask(&by_dns, &["get", "a"]).ok(), "a\n1\n");
}

#[test]
fn a_zone_that_is_written_while_nodes_wait_is_seen() {
    let Some(mut cluster) = Cluster::prepare() else { return };
    let all = cluster.records();
    let without_n1: Vec<String> =
        all.iter().filter(|record| !record.contains("n1.")).cloned().collect();
    cluster.zone.write(&without_n1);
    cluster.start(0);
    let waits = |cluster: &Cluster, text: &str| {
        until(text, || cluster.log(0).contains(text).then_some(()));
    };
    waits(&cluster, "initial-advertise-peer-urls has https://n1.");
    let not_its_own: Vec<String> = all
        .iter()
        .filter(|record| !record.starts_with("srv-host") || !record.contains("n1."))
        .cloned()
        .collect();
    cluster.zone.write(&not_its_own);
    waits(&cluster, "cannot find local etcd member \\\"n1\\\" in SRV records");
    cluster.zone.write(&all);
    cluster.start(1);
    cluster.start(2);
    cluster.forms();
    for at in 1..3 {
        assert!(!cluster.log(at).contains("waiting for DNS"), "{}", cluster.log(at));
    }
}
