//! Members come as learners, are promoted, and leave for ever.

use crate::program::{Cluster, free_port, until};

/// Starts what `member add` printed for it, on one port with certificates of its own.
fn start_added(cluster: &mut Cluster, name: &str, port: u16, printed: &str) -> usize {
    for kind in ["peer", "server"] {
        cluster.folder.run(&["cert", kind, name]).ok();
    }
    let url = format!("https://127.0.0.1:{port}");
    let mut command = cluster.folder.command(&["serve"]);
    for line in printed.lines().filter(|line| line.starts_with("ETCD_")) {
        let (variable, value) = line.split_once('=').unwrap();
        command.env(variable, value.trim_matches('"'));
    }
    command
        .env("ETCD_DATA_DIR", format!("data/{name}"))
        .env("ETCD_LISTEN_PEER_URLS", &url)
        .env("ETCD_LISTEN_CLIENT_URLS", &url)
        .env("ETCD_ADVERTISE_CLIENT_URLS", &url)
        .env("ETCD_PEER_CERT_FILE", format!("certs/peer-{name}.crt"))
        .env("ETCD_PEER_KEY_FILE", format!("certs/peer-{name}.key"))
        .env("ETCD_PEER_TRUSTED_CA_FILE", "certs/ca.crt")
        .env("ETCD_CERT_FILE", format!("certs/server-{name}.crt"))
        .env("ETCD_KEY_FILE", format!("certs/server-{name}.key"))
        .env("ETCD_TRUSTED_CA_FILE", "certs/ca.crt")
        .env("ETCD_CLIENT_CERT_AUTH", "true");
    cluster.adopt(name, port, command)
}

#[test]
fn a_learner_joins_by_snapshot_is_promoted_and_another_leaves() {
    let mut cluster = Cluster::start();
    for count in 0..20 {
        cluster.ask_all(&["put", &format!("key/{count}"), "value"]).ok();
    }
    let port = free_port();
    let peer_urls = format!("--peer-urls=https://127.0.0.1:{port}");
    let printed = until("the cluster is healthy enough for a change", || {
        let output = cluster.ask_all(&["member", "add", "n4", &peer_urls, "--learner"]);
        (output.code == 0).then_some(output.stdout)
    });
    assert!(printed.contains(" added as learner to cluster "), "{printed}");
    assert!(printed.contains("ETCD_INITIAL_CLUSTER_STATE=\"existing\""), "{printed}");
    let listed = cluster.ask_all(&["member", "list"]).ok();
    assert_eq!(listed.matches("unstarted").count(), 1, "{listed}");

    let added = start_added(&mut cluster, "n4", port, &printed);
    until("the learner has caught up", || {
        let status = cluster.status(added)?;
        let leader = cluster.status(0)?;
        // The keys are there a moment before Raft's own view of the membership is.
        (status.revision == leader.revision && status.is_learner).then_some(())
    });
    let id = format!("{:x}", cluster.status(added).unwrap().member);
    until("the learner is promoted", || {
        (cluster.ask(0, &["member", "promote", &id]).code == 0).then_some(())
    });
    until("the new voter serves", || {
        let got = cluster.ask(added, &["get", "key/7", "--print-value-only"]);
        (got.code == 0 && got.stdout == "value\n").then_some(())
    });
    assert!(!cluster.status(added).unwrap().is_learner);
    cluster.ask(added, &["put", "by", "n4"]).ok();

    let leaver = (cluster.leader() + 1) % 3;
    let id = format!("{:x}", cluster.status(leaver).unwrap().member);
    let removed = until("the member is removed", || {
        let output = cluster.ask(added, &["member", "remove", &id]);
        (output.code == 0).then_some(output.stdout)
    });
    assert!(removed.contains(" removed from cluster "), "{removed}");
    let status = cluster.process(leaver).wait();
    let log = cluster.process(leaver).stderr();
    assert!(status.success(), "{status}: {log}");
    assert!(log.contains("the member has been permanently removed from the cluster"), "{log}");
    let listed = cluster.ask(added, &["member", "list"]).ok();
    assert_eq!(listed.lines().count(), 3, "{listed}");
    cluster.ask(added, &["put", "after", "the removal"]).ok();
}

#[test]
fn a_joiner_that_does_not_fit_is_told_what_to_mend() {
    let mut cluster = Cluster::start();
    let port = free_port();
    let entries: Vec<String> = (0..3)
        .map(|at| format!("{}={}", cluster.name(at), cluster.endpoint(at)))
        .chain([format!("n4=https://127.0.0.1:{port}")])
        .collect();
    let printed = format!(
        "ETCD_NAME=\"n4\"\nETCD_INITIAL_CLUSTER=\"{}\"\nETCD_INITIAL_CLUSTER_STATE=\"existing\"\n",
        entries.join(",")
    );
    let added = start_added(&mut cluster, "n4", port, &printed);
    let status = cluster.process(added).wait();
    let log = cluster.process(added).stderr();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("member count is unequal"), "{log}");
}
