//! What DNS may answer, and what a person is told of it; and etcd's own client, which finds a cluster of ours by it.

use std::net::UdpSocket;
use std::process::Command;

use super::founders::{Cluster, with_certificate};
use super::zone::{Zone, host, srv, with_resolv_conf};
use crate::program::{Folder, Output, finish, free_port, until};

fn asked(folder: &Folder, server: &str, domain: &str) -> Output {
    let output = folder.run(&[
        "--discovery-srv",
        domain,
        "--dns-server",
        server,
        "--dial-timeout",
        "300ms",
        "get",
        "k",
    ]);
    assert_ne!(output.code, 0, "{output:?}");
    output
}

#[test]
fn a_client_is_told_what_dns_said() {
    let records = [
        host("q.test", "127.0.0.1"),
        host("n1.q.test", "127.0.0.1"),
        srv("_etcd-client._tcp.q.test", "n1.q.test", 1),
        srv("_etcd-client._tcp.lost.q.test", "nobody.q.test", 1),
    ];
    let Some(zone) = Zone::serve(&records) else { return };
    let folder = Folder::new();
    let server = zone.server.to_string();
    let told = |domain: &str| asked(&folder, &server, domain).stderr;
    let said = told("nothing.q.test");
    for name in ["_quorate-client._udp", "_etcd-client-ssl._tcp", "_etcd-client._tcp"] {
        let line = format!("{name}.nothing.q.test: there is no such name (NXDOMAIN)");
        assert!(said.contains(&line), "{said}");
    }
    assert!(told("elsewhere.example").contains("answered"), "{}", told("elsewhere.example"));
    let said = told("lost.q.test");
    assert!(said.contains("cannot find the address of nobody.q.test"), "{said}");
    assert!(said.contains("NXDOMAIN"), "{said}");
    assert!(told("q.test").contains("http://n1.q.test:1"), "{}", told("q.test"));
    assert!(told("q/test").contains("is no domain"), "{}", told("q/test"));

    let strict =
        ["--discovery-srv", "q.test", "--dns-server", &server, "--insecure-discovery=false"];
    let said = folder.run(&[&strict[..], &["get", "k"]].concat()).stderr;
    assert!(said.contains("no secure SRV records of q.test"), "{said}");
    let said = folder.run(&["--dns-server", "dns", "get", "k"]).stderr;
    assert!(said.contains("is no address such as 10.0.0.2"), "{said}");
}

#[test]
fn a_server_says_why_it_does_not_find_its_cluster() {
    let Some(zone) = Zone::serve(&[]) else { return };
    let folder = Folder::new();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent_server = silent.local_addr().unwrap().to_string();
    let answering = zone.server.to_string();
    let start = |name: &str, server: &str| {
        let url = format!("http://127.0.0.1:{}", free_port());
        let urls =
            ["listen-peer-urls", "initial-advertise-peer-urls"].map(|key| format!("--{key}={url}"));
        let clients = format!("http://127.0.0.1:{}", free_port());
        let clients =
            ["listen-client-urls", "advertise-client-urls"].map(|key| format!("--{key}={clients}"));
        let server = format!("--dns-server={server}");
        let words = ["serve", "--name", name, "--discovery-srv", "q.test", &server];
        let urls: Vec<&str> = urls.iter().chain(&clients).map(String::as_str).collect();
        folder.spawn(name, &[&words[..], &urls].concat())
    };
    // Both are patient: a zone may be on its way.
    let (mut nothing, mut deaf) = (start("nothing", &answering), start("deaf", &silent_server));
    for process in [&mut nothing, &mut deaf] {
        assert!(!process.wait().success(), "{}", process.stderr());
    }
    let said = nothing.stderr();
    assert!(said.contains("waiting for DNS: no SRV records of q.test"), "{said}");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.starts_with("Error: no SRV records of q.test: "), "{last}");
    assert!(last.contains("_quorate._udp.q.test: there is no such name (NXDOMAIN)"), "{last}");
    assert!(last.ends_with("add one record for each member"), "{last}");
    let said = deaf.stderr();
    let silence = format!("no answer from DNS server {silent_server} within 5 s");
    assert!(said.lines().last().unwrap_or_default().contains(&silence), "{said}");
}

