//! A place in a queue of keys: entered, waited in, left.
//!
//! Both recipes are this. Everything that is repeated here is harmless when it is done twice: reads, and deletions of
//! a key at one create revision. The transaction that enters is not repeated: its failure is the caller's to judge.

use std::convert::Infallible;
use std::future::IntoFuture;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::runtime::Handle;

use super::session::{Session, Turn, patiently};
use crate::client::{
    Client, Compare, Delete, Error, Get, Put, Retry, SortOrder, SortTarget, Txn,
    etcdserverpb as pb, mvccpb,
};

/// One session's key under a prefix. Dropped, it is deleted in the background.
#[derive(Debug)]
pub(super) struct Place {
    pub session: Session,
    pub key: Bytes,
    /// 0 while it is not known.
    pub create_revision: i64,
    /// The store's revision when it was this place's turn.
    pub revision: i64,
    prefix: Bytes,
    has_left: bool,
    turn: Option<Turn>,
}

/// What there was when the place was entered.
pub(super) struct Entered {
    pub place: Place,
    /// The value of our key if it existed: the session was handed over by somebody who had entered.
    pub value_before: Option<Bytes>,
    /// Nobody is before us.
    pub is_first: bool,
}

/// `name/`, under which its keys are.
pub(super) fn prefix_of(name: impl Into<Bytes>) -> Bytes {
    [&name.into()[..], b"/"].concat().into()
}

/// Keys under a prefix by their age, the oldest or the youngest.
pub(super) fn by_age(prefix: &Bytes, order: SortOrder) -> Get {
    Get::new(prefix.clone()).prefix().sort(SortTarget::Create, order).limit(1)
}

impl Place {
    /// The key of a session under `prefix`.
    pub(super) fn key(session: &Session, prefix: &Bytes) -> Bytes {
        [&prefix[..], format!("{:x}", session.lease()).as_bytes()].concat().into()
    }

    /// Puts our key, unless it is there.
    pub(super) async fn enter(
        session: &Session,
        prefix: &Bytes,
        value: Bytes,
        turn: Turn,
    ) -> Result<Entered, Error> {
        let key = Self::key(session, prefix);
        let txn = Txn::new()
            .when(Compare::create_revision(key.clone()).equals(0))
            .then(Put::new(key.clone(), value).lease(session.lease()))
            .then(by_age(prefix, SortOrder::Ascend))
            .otherwise(Get::new(key.clone()))
            .otherwise(by_age(prefix, SortOrder::Ascend));
        // From here on it may exist: whoever drops this future gives it back.
        let mut place = Self {
            session: session.clone(),
            key,
            create_revision: 0,
            revision: 0,
            prefix: prefix.clone(),
            has_left: false,
            turn: Some(turn),
        };
        let request: pb::TxnRequest = txn.into();
        let response = match session.unless_lost(session.client().send(request)).await {
            Ok(response) => response,
            Err(error) => {
                place.has_left = error.retry() != Retry::Ambiguous;
                return Err(error);
            }
        };
        let mut ranges = response.responses.iter().map(range);
        let mine = ranges.next().flatten();
        let oldest = ranges.next().flatten().and_then(|range| range.kvs.first());
        place.revision = response.header.as_ref().map_or(0, |header| header.revision);
        place.create_revision = match (response.succeeded, mine.and_then(|mine| mine.kvs.first())) {
            (true, _) => place.revision,
            (false, Some(kv)) => kv.create_revision,
            (false, None) => 0,
        };
        let value_before = mine.and_then(|mine| mine.kvs.first()).map(|kv| kv.value.clone());
        let is_first = oldest.is_none_or(|kv| kv.create_revision == place.create_revision);
        Ok(Entered { place, value_before, is_first })
    }

    /// Waits until everybody before us has left. An error if the session or our key is lost.
    pub(super) async fn wait(&mut self) -> Result<(), Error> {
        let turn_at = tokio::select! {
            error = self.lost() => return Err(error),
            turn = self.turn_comes() => turn?,
        };
        self.revision = turn_at;
        Ok(())
    }

    /// Resolves when the session is lost or our key is deleted, whichever is heard of first.
    pub(super) async fn lost(&self) -> Error {
        let client = self.session.client();
        let deletion = async {
            let mut seen = self.revision;
            loop {
                deleted(client, &self.key, seen + 1).await?;
                // It may have been the history that is gone.
                let mine = patiently(|| client.get(self.key.clone()).into_future()).await?;
                if mine.kvs.first().is_none_or(|kv| kv.create_revision != self.create_revision) {
                    return Err::<Infallible, _>(self.not_held());
                }
                seen = mine.header.as_ref().map_or(0, |header| header.revision);
            }
        };
        match self.session.unless_lost(deletion).await {
            Err(error) => error,
            Ok(never) => match never {},
        }
    }

