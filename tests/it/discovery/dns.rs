//! What DNS may answer, and what a person is told of it: each failure by its name, and a zone that changes while somebody
//! waits. And etcd's own client, which finds a cluster of ours by it.

use std::net::UdpSocket;
use std::process::Command;
use std::thread;

use quorate::client::Config;

use super::founders::{Cluster, with_certificate};
use super::zone::{Zone, host, srv, with_resolv_conf};
use crate::harness::{Seat, run};
use crate::program::{Folder, Process, finish, free_port, until};

/// What a client says that finds nobody.
#[track_caller]
fn asked(folder: &Folder, server: &str, domain: &str) -> String {
    let by_dns = ["--discovery-srv", domain, "--dns-server", server];
    let output = folder.run(&[&by_dns[..], &["--dial-timeout", "300ms", "get", "k"]].concat());
    assert_ne!(output.code, 0, "{output:?}");
    output.stderr
}

/// A cluster of one to be, in clear.
struct Alone {
    /// Where it listens, as URLs write it.
    ip: &'static str,
    /// Where it says that it is.
    host: &'static str,
    client: u16,
    peer: u16,
}

impl Alone {
    fn new(ip: &'static str, host: &'static str) -> Self {
        Self { ip, host, client: free_port(), peer: free_port() }
    }

    /// The domain's records, which name it by `target`.
    fn records(&self, domain: &str, target: &str) -> [String; 2] {
        [
            srv(&format!("_etcd-server._tcp.{domain}"), target, self.peer),
            srv(&format!("_etcd-client._tcp.{domain}"), target, self.client),
        ]
    }

    fn words(&self, name: &str, how: &[&str]) -> Vec<String> {
        let Self { ip, host, client, peer } = self;
        let mut words = vec!["serve".to_owned(), format!("--name={name}")];
        for (key, host, port) in [
            ("listen-peer-urls", ip, peer),
            ("initial-advertise-peer-urls", host, peer),
            ("listen-client-urls", ip, client),
            ("advertise-client-urls", host, client),
        ] {
            words.push(format!("--{key}=http://{host}:{port}"));
        }
        words.extend(how.iter().map(|word| (*word).to_owned()));
        words
    }

    fn start(&self, folder: &Folder, name: &str, how: &[&str]) -> Process {
        let words = self.words(name, how);
        folder.spawn(name, &words.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

#[track_caller]
fn says(process: &Process, text: &str) {
    until(text, || process.stderr().contains(text).then_some(()));
}

#[test]
fn a_client_is_told_what_dns_said() {
    let records = [
        host("q.test", "127.0.0.1"),
        host("n1.q.test", "127.0.0.1"),
        srv("_etcd-client._tcp.q.test", "n1.q.test", 1),
        srv("_etcd-client._tcp.lost.q.test", "nobody.q.test", 1),
        srv("_etcd-client._tcp.wrong.q.test", "n1.q.test", 0),
        // RFC 2782: there is decidedly no such service.
        "srv-host=_etcd-client._tcp.none.q.test".to_owned(),
        "txt-record=_etcd-client._tcp.other.q.test,text".to_owned(),
    ];
    let Some(zone) = Zone::serve(&records) else { return };
    let folder = Folder::new();
    let server = zone.server.to_string();
    let told = |domain: &str| asked(&folder, &server, domain);
    let said = told("nothing.q.test");
    for name in ["_quorate-client._udp", "_etcd-client-ssl._tcp", "_etcd-client._tcp"] {
        let line = format!("{name}.nothing.q.test: there is no such name (NXDOMAIN)");
        assert!(said.contains(&line), "{said}");
    }
    for domain in ["none.q.test", "other.q.test"] {
        let said = told(domain);
        let line = format!("_etcd-client._tcp.{domain}: the name has no such records");
        assert!(said.contains(&line), "{said}");
    }
    let said = told("elsewhere.example");
    let refused = format!("DNS server {server} answered Query Refused");
    assert!(said.contains(&refused), "{said}");
    let said = told("lost.q.test");
    assert!(said.contains("cannot find the address of nobody.q.test"), "{said}");
    assert!(said.contains("NXDOMAIN"), "{said}");
    let said = told("wrong.q.test");
    assert!(said.contains("its target \"n1.q.test\":0 is none"), "{said}");
    assert!(told("q.test").contains("http://n1.q.test:1"), "{}", told("q.test"));
    assert!(told("q/test").contains("is no domain"), "{}", told("q/test"));

    let strict =
        ["--discovery-srv", "q.test", "--dns-server", &server, "--insecure-discovery=false"];
    let said = folder.run(&[&strict[..], &["get", "k"]].concat()).stderr;
    assert!(said.contains("no secure SRV records of q.test"), "{said}");
    let said = folder.run(&["--dns-server", "dns", "get", "k"]).stderr;
    assert!(said.contains("is no address such as 10.0.0.2"), "{said}");
}

/// Answers every question over UDP, and nothing over TCP: with no records, this code, and cut off if so said. It ends with
/// the test's process.
fn broken(code: u8, is_truncated: bool) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = socket.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut bytes) {
            let question = &bytes[12..length];
            let name = question.iter().position(|byte| *byte == 0).unwrap_or_default();
            let mut answer = bytes[..12 + name + 5].to_vec();
            answer[2] = 0x80 | (bytes[2] & 1) | if is_truncated { 2 } else { 0 };
            answer[3] = 0x80 | code;
            // One question, and nothing else.
            answer[4..12].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
            let _ = socket.send_to(&answer, from);
        }
    });
    server
}

