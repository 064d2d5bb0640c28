//! Writers that never stop, and what the cluster acknowledged to them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate::client::{Client, Retry};
use tokio::task::{JoinHandle, JoinSet};

/// One write that was acknowledged: each key is written once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Acknowledged {
    pub key: String,
    pub value: String,
    pub revision: i64,
}

/// Writers in the background; see [`Load::stop`].
pub(crate) struct Load {
    running: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    acknowledged: Arc<Mutex<Vec<Acknowledged>>>,
    writers: Vec<JoinHandle<()>>,
}

impl Load {
    /// One writer for each client.
    pub(crate) fn start(name: &str, clients: Vec<Client>) -> Self {
        let running = Arc::new(AtomicBool::new(true));
        let count = Arc::new(AtomicU64::new(0));
        let acknowledged: Arc<Mutex<Vec<Acknowledged>>> = Arc::default();
        let writers = clients
            .into_iter()
            .enumerate()
            .map(|(number, client)| {
                let prefix = format!("{name}/{number}");
                let (running, count) = (Arc::clone(&running), Arc::clone(&count));
                let acknowledged = Arc::clone(&acknowledged);
                tokio::spawn(async move {
                    let client = client.within(Duration::from_secs(3));
                    let mut n = 0_u64;
                    while running.load(Ordering::Relaxed) {
                        n += 1;
                        let (key, value) = (format!("{prefix}/{n}"), format!("value {n}"));
                        match client.put(key.clone(), value.clone()).await {
                            Ok(response) => {
                                let revision = response.header.unwrap().revision;
                                let written = Acknowledged { key, value, revision };
                                acknowledged.lock().unwrap().push(written);
                                count.fetch_add(1, Ordering::Relaxed);
                            }
                            // Not acknowledged: it may be there or not. The next key is another one.
                            Err(error) => {
                                assert_ne!(error.retry(), Retry::Never, "{error}");
                                tokio::time::sleep(Duration::from_millis(5)).await;
                            }
                        }
                    }
                })
            })
            .collect();
        Self { running, count, acknowledged, writers }
    }

    /// Writes acknowledged so far.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Ends the writers; everything that was acknowledged.
    pub(crate) async fn stop(self) -> Vec<Acknowledged> {
        self.running.store(false, Ordering::Relaxed);
        for writer in self.writers {
            writer.await.unwrap();
        }
        std::mem::take(&mut *self.acknowledged.lock().unwrap())
    }
}

/// Every acknowledged write is there, with its value and at its revision, and no revision was given twice.
pub(crate) async fn check_all(client: &Client, acknowledged: &[Acknowledged]) {
    let mut revisions = std::collections::BTreeMap::new();
    for written in acknowledged {
        let other = revisions.insert(written.revision, &written.key);
        assert_eq!(other, None, "revision {} of {} given twice", written.revision, written.key);
    }
    for batch in acknowledged.chunks(64) {
        let mut reads = JoinSet::new();
        for written in batch.iter().cloned() {
            let client = client.clone();
            reads.spawn(async move { (client.get(written.key.clone()).await.unwrap(), written) });
        }
        while let Some(read) = reads.join_next().await {
            let (response, written) = read.unwrap();
            let kv = response.kvs.first().unwrap_or_else(|| panic!("lost: {written:?}"));
            assert_eq!(kv.value, written.value.as_bytes(), "{written:?}");
            assert_eq!(kv.mod_revision, written.revision, "{written:?}");
        }
    }
}
