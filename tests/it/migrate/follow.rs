//! What is watched and written: transactions stay whole, those that are too large come in parts, and both sides may be away.

use quorate::client::{Delete, Put};
use rustix::process::Signal;

use super::any_etcd;
use super::sides::{Held, Here};
use crate::harness::{eventually, run};
use crate::program::{Folder, free_port};

#[test]
fn a_transaction_of_the_source_is_one_here() {
    let Some(etcd) = any_etcd() else { return };
    let here = Here::start(&etcd.folder, "here", &[]);
    run(async {
        let (from, to) = (etcd.client(), here.client());
        from.put("pair/a", "0").await.unwrap();
        let mut copying = here.begin(&etcd, "copy", &["copy", "--follow"]);
        here.has(1).await;
        let mut watcher = to.watch("pair/").prefix().await.unwrap();
        for n in 0..500 {
            let txn = from.txn().then(Put::new("pair/a", n.to_string()));
            txn.then(Put::new("pair/b", n.to_string())).await.unwrap();
        }
        let mut seen = String::new();
        while seen != "499" {
            let response = watcher.next().await.unwrap().unwrap();
            for two in response.events.chunks(2) {
                let value = |at: usize| {
                    let kv = two[at].kv.as_ref().unwrap();
                    (kv.mod_revision, String::from_utf8(kv.value.to_vec()).unwrap())
                };
                assert_eq!(value(0), value(1), "one revision, one number");
                seen = value(0).1;
            }
        }
        copying.signal(Signal::INT);
        assert!(copying.wait().success(), "{}", copying.stderr());
        here.migrate(&etcd, &["finish"]).ok();
        Held::by(&from).await.assert_same(&Held::by(&to).await);
    });
}

#[test]
fn what_one_lease_takes_may_be_more_than_one_transaction_takes() {
    let Some(etcd) = any_etcd() else { return };
    let here = Here::start(&etcd.folder, "here", &["--max-txn-ops", "10"]);
    run(async {
        let (from, to) = (etcd.client(), here.client());
        let lease = from.lease_grant(600, 0).await.unwrap().id;
        for n in 0..300 {
            from.put(format!("leased/{n}"), "x").lease(lease).await.unwrap();
        }
        let refused = here.migrate(&etcd, &["copy"]);
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.stderr.contains("give a smaller --max-txn-ops"), "{refused:?}");
        here.migrate(&etcd, &["copy", "--max-txn-ops", "10"]).ok();
        from.lease_revoke(lease).await.unwrap();
        let txn = (0..100).fold(from.txn(), |txn, n| txn.then(Put::new(format!("large/{n}"), "1")));
        txn.await.unwrap();
        from.txn().then(Delete::new("large/1").prefix()).await.unwrap();
        here.migrate(&etcd, &["follow", "--until-caught-up", "--max-txn-ops", "10"]).ok();
        here.migrate(&etcd, &["finish", "--max-txn-ops", "10"]).ok();
        Held::by(&from).await.assert_same(&Held::by(&to).await);
        assert_eq!(to.get("large/").prefix().await.unwrap().count, 89);
    });
}

#[test]
fn it_waits_for_a_destination_that_is_away_for_a_moment() {
    let Some(etcd) = any_etcd() else { return };
    let folder = Folder::new();
    let (client, peer) = (free_port(), free_port());
    let (url, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    let serve = || {
        let words = [
            "serve",
            "--name",
            "n",
            "--listen-client-urls",
            &url,
            "--advertise-client-urls",
            &url,
            "--listen-peer-urls",
            &peer,
            "--initial-advertise-peer-urls",
            &peer,
            "--initial-cluster",
            &format!("n={peer}"),
        ];
        folder.spawn("n", &words)
    };
    let mut member = Some(serve());
    run(async {
        let from = etcd.client();
        from.put("k", "0").await.unwrap();
        let to = quorate::client::Client::lazy(quorate::client::Config::new([&url])).unwrap();
        eventually("it serves", || async { to.status().await.ok() }).await;
        let words = ["migrate", "copy", "--follow", "--from", &etcd.url, "--endpoints", &url];
        let mut following = folder.spawn("follow", &words);
        let has = async |value: &str| {
            eventually(&format!("k is {value}"), || async {
                let kvs = to.get("k").await.ok()?.kvs;
                (kvs.first()?.value == value.as_bytes().to_vec()).then_some(())
            })
            .await;
        };
        has("0").await;
        drop(member.take());
        for n in 1..=200 {
            from.put("k", n.to_string()).await.unwrap();
        }
        member = Some(serve());
        has("200").await;
        assert!(!following.has_ended(), "{}", following.stderr());
        following.signal(Signal::TERM);
        assert!(following.wait().success(), "{}", following.stderr());
        assert!(!member.as_mut().unwrap().has_ended());
    });
}