    async fn turn_comes(&self) -> Result<i64, Error> {
        let client = self.session.client();
        let before: pb::RangeRequest = by_age(&self.prefix, SortOrder::Descend)
            .create_revisions(0, self.create_revision - 1)
            .into();
        loop {
            let found = patiently(|| client.send(before.clone())).await?;
            let Some(kv) = found.kvs.first() else { break };
            let seen = found.header.as_ref().map_or(0, |header| header.revision);
            deleted(client, &kv.key, seen + 1).await?;
        }
        // The lease may have ended while we waited, and our key with it.
        let mine = patiently(|| client.get(self.key.clone()).into_future()).await?;
        match mine.kvs.first() {
            Some(kv) if kv.create_revision == self.create_revision => {
                Ok(mine.header.as_ref().map_or(0, |header| header.revision))
            }
            _ => Err(self.not_held()),
        }
    }

    /// Holds as long as the place is ours.
    pub(super) fn is_held(&self) -> Compare {
        Compare::create_revision(self.key.clone()).equals(self.create_revision)
    }

    pub(super) fn not_held(&self) -> Error {
        Error::NotHeld { key: String::from_utf8_lossy(&self.key).into_owned() }
    }

    /// Deletes our key. An error if it was not ours any more.
    pub(super) async fn leave(mut self) -> Result<(), Error> {
        let removed = self.session.unless_lost(remove(&self)).await?;
        self.has_left = true;
        if removed { Ok(()) } else { Err(self.not_held()) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.has_left {
            return;
        }
        // Without a runtime the session is not renewed either, and the key goes with it.
        let Ok(runtime) = Handle::try_current() else { return };
        let place = Self {
            session: self.session.clone(),
            key: self.key.clone(),
            prefix: self.prefix.clone(),
            // Nobody here may enter again before it is away.
            turn: self.turn.take(),
            has_left: true,
            ..*self
        };
        runtime.spawn(async move {
            if let Err(error) = place.session.unless_lost(remove(&place)).await {
                tracing::debug!(key = ?place.key, %error, "a dropped place stays until its lease ends");
            }
        });
    }
}

/// Deletes the key of a place, if it is still there and the same one; whether it was. Where it is not known whether
/// the place was entered, what is there now is deleted, and nothing that comes later: the transaction that enters may
/// still be under way, and what it puts then stays until the lease ends.
async fn remove(place: &Place) -> Result<bool, Error> {
    let client = place.session.client();
    let create_revision = match place.create_revision {
        0 => {
            let found = patiently(|| client.get(place.key.clone()).into_future()).await?;
            let Some(kv) = found.kvs.first() else { return Ok(false) };
            kv.create_revision
        }
        known => known,
    };
    let txn = Txn::new()
        .when(Compare::create_revision(place.key.clone()).equals(create_revision))
        .then(Delete::new(place.key.clone()));
    let request: pb::TxnRequest = txn.into();
    let may_be_done = AtomicBool::new(false);
    let done = patiently(|| async {
        let sent = client.send(request.clone()).await;
        let is_ambiguous = sent.as_ref().is_err_and(|error| error.retry() == Retry::Ambiguous);
        may_be_done.fetch_or(is_ambiguous, Ordering::Relaxed);
        sent
    });
    let done = done.await?;
    // Tried twice, it may have been the first attempt that found it.
    Ok(done.succeeded || may_be_done.load(Ordering::Relaxed))
}

/// What whoever has the turn may ask of its `place`: the same of a lock and of a leadership.
macro_rules! in_turn {
    ($name:ident) => {
        impl $name {
            /// Our key: `name/<lease>`.
            pub fn key(&self) -> &Bytes {
                &self.place.key
            }

            /// The revision at which our key was created. It grows from holder to holder: a fencing token.
            pub fn create_revision(&self) -> i64 {
                self.place.create_revision
            }

            /// The store's revision when it became ours, or when we proclaimed last.
            pub fn revision(&self) -> i64 {
                self.place.revision
            }

            /// Put into a transaction, it makes sure that we hold it at the very moment when the transaction happens:
            /// `client.txn().when(held.is_held()).then(...)`.
            pub fn is_held(&self) -> Compare {
                self.place.is_held()
            }

            /// Resolves when it can no longer be relied on: the session is lost, or somebody deleted our key.
            pub async fn lost(&self) -> Error {
                self.place.lost().await
            }
        }
    };
}
pub(super) use in_turn;

fn range(op: &pb::ResponseOp) -> Option<&pb::RangeResponse> {
    match &op.response {
        Some(pb::response_op::Response::ResponseRange(range)) => Some(range),
        _ => None,
    }
}

/// Returns when `key` was deleted at `from` or later, or when its history is gone: then look again.
async fn deleted(client: &Client, key: &Bytes, from: i64) -> Result<(), Error> {
    let watch = || client.watch(key.clone()).start_revision(from).no_put().into_future();
    let mut watcher = match patiently(watch).await {
        Ok(watcher) => watcher,
        Err(Error::Compacted { .. }) => return Ok(()),
        Err(error) => return Err(error),
    };
    let is_deletion = |event: &mvccpb::Event| event.r#type() == mvccpb::event::EventType::Delete;
    loop {
        match watcher.next().await {
            Some(Ok(response)) if response.events.iter().any(is_deletion) => return Ok(()),
            Some(Ok(_)) => {}
            Some(Err(Error::Compacted { .. })) => return Ok(()),
            Some(Err(error)) => return Err(error),
            None => return Err(Error::Closed),
        }
    }
}
