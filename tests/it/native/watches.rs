//! Watches that go on: no gap, no duplicate, whatever happens to connections and readers.

use std::sync::Arc;

use quorate::api::NativeConfig;
use quorate::client::{Error, Watcher};

use super::memory::InMemory;
use super::{CLUSTER, MEMBER, Memory, Server, connect, soon, until};

/// The next `count` values, each from a response of one revision.
async fn values(watcher: &mut Watcher, count: usize) -> Vec<String> {
    let mut values = Vec::new();
    while values.len() < count {
        let response = soon("events", watcher.next()).await.unwrap().unwrap();
        for event in response.events {
            let kv = event.kv.unwrap();
            values.push(String::from_utf8(kv.value.to_vec()).unwrap());
        }
    }
    values
}

fn numbers(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|number| number.to_string()).collect()
}

#[tokio::test]
async fn a_watch_goes_on_through_a_lost_connection_without_gap_or_duplicate() {
    let memory = Memory::new();
    let service = || Arc::new(InMemory(Arc::clone(&memory)));
    let mut server = Server::start(service());
    let client = connect(&[&server]).await;
    memory.put("before", "0");
    let mut from_now = client.watch("k").prefix().await.unwrap();
    let mut from_past = client.watch("k").start_revision(1).await.unwrap();
    assert_eq!(from_now.created_revision(), 2);
    let (mut put, mut seen) = (0, 0);
    for _ in 0..3 {
        for _ in 0..5 {
            memory.put("k", &put.to_string());
            put += 1;
        }
        assert_eq!(values(&mut from_now, 5).await, numbers(seen, put));
        let port = server.stop().await;
        // Nobody is there to tell it.
        for _ in 0..5 {
            memory.put("k", &put.to_string());
            put += 1;
        }
        server = Server::start_at(service(), NativeConfig::new(CLUSTER, MEMBER), port);
        assert_eq!(values(&mut from_now, 5).await, numbers(seen + 5, put));
        seen = put;
    }
    assert_eq!(values(&mut from_past, put).await, numbers(0, put));
    assert!(memory.watch_creates() >= 8, "both were created again after each loss");
}

#[tokio::test]
async fn a_watch_from_now_that_was_lost_before_its_first_event_misses_nothing() {
    let memory = Memory::new();
    let service = || Arc::new(InMemory(Arc::clone(&memory)));
    let server = Server::start(service());
    let client = connect(&[&server]).await;
    let mut watcher = client.watch("k").await.unwrap();
    let port = server.stop().await;
    memory.put("k", "0");
    let _server = Server::start_at(service(), NativeConfig::new(CLUSTER, MEMBER), port);
    assert_eq!(values(&mut watcher, 1).await, ["0"]);
}

#[tokio::test]
async fn progress_moves_the_point_of_resumption() {
    let memory = Memory::new();
    let service = || Arc::new(InMemory(Arc::clone(&memory)));
    let server = Server::start(service());
    let client = connect(&[&server]).await;
    let mut watcher = client.watch("k").await.unwrap();
    for _ in 0..10 {
        memory.put("other", "x");
    }
    watcher.request_progress().await.unwrap();
    let progress = soon("progress", watcher.next()).await.unwrap().unwrap();
    assert!(progress.events.is_empty());
    assert_eq!(progress.header.unwrap().revision, 11);
    // Everything up to 11 was seen: that it is compacted while nobody is connected does not matter.
    let port = server.stop().await;
    memory.compact(11);
    memory.put("k", "0");
    let _server = Server::start_at(service(), NativeConfig::new(CLUSTER, MEMBER), port);
    assert_eq!(values(&mut watcher, 1).await, ["0"]);
}

#[tokio::test]
async fn compacted_history_is_an_error_with_its_revision() {
    let memory = Memory::new();
    let server = Server::start(Arc::new(InMemory(Arc::clone(&memory))));
    let client = connect(&[&server]).await;
    for _ in 0..5 {
        memory.put("k", "x");
    }
    memory.compact(4);
    let mut watcher = client.watch("k").start_revision(2).await.unwrap();
    let error = soon("the end", watcher.next()).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Compacted { compact_revision: 4 }), "{error}");
    assert!(soon("nothing more", watcher.next()).await.is_none());

    let error = client.watch("refused").await.unwrap_err();
    assert!(error.to_string().contains("mvcc: watcher range is empty"), "{error}");
    let mut fine = client.watch("k").await.unwrap();
    memory.put("k", "fine");
    assert_eq!(values(&mut fine, 1).await, ["fine"]);
}

#[tokio::test]
async fn whoever_does_not_read_stops_nobody_and_misses_nothing() {
    let memory = Memory::new();
    let server = Server::start(Arc::new(InMemory(Arc::clone(&memory))));
    let client = connect(&[&server]).await;
    let mut lazy = client.watch("k").await.unwrap();
    let mut eager = client.watch("k").await.unwrap();
    for number in 0..200 {
        memory.put("k", &number.to_string());
    }
    assert_eq!(values(&mut eager, 200).await, numbers(0, 200));
    assert_eq!(values(&mut lazy, 200).await, numbers(0, 200));
    memory.put("k", "last");
    assert_eq!(values(&mut lazy, 1).await, ["last"]);
}

#[tokio::test]
async fn fragments_come_out_whole() {
    let memory = Memory::new();
    let server = Server::start(Arc::new(InMemory(Arc::clone(&memory))));
    let client = connect(&[&server]).await;
    let mut watcher = client.watch("k").await.unwrap();
    memory.put("k", "twice");
    let response = soon("events", watcher.next()).await.unwrap().unwrap();
    assert_eq!(response.events.len(), 2);
    assert!(!response.fragment);
}

#[tokio::test]
async fn a_canceled_or_dropped_watch_is_over() {
    let memory = Memory::new();
    let server = Server::start(Arc::new(InMemory(Arc::clone(&memory))));
    let client = connect(&[&server]).await;
    let mut canceled = client.watch("k").await.unwrap();
    let dropped = client.watch("k").await.unwrap();
    let mut own = client.own_watches().watch("k").await.unwrap();
    canceled.cancel().await;
    drop(dropped);
    assert!(soon("the end", canceled.next()).await.is_none());
    memory.put("k", "x");
    assert_eq!(values(&mut own, 1).await, ["x"]);
    client.close().await;
    let ended = soon("the end", own.next()).await;
    assert!(matches!(ended, None | Some(Err(Error::Closed))), "{ended:?}");
}

#[tokio::test]
async fn a_watcher_outlives_the_clients_other_handles() {
    let memory = Memory::new();
    let server = Server::start(Arc::new(InMemory(Arc::clone(&memory))));
    let client = connect(&[&server]).await;
    let mut watcher = client.watch("k").await.unwrap();
    drop(client);
    memory.put("k", "x");
    assert_eq!(values(&mut watcher, 1).await, ["x"]);
    drop(watcher);
    until("the connection ends with its last user", || server.native.connections() == 0).await;
}
