//! `force-new-cluster`: one of three is left for ever, and becomes a cluster of its own.

use super::harness::{Cluster, eventually, failure, quorate, run, stdout};
use super::program::output;

const SURVIVOR: usize = 1;

/// Adds or takes away the setting.
fn set_force(cluster: &Cluster, is_on: bool) {
    let config = &cluster.members[SURVIVOR].config;
    let text = std::fs::read_to_string(config).unwrap();
    let text = text.replace("force-new-cluster = true\n", "");
    let text = if is_on { format!("force-new-cluster = true\n{text}") } else { text };
    std::fs::write(config, text).unwrap();
}

/// It serves alone, with everything that was acknowledged; the cluster's and its own id.
async fn serves_alone(cluster: &Cluster, keys: usize) -> (u64, u64) {
    let client = cluster.client_of(&[SURVIVOR]);
    let read =
        eventually("the survivor serves", || async { client.get("key/").prefix().await.ok() })
            .await;
    assert_eq!(read.kvs.len(), keys);
    let listed = client.member_list(true).await.unwrap();
    let names: Vec<&str> = listed.members.iter().map(|member| member.name.as_str()).collect();
    assert_eq!(names, ["n2"]);
    let header = listed.header.unwrap();
    (header.cluster_id, header.member_id)
}

#[test]
fn a_survivor_goes_on_alone_with_all_that_was_acknowledged() {
    let mut cluster = Cluster::start(3);
    run(async {
        let client = cluster.client_of(&[0, 1, 2]);
        for count in 0..100 {
            client.put(format!("key/{count}"), "value").await.unwrap();
        }
        cluster.same_hash().await;
        let header = client.status().await.unwrap().header.unwrap();
        let own = cluster.client_of(&[SURVIVOR]).status().await.unwrap().header.unwrap().member_id;
        for index in 0..3 {
            cluster.kill(index);
        }
        set_force(&cluster, true);
        cluster.spawn(SURVIVOR);
        assert_eq!(serves_alone(&cluster, 100).await, (header.cluster_id, own));
        let told = cluster.log(SURVIVOR);
        assert!(told.contains("this member alone is the cluster now"), "{told}");
        let put = cluster.client_of(&[SURVIVOR]).put("key/100", "value").await.unwrap();
        assert!(put.header.unwrap().revision > header.revision);

        // Killed, and started without the setting: it is what it has become.
        cluster.kill(SURVIVOR);
        set_force(&cluster, false);
        cluster.spawn(SURVIVOR);
        serves_alone(&cluster, 101).await;

        // Who belonged to the cluster that was does not come back with what it has ...
        cluster.spawn(0);
        cluster.ended(0);
        let told = cluster.log(0);
        let last = told.lines().rev().take(3).collect::<Vec<_>>().join("\n");
        assert!(last.contains("permanently removed from the cluster"), "{last}");
        // ... but as somebody new.
        std::fs::remove_dir_all(&cluster.members[0].data).unwrap();
        let url = cluster.members[0].url.clone();
        cluster.ask(&[SURVIVOR], &["member", "add", "n1", "--peer-urls", &url]);
        let roster = [0, SURVIVOR]
            .map(|index| (cluster.members[index].name.clone(), cluster.members[index].url.clone()));
        cluster.joins_as(0, &roster);
        cluster.spawn(0);
        cluster.leader().await;
        eventually("the newcomer has everything", || async {
            let read = cluster.client_of(&[0]).get("key/").prefix().await.ok()?;
            (read.kvs.len() == 101).then_some(())
        })
        .await;
        cluster.same_hash().await;
    });
}

#[test]
fn a_backup_begins_a_cluster_of_its_own() {
    let mut cluster = Cluster::start(3);
    run(async {
        let client = cluster.client_of(&[0, 1, 2]);
        for count in 0..10 {
            client.put(format!("key/{count}"), "value").await.unwrap();
        }
        cluster.same_hash().await;
        let (data, copy) = (cluster.members[SURVIVOR].data.clone(), cluster.dir().join("backup"));
        let backup = || {
            let mut command = quorate();
            command.arg("backup").arg("--data-dir").arg(&data).arg("--backup-dir").arg(&copy);
            output(&mut command)
        };
        let told = failure(backup());
        assert!(told.contains("in use") && told.contains("snapshot save"), "{told}");
        assert!(cluster.stop(SURVIVOR).success());
        let told = stdout(backup());
        assert!(told.contains("--force-new-cluster"), "{told}");
        for index in [0, 2] {
            cluster.kill(index);
        }
        cluster.place(SURVIVOR, &copy);
        set_force(&cluster, true);
        cluster.spawn(SURVIVOR);
        serves_alone(&cluster, 10).await;
    });
}

#[test]
fn an_empty_directory_is_nobody_who_survived() {
    let cluster = Cluster::prepare(3);
    set_force(&cluster, true);
    let config = cluster.members[SURVIVOR].config.to_str().unwrap();
    let told = failure(output(quorate().args(["serve", "--config-file", config])));
    assert!(told.contains("data-n2 holds no member; give the data directory of one"), "{told}");
}