#[test]
fn etcds_client_finds_the_cluster_as_its_system_asks() {
    let Some(mut cluster) = Cluster::prepare() else { return };
    for at in 0..3 {
        cluster.start(at);
    }
    cluster.forms();
    let resolv_conf = cluster.zone.resolv_conf();
    let ask = |words: &[&str]| {
        let command = with_resolv_conf(&resolv_conf, words)?;
        let mut command = with_certificate(command);
        command.current_dir(cluster.folder.path()).env("ETCDCTL_API", "3");
        Some(finish(&mut command))
    };
    // Ours, with the search domain of resolv.conf: cluster is cluster.q.test there.
    let ours = env!("CARGO_BIN_EXE_quorate");
    let words = [ours, "--discovery-srv", "cluster", "--discovery-srv-name", "x"];
    let Some(found) = ask(&[&words[..], &["endpoint", "status"]].concat()) else { return };
    // Those records say http, and the nodes ask for TLS: what counts is that they were found.
    assert!(found.stderr.contains(&cluster.nodes[0].host), "{found:?}");
    let Some(etcdctl) = etcdctl() else { return };
    let theirs = |words: &[&str]| {
        ask(&[&[etcdctl.as_str(), "--discovery-srv", "q.test"][..], words].concat()).unwrap()
    };
    assert_eq!(theirs(&["put", "b", "2"]).ok(), "OK\n");
    assert_eq!(theirs(&["get", "b"]).ok(), "b\n2\n");
    assert_eq!(theirs(&["member", "list"]).ok().lines().count(), 3);
    assert_eq!(theirs(&["--insecure-discovery=false", "get", "b"]).ok(), "b\n2\n");
}

fn etcdctl() -> Option<String> {
    let tool = std::env::var("QUORATE_ETCDCTL").unwrap_or_else(|_| "etcdctl".to_owned());
    let found = Command::new(&tool).arg("version").env("ETCDCTL_API", "3").output();
    found.is_ok_and(|output| output.status.success()).then_some(tool)
}

/// `etcdctl -D` of the v2 API, ours and etcd's, at a member in clear.
#[test]
fn the_commands_of_v2_find_a_member_by_dns() {
    let [peer, client] = [free_port(), free_port()];
    let records = [
        host("q.test", "127.0.0.1"),
        host("n1.q.test", "127.0.0.1"),
        srv("_etcd-client._tcp.q.test", "n1.q.test", client),
    ];
    let Some(zone) = Zone::serve(&records) else { return };
    let folder = Folder::new();
    let [peer, client_url] = [peer, client].map(|port| format!("http://127.0.0.1:{port}"));
    let urls = [
        ["--listen-peer-urls", &peer],
        ["--initial-advertise-peer-urls", &peer],
        ["--listen-client-urls", &client_url],
        ["--advertise-client-urls", &client_url],
    ];
    let initial = format!("n1={peer}");
    let words = ["serve", "--name", "n1", "--initial-cluster", &initial];
    let _member = folder.spawn("n1", &[&words[..], &urls.concat()].concat());

    let server = zone.server.to_string();
    let ask = |flags: &[&str], words: &[&str]| {
        let ours = [&["etcdctl", "--total-timeout", "30s"], flags, words].concat();
        let mut command = folder.command(&ours);
        command.env("ETCDCTL_API", "2").env("ETCDCTL_DNS_SERVER", &server);
        finish(&mut command)
    };
    let insecure = ["--insecure-discovery", "--discovery-srv", "q.test"];
    until("it serves", || (ask(&insecure, &["set", "/k", "v"]).code == 0).then_some(()));
    assert_eq!(ask(&["--insecure-discovery", "-D", "q.test"], &["get", "/k"]).ok(), "v\n");
    // What the records say is asked, and then what the members publish.
    let debugged = ask(&[&insecure[..], &["--debug"]].concat(), &["get", "/k"]);
    let begun = format!("start to sync cluster using endpoints(http://n1.q.test:{client})");
    assert!(debugged.stderr.contains(&begun), "{debugged:?}");
    assert!(debugged.stderr.contains(&format!("got endpoints({client_url})")), "{debugged:?}");
    // Without leave nobody is asked in clear who was found by DNS.
    let refused = ask(&["--no-sync", "-D", "q.test"], &["get", "/k"]);
    let ignored = format!("ignoring discovered insecure endpoint \"http://n1.q.test:{client}\"");
    assert!(refused.stderr.contains(&ignored), "{refused:?}");
    let unknown = ask(&["--insecure-discovery", "-D", "other.test"], &["get", "/k"]);
    assert!(unknown.code != 0 && unknown.stderr.contains("other.test"), "{unknown:?}");

    let Some(etcdctl) = etcdctl() else { return };
    let words = [&[etcdctl.as_str(), "--total-timeout", "30s"], &insecure[..], &["get", "/k"]];
    let Some(mut theirs) = with_resolv_conf(&zone.resolv_conf(), &words.concat()) else { return };
    assert_eq!(finish(theirs.env("ETCDCTL_API", "2")).ok(), "v\n");
}
