//! `etcd gateway` and `etcd grpc-proxy`: what etcd starts beside a server, and the clients that ask through them.

use std::os::unix::process::ExitStatusExt;

use rustix::process::Signal;

use super::Links;
use super::links::alone;
use super::tls::{Tls, client};
use crate::harness::Seat;
use crate::program::{Process, free_port, until};

/// A member alone, and where its clients find it.
fn member(links: &Links, scheme: &str, more: &[&str]) -> (Process, u16) {
    let port = free_port();
    let mut words = alone(scheme, port, free_port());
    words.extend(more.iter().map(|word| (*word).to_owned()));
    (started(links, "member", &words), port)
}

fn started(links: &Links, log: &str, words: &[String]) -> Process {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut member = links.etcd(log, &words);
    Links::ready(&mut member);
    member
}

#[track_caller]
fn says(process: &mut Process, text: &str) {
    until(text, || {
        let said = process.stderr();
        assert!(!process.has_ended(), "it ended: {said}");
        said.contains(text).then_some(())
    });
}

#[test]
fn a_gateway_leads_to_the_endpoint_that_answers() {
    let (_seat, links) = (Seat::take(), Links::new());
    let port = free_port();
    let words = alone("http", port, free_port());
    let mut member = started(&links, "member", &words);
    let (listen, nobody) = (format!("127.0.0.1:{}", free_port()), free_port());
    let endpoints = format!("--endpoints=127.0.0.1:{nobody},http://127.0.0.1:{port}");
    let listens = format!("--listen-addr={listen}");
    let start = ["gateway", "start", &listens, &endpoints, "--retry-delay=100ms"];
    let mut gateway = links.etcd("gateway", &start);
    says(&mut gateway, "ready to proxy client requests");
    let put = links.etcdctl(&listen, &["put", "k", "v"]).ok();
    assert_eq!(put, "OK\n");
    for _ in 0..2 {
        assert_eq!(links.etcdctl(&listen, &["get", "k", "--print-value-only"]).ok(), "v\n");
    }
    says(&mut gateway, "deactivated endpoint");
    // Who is away is left alone; who is back is found again.
    member.signal(Signal::TERM);
    member.wait();
    assert_ne!(links.etcdctl(&listen, &["get", "k"]).code, 0);
    let _member = started(&links, "again", &words);
    until("the gateway has found it", || {
        (links.etcdctl(&listen, &["get", "k", "--print-value-only"]).stdout == "v\n").then_some(())
    });
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait().signal(), Some(15));
}

#[test]
fn a_grpc_proxy_serves_what_the_members_serve() {
    let (_seat, links) = (Seat::take(), Links::new());
    links.folder.run(&["cert", "cluster", "n1"]).ok();
    let files = [
        "--cert-file=certs/server-n1.crt",
        "--key-file=certs/server-n1.key",
        "--trusted-ca-file=certs/ca.crt",
    ];
    let (_member, port) = member(&links, "https", &files);
    let (client_port, metrics) = (free_port(), free_port());
    let words = [
        "grpc-proxy".to_owned(),
        "start".to_owned(),
        format!("--endpoints=127.0.0.1:{port}"),
        format!("--listen-addr=127.0.0.1:{client_port}"),
        format!("--metrics-addr=http://127.0.0.1:{metrics}"),
        "--cacert=certs/ca.crt".to_owned(),
        "--cert=certs/client-root.crt".to_owned(),
        "--key=certs/client-root.key".to_owned(),
        files[0].to_owned(),
        files[1].to_owned(),
        "--advertise-client-url=127.0.0.1:23790".to_owned(),
        "--enable-pprof=true".to_owned(),
    ];
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut proxy = links.etcd("proxy", &words);
    Links::ready(&mut proxy);
    let said = proxy.stderr();
    for told in ["--advertise-client-url does nothing here", "--enable-pprof does nothing here"] {
        assert!(said.contains(told), "{told}: {said}");
    }
    let url = format!("https://127.0.0.1:{client_port}");
    for wire in ["grpc", "quic"] {
        let ask = |words: &[&str]| {
            let before = ["--wire", wire, "--cacert=certs/ca.crt"];
            links.etcdctl(&url, &[&before, words].concat()).ok()
        };
        assert_eq!(ask(&["put", "k", wire]), "OK\n");
        assert_eq!(ask(&["get", "k", "--print-value-only"]), format!("{wire}\n"));
    }
    let certs = links.folder.path().join("certs");
    let health = client::get(client_port, "/health", &Tls::without(&certs)).unwrap();
    assert!(health.contains("\"health\":\"true\""), "{health}");
    assert!(client::get_in_clear(metrics, "/metrics").unwrap().contains("# TYPE"));
    proxy.signal(Signal::INT);
    assert_eq!(proxy.wait().signal(), Some(2));
}

#[test]
fn what_a_proxy_cannot_do_is_refused_and_mistakes_end_it_with_1() {
    let links = Links::new();
    for (words, text) in [
        (&["grpc-proxy", "start", "--nope"][..], "unknown flag: --nope"),
        (&["gateway", "start", "--retry-delay"], "flag needs an argument: --retry-delay"),
        (&["grpc-proxy", "start", "--namespace=/a"], "--namespace cannot be had here"),
        (&["grpc-proxy", "start", "--tls-min-version=TLS1.1"], "unexpected TLS version"),
        (&["gateway", "start", "--endpoints="], "--endpoints is empty"),
    ] {
        let told = links.run("etcd", words);
        assert_eq!(told.code, 1, "{words:?}: {told:?}");
        assert!(told.stderr.contains(text), "{words:?}: {}", told.stderr);
    }
    for words in [&["gateway"][..], &["grpc-proxy", "nope"], &["grpc-proxy", "start", "--help"]] {
        let told = links.run("etcd", words).ok();
        assert!(told.contains("start"), "{words:?}: {told}");
    }
}

#[test]
fn downgrade_says_what_there_is_to_say() {
    let (_seat, links) = (Seat::take(), Links::new());
    let (_member, port) = member(&links, "http", &[]);
    let url = format!("http://127.0.0.1:{port}");
    let ask = |words: &[&str]| links.etcdctl(&url, &[&["downgrade"], words].concat());
    assert_eq!(ask(&["cancel"]).ok(), "Downgrade cancel success, cluster version 3.6\n");
    assert!(ask(&["cancel", "-w", "json"]).ok().ends_with(",\"version\":\"3.6\"}\n"));
    for (words, code, text) in [
        (&["validate"][..], 128, "TARGET_VERSION not provided"),
        (&["enable", "3.5", "3.4"], 128, "too many arguments"),
        (&["validate", "x"], 1, "etcdserver: wrong downgrade target version format"),
        (&["validate", "3.6"], 1, "etcdserver: invalid downgrade target version"),
        (&["cancel", "-w", "table"], 4, "table not supported as output format"),
    ] {
        let told = ask(words);
        assert_eq!(told.code, code, "{words:?}: {told:?}");
        assert!(told.stderr.contains(text), "{words:?}: {}", told.stderr);
    }
    assert_ne!(ask(&["enable", "3.5"]).code, 0);
}
