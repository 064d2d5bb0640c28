//! One member as a proxy reaches it: where, over which connections, and whether it failed a moment ago.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::base::{Clock, Moment, SystemClock};
use crate::client::{Passage, Passages};

/// Connections to one member: each carries as many streams as the member takes on one.
const PASSAGES_MAX: usize = 256;

/// Head start of each URL over the next.
const STAGGER: Duration = Duration::from_millis(250);

/// See the module.
#[derive(Debug)]
pub(super) struct Member {
    pub id: u64,
    pub cluster: u64,
    /// Its own, then where it may be found, too.
    pub urls: Vec<String>,
    /// One at a time dials.
    dialling: tokio::sync::Mutex<()>,
    passages: Mutex<Vec<Used>>,
    rests_until: AtomicU64,
}

/// A connection, and how many streams hold it.
#[derive(Debug)]
struct Used {
    passage: Passage,
    held: Arc<()>,
}

/// A place on a connection for one stream, or for a call that waits long; given back when dropped.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub passage: Passage,
    _held: Arc<()>,
}

impl Member {
    pub(super) fn new(cluster: u64, id: u64, urls: Vec<String>) -> Self {
        Self {
            id,
            cluster,
            urls,
            dialling: tokio::sync::Mutex::default(),
            passages: Mutex::default(),
            rests_until: AtomicU64::new(0),
        }
    }

    pub(super) fn is_resting(&self, now: Moment) -> bool {
        self.rests_until.load(Ordering::Relaxed) > now.0
    }

    /// It failed: for so long the others are asked first.
    pub(super) fn rest(&self, clock: &SystemClock, time: Duration) {
        self.rests_until.store((clock.now() + time).0, Ordering::Relaxed);
    }

    /// A connection for calls; the error is for people.
    pub(super) async fn passage(&self, passages: &Arc<Passages>) -> Result<Passage, String> {
        if let Some(passage) = self.usable() {
            return Ok(passage);
        }
        let _alone = self.dialling.lock().await;
        match self.usable() {
            Some(passage) => Ok(passage),
            None => Ok(self.dial(passages).await?.passage),
        }
    }

    /// A connection with room for one more stream.
    pub(super) async fn place(&self, passages: &Arc<Passages>) -> Result<Place, String> {
        if let Some(place) = self.free_place() {
            return Ok(place);
        }
        let _alone = self.dialling.lock().await;
        if let Some(place) = self.free_place() {
            return Ok(place);
        }
        if self.lock().len() >= PASSAGES_MAX {
            return Err(format!(
                "member {:x} has {PASSAGES_MAX} connections of this proxy",
                self.id
            ));
        }
        self.dial(passages).await
    }

    /// Whether nobody must be dialled before it is asked.
    pub(super) fn is_connected(&self) -> bool {
        self.usable().is_some()
    }

    /// Whether somebody dials it now.
    pub(super) fn is_dialled(&self) -> bool {
        self.dialling.try_lock().is_err()
    }

    /// The URL in use; none without a connection.
    pub(super) fn url(&self) -> Option<String> {
        self.usable().map(|passage| passage.url().to_owned())
    }

    fn usable(&self) -> Option<Passage> {
        let used = self.lock();
        used.iter().map(|used| &used.passage).find(|passage| passage.is_usable()).cloned()
    }

    fn free_place(&self) -> Option<Place> {
        let used = self.lock();
        let is_free = |used: &&Used| {
            used.passage.is_usable() && Arc::strong_count(&used.held) <= used.passage.streams_max()
        };
        used.iter()
            .find(is_free)
            .map(|it| Place { passage: it.passage.clone(), _held: Arc::clone(&it.held) })
    }

    /// Tries each URL, with a head start over the next, until somebody says that he is this member.
    async fn dial(&self, passages: &Arc<Passages>) -> Result<Place, String> {
        let mut dials = JoinSet::new();
        let mut stagger = Duration::ZERO;
        for url in &self.urls {
            let (passages, url) = (Arc::clone(passages), url.clone());
            dials.spawn(async move {
                sleep(stagger).await;
                passages.dial(&url).await
            });
            stagger += STAGGER;
        }
        let mut why = Vec::new();
        while let Some(dialled) = dials.join_next().await {
            match dialled {
                Ok(Ok(passage)) if passage.whose() == (self.cluster, self.id) => {
                    return Ok(self.take(passage));
                }
                Ok(Ok(passage)) => why.push(other(&passage)),
                Ok(Err(error)) => why.push(error),
                Err(error) => why.push(error.to_string()),
            }
        }
        Err(format!("member {:x}: {}", self.id, why.join("; ")))
    }

    fn take(&self, passage: Passage) -> Place {
        let held = Arc::new(());
        let mut used = self.lock();
        used.retain(|used| used.passage.is_usable() || Arc::strong_count(&used.held) > 1);
        used.push(Used { passage: passage.clone(), held: Arc::clone(&held) });
        Place { passage, _held: held }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Used>> {
        // The list is whole after every statement.
        self.passages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who answers there is somebody else.
fn other(passage: &Passage) -> String {
    let url = passage.url();
    match passage.whose() {
        (_, 0) => format!("{url}: a proxy answers there"),
        (cluster, member) => {
            format!("{url}: member {member:x} of cluster {cluster:x} answers there")
        }
    }
}
