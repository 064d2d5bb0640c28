//! `v3lockpb` and `v3electionpb`: lines of keys, served.

use std::sync::Arc;

use bytes::Bytes;
use quorate::proto::etcdserverpb as pb;
use quorate::proto::v3electionpb as election;
use quorate::proto::v3lockpb as lock;

use super::super::harness::{eventually, run};
use super::alone::Alone;
use super::calls::{PUT, RANGE, get, put};
use super::client::Client;

const LOCK: &str = "/v3lockpb.Lock/Lock";
const UNLOCK: &str = "/v3lockpb.Lock/Unlock";
const GRANT: &str = "/etcdserverpb.Lease/LeaseGrant";
const REVOKE: &str = "/etcdserverpb.Lease/LeaseRevoke";
const CAMPAIGN: &str = "/v3electionpb.Election/Campaign";
const LEADER: &str = "/v3electionpb.Election/Leader";
const PROCLAIM: &str = "/v3electionpb.Election/Proclaim";
const RESIGN: &str = "/v3electionpb.Election/Resign";

fn name() -> Bytes {
    Bytes::from_static(b"line")
}

async fn grant(client: &Client, id: i64) {
    let request = pb::LeaseGrantRequest { id, ttl: 60 };
    let _: pb::LeaseGrantResponse = client.call(GRANT, &[], &request).await.unwrap();
}

fn wants(lease: i64) -> lock::LockRequest {
    lock::LockRequest { name: name(), lease }
}

/// The keys that stand in line.
async fn line(client: &Client) -> usize {
    let request = pb::RangeRequest {
        range_end: Bytes::from_static(b"line0"),
        count_only: true,
        ..get("line/")
    };
    let found: pb::RangeResponse = client.call(RANGE, &[], &request).await.unwrap();
    usize::try_from(found.count).unwrap()
}

#[test]
fn a_lock_is_held_by_one_and_handed_on() {
    run(async {
        let (_alone, client) = Alone::start(&[]).await;
        let client = Arc::new(client);
        for lease in [10, 11, 12] {
            grant(&client, lease).await;
        }
        let held: lock::LockResponse = client.call(LOCK, &[], &wants(10)).await.unwrap();
        assert_eq!(held.key, "line/a");
        // Asking again is answered at once: it is the same lease.
        let again: lock::LockResponse = client.call(LOCK, &[], &wants(10)).await.unwrap();
        assert_eq!(again.key, "line/a");
        let mut given_up = client.open(LOCK, &[]).await;
        given_up.say(&wants(11), true);
        eventually("the second stands in line", || async {
            (line(&client).await == 2).then_some(())
        })
        .await;
        let third = tokio::spawn({
            let client = Arc::clone(&client);
            async move { client.call::<lock::LockResponse>(LOCK, &[], &wants(12)).await.unwrap() }
        });
        eventually("the third, too", || async { (line(&client).await == 3).then_some(()) }).await;
        given_up.reset();
        eventually("who gave up has left", || async { (line(&client).await == 2).then_some(()) })
            .await;
        assert!(!third.is_finished());
        let unlock = lock::UnlockRequest { key: held.key };
        let _: lock::UnlockResponse = client.call(UNLOCK, &[], &unlock).await.unwrap();
        assert_eq!(third.await.unwrap().key, "line/c");
        let lost = client.call::<lock::LockResponse>(LOCK, &[], &wants(99)).await.unwrap_err();
        assert_eq!(lost, (2, "etcdserver: requested lease not found".to_owned()));
    });
}

#[test]
fn who_loses_his_lease_while_he_waits_is_told() {
    run(async {
        let (_alone, client) = Alone::start(&[]).await;
        grant(&client, 10).await;
        grant(&client, 11).await;
        let _: lock::LockResponse = client.call(LOCK, &[], &wants(10)).await.unwrap();
        let mut waiting = client.open(LOCK, &[]).await;
        waiting.say(&wants(11), true);
        eventually("it stands in line", || async { (line(&client).await == 2).then_some(()) })
            .await;
        for id in [11, 10] {
            let revoke = pb::LeaseRevokeRequest { id };
            let _: pb::LeaseRevokeResponse = client.call(REVOKE, &[], &revoke).await.unwrap();
        }
        let told = waiting.next().await.unwrap_err();
        assert_eq!(told, (2, "mutex: session is expired".to_owned()));
    });
}

fn stands(lease: i64, value: &'static str) -> election::CampaignRequest {
    election::CampaignRequest { name: name(), lease, value: Bytes::from_static(value.as_bytes()) }
}

