//! What a proxy serves: the same as a member, on every wire.

use std::process::Command;
use std::time::Duration;

use quorate::client::{Election, Session};

use super::super::harness::{Cluster, eventually, failure, quorate, run, stdout};
use super::{Sidecar, asked, is_there, urls};

#[test]
fn every_wire_goes_through_a_proxy() {
    let cluster = Cluster::start(3);
    let proxy = Sidecar::start(&cluster, &urls(&cluster)[..1], &[]);
    run(async {
        proxy.ready().await;
        // Of one endpoint it learns all.
        eventually("three members", || async { (asked(&proxy).await.len() == 3).then_some(()) })
            .await;
        native(&proxy).await;
        json(&proxy).await;
        v2(&proxy).await;
    });
    command_line(&cluster, &proxy);
    etcdctl(&proxy);
}

async fn native(proxy: &Sidecar) {
    let client = proxy.client();
    for number in 0..30 {
        client.put(format!("k{number:02}"), "v").await.unwrap();
        let read = client.get(format!("k{number:02}")).await.unwrap();
        assert_eq!(read.kvs[0].value, "v");
    }
    // Longer than what stays on a unary stream.
    let long = "x".repeat(300_000);
    client.put("long", long.clone()).await.unwrap();
    assert_eq!(client.get("long").await.unwrap().kvs[0].value, long);
    let session = Session::start(&client, 60).await.unwrap();
    let leading = Election::new(&client, "chair").campaign(&session, "me").await.unwrap();
    leading.resign().await.unwrap();
    session.close().await.unwrap();
}

async fn json(proxy: &Sidecar) {
    let (status, body) = proxy.http("POST", "/v3/kv/range", r#"{"key":"azAx"}"#).await;
    assert_eq!(status, 200);
    assert!(body.contains(r#""value":"dg==""#), "{body}");
    for page in ["/version", "/readyz", "/metrics"] {
        assert_eq!(proxy.http("GET", page, "").await.0, 200, "{page}");
    }
}

async fn v2(proxy: &Sidecar) {
    let (status, body) = proxy.http("PUT", "/v2/keys/message", "value=hello").await;
    assert_eq!(status, 201, "{body}");
    let waiting = proxy.http("GET", "/v2/keys/later?wait=true", "");
    let putting = async {
        // The wait begins some time; whoever came too late is told of the next one.
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            proxy.http("PUT", "/v2/keys/later", "value=now").await;
        }
    };
    let (status, body) = tokio::select! { told = waiting => told, () = putting => unreachable!() };
    assert_eq!(status, 200);
    assert!(body.contains(r#""value":"now""#), "{body}");
    let (status, body) = proxy.http("GET", "/v2/keys/message?quorum=true", "").await;
    assert_eq!(status, 200);
    assert!(body.contains(r#""value":"hello""#), "{body}");
    let (status, body) = proxy.http("GET", "/v2/members", "").await;
    assert_eq!((status, body.matches("clientURLs").count()), (200, 3), "{body}");
}

fn command_line(cluster: &Cluster, proxy: &Sidecar) {
    let ask = |words: &[&str]| {
        let mut command = quorate();
        command.current_dir(cluster.dir()).args(["--endpoints", &proxy.url]).args(words);
        command.output().unwrap()
    };
    assert_eq!(stdout(ask(&["member", "list"])).lines().count(), 3);
    stdout(ask(&["snapshot", "save", "through.snap"]));
    let shown = stdout(ask(&["snapshot", "status", "through.snap", "-w", "json"]));
    assert!(shown.contains("revision"), "{shown}");
    stdout(ask(&["lock", "door", "true"]));
    let said = failure(ask(&["get", "k", "--rev", "999999"]));
    assert!(said.contains("required revision is a future revision"), "{said}");
}

/// etcd's own, over gRPC.
fn etcdctl(proxy: &Sidecar) {
    if !is_there("etcdctl") {
        return;
    }
    let ask = |words: &[&str]| {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").args(["--endpoints", proxy.address()]).args(words);
        stdout(command.output().unwrap())
    };
    assert_eq!(ask(&["put", "from", "etcdctl"]), "OK\n");
    assert_eq!(ask(&["get", "from"]), "from\netcdctl\n");
    assert_eq!(ask(&["member", "list"]).lines().count(), 3);
    assert!(ask(&["lease", "grant", "60"]).contains("granted with TTL(60s)"));
}

#[test]
fn a_readonly_proxy_lets_no_change_through() {
    let cluster = Cluster::start(1);
    let proxy = Sidecar::start(&cluster, &urls(&cluster), &["--readonly"]);
    run(async {
        proxy.ready().await;
        let member = cluster.client();
        member.put("k", "v").await.unwrap();
        let client = proxy.client();
        assert_eq!(client.get("k").await.unwrap().kvs[0].value, "v");
        // More streams than a member takes on one connection.
        let mut watchers = Vec::new();
        for _ in 0..70 {
            let client = proxy.client();
            watchers.push((client.watch("k").await.unwrap(), client));
        }
        let said = client.put("k", "w").await.unwrap_err().to_string();
        assert!(said.contains("this proxy is read-only"), "{said}");
        assert!(client.lease_grant(60, 0).await.is_err());
        let (status, _) =
            proxy.http("POST", "/v3/kv/put", r#"{"key":"aw==","value":"dw=="}"#).await;
        assert_eq!(status, 501);
        assert_eq!(proxy.http("PUT", "/v2/keys/k", "value=w").await, (501, String::new()));
        assert_eq!(proxy.http("GET", "/v2/keys/", "").await.0, 200);
        member.put("k", "x").await.unwrap();
        for (watcher, _client) in &mut watchers {
            let seen = watcher.next().await.unwrap().unwrap();
            assert_eq!(seen.events[0].kv.as_ref().unwrap().value, "x");
        }
        let read = client.get("k").await.unwrap();
        assert_eq!((read.kvs[0].value.clone(), read.kvs[0].version), ("x".into(), 2));
    });
}
