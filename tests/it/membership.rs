//! Who belongs to the cluster changes while it serves.

use std::time::Duration;

use super::harness::{Cluster, Load, check_all, eventually, run};

#[test]
fn a_learner_joins_votes_and_another_member_leaves() {
    let mut cluster = Cluster::start(3);
    run(async {
        cluster.client().put("before", "1").await.unwrap();
        let load = Load::start("load", vec![cluster.client_of(&[0, 1, 2])]);
        let (new, url) = cluster.prepare_joiner("n4");
        let added = ["member", "add", "n4", "--learner", "--peer-urls", &url];
        let told = cluster.ask(&[0, 1, 2], &added);
        assert!(told.contains("added as learner to cluster"), "{told}");
        assert!(told.contains("ETCD_NAME=\"n4\""), "{told}");
        assert!(told.contains("ETCD_INITIAL_CLUSTER_STATE=\"existing\""), "{told}");
        cluster.spawn(new);
        let id = eventually("the learner in the list", || async {
            let answer = cluster.client_of(&[0, 1, 2]).member_list(true).await.ok()?;
            let member = answer.members.into_iter().find(|member| member.name == "n4")?;
            assert!(member.is_learner);
            Some(member.id)
        })
        .await;
        promote(&cluster, id).await;
        let (leader, leader_id) = cluster.leader().await;
        // A member that was promoted serves like any other.
        cluster.client_of(&[new]).put("on the new one", "2").await.unwrap();
        let got = cluster.client_of(&[new]).get("before").await.unwrap();
        assert_eq!(&got.kvs[0].value[..], b"1");

        let removed = cluster.ask(&[new], &["member", "remove", &format!("{leader_id:x}")]);
        assert!(removed.contains("removed from cluster"), "{removed}");
        let status = cluster.ended(leader);
        assert!(status.success(), "{status}\n{}", cluster.log(leader));
        let message = "the member has been permanently removed from the cluster";
        assert!(cluster.log(leader).contains(message), "{}", cluster.log(leader));
        cluster.leader().await;
        let before = load.count();
        eventually("load goes on", || async { (load.count() > before + 50).then_some(()) }).await;
        let acknowledged = load.stop().await;
        check_all(&cluster.client_of(&[new]), &acknowledged).await;
        cluster.same_hash().await;
        let answer = cluster.client_of(&[new]).member_list(true).await.unwrap();
        assert_eq!(answer.members.len(), 3);
        assert!(answer.members.iter().all(|member| !member.is_learner && member.id != leader_id));

        // It stays outside when somebody starts it again.
        let before = cluster.log(leader).len();
        cluster.spawn(leader);
        cluster.ended(leader);
        let log = cluster.log(leader).split_off(before);
        assert!(log.contains(message), "{log}");
        assert!(!log.contains("ready to serve"), "{log}");
    });
}

#[test]
fn changes_in_a_row_are_taken_by_a_follower() {
    let cluster = Cluster::start(3);
    run(async {
        let (leader, _) = cluster.leader().await;
        let client = cluster.client_of(&[(leader + 1) % 3]);
        // It answers as soon as it has applied the change, which the leader may only be about to: seldom, and not forced here.
        for turn in 1..=20 {
            let url = format!("https://127.0.0.1:{turn}");
            let added = client.member_add_learner([url]).await.unwrap();
            let id = added.member.unwrap().id;
            let refused = client.member_promote(id).await.unwrap_err();
            assert!(refused.text().contains("in sync with leader"), "{refused}");
            client.member_remove(id).await.unwrap();
        }
    });
}

#[test]
fn who_was_not_added_does_not_join() {
    let mut cluster = Cluster::start(1);
    let (new, _) = cluster.prepare_joiner("n2");
    cluster.spawn(new);
    let status = cluster.ended(new);
    assert!(!status.success());
    assert!(cluster.log(new).contains("member count is unequal"), "{}", cluster.log(new));
}

/// As a person would: again, until the learner has caught up.
async fn promote(cluster: &Cluster, id: u64) {
    let client = cluster.client_of(&[0, 1, 2]).within(Duration::from_secs(5));
    eventually("the promotion", || async {
        match client.member_promote(id).await {
            Ok(_) => Some(()),
            Err(error) => {
                let text = error.text();
                let later = "can only promote a learner member which is in sync with leader";
                assert!(text.contains(later), "{text}");
                None
            }
        }
    })
    .await;
}
