//! A lock with a name, held by one session at a time.

use bytes::Bytes;

use super::place::{Entered, Place, in_turn, prefix_of};
use super::session::Session;
use crate::client::{Compare, Error};

/// A lock with a name: etcd's `concurrency.Mutex`. Who asked first gets it first.
///
/// Two tasks with one session exclude each other, too; a task that locks twice waits for itself.
#[derive(Clone, Debug)]
pub struct Mutex {
    session: Session,
    prefix: Bytes,
}

impl Mutex {
    /// Nothing happens before [`Mutex::lock`]. The keys of `name` are `name/<lease>`.
    pub fn new(session: &Session, name: impl Into<Bytes>) -> Self {
        Self { session: session.clone(), prefix: prefix_of(name) }
    }

    /// Waits until it is ours. Dropped while it waits, it gives its place in the queue back. Dropped while it enters, it
    /// deletes what is there by then; if the put that enters arrives only after that, our key stays in the queue, and
    /// others wait behind it, until the lease ends ([`Session::close`] ends it).
    ///
    /// An error if the session is lost meanwhile, or if nobody knows whether we got into the queue
    /// ([`Retry::Ambiguous`](crate::client::Retry)): asking again with the same session is safe then.
    pub async fn lock(&self) -> Result<Held, Error> {
        let turn = self.session.turn(&Place::key(&self.session, &self.prefix));
        let turn = self.session.unless_lost(async { Ok(turn.lock_owned().await) }).await?;
        let Entered { mut place, is_first, .. } =
            Place::enter(&self.session, &self.prefix, Bytes::new(), turn).await?;
        if !is_first {
            place.wait().await?;
        }
        Ok(Held { place })
    }

    /// None if somebody holds it or waits for it.
    pub async fn try_lock(&self) -> Result<Option<Held>, Error> {
        let turn = self.session.turn(&Place::key(&self.session, &self.prefix));
        let Ok(turn) = turn.try_lock_owned() else { return Ok(None) };
        let Entered { place, is_first, .. } =
            Place::enter(&self.session, &self.prefix, Bytes::new(), turn).await?;
        if is_first {
            return Ok(Some(Held { place }));
        }
        place.leave().await?;
        Ok(None)
    }
}

/// A lock that is held until [`Held::unlock`], until it is dropped (then it is given back in the background), or until
/// the session is lost.
#[derive(Debug)]
#[must_use = "the lock is given back when this is dropped"]
pub struct Held {
    place: Place,
}

in_turn!(Held);

impl Held {
    /// Gives it to the next. [`Error::NotHeld`] if it was not held any more.
    pub async fn unlock(self) -> Result<(), Error> {
        self.place.leave().await
    }
}
