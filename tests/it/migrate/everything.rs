//! What is carried, from each etcd: keys, leases, places in locks, users and roles; and what becomes of revisions.

use bytes::Bytes;
use quorate::client::{Access, Client, Config, Delete, Put};

use super::sides::{Etcd, Held, Here, MARK, free_url};
use super::{any_etcd, etcds, fill, turns};
use crate::harness::{eventually, run};
use crate::program::{Folder, Output, finish};

/// Everything that an etcd can hold.
async fn furnish(client: &Client) {
    fill(client, "keys", 2_500).await;
    client.put("keys/000007", "changed").await.unwrap();
    client.delete("keys/000008").await.unwrap();
    client.put("empty", "").await.unwrap();
    client
        .put(Bytes::from_static(b"\x01\xff\x00\x80"), Bytes::from_static(&[0, 255]))
        .await
        .unwrap();
    client.put("large", vec![b'x'; 1_000_000]).await.unwrap();
    for lease in [0xa1, 0xa2, 0xa3] {
        client.lease_grant(3_000 + lease, lease).await.unwrap();
    }
    client.put("leased/1", "1").lease(0xa1).await.unwrap();
    client.put("leased/2", "2").lease(0xa1).await.unwrap();
    // Whose turn it is says the order of creation, which is not that of the names.
    client.put("lock/a3", "first").lease(0xa3).await.unwrap();
    client.put("lock/a1", "second").lease(0xa1).await.unwrap();
    client.put("lock/a3", "still first").lease(0xa3).await.unwrap();
    client.role_add("readers").await.unwrap();
    client.role_grant_permission("readers", Access::Read, "keys/", "keys0").await.unwrap();
    client.role_grant_permission("readers", Access::ReadWrite, "one", "").await.unwrap();
    for user in ["root", "alice", "bob"] {
        client.user_add(user, &format!("{user}s")).await.unwrap();
    }
    client.user_grant_role("alice", "readers").await.unwrap();
    client.role_add("root").await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
}

/// A little of everything that may change.
async fn change(client: &Client) {
    let txn = client.txn().then(Delete::new("keys/0001").prefix());
    txn.then(Put::new("new/a", "1")).then(Put::new("new/b", "2")).await.unwrap();
    client.put("new/a", "3").await.unwrap();
    client.lease_grant(4_000, 0xb1).await.unwrap();
    client.put("leased/2", "moved").lease(0xb1).await.unwrap();
    client.put("lock/a2", "third").lease(0xa2).await.unwrap();
    client.lease_revoke(0xa1).await.unwrap();
    client.lease_grant(77, 0xc1).await.unwrap();
    client.put("short", "").lease(0xc1).await.unwrap();
    client.lease_revoke(0xc1).await.unwrap();
    client.user_delete("bob").await.unwrap();
    client.user_add("carol", "carols").await.unwrap();
    client.role_revoke_permission("readers", "one", "").await.unwrap();
    client.role_grant_permission("readers", Access::ReadWrite, "keys/", "keys0").await.unwrap();
}

#[test]
fn everything_of_an_etcd_is_carried_and_goes_on_here() {
    for etcd in etcds().into_iter().map(Etcd::start) {
        let here = Here::start(&etcd.folder, "here", &[]);
        run(async {
            let (from, to) = (etcd.client(), here.client());
            furnish(&from).await;
            let told = here.migrate(&etcd, &["copy"]).ok();
            assert!(told.contains(" 2506 keys (2506 written now), 3 leases"), "{told}");
            assert!(
                told.contains("nobody knows those of the new users alice, bob, root."),
                "{told}"
            );
            assert!(told.contains("which is before the source's"), "{told}");
            Held::by(&from).await.assert_same(&Held::by(&to).await);
            assert_eq!(turns(&to).await, ["lock/a3", "lock/a1"]);
            let told = here.migrate(&etcd, &["verify"]).ok();
            assert!(told.contains("2506 keys, 3 leases, 3 users, 2 roles"), "{told}");

            change(&from).await;
            let told = here.migrate(&etcd, &["follow", "--until-caught-up"]).ok();
            assert!(told.contains("Caught up at revision"), "{told}");
            here.migrate(&etcd, &["verify"]).ok();
            assert_eq!(turns(&to).await, ["lock/a3", "lock/a2"]);
            from.put("last", "1").await.unwrap();
        });
        finished(&etcd, &here);
    }
}

