//! Leases: keys live as long as somebody renews, whoever leads.

use std::time::{Duration, Instant};

use quorate::client::{Client, Error};

use super::harness::{Cluster, eventually, run};

/// Seconds: long enough that a busy machine does all that must be done within it, and renews in time.
const TTL: i64 = 8;
const TIME: Duration = Duration::from_secs(TTL as u64);

async fn is_there(client: &Client, key: &str) -> bool {
    !client.get(key.to_owned()).await.unwrap().kvs.is_empty()
}

#[test]
fn keys_go_with_their_lease_unless_it_is_renewed() {
    let cluster = Cluster::start(3);
    run(async {
        let (leader, _) = cluster.leader().await;
        let client = cluster.client_of(&[(leader + 1) % 3]);
        let began = Instant::now();
        let dying = client.lease_grant(TTL, 0).await.unwrap();
        assert_eq!(dying.ttl, TTL);
        let kept = client.lease_grant(TTL, 0x77).await.unwrap();
        assert_eq!(kept.id, 0x77);
        client.put("dying/1", "").lease(dying.id).await.unwrap();
        client.put("dying/2", "").lease(dying.id).await.unwrap();
        client.put("kept", "").lease(kept.id).await.unwrap();
        let told = client.lease_time_to_live(dying.id, true).await.unwrap();
        assert_eq!((told.granted_ttl, told.keys.len()), (TTL, 2));
        let mut keeper = client.lease_keep_alive(kept.id).await.unwrap();
        assert_eq!(keeper.next().await.unwrap().ttl, TTL);
        eventually("the end of the lease", || async {
            (!is_there(&client, "dying/1").await).then_some(())
        })
        .await;
        let lived = began.elapsed();
        assert!(lived >= TIME, "{lived:?}");
        assert!(!is_there(&client, "dying/2").await);
        assert_eq!(client.lease_time_to_live(dying.id, false).await.unwrap().ttl, -1);
        // The kept one has outlived its time twice.
        eventually("time", || async { (began.elapsed() > TIME * 2).then_some(()) }).await;
        assert!(is_there(&client, "kept").await);
        let list = client.lease_list().await.unwrap();
        assert_eq!(list.leases.iter().map(|lease| lease.id).collect::<Vec<_>>(), [kept.id]);
        client.lease_revoke(kept.id).await.unwrap();
        assert!(!is_there(&client, "kept").await);
        assert!(matches!(keeper.gone().await, Error::LeaseGone { .. }));
    });
}

#[test]
fn leases_outlive_a_leader_and_end_under_the_next() {
    let mut cluster = Cluster::start(3);
    run(async {
        let (leader, _) = cluster.leader().await;
        let others: Vec<usize> = (0..3).filter(|&index| index != leader).collect();
        let client = cluster.client_of(&others);
        let kept = client.lease_grant(TTL, 0).await.unwrap();
        let left = client.lease_grant(TTL, 0).await.unwrap();
        client.put("kept", "").lease(kept.id).await.unwrap();
        client.put("left", "").lease(left.id).await.unwrap();
        let mut keeper = client.lease_keep_alive(kept.id).await.unwrap();
        keeper.next().await.unwrap();
        cluster.kill(leader);
        cluster.leader().await;
        assert!(is_there(&client, "kept").await);
        let killed = Instant::now();
        eventually("the end of the lease that nobody renews", || async {
            (!is_there(&client, "left").await).then_some(())
        })
        .await;
        eventually("time", || async { (killed.elapsed() > TIME * 3 / 2).then_some(()) }).await;
        assert!(is_there(&client, "kept").await);
        assert_eq!(keeper.next().await.unwrap().ttl, TTL);
    });
}
