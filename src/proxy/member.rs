//! One member as a proxy reaches it: where, over which connections, and whether it failed a moment ago.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::base::{Clock, Moment, SystemClock};
use crate::client::{Manner, Passage, Passages};

/// Connections to one member: each carries as many streams as the member takes on one.
const PASSAGES_MAX: usize = 256;

/// Of these, those that are kept for the next call of somebody who has a token of his own.
const IDLE_MAX: usize = 32;

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
    /// How often nobody was reached, and why the last time: who waited for it is told the same.
    failures: Mutex<(u64, String)>,
    passages: Mutex<Vec<Used>>,
    /// For the proxy's own questions.
    own: Mutex<Option<Passage>>,
    rests_until: AtomicU64,
}

/// A connection, in whose name it was opened, and how many streams hold it.
#[derive(Debug)]
struct Used {
    manner: Manner,
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
            failures: Mutex::default(),
            passages: Mutex::default(),
            own: Mutex::default(),
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
    pub(super) async fn passage(
        &self,
        passages: &Arc<Passages>,
        manner: &Manner,
    ) -> Result<Passage, String> {
        self.found(passages, manner, || self.usable(manner)).await
    }

    /// A connection with room for one more stream.
    pub(super) async fn place(
        &self,
        passages: &Arc<Passages>,
        manner: &Manner,
    ) -> Result<Place, String> {
        self.found(passages, manner, || self.free_place(manner)).await
    }

    /// What is looked for, if need be on a fresh connection.
    async fn found<T>(
        &self,
        passages: &Arc<Passages>,
        manner: &Manner,
        look: impl Fn() -> Option<T>,
    ) -> Result<T, String> {
        if let Some(found) = look() {
            return Ok(found);
        }
        let (failures, _) = self.failed();
        let _alone = self.dialling.lock().await;
        if let Some(found) = look() {
            return Ok(found);
        }
        // Whoever dialled meanwhile has tried for all who waited: a hundred of them do not wait a hundred times.
        let (failures_now, why) = self.failed();
        if failures_now != failures {
            return Err(why);
        }
        if !self.has_room() {
            return Err(format!(
                "member {:x} has {PASSAGES_MAX} connections of this proxy",
                self.id
            ));
        }
        match self.dial(passages, Some(manner)).await {
            Ok(passage) => self.take(passage, manner),
            Err(why) => {
                let mut failed = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
                *failed = (failed.0 + 1, why.clone());
                return Err(why);
            }
        }
        look().ok_or_else(|| format!("member {:x}: the connection was lost at once", self.id))
    }

    fn failed(&self) -> (u64, String) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A connection for the proxy's own questions.
    pub(super) async fn own(&self, passages: &Arc<Passages>) -> Result<Passage, String> {
        let known = self.own_lock().clone();
        if let Some(own) = known.filter(Passage::is_usable) {
            return Ok(own);
        }
        let own = self.dial(passages, None).await?;
        *self.own_lock() = Some(own.clone());
        Ok(own)
    }

    /// Whether nobody must be dialled before it is asked.
    pub(super) fn is_connected(&self) -> bool {
        self.usable(&Manner::default()).is_some()
    }

    /// Whether somebody dials it now.
    pub(super) fn is_dialled(&self) -> bool {
        self.dialling.try_lock().is_err()
    }

    /// The URL in use; none without a connection.
    pub(super) fn url(&self) -> Option<String> {
        let own = self.own_lock().clone().filter(Passage::is_usable);
        self.usable(&Manner::default()).or(own).map(|passage| passage.url().to_owned())
    }

    fn usable(&self, manner: &Manner) -> Option<Passage> {
        self.first(manner, |_| true).map(|place| place.passage)
    }

    fn free_place(&self, manner: &Manner) -> Option<Place> {
        self.first(manner, |used| Arc::strong_count(&used.held) <= used.passage.streams_max())
    }

    fn first(&self, manner: &Manner, is_meant: impl Fn(&Used) -> bool) -> Option<Place> {
        let mut all = self.lock();
        let at = all.iter().position(|used| {
            used.manner == *manner && used.passage.is_usable() && is_meant(used)
        })?;
        let used = &all[at];
        let place = Place { passage: used.passage.clone(), _held: Arc::clone(&used.held) };
        if *manner != Manner::default() {
            // Who was not asked for longest comes first, and is the first to go.
            let used = all.remove(at);
            all.push(used);
        }
        Some(place)
    }

    /// Tries each URL, with a head start over the next, until somebody says that he is this member. For others in their
    /// manner, or for the proxy's own questions.
    async fn dial(
        &self,
        passages: &Arc<Passages>,
        manner: Option<&Manner>,
    ) -> Result<Passage, String> {
        let mut dials = JoinSet::new();
        let mut stagger = Duration::ZERO;
        for url in &self.urls {
            let (passages, url, manner) = (Arc::clone(passages), url.clone(), manner.cloned());
            dials.spawn(async move {
                sleep(stagger).await;
                match manner {
                    Some(manner) => passages.dial_for(&url, &manner).await,
                    None => passages.dial(&url).await,
                }
            });
            stagger += STAGGER;
        }
        let mut why = Vec::new();
        while let Some(dialled) = dials.join_next().await {
            match dialled {
                Ok(Ok(passage)) if passage.whose() == (self.cluster, self.id) => {
                    return Ok(passage);
                }
                Ok(Ok(passage)) => why.push(other(&passage)),
                Ok(Err(error)) => why.push(error),
                Err(error) => why.push(error.to_string()),
            }
        }
        Err(format!("member {:x}: {}", self.id, why.join("; ")))
    }

    /// Whether one more connection may be dialled; those that are lost, and the oldest that is only kept, make room for it.
    fn has_room(&self) -> bool {
        let is_idle = |used: &Used| Arc::strong_count(&used.held) == 1;
        let is_spare = |used: &Used| used.manner != Manner::default() && is_idle(used);
        let mut all = self.lock();
        all.retain(|used| used.passage.is_usable() || !is_idle(used));
        let spare = all.iter().filter(|used| is_spare(used)).count();
        if (spare >= IDLE_MAX || all.len() >= PASSAGES_MAX)
            && let Some(at) = all.iter().position(is_spare)
        {
            // A call that is under way there has a hold of its own on the connection.
            all.remove(at);
        }
        all.len() < PASSAGES_MAX
    }

    fn take(&self, passage: Passage, manner: &Manner) {
        self.lock().push(Used { manner: manner.clone(), passage, held: Arc::default() });
    }

    fn own_lock(&self) -> MutexGuard<'_, Option<Passage>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
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
