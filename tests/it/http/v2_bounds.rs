//! The v2 API with many clients at once, at its bounds, and without a leader.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::super::harness::{eventually, quorate, run};
use super::alone::Alone;
use super::three::Three;
use super::v2::{index, leader, say, say_json};

#[test]
fn a_hundred_clients_that_swap_one_key_lose_no_change() {
    run(async {
        let three = Three::start().await;
        let first = three.addresses[0];
        say(first, "PUT", "/v2/keys/n", "value=0").await;
        let mut clients = JoinSet::new();
        for client in 0..100 {
            let address = three.addresses[client % 3];
            clients.spawn(async move {
                loop {
                    let (_, text) = say(address, "GET", "/v2/keys/n?quorum=true", "").await;
                    let read: serde_json::Value = serde_json::from_str(&text).unwrap();
                    let value: u64 = read["node"]["value"].as_str().unwrap().parse().unwrap();
                    let index = &read["node"]["modifiedIndex"];
                    let form = format!("value={}&prevIndex={index}", value + 1);
                    match say(address, "PUT", "/v2/keys/n", &form).await {
                        (200, _) => return,
                        (412, text) => assert!(text.contains("Compare failed"), "{text}"),
                        other => panic!("{other:?}"),
                    }
                }
            });
        }
        while let Some(ended) = clients.join_next().await {
            ended.unwrap();
        }
        let (_, text) = say(first, "GET", "/v2/keys/n?quorum=true", "").await;
        assert!(text.contains(r#""value":"100""#), "{text}");
    });
}

#[test]
fn a_hundred_long_polls_hear_every_event_once_and_in_order() {
    const EVENTS: u64 = 60;
    run(async {
        let three = Three::start().await;
        let first = three.addresses[0];
        let begun = index(first).await;
        let mut watchers = JoinSet::new();
        for watcher in 0..100 {
            let address = three.addresses[watcher % 3];
            watchers.spawn(async move {
                let (mut next, mut heard) = (begun + 1, Vec::new());
                while heard.len() < EVENTS as usize {
                    let path = format!("/v2/keys/q?wait=true&recursive=true&waitIndex={next}");
                    let (status, text) = say(address, "GET", &path, "").await;
                    assert_eq!(status, 200, "{text}");
                    let event: serde_json::Value = serde_json::from_str(&text).unwrap();
                    next = event["node"]["modifiedIndex"].as_u64().unwrap() + 1;
                    heard.push(event["node"]["value"].as_str().unwrap().to_owned());
                }
                heard
            });
        }
        for value in 0..EVENTS {
            let address = three.addresses[value as usize % 3];
            let (status, text) =
                say(address, "POST", "/v2/keys/q", &format!("value={value}")).await;
            assert_eq!(status, 201, "{text}");
        }
        let expected: Vec<String> = (0..EVENTS).map(|value| value.to_string()).collect();
        while let Some(heard) = watchers.join_next().await {
            assert_eq!(heard.unwrap(), expected);
        }
    });
}

#[test]
fn history_older_than_a_thousand_events_is_cleared() {
    run(async {
        let (alone, _) = Alone::start(&[]).await;
        let address = alone.address;
        for _ in 0..1_002 {
            assert!(say(address, "PUT", "/v2/keys/k", "").await.0 < 300);
        }
        let (status, text) = say(address, "GET", "/v2/keys/k?wait=true&waitIndex=2", "").await;
        let cause = r#""cause":"the requested history has been cleared [3/2]","index":1002}"#;
        assert!(status == 400 && text.contains(cause), "{status} {text}");
        let (status, _) = say(address, "GET", "/v2/keys/k?wait=true&waitIndex=3", "").await;
        assert_eq!(status, 200);
    });
}

#[test]
fn a_write_over_the_quota_raises_the_alarm() {
    run(async {
        let (alone, _) = Alone::of(quorate(), &["--quota-backend-bytes=1000000"]).await;
        let address = alone.address;
        let form = format!("value={}", "x".repeat(50_000));
        let refused = eventually("it is full", || async {
            let (status, text) = say(address, "POST", "/v2/keys/q", &form).await;
            (status != 201).then_some((status, text))
        })
        .await;
        assert_eq!(refused.0, 500, "{}", refused.1);
        assert!(refused.1.contains("\"errorCode\":300"), "{}", refused.1);
        assert!(refused.1.contains("database space exceeded"), "{}", refused.1);
        eventually("all are told", || async {
            let path = "/v3/maintenance/alarm";
            let (_, text) = say_json(address, "POST", path, r#"{"action":"GET"}"#).await;
            text.contains("NOSPACE").then_some(())
        })
        .await;
        // A small one is refused, too; what makes room is not.
        assert_eq!(say(address, "PUT", "/v2/keys/small", "value=1").await.0, 500);
        assert_eq!(say(address, "DELETE", "/v2/keys/q?recursive=true", "").await.0, 200);
    });
}

/// `count` directories below `/d`, as deep as a key may be long.
async fn directories(address: SocketAddr, directory: &str, count: usize) {
    const DEPTH: usize = 900;
    for number in 0..count.div_ceil(DEPTH + 1) {
        let path = format!("/v2/keys/{directory}/{number}{}", "/a".repeat(DEPTH));
        let (status, text) = say(address, "PUT", &path, "dir=true").await;
        assert_eq!(status, 201, "{text}");
    }
}

#[test]
fn a_directory_of_too_many_nodes_is_not_deleted_at_once_and_expires_in_parts() {
    run(async {
        let (alone, _) = Alone::start(&[]).await;
        let address = alone.address;
        directories(address, "d", 51_000).await;
        let (status, text) = say(address, "DELETE", "/v2/keys/d?recursive=true", "").await;
        let cause = "/d has more than 50000 nodes below it: delete its directories one by one";
        assert!(status == 403 && text.contains("\"errorCode\":108"), "{status} {text}");
        assert!(text.contains(cause), "{text}");
        assert_eq!(say(address, "DELETE", "/v2/keys/d/0?recursive=true", "").await.0, 200);
        assert_eq!(say(address, "GET", "/v2/keys/d/0", "").await.0, 404);

        directories(address, "e", 51_000).await;
        let (status, text) =
            say(address, "PUT", "/v2/keys/e?prevExist=true", "dir=true&ttl=1").await;
        assert_eq!(status, 200, "{text}");
        let put: serde_json::Value = serde_json::from_str(&text).unwrap();
        let next = put["node"]["modifiedIndex"].as_u64().unwrap() + 1;
        // A machine with other things to do takes its time; the test's own limit holds.
        while say(address, "GET", "/v2/keys/e", "").await.0 != 404 {
            sleep(Duration::from_millis(50)).await;
        }
        let path = format!("/v2/keys/e/0?wait=true&waitIndex={next}");
        let (_, text) = say(address, "GET", &path, "").await;
        let event: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&event["action"], &event["node"]["key"]), (&"expire".into(), &"/e".into()));
        // One event for all of it.
        assert_eq!(
            (event["node"]["modifiedIndex"].as_u64(), index(address).await),
            (Some(next), next)
        );
    });
}

#[test]
fn a_listing_that_is_too_long_is_refused() {
    const VALUES: usize = 46;
    run(async {
        let (alone, _) = Alone::start(&[]).await;
        let address = alone.address;
        let form = format!("value={}", "x".repeat(1_450_000));
        for value in 0..=VALUES {
            let path = format!("/v2/keys/d/{}/{value}", value % 2);
            let (status, text) = say(address, "PUT", &path, &form).await;
            assert_eq!(status, 201, "{text}");
        }
        let (status, text) = say(address, "GET", "/v2/keys/d?recursive=true", "").await;
        assert!(status == 400 && text.contains("\"errorCode\":209"), "{status} {text}");
        assert!(text.contains("the listing of /d takes more than 67108864 bytes"), "{text}");
        assert_eq!(say(address, "GET", "/v2/keys/d", "").await.0, 200);
        let (status, text) = say(address, "GET", "/v2/keys/d/0", "").await;
        assert_eq!((status, text.matches("\"key\":\"/d/0/").count()), (200, VALUES / 2 + 1));
        // So is what is kept of history, in RAM.
        let (status, text) =
            say(address, "GET", "/v2/keys/d?wait=true&recursive=true&waitIndex=1", "").await;
        assert!(status == 400 && text.contains("\"errorCode\":401"), "{status} {text}");
    });
}

#[test]
fn without_a_leader_little_is_answered() {
    run(async {
        let mut three = Three::start().await;
        assert_eq!(say(three.addresses[0], "PUT", "/v2/keys/k", "value=1").await.0, 201);
        let old = leader(&three).await;
        let last = (old + 1) % 3;
        let address = three.addresses[last];
        eventually("it has heard of the key", || async {
            (say(address, "GET", "/v2/keys/k", "").await.0 == 200).then_some(())
        })
        .await;
        three.kill(old);
        three.kill((old + 2) % 3);
        eventually("it knows of no leader", || async {
            let told = say(address, "GET", "/v2/members/leader", "").await;
            (told == (503, "{\"message\":\"During election\"}".to_owned())).then_some(())
        })
        .await;
        let (put, get, add) = tokio::join!(
            say(address, "PUT", "/v2/keys/k", "value=2"),
            say(address, "GET", "/v2/keys/k?quorum=true", ""),
            say_json(address, "POST", "/v2/members", r#"{"peerURLs":["http://127.0.0.1:9"]}"#),
        );
        let late = r#"{"errorCode":300,"message":"Raft Internal Error","cause":"etcdserver: request timed out","index":0}"#;
        assert_eq!(put, (500, format!("{late}\n")));
        assert_eq!(get, (500, format!("{late}\n")));
        assert_eq!(add.0, 500, "{}", add.1);
        // What it has itself, it tells.
        let (status, text) = say(address, "GET", "/v2/keys/k", "").await;
        assert!(status == 200 && text.contains(r#""value":"1""#), "{text}");
        assert_eq!(say(address, "GET", "/v2/stats/leader", "").await.0, 403);
        let (_, text) = say(address, "GET", "/v2/stats/self", "").await;
        assert!(text.contains(r#""state":"StateCandidate""#), "{text}");
    });
}

#[test]
fn rates_of_appends_are_told_while_there_are_some() {
    run(async {
        let three = Three::start().await;
        let place = leader(&three).await;
        let (leading, following) = (three.addresses[place], three.addresses[(place + 1) % 3]);
        let tells = |address, name: &'static str| async move {
            let (_, text) = say(address, "GET", "/v2/stats/self", "").await;
            let page: serde_json::Value = serde_json::from_str(&text).unwrap();
            let rate =
                |what: &str| page.get(format!("{name}{what}Rate")).map(|it| it.as_f64().unwrap());
            (rate("Pkg"), rate("Bandwidth"))
        };
        let told = eventually("both tell of what comes and goes", || async {
            for _ in 0..20 {
                say(following, "PUT", "/v2/keys/k", "value=1").await;
            }
            match (tells(leading, "send").await, tells(following, "recv").await) {
                ((Some(sent), Some(sent_bytes)), (Some(received), Some(received_bytes))) => {
                    Some([sent, sent_bytes, received, received_bytes])
                }
                _ => None,
            }
        })
        .await;
        assert!(told.iter().all(|rate| *rate > 0.0), "{told:?}");
        eventually("nothing goes any more", || async {
            (tells(leading, "send").await == (None, None)).then_some(())
        })
        .await;
    });
}
