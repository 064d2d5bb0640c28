//! `migrate`: from real etcds, over gRPC, to this program; killed, compacted, under load, and compared key by key.

mod everything;
mod follow;
mod kills;
mod large;
mod refusals;
mod secure;
mod sides;

use std::path::PathBuf;

use quorate::client::{Client, Put};

use crate::interop::made;
use sides::Etcd;

/// The etcds of `tests/interop`, those that are there; or the one that `QUORATE_MIGRATE_OF` names.
fn etcds() -> Vec<PathBuf> {
    match std::env::var_os("QUORATE_MIGRATE_OF") {
        Some(other) => vec![other.into()],
        None => ["etcd-3.6", "etcd-3.5"].into_iter().filter_map(made).collect(),
    }
}

/// Keys `name/0000` and so on, several with one transaction.
async fn fill(client: &Client, name: &str, count: usize) {
    let numbers: Vec<usize> = (0..count).collect();
    for some in numbers.chunks(100) {
        let txn = some.iter().fold(client.txn(), |txn, n| {
            txn.then(Put::new(format!("{name}/{n:06}"), format!("value {n}")))
        });
        txn.await.unwrap();
    }
}

/// The first of [`etcds`].
fn any_etcd() -> Option<Etcd> {
    etcds().into_iter().next().map(Etcd::start)
}

/// The keys below `lock/`, the oldest first.
async fn turns(client: &Client) -> Vec<String> {
    let mut kvs = client.get("lock/").prefix().await.unwrap().kvs;
    kvs.sort_by_key(|kv| kv.create_revision);
    assert!(kvs.windows(2).all(|two| two[0].create_revision < two[1].create_revision));
    kvs.iter().map(|kv| String::from_utf8_lossy(&kv.key).into_owned()).collect()
}
