//! Three nodes from the files of `config/three` and the certificates of `quorate cert`, asked by the command line alone:
//! every node serves, and what is printed is etcdctl's.

use crate::program::{Cluster, finish_with, until};

#[test]
fn the_sample_files_make_a_cluster_that_speaks_as_etcd_does() {
    let mut cluster = Cluster::start();
    every_node_serves(&cluster);
    a_watch_tells_three_events(&cluster);
    transactions_and_leases(&cluster);
    compaction_and_snapshots(&cluster);
    leadership_moves(&mut cluster);
    cluster.same_hash();
}

fn every_node_serves(cluster: &Cluster) {
    for writer in 0..3 {
        let value = format!("by {}", cluster.name(writer));
        assert_eq!(cluster.ask(writer, &["put", "greeting", &value]).ok(), "OK\n");
        for reader in 0..3 {
            let got = cluster.ask(reader, &["get", "greeting"]).ok();
            assert_eq!(got, format!("greeting\n{value}\n"), "linearizable at {reader}");
            until("a serializable read catches up", || {
                let got = cluster.ask(reader, &["get", "greeting", "--consistency", "s"]).ok();
                (got == format!("greeting\n{value}\n")).then_some(())
            });
        }
    }
    let table = cluster.ask_all(&["endpoint", "status", "-w", "table"]).ok();
    let header = "|        ID        | VERSION | STORAGE VERSION | DB SIZE | IN USE |";
    assert!(table.contains(header), "{table}");
    assert_eq!(table.matches("|      true |      false |").count(), 1, "one leader: {table}");
    let health = cluster.ask_all(&["endpoint", "health", "--cluster"]).ok();
    assert_eq!(
        health.matches("is healthy: successfully committed proposal").count(),
        3,
        "{health}"
    );
    cluster.same_hash();
}

/// Those of the first article.
fn a_watch_tells_three_events(cluster: &Cluster) {
    let from = (cluster.status(0).unwrap().revision + 1).to_string();
    let mut command = cluster.client_command(&["watch", "key", "--rev", &from]);
    command.env("ETCDCTL_ENDPOINTS", cluster.endpoint(1));
    let watch = cluster.folder.spawn_command("watch", command);
    cluster.ask(0, &["put", "key", "value"]).ok();
    cluster.ask(1, &["put", "key", "new_value"]).ok();
    cluster.ask(2, &["del", "key"]).ok();
    let told = "PUT\nkey\nvalue\nPUT\nkey\nnew_value\nDELETE\nkey\n\n";
    until("the watch tells three events", || (watch.stdout() == told).then_some(()));
}

fn transactions_and_leases(cluster: &Cluster) {
    let lines = "version(\"lock\") = \"0\"\n\nput lock me\nget lock\n\nget lock\n\n";
    let run = || {
        let mut command = cluster.client_command(&["txn"]);
        finish_with(&mut command, lines).ok()
    };
    assert_eq!(run(), "SUCCESS\n\nOK\n\nlock\nme\n");
    assert_eq!(run(), "FAILURE\n\nlock\nme\n");

    let granted = cluster.ask(0, &["lease", "grant", "60"]).ok();
    let id = granted.split_whitespace().nth(1).unwrap();
    assert_eq!(granted, format!("lease {id} granted with TTL(60s)\n"));
    cluster.ask(1, &["put", "leased", "x", "--lease", id]).ok();
    let left = cluster.ask(2, &["lease", "timetolive", id, "--keys"]).ok();
    assert!(left.ends_with("attached keys([leased])\n"), "{left}");
    let once = cluster.ask(1, &["lease", "keep-alive", "--once", id]).ok();
    assert_eq!(once, format!("lease {id} keepalived with TTL(60)\n"));
    assert_eq!(cluster.ask(0, &["lease", "revoke", id]).ok(), format!("lease {id} revoked\n"));
    assert_eq!(cluster.ask(1, &["get", "leased"]).ok(), "");
    let gone = cluster.ask(1, &["lease", "revoke", id]);
    assert_eq!(gone.code, 1);
    let text = "Error: failed to revoke lease (etcdserver: requested lease not found)\n";
    assert_eq!(gone.stderr, text);

    let short = cluster.ask(0, &["lease", "grant", "1"]).ok();
    let id = short.split_whitespace().nth(1).unwrap();
    assert_eq!(short, format!("lease {id} granted with TTL(2s)\n"), "the shortest lease is 2 s");
    cluster.ask(1, &["put", "short", "x", "--lease", id]).ok();
    until("the lease expires", || cluster.ask(2, &["get", "short"]).ok().is_empty().then_some(()));
}

fn compaction_and_snapshots(cluster: &Cluster) {
    cluster.ask(0, &["put", "lock", "you"]).ok();
    let revision = cluster.status(0).unwrap().revision.to_string();
    let compacted = cluster.ask(0, &["compaction", &revision, "--physical"]).ok();
    assert_eq!(compacted, format!("compacted revision {revision}\n"));
    let past = cluster.ask(1, &["get", "lock", "--rev", "2"]);
    assert_eq!(past.stderr, "Error: etcdserver: mvcc: required revision has been compacted\n");

    cluster.ask(0, &["put", "a", "1"]).ok();
    let saved = cluster.ask(1, &["snapshot", "save", "backup.db"]).ok();
    assert!(saved.starts_with("Snapshot saved at backup.db\nServer version "), "{saved}");
    let bytes = std::fs::metadata(cluster.folder.path().join("backup.db")).unwrap().len();
    assert_eq!(bytes % 512, 32, "the data, then 32 bytes of checksum");
    let many = cluster.ask_all(&["snapshot", "save", "backup.db"]);
    assert_eq!(many.code, 5, "{many:?}");
}

/// By command, and by a leader that stops.
fn leadership_moves(cluster: &mut Cluster) {
    let leader = cluster.leader();
    let target = (leader + 1) % 3;
    let id = format!("{:x}", cluster.status(target).unwrap().member);
    let moved = cluster.ask_all(&["move-leader", &id]).ok();
    assert!(moved.ends_with(&format!(" to {id}\n")), "{moved}");
    assert_eq!(cluster.leader(), target);
    cluster.stop(target);
    let log = std::fs::read_to_string(
        cluster.folder.path().join(format!("{}.err", cluster.name(target))),
    )
    .unwrap();
    assert!(log.contains("handed leadership over"), "{log}");
    cluster.leader();
    cluster.ask_all(&["put", "after", "the stop"]).ok();
    cluster.start_node(target);
    cluster.leader();
    assert_eq!(cluster.ask(target, &["get", "after", "--print-value-only"]).ok(), "the stop\n");
}
