//! A session: one lease, kept alive, that says when it is lost.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::OwnedMutexGuard;
use tokio::time::sleep;

use crate::base::Backoff;
use crate::client::{Client, Code, Error, LeaseKeeper, Retry};

/// Waits between attempts.
const AGAIN_FIRST: Duration = Duration::from_millis(25);
const AGAIN_MAX: Duration = Duration::from_secs(1);

/// A lease that is kept alive as long as the session or anything acquired with it exists.
///
/// Cheap to clone; clones are the same session. When the last one is dropped the lease is no longer renewed, and its
/// keys go when its time is over; [`Session::close`] ends it at once.
///
/// ```no_run
/// # async fn example(client: quorate::client::Client) -> Result<(), quorate::client::Error> {
/// use quorate::client::{Mutex, Session};
///
/// let session = Session::start(&client, 10).await?;
/// let held = Mutex::new(&session, "jobs/nightly").lock().await?;
/// tokio::select! {
///     error = session.lost() => return Err(error), // somebody else may hold it now: stop
///     () = work() => {}
/// }
/// held.unlock().await?;
/// session.close().await
/// # }
/// # async fn work() {}
/// ```
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    keeper: LeaseKeeper,
    /// Seconds, as granted.
    ttl: i64,
    /// Who of this process is busy with a key of this session: the server sees one lease, and would let all in.
    busy: std::sync::Mutex<BTreeMap<Bytes, Weak<tokio::sync::Mutex<()>>>>,
}

impl Session {
    /// A session with a new lease of at least `ttl` seconds: so long a crashed holder keeps others waiting.
    pub async fn start(client: &Client, ttl: i64) -> Result<Self, Error> {
        let asked_at = client.now();
        let granted = client.lease_grant(ttl, 0).await?;
        let keeper = client.keep_alive_since(granted.id, asked_at, granted.ttl).await?;
        Ok(Self::of(client, keeper, granted.ttl))
    }

    /// A session with a lease that exists already, such as one that another process handed over. Fails with
    /// [`Error::LeaseGone`] if it does not exist.
    pub async fn resume(client: &Client, lease: i64) -> Result<Self, Error> {
        let asked_at = client.now();
        let renewed = client.lease_renew(lease).await?;
        if renewed.ttl <= 0 {
            return Err(Error::LeaseGone { id: lease });
        }
        let keeper = client.keep_alive_since(lease, asked_at, renewed.ttl).await?;
        Ok(Self::of(client, keeper, renewed.ttl))
    }

    fn of(client: &Client, keeper: LeaseKeeper, ttl: i64) -> Self {
        let inner = Inner { client: client.clone(), keeper, ttl, busy: Default::default() };
        Self { inner: Arc::new(inner) }
    }

    /// The id of its lease: what keys are attached to that shall go with the session.
    pub fn lease(&self) -> i64 {
        self.inner.keeper.id()
    }

    /// The client it was made with.
    pub fn client(&self) -> &Client {
        &self.inner.client
    }

    /// Resolves when the session is over: its lease expired or was revoked, or could not be renewed for its whole
    /// time. From then on nothing that was acquired with it is held.
    pub async fn lost(&self) -> Error {
        self.inner.keeper.gone().await
    }

    /// Revokes the lease: everything that is attached to it is deleted now. Good also if the lease is gone already.
    ///
    /// It is tried for as long as the lease lives without a renewal. If that fails, the lease ends by itself that long
    /// after the last clone of the session is dropped.
    pub async fn close(self) -> Result<(), Error> {
        let client = self.client();
        let until = client.now() + Duration::from_secs(u64::try_from(self.inner.ttl).unwrap_or(0));
        // To revoke a lease twice is to revoke it.
        let revoke = || client.lease_revoke(self.lease());
        match patiently_while(|| client.now() < until, revoke).await {
            Err(error) if error.code() == Code::NotFound => Ok(()),
            done => done.map(drop),
        }
    }

    /// `work`, unless the session is lost before it is done.
    pub(super) async fn unless_lost<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::select! {
            biased;
            error = self.lost() => Err(error),
            done = work => done,
        }
    }

    /// One at a time for each key.
    pub(super) fn turn(&self, key: &Bytes) -> Arc<tokio::sync::Mutex<()>> {
        let mut busy = self.inner.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = busy.get(key).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::new(tokio::sync::Mutex::new(()));
        busy.insert(key.clone(), Arc::downgrade(&turn));
        turn
    }
}

/// See [`Session::turn`].
pub(super) type Turn = OwnedMutexGuard<()>;

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({:x})", self.lease())
    }
}

/// What changes nothing, or nothing a second time: again while it fails for the moment.
pub(super) async fn patiently<T, F>(attempt: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    patiently_while(|| true, attempt).await
}

/// The same as long as `goes_on` says so; the last failure is the answer then.
async fn patiently_while<T, F>(
    goes_on: impl Fn() -> bool,
    mut attempt: impl FnMut() -> F,
) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut backoff = Backoff::new(AGAIN_FIRST, AGAIN_MAX);
    loop {
        match attempt().await {
            Err(error) if error.retry() != Retry::Never && goes_on() => {
                tracing::debug!(%error, "trying again");
                sleep(backoff.next_wait()).await;
            }
            done => return done,
        }
    }
}
