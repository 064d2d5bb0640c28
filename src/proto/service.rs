//! What every front door calls, and what a member (with its engine) or a proxy (with a client) implements.
//!
//! A door decodes to (method, bytes) and knows no semantics; a service knows no wire. Unary calls come in batches, one
//! for each turn of a door's loop, because what crosses between threads is dear: one wake-up per batch, not one per
//! call. Each call is answered exactly once through its [`Reply`], from any thread.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::method::Method;
use super::status::{Code, Retry, Status};
use crate::base::limits;

/// Who asks, as the connection knows it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Caller {
    /// None for a caller inside this process.
    pub address: Option<SocketAddr>,
    /// The common name of the verified client certificate.
    pub common_name: Option<String>,
    /// The token of the connection's Hello or of its last SetToken.
    pub token: Option<String>,
    /// What the client calls itself.
    pub client: String,
    /// Who that is: empty as a client comes from a door, and set by the service that knows users.
    pub admitted: Option<Admitted>,
    /// Asks only a member that knows a leader: etcd's metadata `hasleader`.
    pub requires_leader: bool,
}

/// A user, as somebody has made out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Admitted {
    pub user: String,
    /// Of users and roles, when it was so.
    pub auth_revision: u64,
}

impl Admitted {
    /// A revision that no user has.
    const MEMBERS: u64 = u64::MAX;

    /// The member's own door, which wants to know whether all is well.
    pub fn member() -> Self {
        Self { user: String::new(), auth_revision: Self::MEMBERS }
    }

    pub fn is_member(&self) -> bool {
        self.auth_revision == Self::MEMBERS
    }
}

/// The message, or why there is none.
pub type Outcome = Result<Bytes, Status>;

/// Where a door takes its answers, by the ids it gave.
pub trait Answers: Send + Sync + 'static {
    fn answer(&self, id: u64, outcome: Outcome);

    /// Whether somebody still waits for the answer, as far as the door knows.
    fn is_wanted(&self, _id: u64) -> bool {
        true
    }
}

/// One call's way back. Dropped without an answer it says that the server stopped, ambiguously.
pub struct Reply {
    to: Option<Arc<dyn Answers>>,
    id: u64,
}

impl Reply {
    pub fn new(to: Arc<dyn Answers>, id: u64) -> Self {
        Self { to: Some(to), id }
    }

    /// A reply that runs `done`; doors with many calls share one [`Answers`] instead.
    pub fn from_fn(done: impl FnOnce(Outcome) + Send + 'static) -> Self {
        Self::new(Arc::new(Once(std::sync::Mutex::new(Some(done)))), 0)
    }

    /// Whether somebody still waits, for calls that wait long.
    pub fn is_wanted(&self) -> bool {
        self.to.as_ref().is_some_and(|to| to.is_wanted(self.id))
    }

    pub fn send(mut self, outcome: Outcome) {
        if let Some(to) = self.to.take() {
            to.answer(self.id, outcome);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(to) = self.to.take() {
            let status =
                Status::new(Code::Unavailable, "etcdserver: server stopped", Retry::Ambiguous);
            to.answer(self.id, Err(status));
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("id", &self.id).finish_non_exhaustive()
    }
}

struct Once<F>(std::sync::Mutex<Option<F>>);

impl<F: FnOnce(Outcome) + Send + 'static> Answers for Once<F> {
    fn answer(&self, _: u64, outcome: Outcome) {
        let done = self.0.lock().ok().and_then(|mut slot| slot.take());
        if let Some(done) = done {
            done(outcome);
        }
    }
}

/// One unary request.
#[derive(Debug)]
pub struct Call {
    pub method: Method,
    /// The encoded request message.
    pub body: Bytes,
    /// Time the caller waits, milliseconds; 0 leaves it to the service.
    pub deadline_ms: u32,
    pub reply: Reply,
}

/// etcd's API, as bytes.
pub trait Service: Send + Sync + 'static {
    /// Unary calls of one turn. Called inside a tokio runtime; does not block: what waits, waits elsewhere.
    fn call(&self, caller: &Caller, batch: Vec<Call>);

    /// A method with a stream of its own. Called inside a tokio runtime, on which the service may spawn; `first` is
    /// the first message of the client.
    fn open(&self, caller: &Caller, method: Method, first: Bytes, stream: Duplex);
}

/// The service's end of a stream: messages from the client, messages to it, and how it ends.
#[derive(Debug)]
pub struct Duplex {
    requests: mpsc::Receiver<Bytes>,
    answers: mpsc::Sender<Item>,
}

