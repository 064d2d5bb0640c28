//! Leases kept alive, and snapshots.

use std::sync::Arc;

use quorate::api::NativeConfig;
use quorate::client::Error;

use super::memory::InMemory;
use super::{CLUSTER, MEMBER, Memory, Server, connect, soon, until};

#[tokio::test]
async fn a_lease_is_renewed_until_it_is_gone() {
    let memory = Memory::new();
    let server = Server::start(Arc::new(InMemory(Arc::clone(&memory))));
    let client = connect(&[&server]).await;
    memory.grant(7);
    assert_eq!(client.lease_renew(7).await.unwrap().ttl, 1);
    assert_eq!(client.lease_renew(8).await.unwrap().ttl, 0);
    let mut keeper = client.lease_keep_alive(7).await.unwrap();
    for _ in 0..3 {
        let renewed = soon("a renewal", keeper.next()).await.unwrap();
        assert_eq!((renewed.id, renewed.ttl), (7, 1));
    }
    memory.expire(7);
    let error = soon("the end", keeper.gone()).await;
    assert!(matches!(error, Error::LeaseGone { id: 7 }), "{error}");
    assert!(keeper.next().await.is_err(), "it stays gone");
}

#[tokio::test]
async fn renewals_go_on_through_a_lost_connection() {
    let memory = Memory::new();
    let service = || Arc::new(InMemory(Arc::clone(&memory)));
    let server = Server::start(service());
    let client = connect(&[&server]).await;
    memory.grant(7);
    let mut keeper = client.lease_keep_alive(7).await.unwrap();
    soon("a renewal", keeper.next()).await.unwrap();
    let port = server.stop().await;
    let before = memory.renewals(7);
    let _server = Server::start_at(service(), NativeConfig::new(CLUSTER, MEMBER), port);
    until("it is renewed again", || memory.renewals(7) > before).await;
    soon("a renewal", keeper.next()).await.unwrap();
}

#[tokio::test]
async fn a_lease_that_cannot_be_renewed_in_its_time_is_not_believed_in() {
    let memory = Memory::new();
    let server = Server::start(Arc::new(InMemory(Arc::clone(&memory))));
    let client = connect(&[&server]).await;
    memory.grant(7);
    let mut keeper = client.lease_keep_alive(7).await.unwrap();
    soon("a renewal", keeper.next()).await.unwrap();
    server.stop().await;
    let error = soon("its time is over", keeper.gone()).await;
    assert!(matches!(error, Error::LeaseGone { id: 7 }), "{error}");
}

#[tokio::test]
async fn a_dropped_keeper_renews_no_more() {
    let memory = Memory::new();
    let server = Server::start(Arc::new(InMemory(Arc::clone(&memory))));
    let client = connect(&[&server]).await;
    memory.grant(7);
    memory.grant(8);
    let mut dropped = client.lease_keep_alive(7).await.unwrap();
    let mut kept = client.lease_keep_alive(8).await.unwrap();
    soon("a renewal", dropped.next()).await.unwrap();
    drop(dropped);
    let before = memory.renewals(7);
    for _ in 0..4 {
        soon("a renewal", kept.next()).await.unwrap();
    }
    assert!(memory.renewals(7) <= before + 1, "one may have been on its way");
}

#[tokio::test]
async fn a_snapshot_is_saved_only_if_its_checksum_is_right() {
    let memory = Memory::new();
    let server = Server::start(Arc::new(InMemory(Arc::clone(&memory))));
    let client = connect(&[&server]).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("snapshot.db");
    let bytes = client.snapshot().await.unwrap().save(&path).await.unwrap();
    assert_eq!(bytes, 70_010);
    assert_eq!(std::fs::read(&path).unwrap().len(), 70_010 + 32);

    memory.corrupt_snapshots();
    let other = dir.path().join("other.db");
    let error = client.snapshot().await.unwrap().save(&other).await.unwrap_err();
    assert!(error.to_string().contains("does not match its checksum"), "{error}");
    assert!(!other.exists());
}
