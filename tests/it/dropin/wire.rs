//! The command line over either wire: QUIC where it leads to the server, gRPC over TCP where nothing else does; and so to a
//! real etcd.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;

use super::Links;
use super::links::alone;
use crate::harness::Seat;
use crate::interop::made;
use crate::program::{Process, finish_with, free_port, until};

/// Leads every connection to its port to another one: TCP alone, as a published port of a container.
fn published(to: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let Ok(far) = TcpStream::connect(("127.0.0.1", to)) else { continue };
            for (mut from, mut to) in
                [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)]
            {
                thread::spawn(move || {
                    let _ = io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
    port
}

/// Everything that one member can be asked, by the words in front of each command.
fn everything(links: &Links, before: &[&str]) {
    let run = |words: &[&str]| {
        let all: Vec<&str> = before.iter().chain(words).copied().collect();
        links.run("etcdctl", &all)
    };
    assert_eq!(run(&["put", "a", "1"]).ok(), "OK\n");
    assert_eq!(run(&["put", "b", "2", "--prev-kv"]).ok(), "OK\n");
    assert_eq!(run(&["get", "a", "c"]).ok(), "a\n1\nb\n2\n");
    let large = "x".repeat(1 << 20);
    assert_eq!(
        finish_with(&mut links.command("etcdctl", &[before, &["put", "large"]].concat()), &large)
            .ok(),
        "OK\n"
    );
    assert_eq!(run(&["get", "large", "--print-value-only"]).ok(), format!("{large}\n"));
    let lines = "value(\"a\") = \"1\"\n\nput a 2\n\nget a\n\n";
    let mut txn = links.command("etcdctl", &[before, &["txn"]].concat());
    assert_eq!(finish_with(&mut txn, lines).ok(), "SUCCESS\n\nOK\n");
    assert_eq!(run(&["del", "b"]).ok(), "1\n");
    let refused = run(&["get", "a", "--rev", "1000000"]);
    assert_eq!(refused.code, 1);
    let text = "etcdserver: mvcc: required revision is a future revision";
    assert!(refused.stderr.contains(text), "{refused:?}");

    let granted = run(&["lease", "grant", "60"]).ok();
    let lease = granted.split(' ').nth(1).unwrap();
    assert!(
        run(&["lease", "keep-alive", "--once", lease]).ok().contains("keepalived with TTL(60)")
    );
    run(&["put", "leased", "x", "--lease", lease]).ok();
    assert!(
        run(&["lease", "timetolive", lease, "--keys"]).ok().contains("attached keys([leased])")
    );
    assert_eq!(run(&["lease", "revoke", lease]).ok(), format!("lease {lease} revoked\n"));
    assert_eq!(run(&["get", "leased"]).ok(), "");

    let watch = [before, &["watch", "a", "--rev", "1"]].concat();
    let watch = links.folder.spawn_command("watch", links.command("etcdctl", &watch));
    until("a watch tells what was and what comes", || {
        (watch.stdout() == "PUT\na\n1\nPUT\na\n2\n").then_some(())
    });
    drop(watch);
    std::fs::remove_file(links.folder.path().join("watch.out")).unwrap();
    assert!(run(&["member", "list"]).ok().contains(", started, "));
    assert!(run(&["endpoint", "health"]).ok().contains("is healthy"));
    assert!(run(&["endpoint", "status", "-w", "json"]).ok().contains("\"leader\""));
    assert!(run(&["endpoint", "hashkv"]).ok().contains(", "));
    assert_eq!(run(&["lock", "l", "echo", "held"]).ok(), "held\n");
    assert_eq!(run(&["compaction", "2"]).ok(), "compacted revision 2\n");
    let _ = std::fs::remove_file(links.folder.path().join("copy.db"));
    assert!(run(&["snapshot", "save", "copy.db"]).ok().contains("Snapshot saved at copy.db"));
}

fn member(links: &Links) -> (Process, u16) {
    let port = free_port();
    let words = alone("http", port, free_port());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut member = links.etcd("member", &words);
    Links::ready(&mut member);
    (member, port)
}

#[test]
fn a_member_is_asked_over_grpc_as_over_quic() {
    let (_seat, links) = (Seat::take(), Links::new());
    let (_member, port) = member(&links);
    let url = format!("http://127.0.0.1:{port}");
    everything(&links, &["--endpoints", &url, "--wire", "grpc"]);
    for wire in ["quic", "grpc"] {
        for format in ["simple", "json", "fields"] {
            let asked = ["--wire", wire, "-w", format, "get", "--prefix", ""];
            let whole = links.etcdctl(&url, &asked).ok();
            let pieces = links.etcdctl(&url, &[&asked[..], &["--stream"]].concat()).ok();
            assert!(whole.contains("large") || format != "simple", "{whole}");
            assert_eq!(pieces, whole, "{wire}, {format}");
        }
    }
    // Called etcdctl, it finds the wire that leads there.
    let tcp_alone = published(port);
    let endpoint = format!("127.0.0.1:{tcp_alone}");
    assert_eq!(links.etcdctl(&endpoint, &["get", "a"]).ok(), "a\n2\n");
    let quic = links.etcdctl(&endpoint, &["--wire", "quic", "get", "a"]);
    assert_eq!(quic.code, 2, "{quic:?}");
    let nobody = links.etcdctl(&format!("127.0.0.1:{}", free_port()), &["get", "a"]);
    assert_eq!(nobody.code, 2, "{nobody:?}");
}

#[test]
fn grpc_is_asked_over_tls_with_a_certificate() {
    let (_seat, links) = (Seat::take(), Links::new());
    links.folder.run(&["cert", "cluster", "n1"]).ok();
    let port = free_port();
    let mut words = alone("https", port, free_port());
    words.extend(
        [
            "--cert-file=certs/server-n1.crt",
            "--key-file=certs/server-n1.key",
            "--trusted-ca-file=certs/ca.crt",
        ]
        .map(str::to_owned),
    );
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut member = links.etcd("member", &words);
    Links::ready(&mut member);
    let url = format!("https://127.0.0.1:{port}");
    let asked = |more: &[&str]| {
        links.etcdctl(
            &url,
            &[&["--wire=grpc", "--cacert=certs/ca.crt"], more, &["put", "k", "v"]].concat(),
        )
    };
    let shown = ["--cert=certs/client-root.crt", "--key=certs/client-root.key"];
    assert_eq!(asked(&shown).ok(), "OK\n");
    assert_ne!(asked(&[]).code, 0);
}

#[test]
fn a_real_etcd_is_asked_by_our_command_line() {
    for (version, flags) in [("etcd-3.6", &[][..]), ("etcd-3.5", &["--enable-v2=true"])] {
        let Some(program) = made(version) else { continue };
        let (_seat, links) = (Seat::take(), Links::new());
        let port = free_port();
        let mut command = Command::new(program);
        command.current_dir(links.folder.path()).args(alone("http", port, free_port())).args(flags);
        let mut etcd = links.folder.spawn_command("etcd", command);
        Links::ready(&mut etcd);
        let url = format!("http://127.0.0.1:{port}");
        everything(&links, &["--endpoints", &url, "--wire", "grpc"]);
        assert_eq!(
            links.etcdctl(&url, &["get", "a"]).ok(),
            "a\n2\n",
            "without being told which wire"
        );
    }
}
