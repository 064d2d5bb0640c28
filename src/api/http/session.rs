//! What one connection has under way, and its bounds.
//!
//! A unary call has a place from before its message is read until its answer is taken, and places are few. A client that
//! takes no answers asks nothing more once enough of them wait for it.

use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::door::Shared;
use super::gateway::Upgrade;
pub(super) use crate::api::ask::stopped;
use crate::api::desk::Desk;
use crate::base::limits;
use crate::proto::{Caller, Status};
use crate::transport::{Bound, Origin, Purpose, Unsent};

/// One connection, as its calls see it.
pub(super) struct Session {
    pub shared: Arc<Shared>,
    /// Of the address it came to.
    pub purpose: Purpose,
    pub caller: Caller,
    /// It came over TLS.
    pub is_secure: bool,
    /// Becomes true when the connection is to end: streams end, nothing new begins.
    pub leaving: watch::Sender<bool>,
    /// Closed when the last of its calls has ended.
    pub desk: Arc<Desk>,
    /// What the connection is to become when its last request is answered.
    pub upgrade: Mutex<Option<Upgrade>>,
    /// Becomes true with its first request.
    pub has_asked: watch::Sender<bool>,
    calls: Arc<Semaphore>,
    answers: Arc<Answers>,
}

/// Answers that are not taken.
struct Answers {
    bytes: watch::Sender<usize>,
    /// Their weight among those of all connections.
    unsent: Unsent,
}

/// A unary call's right to be under way; given back when dropped.
pub(super) struct Place {
    bytes: usize,
    answers: Arc<Answers>,
    _permit: OwnedSemaphorePermit,
}

impl Session {
    pub(super) fn new(
        shared: Arc<Shared>,
        purpose: Purpose,
        caller: Caller,
        is_secure: bool,
    ) -> Self {
        let bounds = &shared.config.bounds;
        let unsent = Unsent::of(bounds, caller.address.map(Origin::from));
        let answers = Arc::new(Answers { bytes: watch::Sender::new(0), unsent });
        Self {
            desk: Desk::new(Arc::clone(&shared.service)),
            shared,
            purpose,
            caller,
            is_secure,
            leaving: watch::Sender::new(false),
            upgrade: Mutex::new(None),
            calls: Arc::new(Semaphore::new(limits::CONNECTION_IN_FLIGHT_MAX as usize)),
            has_asked: watch::Sender::new(false),
            answers,
        }
    }

    /// Waits for a place, and until the client has taken enough of its answers.
    pub(super) async fn place(&self) -> Result<Place, Status> {
        let permit = Arc::clone(&self.calls).acquire_owned().await.map_err(|_| stopped())?;
        let mut unsent = self.answers.bytes.subscribe();
        let all = &self.shared.config.bounds.unsent;
        // Where everybody's answers wait, one after the other.
        let has_room = |bytes: &usize| {
            *bytes == 0 || (*bytes < limits::HTTP_UNSENT_BYTES_MAX && !all.is_crowded())
        };
        let room = unsent.wait_for(has_room).await;
        room.map_err(|_| stopped())?;
        Ok(Place { bytes: 0, answers: Arc::clone(&self.answers), _permit: permit })
    }

    /// Waits until the connection holds so much that it has to be cut.
    pub(super) async fn overflown(&self) {
        self.answers.unsent.overflown().await;
    }

    /// A bound was reached by this client.
    pub(super) fn refuse(&self, bound: Bound) {
        if let Some(remote) = self.caller.address {
            self.shared.config.bounds.refuse(bound, remote);
        }
    }

    /// Waits until the connection is to end.
    pub(super) async fn left(&self) {
        // The sender lives in `self`.
        let _ = self.leaving.subscribe().wait_for(|leaving| *leaving).await;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.desk.close();
    }
}

impl Place {
    /// The answer has so many bytes, which count until they are taken.
    pub(super) fn hold(&mut self, bytes: usize) {
        let bytes = Unsent::weight(bytes);
        self.bytes += bytes;
        self.answers.unsent.hold(bytes);
        // Nobody waits for it to become more.
        self.answers.bytes.send_if_modified(|unsent| {
            *unsent += bytes;
            false
        });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.answers.unsent.release(self.bytes);
        self.answers.bytes.send_if_modified(|unsent| {
            let was_full = *unsent >= limits::HTTP_UNSENT_BYTES_MAX;
            *unsent -= self.bytes;
            was_full || *unsent == 0
        });
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use bytes::Bytes;

    use super::super::{Config, Http};
    use super::*;
    use crate::proto::{Call, Duplex, Method, Service};

    struct Nobody;

    impl Service for Nobody {
        fn call(&self, _: &Caller, _: Vec<Call>) {}

        fn open(&self, _: &Caller, _: Method, _: Bytes, _: Duplex) {}
    }

    fn session() -> Session {
        let http = Http::new(Arc::new(Nobody), Config::default());
        Session::new(http.shared, Purpose::Clients, Caller::default(), false)
    }

    fn waits<T>(future: Pin<&mut impl Future<Output = T>>) -> bool {
        matches!(future.poll(&mut Context::from_waker(Waker::noop())), Poll::Pending)
    }

    #[tokio::test]
    async fn who_takes_no_answers_asks_no_more() {
        let session = session();
        let mut first = session.place().await.unwrap();
        first.hold(limits::HTTP_UNSENT_BYTES_MAX);
        let mut second = pin!(session.place());
        assert!(waits(second.as_mut()));
        drop(first);
        second.await.unwrap();
    }

    #[tokio::test]
    async fn calls_under_way_are_counted() {
        let session = session();
        let mut places = Vec::new();
        for _ in 0..limits::CONNECTION_IN_FLIGHT_MAX {
            places.push(session.place().await.unwrap());
        }
        assert!(waits(pin!(session.place())));
        places.pop();
        session.place().await.unwrap();
    }
}
