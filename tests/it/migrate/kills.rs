//! Killed at several points under load, and called again: at the cut-over everything is there, and nothing else.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use quorate::client::{Client, Delete, Put};
use rustix::process::Signal;
use tokio::task::JoinHandle;

use super::sides::{Etcd, Held, Here, MARK};
use super::{any_etcd, etcds, fill, turns};
use crate::harness::{eventually, run};
use crate::program::until;

/// Somebody who goes on changing things at the source: puts, transactions, deletions, leases.
pub(super) struct Busy {
    running: Arc<AtomicBool>,
    at_work: JoinHandle<u64>,
}

impl Busy {
    pub(super) fn start(client: Client) -> Self {
        let running = Arc::new(AtomicBool::new(true));
        let is_running = Arc::clone(&running);
        let at_work = tokio::spawn(async move {
            let mut n: u64 = 0;
            while is_running.load(Ordering::Relaxed) {
                n += 1;
                turn(&client, n).await;
            }
            n
        });
        Self { running, at_work }
    }

    /// How often it has changed things.
    pub(super) async fn stop(self) -> u64 {
        self.running.store(false, Ordering::Relaxed);
        self.at_work.await.unwrap()
    }
}

async fn turn(client: &Client, n: u64) {
    client.put(format!("keys/{:06}", n * 7 % 5_000), format!("busy {n}")).await.unwrap();
    let (one, other) = (format!("pair/{}/a", n % 50), format!("pair/{}/b", n % 50));
    let txn = client.txn().then(Put::new(one, n.to_string()));
    txn.then(Put::new(other, n.to_string())).await.unwrap();
    client.delete(format!("keys/{:06}", n * 11 % 5_000)).await.unwrap();
    if n.is_multiple_of(10) {
        let lease = client.lease_grant(600, 0).await.unwrap().id;
        client.put(format!("leased/{n}"), "").lease(lease).await.unwrap();
        client.put(format!("lock/{lease:x}"), "").lease(lease).await.unwrap();
        if n.is_multiple_of(20) {
            client.lease_revoke(lease).await.unwrap();
        }
    }
    if n.is_multiple_of(25) {
        client.txn().then(Delete::new("leased/1").prefix()).await.unwrap();
    }
}

#[test]
fn copying_and_following_are_killed_under_load_and_go_on() {
    for etcd in etcds().into_iter().map(Etcd::start) {
        let here = Here::start(&etcd.folder, "here", &[]);
        run(async {
            let (from, to) = (etcd.client(), here.client());
            fill(&from, "keys", 5_000).await;
            let busy = Busy::start(etcd.client());
            for (round, keys) in [1, 1_000, 3_000].into_iter().enumerate() {
                // Dropped, it is killed.
                let copying = here.begin(&etcd, &format!("copy{round}"), &["copy"]);
                here.has(keys).await;
                drop(copying);
            }
            let told = here.migrate(&etcd, &["copy"]).ok();
            assert!(told.contains("Going on with the unfinished copy"), "{told}");
            for round in 0..4 {
                let following = here.begin(&etcd, &format!("follow{round}"), &["follow"]);
                let before = marked(&to).await;
                // It goes on from where the mark is: nothing can be written without it.
                eventually("it follows", || async {
                    (marked(&to).await > before + 200).then_some(())
                })
                .await;
                drop(following);
            }
            let changed = busy.stop().await;
            assert!(changed > 100, "{changed}");
            let told = here.migrate(&etcd, &["finish"]).ok();
            assert!(told.contains("Equal at revision"), "{told}");
            Held::by(&from).await.assert_same(&Held::by(&to).await);
            let places = turns(&from).await;
            assert!(places.len() > 5 && places == turns(&to).await, "{places:?}");
            assert_eq!(to.get(MARK).await.unwrap().count, 0);
        });
    }
}

/// The source's revision in the mark.
async fn marked(to: &Client) -> i64 {
    let kvs = to.get(MARK).await.unwrap().kvs;
    let mark: serde_json::Value = serde_json::from_slice(&kvs[0].value).unwrap();
    mark["revision"].as_i64().unwrap()
}

/// Keys that go one by one, for long enough to be stopped on the way.
const SLOWLY: usize = 12_000;

#[test]
fn a_source_that_is_compacted_meanwhile_is_read_again() {
    for etcd in etcds().into_iter().map(Etcd::start) {
        let here = Here::start(&etcd.folder, "here", &[]);
        run(async {
            let (from, to) = (etcd.client(), here.client());
            fill(&from, "keys", SLOWLY).await;
            // One key with each transaction.
            let mut copying = here.begin(&etcd, "copy", &["copy", "--max-txn-ops", "2"]);
            here.has(500).await;
            copying.signal(Signal::STOP);
            let copied = to.get("keys/").prefix().count_only().await.unwrap().count;
            // What was read and is not written yet are two pages at most: more is left to be read.
            assert!(copied < SLOWLY as i64 - 2_500, "{copied}: it was too fast to be stopped");
            forget_after_a_change(&from, "copying").await;
            copying.signal(Signal::CONT);
            assert!(copying.wait().success(), "{}", copying.stderr());
            let told = copying.stdout();
            assert!(told.contains("The source was compacted meanwhile"), "{told}");
            Held::by(&from).await.assert_same(&Held::by(&to).await);
            forget_after_a_change(&from, "following").await;
            let told = here.migrate(&etcd, &["follow", "--until-caught-up"]).ok();
            assert!(told.contains("The source was compacted before it was followed"), "{told}");
            Held::by(&from).await.assert_same(&Held::by(&to).await);
            here.migrate(&etcd, &["finish"]).ok();
        });
    }
}