/// What a service sends on a stream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Item {
    Message(Bytes),
    /// The last one.
    End(Result<(), Status>),
}

/// The client is gone: nobody takes what is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the client closed the stream")]
pub struct Closed;

impl Duplex {
    /// Both ends; `depth` messages fit each way.
    pub fn pair(depth: usize) -> (Self, DoorEnd) {
        let (to_service, requests) = mpsc::channel(depth);
        let (answers, from_service) = mpsc::channel(depth);
        (Self { requests, answers }, DoorEnd { requests: to_service, answers: from_service })
    }

    /// The service's end of a stream whose messages somebody looks at before.
    pub fn behind(requests: mpsc::Receiver<Bytes>, answers: mpsc::Sender<Item>) -> Self {
        Self { requests, answers }
    }

    /// The client's next message; none when it has finished sending or is gone.
    pub async fn next(&mut self) -> Option<Bytes> {
        self.requests.recv().await
    }

    /// Waits for room, a long message for more of it: so what waits is bounded in bytes, too.
    pub async fn send(&self, message: Bytes) -> Result<(), Closed> {
        let mut room =
            self.answers.reserve_many(self.places(&message)).await.map_err(|_| Closed)?;
        if let Some(place) = room.next() {
            place.send(Item::Message(message));
        }
        Ok(())
    }

    /// The message back, if there is no room for it now.
    pub fn try_send(&self, message: Bytes) -> Result<Option<Bytes>, Closed> {
        match self.answers.try_reserve_many(self.places(&message)) {
            Ok(mut room) => {
                if let Some(place) = room.next() {
                    place.send(Item::Message(message));
                }
                Ok(None)
            }
            Err(mpsc::error::TrySendError::Full(())) => Ok(Some(message)),
            Err(mpsc::error::TrySendError::Closed(())) => Err(Closed),
        }
    }

    fn places(&self, message: &Bytes) -> usize {
        (message.len() / limits::STREAM_PLACE_BYTES).clamp(1, self.answers.max_capacity())
    }

    /// For senders beside the reader.
    pub fn split(self) -> (mpsc::Receiver<Bytes>, mpsc::Sender<Item>) {
        (self.requests, self.answers)
    }

    /// Another sender of answers, for who watches over the stream from outside.
    pub fn answers(&self) -> mpsc::Sender<Item> {
        self.answers.clone()
    }

    /// Resolves when the client takes no more answers.
    pub async fn closed(&self) {
        self.answers.closed().await;
    }

    /// Says how the stream ended. Without it the door says that the server stopped.
    pub async fn end(self, outcome: Result<(), Status>) {
        // A client that is gone needs no ending.
        let _gone = self.answers.send(Item::End(outcome)).await;
    }
}

/// The door's end of a [`Duplex`].
#[derive(Debug)]
pub struct DoorEnd {
    /// Dropped when the client has finished sending.
    pub requests: mpsc::Sender<Bytes>,
    pub answers: mpsc::Receiver<Item>,
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[test]
    fn a_reply_is_given_exactly_once_even_when_it_is_dropped() {
        let (tell, told) = sync_channel(4);
        let again = tell.clone();
        Reply::from_fn(move |outcome| tell.send(outcome).unwrap()).send(Ok(Bytes::new()));
        assert_eq!(told.try_recv(), Ok(Ok(Bytes::new())));
        assert!(told.try_recv().is_err());

        drop(Reply::from_fn(move |outcome| again.send(outcome).unwrap()));
        let status = told.try_recv().unwrap().unwrap_err();
        assert_eq!((status.code, status.retry), (Code::Unavailable, Retry::Ambiguous));
        assert!(told.try_recv().is_err());
    }

    #[tokio::test]
    async fn both_ends_of_a_duplex_meet() {
        let (mut service, mut door) = Duplex::pair(2);
        door.requests.send(Bytes::from_static(b"ask")).await.unwrap();
        assert_eq!(service.next().await.unwrap(), "ask");
        service.send(Bytes::from_static(b"answer")).await.unwrap();
        assert_eq!(door.answers.recv().await, Some(Item::Message(Bytes::from_static(b"answer"))));
        drop(door.requests);
        assert_eq!(service.next().await, None);
        service.end(Ok(())).await;
        assert_eq!(door.answers.recv().await, Some(Item::End(Ok(()))));
        assert_eq!(door.answers.recv().await, None);
    }
}