/// With passwords, and users that are asked for.
fn finished(etcd: &Etcd, here: &Here) {
    let refused = here.migrate(etcd, &["finish", "--auth-enable"]);
    assert!(refused.stderr.contains("would lock everybody out"), "{refused:?}");
    std::fs::write(etcd.folder.path().join("passwords"), "root:secret\nalice:her:own\n").unwrap();
    let told = here.migrate(etcd, &["finish", "--auth-enable", "--passwords", "passwords"]).ok();
    assert!(told.contains("Authentication Enabled"), "{told}");
    run(async {
        let login = |name: &str, password: &str| {
            Client::lazy(Config::new([&here.url]).user(name, password)).unwrap()
        };
        let root = login("root", "secret");
        Held::by(&etcd.client()).await.assert_same(&Held::by(&root).await);
        assert_eq!(root.get(MARK).await.unwrap().count, 0);
        let alice = login("alice", "her:own");
        assert_eq!(alice.get("keys/000007").await.unwrap().kvs[0].value, "changed");
        assert!(alice.get("last").await.unwrap_err().text().contains("permission denied"));
        assert!(login("carol", "carols").get("keys/1").await.is_err(), "nobody knows her password");
    });
    let refused = here.migrate(etcd, &["copy", "--user", "root:secret"]);
    assert!(refused.stderr.contains("the destination is not empty: it has"), "{refused:?}");
}

#[test]
fn a_destination_restored_with_higher_revisions_gives_none_a_second_time() {
    let Some(etcd) = any_etcd() else { return };
    let folder = Folder::new();
    let empty = Here::start(&folder, "empty", &[]);
    let ok = |command: &mut std::process::Command| -> Output {
        let output = finish(command);
        assert_eq!(output.code, 0, "{output:?}");
        output
    };
    ok(&mut folder.command(&["snapshot", "save", "empty.snap", "--endpoints", &empty.url]));
    drop(empty);
    let peer = &free_url();
    ok(folder
        .command(&["snapshot", "restore", "empty.snap", "--name", "here", "--data-dir", "here"])
        .args(["--initial-cluster", &format!("here={peer}"), "--initial-advertise-peer-urls", peer])
        .args(["--bump-revision", "1000000000", "--mark-compacted"]));
    let here = Here::start_at(&folder, "here", peer, &[]);
    run(async {
        let (from, to) = (etcd.client(), here.client());
        fill(&from, "keys", 300).await;
        let told = here.migrate(&etcd, &["copy"]).ok();
        assert!(!told.contains("which is before"), "{told}");
        let told = here.migrate(&etcd, &["finish"]).ok();
        let way_back = told.split("--rev ").nth(1).unwrap().split('`').next().unwrap();
        let words = ["make-mirror", "--wire", "grpc", "--rev", way_back, "--endpoints", &here.url];
        let _mirror = etcd.folder.spawn("mirror", &[&words[..], &[&etcd.url]].concat());
        to.put("back", "1").await.unwrap();
        eventually("the source has it, too", || async {
            from.get("back").await.ok()?.kvs.pop().filter(|kv| kv.value == "1")
        })
        .await;
        let source = from.get("keys/").prefix().await.unwrap().header.unwrap().revision;
        let kvs = to.get("keys/").prefix().await.unwrap().kvs;
        assert_eq!(kvs.len(), 300);
        assert!(kvs.iter().all(|kv| kv.create_revision > source + 999_999_000));
        // Whoever goes on from a revision of the source is told to read anew.
        let mut watcher = match to.watch("keys/").prefix().start_revision(source + 1).await {
            Ok(watcher) => watcher,
            Err(error) => return assert!(error.text().contains("compacted"), "{error}"),
        };
        let error = watcher.next().await.unwrap().unwrap_err();
        assert!(error.text().contains("compacted"), "{error}");
    });
}
