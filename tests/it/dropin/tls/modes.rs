//! The modes one by one: who comes in, who does not, and what is written to the disk.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rustix::process::Signal;
use rustls::CipherSuite;

use super::super::Links;
use super::client::{Tls, get};
use crate::harness::Seat;
use crate::program::{Process, free_port, until};

const HEALTHY: &str = "\"health\":\"true\"";
const GCM_128: CipherSuite = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
const GCM_256: CipherSuite = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384;

/// A member that serves its clients over TLS.
struct Member {
    links: Links,
    port: u16,
    words: Vec<String>,
    process: Process,
    _seat: Seat,
}

impl Member {
    fn start(words: &[&str]) -> Self {
        let (seat, links) = (Seat::take(), Links::new());
        links.folder.run(&["cert", "cluster", "n1"]).ok();
        links.folder.run(&["cert", "client", "mallory"]).ok();
        links.folder.run(&["cert", "revoke", "certs/client-mallory.crt"]).ok();
        let (port, peer) = (free_port(), free_port());
        let url = format!("https://127.0.0.1:{port}");
        let mut all = vec![
            "--name=n1".to_owned(),
            format!("--listen-client-urls={url}"),
            format!("--advertise-client-urls={url}"),
        ];
        if !words.iter().any(|word| word.starts_with("--listen-peer-urls")) {
            let peer = format!("http://127.0.0.1:{peer}");
            all.push(format!("--listen-peer-urls={peer}"));
            all.push(format!("--initial-advertise-peer-urls={peer}"));
            all.push(format!("--initial-cluster=n1={peer}"));
        }
        all.extend(words.iter().map(|word| (*word).to_owned()));
        let process = run(&links, "member", &all);
        Self { links, port, words: all, process, _seat: seat }
    }

    fn restart(&mut self) {
        self.process.signal(Signal::TERM);
        self.process.wait();
        self.process = run(&self.links, "again", &self.words);
    }

    fn certs(&self) -> PathBuf {
        self.links.folder.path().join("certs")
    }

    /// Whether a client with this certificate is served, over QUIC and over TCP, which are of one mind.
    #[track_caller]
    fn serves(&self, name: Option<&str>) -> bool {
        let certs = self.certs();
        let shown = name.map(|name| (format!("certs/{name}.crt"), format!("certs/{name}.key")));
        let mut words = vec!["--cacert=certs/ca.crt"];
        if let Some((cert, key)) = &shown {
            words.extend(["--cert", cert, "--key", key]);
        }
        words.extend(["put", "k", "v"]);
        let quic = self.links.etcdctl(&format!("https://127.0.0.1:{}", self.port), &words);
        let tls = name.map_or_else(|| Tls::without(&certs), |name| Tls::with(&certs, name));
        let tcp = get(self.port, "/health", &tls).is_ok_and(|answer| answer.contains(HEALTHY));
        assert_eq!(quic.code == 0, tcp, "{name:?}: over QUIC {quic:?}");
        tcp
    }
}

fn run(links: &Links, log: &str, words: &[String]) -> Process {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut process = links.etcd(log, &words);
    Links::ready(&mut process);
    process
}

const FILES: [&str; 2] = ["--cert-file=certs/server-n1.crt", "--key-file=certs/server-n1.key"];

#[test]
fn a_server_alone_shows_who_it_is_and_asks_nobody() {
    let member = Member::start(&FILES);
    assert!(member.serves(None));
    assert!(member.serves(Some("client-root")));
}

#[test]
fn an_authority_means_that_clients_need_its_certificate_with_and_without_the_switch() {
    for switch in ["--client-cert-auth=true", "--client-cert-auth=false"] {
        let words = [FILES[0], FILES[1], "--trusted-ca-file=certs/ca.crt", switch];
        let member = Member::start(&words);
        assert!(!member.serves(None), "{switch}");
        assert!(member.serves(Some("client-root")), "{switch}");
    }
}

#[test]
fn names_and_revocations_count_on_both_wires() {
    let words = [
        FILES[0],
        FILES[1],
        "--client-cert-auth",
        "--trusted-ca-file=certs/ca.crt",
        "--client-crl-file=certs/ca.crl",
    ];
    let member = Member::start(&words);
    assert!(member.serves(Some("client-root")));
    assert!(!member.serves(Some("client-mallory")), "revoked");
    drop(member);
    // The key of etcd's file, which has no flag there.
    let words = [words[0], words[1], words[3], "--client-cert-allowed-cn=root,admin"];
    let member = Member::start(&words);
    assert!(member.serves(Some("client-root")));
    assert!(!member.serves(Some("client-mallory")), "another common name");
    drop(member);
    let words = [words[0], words[1], words[2], "--client-cert-allowed-hostname=n9"];
    let member = Member::start(&words);
    assert!(!member.serves(Some("client-root")), "no such host name");
}

#[test]
fn auto_tls_makes_a_certificate_and_keeps_it() {
    let mut member =
        Member::start(&["--auto-tls", "--data-dir=n1", "--self-signed-cert-validity=2"]);
    let made = member.links.folder.path().join("n1/fixtures/client/cert.pem");
    let key = made.with_file_name("key.pem");
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let shown = member.links.folder.run(&["cert", "show", &made.display().to_string()]).ok();
    assert!(shown.contains("127.0.0.1"), "{shown}");
    let url = format!("https://127.0.0.1:{}", member.port);
    let ask = |member: &Member, words: &[&str]| member.links.etcdctl(&url, words);
    let trusting = ask(&member, &["--insecure-skip-tls-verify", "put", "k", "v"]);
    assert_eq!(trusting.ok(), "OK\n");
    assert_ne!(ask(&member, &["--cacert=certs/ca.crt", "get", "k"]).code, 0);
    let before = std::fs::read(&made).unwrap();
    member.restart();
    assert_eq!(std::fs::read(&made).unwrap(), before);
    // Whoever was given this very certificate knows it again.
    let answer = get(member.port, "/health", &Tls::believing(&made)).unwrap();
    assert!(answer.contains(HEALTHY), "{answer}");
}

