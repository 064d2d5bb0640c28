//! A member without data comes by snapshot.
//!
//! That the log is trimmed behind a member that stays away takes 60 s and 10,000 entries: the engine's own tests have
//! it with smaller limits.

use super::harness::{Cluster, Load, check_all, eventually, run};

#[test]
fn a_member_that_lost_its_data_comes_back_by_snapshot() {
    let mut cluster = Cluster::start(3);
    run(async {
        let client = cluster.client_of(&[0, 1]);
        let big = vec![b'x'; 256 << 10];
        for n in 0..16 {
            client.put(format!("big/{n}"), big.clone()).await.unwrap();
        }
        let overwritten = client.put("k", "v1").await.unwrap().header.unwrap().revision;
        client.put("k", "v2").await.unwrap();
        let lease = client.lease_grant(600, 0).await.unwrap();
        client.put("leased", "").lease(lease.id).await.unwrap();

        let lost = cluster.client_of(&[2]).status().await.unwrap().header.unwrap().member_id;
        cluster.kill(2);
        std::fs::remove_dir_all(&cluster.members[2].data).unwrap();
        // What a leader takes with it when it dies is not answered before its time is up.
        cluster.leader().await;
        cluster.ask(&[0, 1], &["member", "remove", &format!("{lost:x}")]);
        let load = Load::start("load", vec![cluster.client_of(&[0, 1])]);
        let url = cluster.members[2].url.clone();
        cluster.ask(&[0, 1], &["member", "add", "n3", "--peer-urls", &url]);
        cluster.joins(2);
        cluster.spawn(2);
        eventually("a snapshot", || async {
            cluster.log(2).contains("received a snapshot").then_some(())
        })
        .await;
        cluster.leader().await;
        let before = load.count();
        eventually("load goes on", || async { (load.count() > before + 50).then_some(()) }).await;
        let acknowledged = load.stop().await;

        // Everything is there: what was written before it came, while it came, history, and what leases are bound to.
        let back = cluster.client_of(&[2]);
        check_all(&back, &acknowledged).await;
        let got = back.get("big/").prefix().await.unwrap();
        assert_eq!(got.kvs.iter().filter(|kv| kv.value == big).count(), 16);
        let past = back.get("k").revision(overwritten).await.unwrap();
        assert_eq!(&past.kvs[0].value[..], b"v1");
        let told = back.lease_time_to_live(lease.id, true).await.unwrap();
        assert_eq!(told.keys, ["leased"]);
        cluster.same_hash().await;

        // It counts for the quorum.
        cluster.kill(0);
        cluster.leader().await;
        back.put("k", "v3").await.unwrap();
    });
}