#[test]
fn a_client_is_told_of_a_server_that_is_of_no_use() {
    // Nobody answers the server that this one asks: so it answers nobody.
    let Some(zone) = Zone::serve(&["server=/deaf.q.test/127.0.0.1#1".to_owned()]) else { return };
    let folder = Folder::new();
    let server = zone.server.to_string();
    let said = asked(&folder, &server, "deaf.q.test");
    let silence = format!("no answer from DNS server {server} within 5 s");
    assert!(said.contains(&silence), "{said}");

    let nobody = format!("127.0.0.1:{}", free_port());
    let said = asked(&folder, &nobody, "q.test");
    assert!(said.contains(&format!("DNS server {nobody}")), "{said}");

    let failing = broken(2, false);
    let said = asked(&folder, &failing, "q.test");
    assert!(said.contains(&format!("DNS server {failing} answered Server Failure")), "{said}");

    // What is cut off is not taken for all that there is.
    let short = broken(0, true);
    let said = asked(&folder, &short, "q.test");
    let cut = format!("DNS server {short} cut its answer over UDP short, and gave none over TCP");
    assert!(said.contains(&cut), "{said}");
}

#[test]
fn what_does_not_fit_into_a_datagram_is_asked_for_over_tcp() {
    let name = "_etcd-client._tcp.q.test";
    let mut records = vec![host("n1.q.test", "127.0.0.1")];
    records.extend((1..=31).map(|port| srv(name, "n1.q.test", port)));
    let Some(mut zone) = Zone::serve(&records) else { return };
    assert!(zone.truncates(name));
    let (folder, server) = (Folder::new(), zone.server.to_string());
    run(async {
        let found = Config::discover("q.test", Some(zone.server)).await.unwrap();
        assert_eq!(found.endpoints.len(), 31, "{:?}", found.endpoints);
    });
    // And what is too much for a cluster is told.
    records.push(srv(name, "n1.q.test", 32));
    zone.write(&records);
    let said = asked(&folder, &server, "q.test");
    assert!(said.contains("q.test has more than 31 SRV records"), "{said}");
}

#[test]
fn a_cluster_is_found_over_ipv6() {
    let node = Alone::new("[::1]", "n1.q.test");
    let mut records = vec![host("n1.q.test", "::1")];
    records.extend(node.records("q.test", "n1.q.test"));
    let Some(zone) = Zone::serve_over_ipv6(&records) else { return };
    let (_seat, folder) = (Seat::take(), Folder::new());
    let server = zone.server.to_string();
    let by_dns = ["--discovery-srv", "q.test", "--dns-server", &server];
    let process = node.start(&folder, "n1", &by_dns);
    says(&process, "ready to serve client requests");
    assert_eq!(folder.run(&[&by_dns[..], &["put", "a", "1"]].concat()).ok(), "OK\n");
}

#[test]
fn short_names_are_found_in_search_domains() {
    let node = Alone::new("127.0.0.1", "n1");
    let mut records = vec![host("n1.q.test", "127.0.0.1")];
    records.extend(node.records("cluster.q.test", "n1.q.test"));
    let Some(zone) = Zone::serve(&records) else { return };
    let (_seat, folder) = (Seat::take(), Folder::new());
    let resolv_conf = zone.resolv_conf();
    let program = |words: &[&str]| {
        let words = [&[env!("CARGO_BIN_EXE_quorate")], words].concat();
        let mut command = with_resolv_conf(&resolv_conf, &words)?;
        command.current_dir(folder.path());
        Some(command)
    };
    // The system's settings, and nobody who names a server.
    let words = node.words("n1", &["--discovery-srv=cluster"]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let Some(command) = program(&words) else { return };
    let process = folder.spawn_command("n1", command);
    says(&process, "ready to serve client requests");
    let put = ["--discovery-srv", "cluster", "put", "a", "1"];
    assert_eq!(finish(&mut program(&put).unwrap()).ok(), "OK\n");
}

#[test]
fn a_node_waits_for_its_zone() {
    let Some(mut zone) = Zone::serve(&[]) else { return };
    let (_seat, folder) = (Seat::take(), Folder::new());
    let server = zone.server.to_string();
    let by_dns = ["--discovery-srv=q.test", "--dns-server", &server];
    let whole = |node: &Alone| {
        [&[host("n1.q.test", "127.0.0.1")], &node.records("q.test", "n1.q.test")[..]].concat()
    };
    // The server comes later.
    zone.stop();
    let node = Alone::new("127.0.0.1", "127.0.0.1");
    let process = node.start(&folder, "early", &by_dns);
    says(&process, "waiting for DNS: no SRV records of q.test");
    assert!(process.stderr().contains(&server), "{}", process.stderr());
    zone.write(&whole(&node));
    says(&process, "ready to serve client requests");

    // The records come later, one after the other.
    let node = Alone::new("127.0.0.1", "127.0.0.1");
    zone.write(&[]);
    let process = node.start(&folder, "later", &by_dns);
    says(&process, "_etcd-server._tcp.q.test: there is no such name (NXDOMAIN)");
    zone.write(&whole(&node)[1..]);
    says(&process, "whose address cannot be found: n1.q.test: there is no such name");
    zone.write(&whole(&node));
    says(&process, "ready to serve client requests");
}

#[test]
fn a_host_of_a_list_may_resolve_late() {
    let Some(mut zone) = Zone::serve(&[]) else { return };
    let (_seat, folder) = (Seat::take(), Folder::new());
    let node = Alone::new("127.0.0.1", "127.0.0.1");
    let list = format!("--initial-cluster=n1=http://n1.q.test:{}", node.peer);
    let server = zone.server.to_string();
    let process = node.start(&folder, "n1", &[&list, "--dns-server", &server]);
    says(&process, "waiting for DNS: ");
    says(&process, "n1.q.test has no address");
    zone.write(&[host("n1.q.test", "127.0.0.1")]);
    says(&process, "ready to serve client requests");
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