#[test]
fn leaders_are_elected_observed_and_resign() {
    run(async {
        let (_alone, client) = Alone::start(&[]).await;
        let client = Arc::new(client);
        grant(&client, 10).await;
        grant(&client, 11).await;
        let asked = election::LeaderRequest { name: name() };
        let none = client.call::<election::LeaderResponse>(LEADER, &[], &asked).await.unwrap_err();
        assert_eq!(none, (2, "election: no leader".to_owned()));
        let mut observing = client.open("/v3electionpb.Election/Observe", &[]).await;
        observing.say(&asked, true);
        let observed = async |stream: &mut super::client::Stream| {
            stream.hear::<election::LeaderResponse>().await.kv.unwrap().value
        };
        let won: election::CampaignResponse =
            client.call(CAMPAIGN, &[], &stands(10, "one")).await.unwrap();
        let leader = won.leader.unwrap();
        assert_eq!((&leader.key[..], leader.lease), (&b"line/a"[..], 10));
        assert_eq!(leader.rev, won.header.unwrap().revision);
        assert_eq!(observed(&mut observing).await, "one");
        let next = tokio::spawn({
            let client = Arc::clone(&client);
            async move {
                client.call::<election::CampaignResponse>(CAMPAIGN, &[], &stands(11, "two")).await
            }
        });
        eventually("the next stands in line", || async {
            (line(&client).await == 2).then_some(())
        })
        .await;
        let said = election::ProclaimRequest {
            leader: Some(leader.clone()),
            value: Bytes::from_static(b"one more"),
        };
        let _: election::ProclaimResponse = client.call(PROCLAIM, &[], &said).await.unwrap();
        assert_eq!(observed(&mut observing).await, "one more");
        let resigned = election::ResignRequest { leader: Some(leader) };
        let _: election::ResignResponse = client.call(RESIGN, &[], &resigned).await.unwrap();
        assert_eq!(next.await.unwrap().unwrap().leader.unwrap().lease, 11);
        assert_eq!(observed(&mut observing).await, "two");
        let late = client.call::<election::ProclaimResponse>(PROCLAIM, &[], &said).await;
        assert_eq!(late.unwrap_err(), (2, "election: not leader".to_owned()));
        let nobody = election::ResignRequest { leader: None };
        let refused = client.call::<election::ResignResponse>(RESIGN, &[], &nobody).await;
        assert_eq!(refused.unwrap_err(), (2, "\"leader\" field must be provided".to_owned()));
        // What is put by hand is a value, too.
        let _: pb::PutResponse = client.call(PUT, &[], &put("line/b", "three")).await.unwrap();
        assert_eq!(observed(&mut observing).await, "three");
    });
}

#[test]
fn a_long_range_comes_in_pieces_of_one_revision() {
    run(async {
        let (_alone, client) = Alone::start(&[]).await;
        for number in 0..50 {
            let _: pb::PutResponse =
                client.call(PUT, &[], &put(&format!("key{number:02}"), "v")).await.unwrap();
        }
        let path = "/etcdserverpb.KV/RangeStream";
        let all = pb::RangeRequest { range_end: Bytes::from_static(b"kez"), ..get("key") };
        for (limit, expected, more) in
            [(0, 50, false), (35, 35, true), (50, 50, false), (3, 3, true)]
        {
            let mut stream = client.open(path, &[]).await;
            stream.say(&pb::RangeRequest { limit, ..all.clone() }, true);
            let (mut keys, mut pieces, mut last) = (Vec::new(), 0, None);
            while let Some(message) = stream.next().await.unwrap() {
                let piece: pb::RangeStreamResponse = prost::Message::decode(message).unwrap();
                let mut piece = piece.range_response.unwrap();
                assert!(last.is_none(), "the header comes with the last piece");
                keys.append(&mut piece.kvs);
                pieces += 1;
                last = piece.header.map(|header| (header.revision, piece.count, piece.more));
            }
            assert_eq!(last, Some((52, 50, more)), "limit {limit}");
            assert_eq!((keys.len(), pieces > 1), (expected, expected > 10));
            assert!(keys.is_sorted_by(|a, b| a.key < b.key));
        }
        let mut stream = client.open(path, &[]).await;
        stream.say(&pb::RangeRequest { sort_order: 2, ..all }, true);
        let refused = stream.next().await.unwrap_err();
        assert_eq!(refused, (12, "RangeStream does not support custom sort orders".to_owned()));
    });
}
