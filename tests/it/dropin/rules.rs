//! Words, variables and files by etcd's rules: its exit codes, and its texts where scripts may look for them. Where a real
//! etcd 3.6 is prepared, it is asked the same.

use std::process::Command;

use super::Links;
use super::links::alone;
use crate::harness::Seat;
use crate::interop::made;
use crate::program::{finish, finish_with, free_port};
use rustix::process::Signal;

/// Words, the exit code, and what stderr says.
const MISTAKES: &[(&[&str], i32, &str)] = &[
    (&["foo"], 1, r#"\"foo\" is not a valid flag"#),
    (&["--name", "a", "foo"], 1, r#"\"foo\" is not a valid flag"#),
    (&["--nope"], 2, "flag provided but not defined: -nope"),
    (&["---x"], 2, "bad flag syntax: ---x"),
    (&["--name"], 2, "flag needs an argument: -name"),
    (
        &["--client-cert-auth=maybe"],
        2,
        r#"invalid boolean value "maybe" for -client-cert-auth: parse error"#,
    ),
    (
        &["--election-timeout", "1s"],
        2,
        r#"invalid value "1s" for flag -election-timeout: parse error"#,
    ),
    (&["--snapshot-count=x"], 2, r#"invalid value "x" for flag -snapshot-count: parse error"#),
    (&["--heartbeat-interval=-1"], 2, "parse error"),
    (
        &["--experimental-corrupt-check-time=5"],
        2,
        r#"invalid value "5" for flag -experimental-corrupt-check-time: parse error"#,
    ),
    (&["--grpc-keepalive-interval", "soon"], 2, "parse error"),
    (&["--max-concurrent-streams=x"], 2, r#"strconv.ParseUint: parsing "x": invalid syntax"#),
    (
        &["--listen-client-urls", "http://127.0.0.1:1,localhost:2"],
        2,
        "URL scheme must be http, https, unix, or unixs: localhost:2",
    ),
    (
        &["--initial-cluster-state", "old"],
        2,
        r#"invalid value "old" for flag -initial-cluster-state"#,
    ),
    (&["--config-file", "/nowhere.yml"], 1, "/nowhere.yml"),
    (&["--config-file", "bad.yml"], 1, "failed to verify flags"),
    (&["--listen-client-urls", "http://127.0.0.1:1"], 1, "advertise-client-urls is required when"),
    (&["--election-timeout", "200"], 1, "heartbeat"),
    (&["--auto-compaction-mode", "weekly"], 1, "auto-compaction-mode"),
    (&["--tls-min-version", "TLS1.1"], 1, "unexpected TLS version"),
    (
        &["--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"],
        1,
        "min version (TLS1.3) is greater than max version (TLS1.2)",
    ),
    (&["--cipher-suites", "NOPE"], 1, "unexpected TLS cipher suite"),
    (
        &["--tls-min-version=TLS1.3", "--cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"],
        1,
        "cannot be configured when only TLS1.3 is enabled",
    ),
    (&["--log-outputs", "/nowhere/at/all.log"], 1, "/nowhere/at/all.log"),
    (&["--enable-log-rotation"], 1, "log-outputs"),
    (&["--log-format", "x"], 1, "log"),
];

#[test]
fn mistakes_end_it_as_they_end_an_etcd() {
    let links = Links::new();
    std::fs::write(links.folder.path().join("bad.yml"), "name: [a\n").unwrap();
    let real = made("etcd-3.6");
    for (words, code, text) in MISTAKES {
        let told = links.run("etcd", words);
        assert_eq!(told.code, *code, "{words:?}: {told:?}");
        assert!(told.stderr.contains(text), "{words:?}: {}", told.stderr);
        assert!(!told.stderr.contains("panicked"), "{}", told.stderr);
        if let Some(real) = &real {
            let mut command = Command::new(real);
            command.args(*words).current_dir(links.folder.path());
            let theirs = finish(&mut command);
            assert_eq!(theirs.code, *code, "etcd, {words:?}: {theirs:?}");
            assert!(theirs.stderr.contains(text), "etcd, {words:?}: {}", theirs.stderr);
        }
    }
}

#[test]
fn a_variable_that_a_flag_shadows_is_fatal_and_a_file_counts_alone() {
    let (_seat, links) = (Seat::take(), Links::new());
    let mut command = links.command("etcd", &["--name", "b"]);
    command.env("ETCD_NAME", "a");
    let told = finish(&mut command);
    assert_eq!(told.code, 1);
    assert!(
        told.stderr.contains("is shadowed by corresponding command-line flag"),
        "{}",
        told.stderr
    );

    let (client, peer) = (free_port(), free_port());
    let file = format!(
        "# This is the configuration file for the etcd server.\nname: 'from-file'\ndata-dir: file.etcd\n\
         heartbeat-interval: 100\nelection-timeout: 1000\nquota-backend-bytes: 0\n\
         listen-peer-urls: http://127.0.0.1:{peer}\nlisten-client-urls: http://127.0.0.1:{client}\n\
         initial-advertise-peer-urls: http://127.0.0.1:{peer}\nadvertise-client-urls: http://127.0.0.1:{client}\n\
         initial-cluster: from-file=http://127.0.0.1:{peer}\ninitial-cluster-state: 'new'\nstrict-reconfig-check: false\n\
         enable-pprof: true\nproxy: 'off'\nclient-transport-security:\n  cert-file:\n  client-cert-auth: false\n\
         peer-transport-security:\n  auto-tls: false\nlog-level: debug\nlogger: zap\nlog-outputs: [stderr]\n\
         force-new-cluster: false\nauto-compaction-mode: periodic\nauto-compaction-retention: \"1\"\n\
         cipher-suites: [\n  TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\n]\ntls-min-version: 'TLS1.2'\n"
    );
    std::fs::write(links.folder.path().join("etcd.conf.yml"), file).unwrap();
    let mut command = links.command("etcd", &["--config-file", "etcd.conf.yml", "--name", "flag"]);
    command.env("ETCD_NAME", "variable");
    let mut member = links.folder.spawn_command("member", command);
    Links::ready(&mut member);
    let listed = links.etcdctl(&format!("http://127.0.0.1:{client}"), &["member", "list"]).ok();
    assert!(listed.contains(", started, from-file, "), "{listed}");
    let said = member.stderr();
    assert!(said.contains("counts alone, as in etcd: --name, ETCD_NAME ignored"), "{said}");
}

#[test]
fn each_program_tells_its_version_as_the_other_does() {
    let links = Links::new();
    let first = |name: &str, words: &[&str]| {
        links.run(name, words).ok().lines().next().unwrap_or_default().to_owned()
    };
    assert_eq!(first("etcd", &["--version"]), "etcd Version: 3.6.0");
    assert_eq!(first("etcd", &["--name", "a", "-version"]), "etcd Version: 3.6.0");
    assert_eq!(first("etcdctl", &["version"]), "etcdctl version: 3.6.0");
    assert_eq!(first("etcdutl", &["version"]), "etcdutl version: 3.6.0");
    let help = links.run("etcd", &["--help"]).ok();
    assert!(help.starts_with("Usage:\n\n  etcd [flags]\n    Start an etcd server."), "{help}");
    assert!(help.contains("\n  --listen-client-urls 'http://localhost:2379'\n"), "{help}");
}

#[test]
fn a_log_can_be_on_stdout_and_begin_anew() {
    let (_seat, links) = (Seat::take(), Links::new());
    let mut words = alone("http", free_port(), free_port());
    words.extend(["--log-outputs=stdout,n1.log".to_owned(), "--enable-log-rotation".to_owned()]);
    words.push("--log-rotation-config-json={\"maxsize\": 1}".to_owned());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut member = links.etcd("member", &words);
    crate::program::until("it says so on stdout", || {
        member.stdout().contains("ready to serve client requests").then_some(())
    });
    assert_eq!(member.stderr(), "");
    let log = std::fs::read_to_string(links.folder.path().join("n1.log")).unwrap();
    assert!(log.contains("ready to serve client requests"), "{log}");
    member.signal(Signal::TERM);
    member.wait();
}

#[test]
fn a_start_gives_free_pages_back_from_a_threshold_on() {
    let (_seat, links) = (Seat::take(), Links::new());
    let client = free_port();
    let mut words = alone("http", client, free_port());
    let url = format!("http://127.0.0.1:{client}");
    let start = |log: &str, words: &[String]| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut member = links.etcd(log, &words);
        Links::ready(&mut member);
        member
    };
    let mut member = start("member", &words);
    let large = "x".repeat(1 << 20);
    for _ in 0..4 {
        let mut put = links.command("etcdctl", &["--endpoints", &url, "put", "k"]);
        assert_eq!(finish_with(&mut put, &large).ok(), "OK\n");
    }
    assert_eq!(links.etcdctl(&url, &["put", "k", "small"]).ok(), "OK\n");
    links.etcdctl(&url, &["compaction", "6", "--physical"]).ok();
    for (threshold, told) in
        [("1000", "the database is not defragmented"), ("1", "defragmented the database")]
    {
        member.signal(Signal::TERM);
        member.wait();
        words.push(format!("--experimental-bootstrap-defrag-threshold-megabytes={threshold}"));
        member = start(threshold, &words);
        assert!(member.stderr().contains(told), "{threshold}: {}", member.stderr());
    }
    assert_eq!(links.etcdctl(&url, &["get", "k"]).ok(), "k\nsmall\n");
}
