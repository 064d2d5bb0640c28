//! Watches: what is asked for, and where the answers are read.

use std::future::IntoFuture;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::kv::{Calling, prefix_end};
use super::watching::{Command, Order};
use super::{Client, Error};
use crate::proto::Retry;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::watch_create_request::FilterType;

/// What to watch; awaited on a client it becomes a [`Watcher`].
#[derive(Clone, Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct Watch<C = ()> {
    client: C,
    request: pb::WatchCreateRequest,
}

impl<C> Watch<C> {
    /// Every key that begins with the key given; all keys, if that is empty.
    pub fn prefix(mut self) -> Self {
        self.request.range_end = prefix_end(&self.request.key);
        self.starting()
    }

    /// Keys up to `end`, not included.
    pub fn range(mut self, end: impl Into<Bytes>) -> Self {
        self.request.range_end = end.into();
        self
    }

    /// The key given and every key after it.
    pub fn from_key(mut self) -> Self {
        self.request.range_end = Bytes::from_static(b"\0");
        self.starting()
    }

    /// From this revision on, itself included; 0 is everything after now.
    pub fn start_revision(mut self, revision: i64) -> Self {
        self.request.start_revision = revision;
        self
    }

    /// Each event brings what was there before.
    pub fn prev_kv(mut self) -> Self {
        self.request.prev_kv = true;
        self
    }

    /// A response without events now and then, while nothing happens.
    pub fn progress_notify(mut self) -> Self {
        self.request.progress_notify = true;
        self
    }

    /// Only deletions.
    pub fn no_put(mut self) -> Self {
        self.request.filters.push(FilterType::Noput.into());
        self
    }

    /// Only puts.
    pub fn no_delete(mut self) -> Self {
        self.request.filters.push(FilterType::Nodelete.into());
        self
    }

    fn starting(mut self) -> Self {
        if self.request.key.is_empty() {
            self.request.key = Bytes::from_static(b"\0");
        }
        self
    }
}

impl<'c> IntoFuture for Watch<&'c Client> {
    type Output = Result<Watcher, Error>;
    type IntoFuture = Calling<'c, Watcher>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.client.open_watch(self.request))
    }
}

impl Client {
    /// Watches a key or a range of keys. All watchers of a client share one stream; see [`Client::own_watches`].
    pub fn watch(&self, key: impl Into<Bytes>) -> Watch<&Self> {
        let request = pb::WatchCreateRequest { key: key.into(), ..Default::default() };
        Watch { client: self, request }
    }

    /// The same client and connection, with a watch stream of its own for the watchers created with it.
    pub fn own_watches(&self) -> Self {
        Self { watches: Default::default(), ..self.clone() }
    }

    async fn open_watch(&self, request: pb::WatchCreateRequest) -> Result<Watcher, Error> {
        let (tell, responses) = mpsc::channel(super::watching::RESPONSES_MAX);
        let (created, told) = oneshot::channel();
        let commands = self.watches.commands(&self.endpoints);
        let order = Order::next();
        let until = self.deadline();
        let create = Command::Create { order, request, tell, created };
        commands.send(create).await.map_err(|_| Error::Closed)?;
        let mut watcher = Watcher { order, responses, commands, revision: 0 };
        watcher.revision = match timeout(self.endpoints.remaining(until), told).await {
            Ok(created) => created.unwrap_or(Err(Error::Closed))?,
            // Dropped, the watcher is canceled.
            Err(_) => {
                return Err(Error::Timeout {
                    endpoint: self.endpoint().unwrap_or_else(|| "any endpoint".into()).into(),
                    after: self.timeout,
                    retry: Retry::NotProposed,
                });
            }
        };
        Ok(watcher)
    }
}

/// A watch that goes on through lost connections: no event is lost, none comes twice, and all events of one revision
/// come in one response. Dropped, it is canceled.
///
/// Whoever does not read does not stop other watchers: the server is told to stop, and to go on from there later.
#[derive(Debug)]
pub struct Watcher {
    order: Order,
    responses: mpsc::Receiver<Result<pb::WatchResponse, Error>>,
    commands: mpsc::Sender<Command>,
    revision: i64,
}

impl Watcher {
    /// The store's revision when the watch was created.
    pub fn created_revision(&self) -> i64 {
        self.revision
    }

    /// The next events, or progress (a response without events). An error is the end: the history needed has been
    /// compacted, or the server canceled the watch. None after [`Watcher::cancel`] or when the client was closed.
    pub async fn next(&mut self) -> Option<Result<pb::WatchResponse, Error>> {
        self.responses.recv().await
    }

    /// Asks for a response that says up to which revision everything was seen; it comes when that is so.
    pub async fn request_progress(&self) -> Result<(), Error> {
        self.commands.send(Command::Progress(self.order)).await.map_err(|_| Error::Closed)
    }

    /// Ends the watch; what has arrived can still be read.
    pub async fn cancel(&mut self) {
        // The task is gone: so is the watch.
        let _gone = self.commands.send(Command::Cancel(self.order)).await;
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // If there is no room, the task finds out with the next event.
        let _full = self.commands.try_send(Command::Cancel(self.order));
    }
}
