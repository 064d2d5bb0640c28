//! Stopping in order, starting again, and data directories that are not this member's to use.

use std::path::Path;

use super::harness::{Cluster, SOON, eventually, failure, free_ports, run};
use crate::program::output;

#[test]
fn sigterm_ends_a_member_in_order_and_it_comes_back_with_its_data() {
    let mut cluster = Cluster::start(3);
    run(async {
        cluster.client().put("k", "before").await.unwrap();
        let (leader, _) = cluster.leader().await;
        let status = cluster.stop(leader);
        assert!(status.success(), "{status}");
        let log = cluster.log(leader);
        assert!(log.contains("asked to stop") && log.contains("stopped"), "{log}");
        assert!(log.contains("handed leadership over"), "{log}");
        cluster.leader().await;
        cluster.client().put("k", "meanwhile").await.unwrap();
        cluster.spawn(leader);
        cluster.leader().await;
        let got = cluster.client_of(&[leader]).get("k").await.unwrap();
        assert_eq!((&got.kvs[0].value[..], got.kvs[0].version), (&b"meanwhile"[..], 2));

        for index in 0..3 {
            let status = cluster.stop(index);
            assert!(status.success(), "{status}");
        }
        for index in 0..3 {
            cluster.spawn(index);
        }
        cluster.leader().await;
        let got = cluster.client().get("k").await.unwrap();
        assert_eq!((&got.kvs[0].value[..], got.kvs[0].version), (&b"meanwhile"[..], 2));
        cluster.same_hash().await;
        for index in 0..3 {
            assert!(!cluster.log(index).contains("panicked"), "{}", cluster.log(index));
        }
    });
}

#[test]
fn a_data_directory_serves_one_process() {
    let cluster = Cluster::start(1);
    let text = failure(output(&mut cluster.serve(0)));
    assert!(text.contains("is in use by another process"), "{text}");
    assert!(text.contains(cluster.members[0].data.to_str().unwrap()), "{text}");
    // Whom it belongs to has not noticed.
    assert_eq!(cluster.ask(&[0], &["put", "k", "v"]), "OK\n");
}

#[test]
fn a_data_directory_serves_one_member_of_one_cluster() {
    let mut cluster = Cluster::start(3);
    cluster.kill(0);
    cluster.kill(1);
    let refused = |name: &str, url: &str, data: &Path| {
        let mut command = cluster.serve(1);
        command.args(["--name", name, "--listen-peer-urls", url, "--listen-client-urls", url]);
        command.args(["--initial-advertise-peer-urls", url, "--advertise-client-urls", url]);
        command.arg("--data-dir").arg(data);
        if name == "alone" {
            command.args(["--initial-cluster", &format!("{name}={url}")]);
        }
        let text = failure(output(&mut command));
        assert!(text.contains("belongs to member"), "{text}");
        assert!(text.contains("give each member its own --data-dir"), "{text}");
    };
    let (other, own) = (&cluster.members[0], &cluster.members[1]);
    refused(&own.name, &own.url, &other.data);
    refused("alone", &format!("https://127.0.0.1:{}", free_ports(1)[0]), &own.data);
    cluster.spawn(0);
    run(async { _ = cluster.leader().await });
}

#[test]
fn a_founder_that_lost_its_data_is_not_founded_again() {
    let mut cluster = Cluster::start(3);
    run(async {
        eventually("published members", || async {
            let answer = cluster.client().member_list(true).await.ok()?;
            answer.members.iter().all(|member| !member.client_ur_ls.is_empty()).then_some(())
        })
        .await;
    });
    cluster.kill(2);
    std::fs::remove_dir_all(&cluster.members[2].data).unwrap();
    cluster.spawn(2);
    let mut process = cluster.members[2].process.take().unwrap();
    let status = process.wait(SOON).unwrap();
    assert!(!status.success());
    let log = process.log();
    assert!(log.contains("has already been bootstrapped"), "{log}");
    assert!(log.contains("member resync"), "{log}");
}
