//! Watchers of all kinds that go on until they have heard everything, and write down what they hear.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate::base::KeyRange;
use quorate::client::{Client, Error, Watcher};
use quorate::watch::Spec;
use tokio::sync::watch;

use super::asking::PREFIX;
use super::hearing;
use super::recorder::{Note, Recorder, Told};

/// After the last write, everything must be heard within this time.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a watcher that waits for the end asks how far it is.
const ASK_AGAIN: Duration = Duration::from_millis(300);

/// How many kinds [`Listener::new`] knows.
pub(super) const KINDS: u64 = 6;

/// One watcher, created again whenever it ends.
pub(super) struct Listener {
    number: u64,
    client: Client,
    recorder: Arc<Recorder>,
    spec: Spec,
    /// It lets go of its watch after so many responses, and asks again from where it was.
    restless: Option<usize>,
    heard: i64,
}

impl Listener {
    pub(super) fn new(number: u64, client: Client, recorder: Arc<Recorder>) -> Self {
        let all = KeyRange::prefix(PREFIX.as_bytes());
        let one = KeyRange::Single(Bytes::from(format!("{PREFIX}03")));
        let kind = number % KINDS;
        let spec = Spec {
            denied: None,
            range: if kind == 2 { one } else { all },
            // From now on, or from the first revision there is.
            start_revision: if kind == 1 || kind == 2 { 0 } else { 2 },
            progress_notify: kind == 2,
            no_put: kind == 3,
            no_delete: kind == 4,
            prev_kv: kind < 2,
            fragment: false,
            id: None,
        };
        let restless = (kind == 5).then_some(5);
        Self { number, client, recorder, spec, restless, heard: 0 }
    }

    /// Until everything up to the revision that `end` will say has been heard.
    pub(super) async fn run(mut self, mut end: watch::Receiver<Option<i64>>) {
        self.recorder.push(Note::Watched { client: self.number, spec: self.spec.clone() });
        let mut next = self.spec.start_revision;
        let mut ends_at: Option<Instant> = None;
        loop {
            if let Some(wanted) = *end.borrow() {
                let ends_at = *ends_at.get_or_insert_with(|| Instant::now() + PATIENCE);
                if self.heard >= wanted {
                    return;
                }
                let late = Instant::now() > ends_at;
                assert!(!late, "watcher {} heard {} of {wanted}", self.number, self.heard);
            }
            next = match self.create(next).await {
                Ok(mut watcher) => {
                    self.tell(Told::Created { revision: watcher.created_revision() });
                    if next == 0 {
                        next = watcher.created_revision() + 1;
                    }
                    match self.listen(&mut watcher, &mut end).await {
                        Some(Error::Compacted { compact_revision }) => {
                            self.compacted(compact_revision)
                        }
                        Some(error) => panic!("watcher {} was ended: {error}", self.number),
                        None => next.max(self.heard + 1),
                    }
                }
                Err(Error::Compacted { compact_revision }) => self.compacted(compact_revision),
                Err(error @ Error::WatchCanceled { .. }) => {
                    panic!("watcher {} was refused: {error}", self.number)
                }
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    next
                }
            };
        }
    }

    fn tell(&self, told: Told) {
        self.recorder.push(Note::Heard { client: self.number, told });
    }

    fn compacted(&mut self, revision: i64) -> i64 {
        self.tell(Told::Compacted { revision });
        self.heard = revision - 1;
        revision
    }

    async fn create(&self, start_revision: i64) -> Result<Watcher, Error> {
        let Spec { range, .. } = &self.spec;
        let mut watch = match range {
            KeyRange::Single(key) => self.client.watch(key.clone()),
            _ => self.client.watch(PREFIX).prefix(),
        };
        watch = watch.start_revision(start_revision);
        if self.spec.prev_kv {
            watch = watch.prev_kv();
        }
        if self.spec.no_put {
            watch = watch.no_put();
        }
        if self.spec.no_delete {
            watch = watch.no_delete();
        }
        if self.spec.progress_notify {
            watch = watch.progress_notify();
        }
        watch.await
    }

    /// Until it ends (why), has had enough, or everything was heard.
    async fn listen(
        &mut self,
        watcher: &mut Watcher,
        end: &mut watch::Receiver<Option<i64>>,
    ) -> Option<Error> {
        let mut responses = 0;
        let began = Instant::now();
        let mut asked = None;
        loop {
            let wanted = *end.borrow_and_update();
            if let Some(wanted) = wanted {
                if self.heard >= wanted || began.elapsed() > PATIENCE {
                    return None;
                }
                if asked.is_none_or(|asked: Instant| asked.elapsed() > ASK_AGAIN) {
                    asked = Some(Instant::now());
                    // Without a stream there is nobody to ask; then the next time.
                    let _ = watcher.request_progress().await;
                }
            }
            let response = tokio::select! {
                response = tokio::time::timeout(ASK_AGAIN, watcher.next()) => response,
                _ = end.changed() => continue,
            };
            let response = match response {
                Ok(Some(Ok(response))) => response,
                Ok(Some(Err(error))) => return Some(error),
                Ok(None) => return None,
                Err(_) => continue,
            };
            let told = match response.events.is_empty() {
                true => Told::Progress { revision: response.header.map_or(0, |h| h.revision) },
                false => Told::Events(response.events),
            };
            self.heard = self.heard.max(hearing::revision(&told));
            self.tell(told);
            responses += 1;
            if self.restless.is_some_and(|most| responses >= most) && wanted.is_none() {
                return None;
            }
        }
    }
}
