//! `make-mirror` and `check`, as far as they end within a test.

use std::process::Stdio;

use quorate::client::{Client, Delete, Put};

use super::harness::{Cluster, eventually, run};
use crate::program::{Folder, finish};

async fn pairs(client: &Client, prefix: &str) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let found = client.get(prefix.to_owned()).prefix().await.unwrap();
    found.kvs.iter().map(|kv| (text(&kv.key)[prefix.len()..].to_owned(), text(&kv.value))).collect()
}

async fn mirrored(client: &Client, from: &str, to: &str, count: usize) {
    eventually(&format!("{count} keys of {from} as {to}"), || async {
        let (there, here) = (pairs(client, from).await, pairs(client, to).await);
        (there == here && here.len() == count).then_some(())
    })
    .await;
}

#[test]
fn a_mirror_copies_what_is_there_and_every_change() {
    let cluster = Cluster::start(1);
    let folder = Folder::new();
    let certs = cluster.dir().join("certs");
    let mut command = cluster.cli(&[0]);
    command
        .args(["make-mirror", "--prefix", "a/", "--dest-prefix", "b/", "--max-txn-ops", "2"])
        .arg("--dest-cacert")
        .arg(certs.join("ca.crt"))
        .arg("--dest-cert")
        .arg(certs.join("client-root.crt"))
        .arg("--dest-key")
        .arg(certs.join("client-root.key"))
        .arg(&cluster.members[0].url)
        .stdin(Stdio::null());
    run(async {
        let client = cluster.client();
        client.put("other", "stays").await.unwrap();
        for n in 0..1_005 {
            client.put(format!("a/{n:04}"), format!("value {n}")).await.unwrap();
        }
        let mirror = folder.spawn_command("mirror", command);
        mirrored(&client, "a/", "b/", 1_005).await;
        let txn = client.txn().then(Delete::new("a/0000").range("a/0005"));
        txn.then(Put::new("a/new", "1")).then(Put::new("a/newer", "2")).await.unwrap();
        client.put("a/new", "3").await.unwrap();
        mirrored(&client, "a/", "b/", 1_002).await;
        assert_eq!(pairs(&client, "b/new").await[0], (String::new(), "3".to_owned()));
        assert_eq!(mirror.stderr(), "");
    });
}

#[test]
fn mistaken_checks_and_mirrors_are_told_so() {
    let cluster = Cluster::start(1);
    let told = |words: &[&str]| {
        let output = finish(cluster.cli(&[0]).args(words).stdin(Stdio::null()));
        (output.code, output.stderr)
    };
    cluster.ask(&[0], &["put", "mine/a", "1"]);
    let (code, text) = told(&["check", "perf", "--prefix", "mine/"]);
    assert_eq!(code, 3);
    assert!(text.contains("prefix \"mine/\" has keys"), "{text}");
    assert_eq!(told(&["check", "datascale", "--prefix", "mine/"]).0, 3);
    assert_eq!(told(&["check", "perf", "--load", "huge"]).0, 4);
    let (code, text) = told(&["make-mirror", "--dest-cacert", "nothing.crt", "localhost:1"]);
    assert_eq!(code, 128);
    assert!(text.contains("cannot read nothing.crt"), "{text}");
    let nobody = ["make-mirror", "--dial-timeout", "200ms", "127.0.0.1:1"];
    let (code, text) = told(&nobody);
    assert_eq!(code, 2);
    assert!(text.contains("Is a server running there"), "{text}");
    let both = ["make-mirror", "--no-dest-prefix", "--dest-prefix", "x", "localhost:1"];
    let (code, text) = told(&both);
    assert_eq!(code, 128);
    assert!(text.contains("cannot be set at the same time"), "{text}");
}