#[test]
fn members_that_name_no_authority_encrypt_and_say_what_that_means() {
    let peer = format!("https://127.0.0.1:{}", free_port());
    let words = [
        FILES[0],
        FILES[1],
        "--peer-cert-file=certs/peer-n1.crt",
        "--peer-key-file=certs/peer-n1.key",
        &format!("--listen-peer-urls={peer}"),
        &format!("--initial-advertise-peer-urls={peer}"),
        &format!("--initial-cluster=n1={peer}"),
    ];
    let member = Member::start(&words);
    assert!(member.serves(None));
    let said = member.process.stderr();
    assert!(said.contains("whoever reaches the port may join the consensus"), "{said}");
}

#[test]
fn auto_tls_asks_clients_for_the_certificate_of_an_authority() {
    let words = ["--auto-tls", "--client-cert-auth", "--trusted-ca-file=certs/ca.crt"];
    let member = Member::start(&words);
    let url = format!("https://127.0.0.1:{}", member.port);
    let ask = |shown: &[&str]| {
        let before = [&["--insecure-skip-tls-verify"], shown, &["put", "k", "v"]].concat();
        member.links.etcdctl(&url, &before)
    };
    assert_eq!(ask(&["--cert=certs/client-root.crt", "--key=certs/client-root.key"]).ok(), "OK\n");
    assert_ne!(ask(&[]).code, 0);
}

#[test]
fn members_with_peer_auto_tls_encrypt_and_make_a_cluster() {
    let (_seat, links) = (Seat::take(), Links::new());
    let ports: Vec<(u16, u16)> = (0..3).map(|_| (free_port(), free_port())).collect();
    let peer = |n: usize| format!("https://127.0.0.1:{}", ports[n].1);
    let client = |n: usize| format!("http://127.0.0.1:{}", ports[n].0);
    let initial: Vec<String> = (0..3).map(|n| format!("n{n}={}", peer(n))).collect();
    let mut members: Vec<Process> = (0..3)
        .map(|n| {
            let words = [
                format!("--name=n{n}"),
                format!("--data-dir=n{n}"),
                "--peer-auto-tls".to_owned(),
                format!("--listen-peer-urls={}", peer(n)),
                format!("--initial-advertise-peer-urls={}", peer(n)),
                format!("--listen-client-urls={}", client(n)),
                format!("--advertise-client-urls={}", client(n)),
                format!("--initial-cluster={}", initial.join(",")),
            ];
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            links.etcd(&format!("n{n}"), &words)
        })
        .collect();
    for member in &mut members {
        Links::ready(member);
    }
    assert_eq!(links.etcdctl(&client(0), &["put", "k", "v"]).ok(), "OK\n");
    assert_eq!(links.etcdctl(&client(2), &["get", "k", "--print-value-only"]).ok(), "v\n");
    assert!(links.folder.path().join("n1/fixtures/peer/key.pem").exists());
    let said = members[0].stderr();
    assert!(said.contains("whoever reaches the port may join the consensus"), "{said}");
    // The same certificate after a restart.
    let made = || std::fs::read(links.folder.path().join("n1/fixtures/peer/cert.pem")).unwrap();
    let before = made();
    members[1].signal(Signal::TERM);
    members[1].wait();
    let words = ["--name=n1", "--data-dir=n1", "--peer-auto-tls"].map(str::to_owned);
    let urls = [
        format!("--listen-peer-urls={}", peer(1)),
        format!("--initial-advertise-peer-urls={}", peer(1)),
        format!("--listen-client-urls={}", client(1)),
        format!("--advertise-client-urls={}", client(1)),
    ];
    let words: Vec<&str> = words.iter().chain(&urls).map(String::as_str).collect();
    members[1] = links.etcd("n1-again", &words);
    until("it is back", || {
        (links.etcdctl(&client(1), &["get", "k", "--print-value-only"]).stdout == "v\n")
            .then_some(())
    });
    assert_eq!(made(), before);
}

#[test]
fn versions_and_suites_of_tls_over_tcp_are_what_somebody_wrote() {
    let health = |member: &Member, suite| {
        get(member.port, "/health", &Tls::old(&member.certs(), suite))
            .is_ok_and(|it| it.contains(HEALTHY))
    };
    let words = [FILES[0], FILES[1], "--cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"];
    let member = Member::start(&words);
    assert!(health(&member, GCM_128));
    assert!(!health(&member, GCM_256), "a suite that is not in the list");
    assert!(member.serves(None), "TLS 1.3 and QUIC have their own");
    drop(member);
    let member = Member::start(&[FILES[0], FILES[1], "--tls-min-version=TLS1.3"]);
    assert!(!health(&member, GCM_128), "TLS 1.2");
    assert!(member.serves(None));
    drop(member);
    let member = Member::start(&[FILES[0], FILES[1], "--tls-max-version=TLS1.2"]);
    assert!(health(&member, GCM_256));
    assert!(member.serves(None), "what is newest here is TLS 1.2");
}
