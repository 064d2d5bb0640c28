//! Disk space given back while the member serves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::harness::{Cluster, run};

const KEYS: usize = 300;

#[test]
fn defragment_shrinks_the_file_of_a_member_that_goes_on_serving() {
    let mut cluster = Cluster::start(1);
    run(async {
        let client = cluster.client();
        for key in 0..KEYS {
            client.put(format!("k{key:03}"), vec![b'x'; 60_000]).await.unwrap();
        }
        let deleted = client.delete("k").prefix().await.unwrap();
        assert_eq!(deleted.deleted, KEYS as i64);
        let revision = client.put("kept", "1").await.unwrap().header.unwrap().revision;
        client.compact(revision, true).await.unwrap();
        let before = client.status().await.unwrap();
        assert!(before.db_size > 15_000_000, "{before:?}");
        let hash = client.hash_kv(revision).await.unwrap().hash;

        let is_over = Arc::new(AtomicBool::new(false));
        let (writer, over) = (cluster.client(), Arc::clone(&is_over));
        let writing = tokio::spawn(async move {
            let mut puts = 0;
            while !over.load(Ordering::Relaxed) {
                writer.put("meanwhile", puts.to_string()).await.unwrap();
                puts += 1;
            }
            puts
        });
        let of_all_rows = client.hash().await.unwrap();
        assert!(of_all_rows.hash != 0 && of_all_rows.header.is_some());
        let answer = client.defragment().await.unwrap();
        assert_eq!(answer.header, None, "as in etcd");
        is_over.store(true, Ordering::Relaxed);
        let puts = writing.await.unwrap();

        let after = client.status().await.unwrap();
        assert!(after.db_size * 10 < before.db_size, "{before:?} {after:?}");
        assert_eq!(client.hash_kv(revision).await.unwrap().hash, hash);
        let quiet = client.hash().await.unwrap().hash;
        assert_eq!(client.hash().await.unwrap().hash, quiet);

        cluster.kill(0);
        cluster.spawn(0);
        cluster.leader().await;
        let client = cluster.client();
        assert_eq!(client.get("meanwhile").await.unwrap().kvs[0].version, puts);
        assert_eq!(client.get("kept").await.unwrap().kvs[0].value, "1");
        assert_eq!(client.hash_kv(revision).await.unwrap().hash, hash);
        assert_eq!(client.hash().await.unwrap().hash, quiet);
        assert!(cluster.log(0).contains("rewrote the database"), "{}", cluster.log(0));
    });
}