/// Changes, deletions among them, whose history is gone.
async fn forget_after_a_change(client: &Client, what: &'static str) {
    client.put("keys/000001", what).await.unwrap();
    client.put(format!("new/{what}"), "1").await.unwrap();
    let end = if what == "copying" { "keys/000200" } else { "keys/000400" };
    client.delete("keys/000100").range(end).await.unwrap();
    let deleted = client.delete("keys/0055").prefix().await.unwrap();
    let revision = deleted.header.unwrap().revision;
    client.compact(revision, false).await.unwrap();
}

#[test]
fn keys_that_a_lease_has_taken_here_while_nobody_followed_come_back() {
    let Some(etcd) = any_etcd() else { return };
    let here = Here::start(&etcd.folder, "here", &[]);
    run(async {
        let (from, to) = (etcd.client(), here.client());
        let lease = from.lease_grant(10, 0xbeef).await.unwrap().id;
        let keeper = from.lease_keep_alive(lease).await.unwrap();
        from.put("session", "alive").lease(lease).await.unwrap();
        here.migrate(&etcd, &["copy"]).ok();
        let gone = async || {
            eventually("the lease ends where nobody keeps it alive", || async {
                (to.get("session").await.ok()?.count == 0).then_some(())
            })
            .await;
        };
        gone().await;
        let told = here.migrate(&etcd, &["follow", "--until-caught-up"]).ok();
        assert!(told.contains("A lease has ended at the destination"), "{told}");
        // Nobody renews it now, so it may be gone again at any moment.
        assert!(told.contains("and wrote 1 at revision"), "{told}");
        gone().await;
        // While it follows it keeps the lease alive, until it ends at the source.
        let mut following = here.begin(&etcd, "follow", &["follow"]);
        let back =
            eventually("it is back", || async { to.get("session").await.unwrap().kvs.pop() }).await;
        assert_eq!(back.lease, lease);
        // What remains of its time grows only when somebody renews it.
        let remained = Cell::new(i64::MAX);
        eventually("it is renewed", || async {
            let remains = to.lease_time_to_live(lease, false).await.unwrap().ttl;
            (remains > remained.replace(remains)).then_some(())
        })
        .await;
        assert_eq!(keeper.id(), lease);
        drop(keeper);
        from.lease_revoke(lease).await.unwrap();
        eventually("the lease ends here, too", || async {
            to.lease_list().await.unwrap().leases.is_empty().then_some(())
        })
        .await;
        assert_eq!(to.get("session").await.unwrap().count, 0);
        following.signal(Signal::TERM);
        assert!(following.wait().success(), "{}", following.stderr());
        assert!(following.stdout().contains("Stopped."), "{}", following.stdout());
        here.migrate(&etcd, &["finish"]).ok();
    });
}

/// Users whose passwords are hashed one after the other: seconds, between copying and following.
const USERS: usize = 60;

#[test]
fn keys_that_a_lease_has_taken_here_before_it_was_followed_come_back() {
    let Some(etcd) = any_etcd() else { return };
    let here = Here::start(&etcd.folder, "here", &[]);
    run(async {
        let (from, to) = (etcd.client(), here.client());
        let lease = from.lease_grant(600, 0xbeef).await.unwrap().id;
        from.put("session", "alive").lease(lease).await.unwrap();
        for n in 0..USERS {
            from.user_add(&format!("user{n}"), "x").await.unwrap();
        }
        let mut copying = here.begin(&etcd, "copy", &["copy", "--follow"]);
        eventually("it is copied", || async {
            let kv = to.get(MARK).await.ok()?.kvs.pop()?;
            let mark: serde_json::Value = serde_json::from_slice(&kv.value).ok()?;
            (mark["state"] == "following").then_some(())
        })
        .await;
        // As if nobody had renewed it.
        to.lease_revoke(lease).await.unwrap();
        let carried = to.user_list().await.unwrap().users.len();
        assert!(carried < USERS, "it follows already");
        let back =
            eventually("it is back", || async { to.get("session").await.unwrap().kvs.pop() }).await;
        assert_eq!(back.lease, lease);
        until("it tells why it came", || {
            let told = copying.stdout();
            told.contains("A lease has ended at the destination: compared 1 keys").then_some(())
        });
        copying.signal(Signal::TERM);
        assert!(copying.wait().success(), "{}", copying.stderr());
        here.migrate(&etcd, &["finish"]).ok();
        Held::by(&from).await.assert_same(&Held::by(&to).await);
    });
}
