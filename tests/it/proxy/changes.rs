//! What happens behind a proxy: members that die, that come and that go.

use std::time::Duration;

use super::super::harness::{Cluster, eventually, run, run_within};
use super::{Sidecar, asked, http_with, urls};

#[test]
fn members_die_come_and_go_behind_a_proxy() {
    let mut cluster = Cluster::start(3);
    let proxy = Sidecar::start(&cluster, &urls(&cluster), &[]);
    run_within(Duration::from_secs(290), async {
        proxy.ready().await;
        let client = proxy.client().within(Duration::from_secs(15));
        let mut watcher = client.watch("k").await.unwrap();
        client.put("k", "0").await.unwrap();
        // One after the other each member dies and comes back: whoever leads, whoever carries the watch.
        for index in 0..3 {
            cluster.kill(index);
            write(&client, &format!("without {index}")).await;
            for _ in 0..6 {
                client.get("k").await.unwrap();
            }
            cluster.spawn(index);
            cluster.leader().await;
        }
        // A fourth one comes, the first one goes: with the fourth alone it still finds the cluster.
        let (fourth, url) = cluster.prepare_joiner("n4");
        let ask = cluster.client_of(&[1, 2]);
        eventually("a fourth member", || async { ask.member_add([url.clone()]).await.ok() }).await;
        cluster.spawn(fourth);
        eventually("the fourth behind the proxy", || async {
            asked(&proxy).await.contains(&url).then_some(())
        })
        .await;
        let first = cluster.client_of(&[0]).status().await.unwrap().header.unwrap().member_id;
        eventually("three members", || async { ask.member_remove(first).await.ok() }).await;
        cluster.kill(0);
        let gone = cluster.members[0].url.clone();
        eventually("three behind the proxy", || async {
            let asked = asked(&proxy).await;
            (asked.len() == 3 && !asked.contains(&gone)).then_some(())
        })
        .await;
        write(&client, "at last").await;
        let mut seen = Vec::new();
        while seen.last().is_none_or(|last| last != "at last") {
            for event in watcher.next().await.unwrap().unwrap().events {
                seen.push(String::from_utf8(event.kv.unwrap().value.to_vec()).unwrap());
            }
        }
        seen.dedup();
        assert_eq!(seen, ["0", "without 0", "without 1", "without 2", "at last"]);
    });
}

/// Until it is there: what is ambiguous is written again.
async fn write(client: &quorate::client::Client, value: &str) {
    eventually("a write", || async { client.put("k", value.to_owned()).await.ok() }).await;
}

#[test]
fn a_proxy_waits_for_its_members_and_says_who_is_missing() {
    let mut cluster = Cluster::prepare(1);
    let proxy = Sidecar::start(&cluster, &urls(&cluster), &[]);
    run(async {
        let alone = eventually("a proxy that answers", || async {
            let answer = proxy.http("GET", "/v2/keys/", "").await;
            (answer.0 != 0).then_some(answer)
        })
        .await;
        let text = r#"{"message":"httpproxy: zero endpoints currently available"}"#;
        assert_eq!(alone, (503, text.to_owned()));
        let client = proxy.client().within(Duration::from_secs(1));
        let url = &cluster.members[0].url;
        let said = eventually("a reason", || async {
            let said = client.get("k").await.unwrap_err().to_string();
            said.contains(url).then_some(said)
        })
        .await;
        assert!(said.contains("no member of the cluster could be reached"), "{said}");
        cluster.spawn(0);
        proxy.ready().await;
        client.put("k", "v").await.unwrap();
    });
}

#[test]
fn who_requires_a_leader_is_told_at_once_that_there_is_none() {
    let mut cluster = Cluster::start(3);
    let proxy = Sidecar::start(&cluster, &urls(&cluster), &[]);
    run(async {
        proxy.ready().await;
        eventually("three members", || async { (asked(&proxy).await.len() == 3).then_some(()) })
            .await;
        let client = proxy.client();
        client.put("k", "v").await.unwrap();
        let get = r#"{"key":"aw==","serializable":true}"#;
        let read = async |head: &str| {
            http_with(head, proxy.address(), "POST", "/v3/kv/range", get).await.unwrap_or_default()
        };
        let required = "Grpc-Metadata-hasleader: true\r\n";
        assert_eq!(read(required).await.0, 200);
        cluster.kill(1);
        cluster.kill(2);
        eventually("a member that knows none says so", || async {
            let (code, body) = read(required).await;
            (code == 503 && body.contains("etcdserver: no leader")).then_some(())
        })
        .await;
        // What needs none is still answered.
        eventually("a serializable read", || async { (read("").await.0 == 200).then_some(()) })
            .await;
    });
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how long real processes take is what is tested")]
fn as_many_as_ask_are_told_in_time_that_nobody_is_there() {
    const CALLS: usize = 60;
    let mut cluster = Cluster::start(1);
    let proxy = Sidecar::start(&cluster, &urls(&cluster), &[]);
    run(async {
        proxy.ready().await;
        cluster.kill(0);
        // A dial takes a second, and no call waits for those of the others.
        let began = std::time::Instant::now();
        let mut asking = tokio::task::JoinSet::new();
        for number in 0..CALLS {
            let (address, body) = (proxy.address().to_owned(), r#"{"key":"aw=="}"#);
            asking.spawn(async move {
                let head = "Grpc-Timeout: 2S\r\n";
                let asked = http_with(head, &address, "POST", "/v3/kv/range", body).await;
                (number, asked.unwrap_or_default())
            });
        }
        while let Some(answer) = asking.join_next().await {
            let (number, (code, body)) = answer.unwrap();
            assert!(code >= 500, "{number}: {code} {body}");
        }
        let seconds = began.elapsed().as_secs();
        println!("{CALLS} calls were told after {seconds} s");
        assert!(seconds < 20, "{seconds} s");
    });
}
