//! An etcd with many keys, leases and users, migrated while it is written to. `QUORATE_MIGRATE_KEYS` says how many keys; a
//! hundred thousand take some minutes.

use std::time::Duration;

use quorate::client::{Access, Client, Put};
use rustix::process::Signal;
use tokio::task::JoinSet;

use super::any_etcd;
use super::kills::Busy;
use super::sides::{Held, Here};
use crate::harness::run_within;

const KEYS_DEFAULT: usize = 4_000;

/// Longest time for the test, however many keys.
const TEST_MAX: Duration = Duration::from_secs(1_800);

/// Of so many keys one has a lease.
const LEASED: usize = 10;

const USERS: usize = 8;

async fn furnish(client: &Client, keys: usize) {
    let mut writing = JoinSet::new();
    for first in (0..keys).step_by(100) {
        while writing.len() >= 16 {
            writing.join_next().await.unwrap().unwrap();
        }
        let client = client.clone();
        writing.spawn(async move {
            let mut txn = client.txn();
            for n in first..(first + 100).min(keys) {
                let put = Put::new(format!("keys/{n:06}"), format!("value {n:0>200}"));
                txn = txn.then(match n.is_multiple_of(LEASED) {
                    true => {
                        let lease = 0x1000 + i64::try_from(n).unwrap();
                        client.lease_grant(3_600, lease).await.unwrap();
                        put.lease(lease)
                    }
                    false => put,
                });
            }
            txn.await.unwrap();
        });
    }
    while let Some(written) = writing.join_next().await {
        written.unwrap();
    }
    for n in 0..USERS {
        let (user, role) = (format!("user{n}"), format!("role{n}"));
        client.role_add(&role).await.unwrap();
        let prefix = format!("keys/{n}");
        client.role_grant_permission(&role, Access::ReadWrite, prefix, "keys0").await.unwrap();
        client.user_add(&user, "secret").await.unwrap();
        client.user_grant_role(&user, &role).await.unwrap();
    }
}

#[test]
fn many_keys_with_leases_and_users_are_migrated_under_load() {
    let Some(etcd) = any_etcd() else { return };
    let keys = std::env::var("QUORATE_MIGRATE_KEYS")
        .map_or(KEYS_DEFAULT, |said| said.parse().expect("QUORATE_MIGRATE_KEYS is a number"));
    let here = Here::start(&etcd.folder, "here", &[]);
    run_within(TEST_MAX, async {
        let (from, to) = (etcd.client(), here.client());
        furnish(&from, keys).await;
        let busy = Busy::start(etcd.client());
        let mut migrating = here.begin(&etcd, "migrate", &["copy", "--follow"]);
        let began = std::time::Instant::now();
        loop {
            let told = migrating.stdout();
            if told.contains(", 0 behind,") {
                eprint!("{told}");
                break;
            }
            assert!(!migrating.has_ended(), "{told}{}", migrating.stderr());
            assert!(began.elapsed() < TEST_MAX, "it never caught up: {told}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        eprintln!("caught up with {keys} keys after {:?}", began.elapsed());
        migrating.signal(Signal::TERM);
        assert!(migrating.wait().success(), "{}", migrating.stderr());
        let turns = busy.stop().await;
        let began = std::time::Instant::now();
        let told = here.migrate(&etcd, &["finish"]).ok();
        eprintln!("{turns} turns of load; finished after {:?}: {told}", began.elapsed());
        let (theirs, ours) = (Held::by(&from).await, Held::by(&to).await);
        assert!(theirs.keys.len() > keys / 2 && theirs.users.len() == USERS);
        theirs.assert_same(&ours);
    });
}
