//! Watches: nothing is missed and nothing comes twice, though members die; history is there until it is compacted.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate::client::mvccpb::event::EventType;
use quorate::client::{Error, Watcher};

use super::harness::{Cluster, Load, Process, eventually, run};

/// Longer than a client needs to notice a dead member and dial the next.
const PATIENCE: Duration = Duration::from_secs(30);

/// Revision, kind, key, value.
type Seen = (i64, EventType, String, String);

async fn events_up_to(watcher: &mut Watcher, revision: i64) -> Vec<Seen> {
    let mut events: Vec<Seen> = Vec::new();
    while events.last().is_none_or(|(last, ..)| *last < revision) {
        let response = tokio::time::timeout(PATIENCE, watcher.next()).await;
        let response = response.expect("no events for too long").unwrap().unwrap();
        for event in response.events {
            let kind = event.r#type();
            let kv = event.kv.unwrap();
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            events.push((kv.mod_revision, kind, text(&kv.key), text(&kv.value)));
        }
    }
    events
}

#[test]
fn a_watch_goes_on_over_killed_members() {
    let mut cluster = Cluster::start(3);
    run(async {
        let watching = cluster.client();
        let mut watcher = watching.watch("load/").prefix().await.unwrap();
        let load = Load::start("load", vec![cluster.client(), cluster.client_of(&[1, 2, 0])]);
        for _ in 0..2 {
            let before = load.count();
            eventually("load", || async { (load.count() > before + 100).then_some(()) }).await;
            // Whoever answers is whom the watch is on now: the connection of the round before is gone.
            eventually("an answer", || async { watching.get("none").await.ok() }).await;
            let endpoint = watching.endpoint().unwrap();
            let watched = (0..3).find(|&index| endpoint.contains(&cluster.members[index].url));
            let watched = watched.expect("an endpoint of the cluster");
            cluster.kill(watched);
            let before = load.count();
            eventually("load goes on", || async { (load.count() > before + 100).then_some(()) })
                .await;
            cluster.spawn(watched);
            cluster.leader().await;
        }
        let acknowledged = load.stop().await;
        // By somebody else: a write on a connection that is about to be lost is ambiguous.
        let writer = cluster.client();
        let end = writer.put("load/end", "").await.unwrap().header.unwrap().revision;
        let events = events_up_to(&mut watcher, end).await;
        for pair in events.windows(2) {
            assert!(pair[0].0 < pair[1].0, "out of order or twice: {pair:?}");
        }
        let by_revision: BTreeMap<i64, &str> =
            events.iter().map(|(revision, _, key, _)| (*revision, key.as_str())).collect();
        for written in &acknowledged {
            let seen = by_revision.get(&written.revision).copied();
            assert_eq!(seen, Some(written.key.as_str()), "missed {written:?}");
        }
        // Writes that nobody acknowledged may be there, too: the store knows how many there are in all.
        let all = watching.get("load/").prefix().count_only().await.unwrap();
        assert_eq!(events.len(), usize::try_from(all.count).unwrap());
        println!("{} events, {} acknowledged", events.len(), acknowledged.len());
    });
}

#[test]
fn a_watch_may_begin_in_the_past() {
    let cluster = Cluster::start(3);
    run(async {
        let client = cluster.client_of(&[0]);
        let mut revision = 0;
        for n in 1..=4 {
            let answer = client.put("k", format!("v{n}")).await.unwrap();
            revision = answer.header.unwrap().revision;
        }
        let first = revision - 3;
        let deleted = client.delete("k").await.unwrap().header.unwrap().revision;
        let put = |n: i64| (first + n - 1, EventType::Put, "k".to_owned(), format!("v{n}"));
        let delete = (deleted, EventType::Delete, "k".to_owned(), String::new());
        for member in 0..3 {
            let client = cluster.client_of(&[member]);
            let mut watcher = client.watch("k").start_revision(first + 1).await.unwrap();
            let events = events_up_to(&mut watcher, deleted).await;
            assert_eq!(events, [put(2), put(3), put(4), delete.clone()]);
        }

        let log = cluster.dir().join("watch.log");
        let mut command = cluster.cli(&[1]);
        command.args(["watch", "--prev-kv", "--rev", &(first + 2).to_string(), "k"]);
        let watch = Process::spawn(command, &log);
        let expected = "PUT\nk\nv2\nk\nv3\nPUT\nk\nv3\nk\nv4\nDELETE\nk\nv4\nk\n\n";
        eventually("the history", || async { (watch.log() == expected).then_some(()) }).await;

        client.compact(first + 2, true).await.unwrap();
        let mut late = client.watch("k").start_revision(first + 1).await.unwrap();
        let gone = late.next().await.unwrap().unwrap_err();
        assert!(matches!(gone, Error::Compacted { .. }), "{gone:?}");
        let mut early = client.watch("k").start_revision(first + 2).await.unwrap();
        let events = events_up_to(&mut early, deleted).await;
        assert_eq!(events, [put(3), put(4), delete]);
    });
}
