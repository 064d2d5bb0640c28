//! The task behind the watchers of one stream: creates, delivers, and resumes where each of them was.
//!
//! ```text
//!   next revision of a watcher:  its start, or created + 1  ->  last event + 1  ->  progress + 1
//!   stream lost                  every watcher is created again from its next revision
//!   a watcher's queue is full    it is canceled, and created again from its next revision when half of it was read
//! ```
//!
//! On the wire every creation has an id of its own, so that a late answer to an earlier one is not mistaken.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::Error;
use super::auth::is_about_the_token;
use super::calls::failed;
use super::endpoints::Endpoints;
use super::lane::Failure;
use super::link::{Link, StreamRecv, StreamSend};
use crate::base::{Backoff, Clock};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::watch_request::RequestUnion;
use crate::proto::{Code, Method, Retry, Status};

/// Responses that wait for one watcher's reader.
pub(super) const RESPONSES_MAX: usize = 16;

/// Orders that wait for the task.
const COMMANDS_MAX: usize = 64;

/// How long one attempt to get a connection may take before orders are looked at again.
const LINK_WAIT: Duration = Duration::from_secs(1);

const RESUME_WAIT_FIRST: Duration = Duration::from_millis(25);
const RESUME_WAIT_MAX: Duration = Duration::from_secs(1);

/// Names a watcher inside this process.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Order(u64);

impl Order {
    pub(super) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// What watchers tell the task.
#[derive(Debug)]
pub(super) enum Command {
    Create {
        order: Order,
        request: pb::WatchCreateRequest,
        tell: mpsc::Sender<Result<pb::WatchResponse, Error>>,
        created: oneshot::Sender<Result<i64, Error>>,
    },
    Cancel(Order),
    Progress(Order),
    /// There is room again in a watcher's queue.
    Drained(Order),
}

/// The watch stream that a client's clones share; its task starts with the first watch.
#[derive(Debug, Default)]
pub(super) struct Streams {
    commands: Mutex<Option<mpsc::WeakSender<Command>>>,
}

impl Streams {
    /// The task lives as long as one of its senders.
    pub(super) fn commands(&self, endpoints: &Arc<Endpoints>) -> mpsc::Sender<Command> {
        let mut slot = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(commands) = slot.as_ref().and_then(mpsc::WeakSender::upgrade)
            && !commands.is_closed()
        {
            return commands;
        }
        let (commands, orders) = mpsc::channel(COMMANDS_MAX);
        *slot = Some(commands.downgrade());
        let task = Task {
            endpoints: Arc::clone(endpoints),
            own: commands.downgrade(),
            watched: BTreeMap::new(),
            by_wire: BTreeMap::new(),
            creating: VecDeque::new(),
            wire_next: 1,
            outgoing: VecDeque::new(),
        };
        tokio::spawn(task.run(orders));
        commands
    }
}

#[derive(Debug)]
struct Watched {
    request: pb::WatchCreateRequest,
    /// Where the next creation begins; 0 until the first one was answered.
    revision_next: i64,
    wire: Option<i64>,
    wants_progress: bool,
    tell: mpsc::Sender<Result<pb::WatchResponse, Error>>,
    created: Option<oneshot::Sender<Result<i64, Error>>>,
    /// Pieces of a response that is not whole yet.
    parts: Vec<crate::proto::mvccpb::Event>,
}

struct Task {
    endpoints: Arc<Endpoints>,
    own: mpsc::WeakSender<Command>,
    watched: BTreeMap<Order, Watched>,
    by_wire: BTreeMap<i64, Order>,
    /// Creations not answered yet, in order: a refusal carries no id.
    creating: VecDeque<i64>,
    wire_next: i64,
    outgoing: VecDeque<Bytes>,
}

/// Why a stream's turn is over.
enum End {
    /// Every watcher and its client are gone.
    Gone,
    Lost(Failure),
}

impl Task {
    async fn run(mut self, mut orders: mpsc::Receiver<Command>) {
        let mut backoff = Backoff::new(RESUME_WAIT_FIRST, RESUME_WAIT_MAX);
        loop {
            while let Ok(command) = orders.try_recv() {
                self.obey(command);
            }
            if self.watched.is_empty() {
                match orders.recv().await {
                    Some(command) => self.obey(command),
                    None => return,
                }
                continue;
            }
            let until = self.endpoints.clock.now() + LINK_WAIT;
            let link = match self.endpoints.link(until).await {
                Ok(link) => link,
                Err(Error::Connect { .. }) if !self.all_gone() => continue,
                Err(error) => return self.fail_all(&error),
            };
            let failure = match self.serve(&link, &mut orders, &mut backoff).await {
                End::Gone => return,
                End::Lost(failure) => failure,
            };
            if let Failure::Status(status) = &failure
                && !self.endpoints.renews(&link, &status.text)
            {
                if !self.endpoints.is_passing(status) {
                    self.fail_all(&failed(&link, failure));
                    continue;
                }
                self.endpoints.turn_from(&link);
            }
            drop(link);
            sleep(backoff.next_wait()).await;
        }
    }

    /// One stream, until it or everybody is gone.
    async fn serve(
        &mut self,
        link: &Link,
        orders: &mut mpsc::Receiver<Command>,
        backoff: &mut Backoff,
    ) -> End {
        let (send, mut recv) = match link.stream(Method::Watch).await {
            Ok(stream) => stream,
            Err(failure) => return End::Lost(failure),
        };
        let writer = write_all(send);
        self.begin();
        loop {
            let room = async {
                match self.outgoing.is_empty() {
                    true => std::future::pending().await,
                    false => writer.reserve().await,
                }
            };
            tokio::select! {
                permit = room => match permit {
                    Ok(permit) => {
                        if let Some(message) = self.outgoing.pop_front() {
                            permit.send(message);
                        }
                    }
                    Err(_) => return End::Lost(read_end(&mut recv).await),
                },
                message = recv.next() => match message {
                    Ok(Some(message)) => {
                        backoff.reset();
                        match pb::WatchResponse::decode(message) {
                            Ok(response) => match self.stale(&response) {
                                Some(stale) => return End::Lost(stale),
                                None => self.take(response),
                            },
                            Err(error) => return End::Lost(unreadable(&error)),
                        }
                    }
                    Ok(None) => return End::Lost(ended()),
                    Err(failure) => return End::Lost(failure),
                },
                command = orders.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return End::Gone,
                },
            }
        }
    }

    /// A watcher was refused for its token, and another one is to be had.
    fn stale(&self, response: &pb::WatchResponse) -> Option<Failure> {
        let reason = &response.cancel_reason;
        let is_stale = response.created && response.canceled && is_about_the_token(reason);
        let stale = || Status::new(Code::Unauthenticated, reason.clone(), Retry::Never);
        (is_stale && self.endpoints.config.login.is_some()).then(|| Failure::Status(stale()))
    }

    /// A fresh stream: every watcher that has room is created, from where it was.
    fn begin(&mut self) {
        self.outgoing.clear();
        self.by_wire.clear();
        self.creating.clear();
        let orders: Vec<Order> = self.watched.keys().copied().collect();
        for watched in self.watched.values_mut() {
            watched.wire = None;
            watched.parts.clear();
        }
        for order in orders {
            self.create(order);
        }
    }

    fn create(&mut self, order: Order) {
        let Some(watched) = self.watched.get_mut(&order) else { return };
        if watched.tell.capacity() == 0 {
            let tell = watched.tell.clone();
            return self.create_when_drained(order, tell);
        }
        let wire = self.wire_next;
        self.wire_next += 1;
        watched.wire = Some(wire);
        let request = pb::WatchCreateRequest {
            watch_id: wire,
            fragment: true,
            start_revision: match watched.revision_next {
                0 => watched.request.start_revision,
                next => next,
            },
            ..watched.request.clone()
        };
        self.by_wire.insert(wire, order);
        self.creating.push_back(wire);
        self.say(RequestUnion::CreateRequest(request));
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Create { order, request, tell, created } => {
                let watched = Watched {
                    request,
                    revision_next: 0,
                    wire: None,
                    wants_progress: false,
                    tell,
                    created: Some(created),
                    parts: Vec::new(),
                };
                self.watched.insert(order, watched);
                self.create(order);
            }
            Command::Cancel(order) => {
                self.silence(order);
                self.watched.remove(&order);
            }
            Command::Progress(order) => {
                if let Some(watched) = self.watched.get_mut(&order) {
                    watched.wants_progress = true;
                    self.say(RequestUnion::ProgressRequest(pb::WatchProgressRequest {}));
                }
            }
            Command::Drained(order) => {
                if self.watched.get(&order).is_some_and(|watched| watched.wire.is_none()) {
                    self.create(order);
                }
            }
        }
    }

    /// The server need send no more for this watcher.
    fn silence(&mut self, order: Order) {
        let Some(watched) = self.watched.get_mut(&order) else { return };
        watched.parts.clear();
        if let Some(wire) = watched.wire.take() {
            self.by_wire.remove(&wire);
            self.say(RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id: wire }));
        }
    }

    fn say(&mut self, request: RequestUnion) {
        let message = pb::WatchRequest { request_union: Some(request) };
        self.outgoing.push_back(message.encode_to_vec().into());
    }

    fn take(&mut self, response: pb::WatchResponse) {
        if response.created {
            return self.take_created(&response);
        }
        if response.watch_id == -1 {
            // It was said of the watchers that the server had then: not of one whose creation is still on its way.
            let creating = &self.creating;
            let created = self.by_wire.iter().filter(|(wire, _)| !creating.contains(wire));
            let orders: Vec<Order> = created.map(|(_, order)| *order).collect();
            for order in orders {
                self.take_progress(order, &response, true);
            }
            return;
        }
        let Some(&order) = self.by_wire.get(&response.watch_id) else { return };
        if response.canceled {
            return self.take_canceled(order, &response);
        }
        let Some(watched) = self.watched.get_mut(&order) else { return };
        if response.events.is_empty() && !response.fragment && watched.parts.is_empty() {
            return self.take_progress(order, &response, false);
        }
        watched.parts.extend_from_slice(&response.events);
        if !response.fragment {
            self.take_events(order, response);
        }
    }

    /// The oldest creation is answered; a refusal has id -1.
    fn take_created(&mut self, response: &pb::WatchResponse) {
        let Some(wire) = self.creating.pop_front() else { return };
        let Some(&order) = self.by_wire.get(&wire) else { return };
        let Some(watched) = self.watched.get_mut(&order) else { return };
        if response.canceled {
            return self.take_canceled(order, response);
        }
        let revision = response.header.as_ref().map_or(0, |header| header.revision);
        if watched.revision_next == 0 {
            watched.revision_next = match watched.request.start_revision {
                0 => revision + 1,
                start => start,
            };
        }
        if let Some(created) = watched.created.take() {
            // The caller may have given up; its Cancel follows.
            let _gone = created.send(Ok(revision));
        }
        if watched.wants_progress {
            // What was asked of an earlier stream or creation is not answered for this one.
            self.say(RequestUnion::ProgressRequest(pb::WatchProgressRequest {}));
        }
    }

    fn take_canceled(&mut self, order: Order, response: &pb::WatchResponse) {
        let Some(watched) = self.watched.remove(&order) else { return };
        if let Some(wire) = watched.wire {
            self.by_wire.remove(&wire);
        }
        let error = match response.compact_revision {
            0 => Error::WatchCanceled { reason: response.cancel_reason.clone() },
            compact_revision => Error::Compacted { compact_revision },
        };
        end(watched, error);
    }

    fn take_progress(&mut self, order: Order, response: &pb::WatchResponse, asked: bool) {
        let Some(watched) = self.watched.get_mut(&order) else { return };
        let revision = response.header.as_ref().map_or(0, |header| header.revision);
        watched.revision_next = watched.revision_next.max(revision + 1);
        if !asked || std::mem::take(&mut watched.wants_progress) {
            // Progress says nothing that later events do not say: without room it is left out.
            let _full = watched.tell.try_send(Ok(response.clone()));
        }
    }

    fn take_events(&mut self, order: Order, response: pb::WatchResponse) {
        let Some(watched) = self.watched.get_mut(&order) else { return };
        let mut events = std::mem::take(&mut watched.parts);
        let next = watched.revision_next;
        events.retain(|event| revision_of(event) >= next);
        let Some(last) = events.last().map(revision_of) else { return };
        let whole = pb::WatchResponse { events, fragment: false, ..response };
        match watched.tell.try_send(Ok(whole)) {
            Ok(()) => watched.revision_next = last + 1,
            Err(mpsc::error::TrySendError::Closed(_)) => {
                self.silence(order);
                self.watched.remove(&order);
            }
            Err(mpsc::error::TrySendError::Full(_)) => {
                let tell = watched.tell.clone();
                self.silence(order);
                self.create_when_drained(order, tell);
            }
        }
    }

    /// The task hears of it when half of the watcher's queue was read, or nobody reads it any more.
    fn create_when_drained(
        &self,
        order: Order,
        tell: mpsc::Sender<Result<pb::WatchResponse, Error>>,
    ) {
        let own = self.own.clone();
        tokio::spawn(async move {
            let room = tell.reserve_many(RESPONSES_MAX / 2).await.is_ok();
            let Some(own) = own.upgrade() else { return };
            let command = if room { Command::Drained(order) } else { Command::Cancel(order) };
            // The task is gone, and the watcher with it.
            let _gone = own.send(command).await;
        });
    }

    /// Whether nobody reads any more, though nobody could say so.
    fn all_gone(&self) -> bool {
        self.watched.values().all(|watched| watched.tell.is_closed())
    }

    fn fail_all(&mut self, error: &Error) {
        for (_, watched) in std::mem::take(&mut self.watched) {
            end(watched, error.clone());
        }
        self.by_wire.clear();
    }
}

/// Tells a watcher, or whoever waits for its creation, why there will be no more.
fn end(watched: Watched, error: Error) {
    let Watched { created, tell, .. } = watched;
    if let Some(created) = created {
        let _gone = created.send(Err(error));
        return;
    }
    tokio::spawn(async move {
        let _gone = tell.send(Err(error)).await;
    });
}

fn revision_of(event: &crate::proto::mvccpb::Event) -> i64 {
    event.kv.as_ref().map_or(0, |kv| kv.mod_revision)
}

/// Writes messages in order; ends when the sender is dropped or the stream fails.
fn write_all(mut send: StreamSend) -> mpsc::Sender<Bytes> {
    let (queue, mut queued) = mpsc::channel::<Bytes>(COMMANDS_MAX);
    tokio::spawn(async move {
        while let Some(message) = queued.recv().await {
            if send.send(message).await.is_err() {
                return;
            }
        }
        send.finish();
    });
    queue
}

/// The stream takes no more requests: what it says last is why.
async fn read_end(recv: &mut StreamRecv) -> Failure {
    loop {
        match recv.next().await {
            Ok(Some(_)) => {}
            Ok(None) => return ended(),
            Err(failure) => return failure,
        }
    }
}

fn ended() -> Failure {
    Failure::Lost { reason: "the server ended the watch stream".into(), sent: true }
}

fn unreadable(error: &prost::DecodeError) -> Failure {
    Failure::Lost { reason: format!("a watch response cannot be read: {error}").into(), sent: true }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;
    use crate::proto::mvccpb;

    fn task() -> Task {
        let endpoints = Endpoints::new(Config::new(["http://127.0.0.1:1"])).unwrap();
        let (own, _orders) = mpsc::channel(1);
        Task {
            endpoints: Arc::new(endpoints),
            own: own.downgrade(),
            watched: BTreeMap::new(),
            by_wire: BTreeMap::new(),
            creating: VecDeque::new(),
            wire_next: 1,
            outgoing: VecDeque::new(),
        }
    }

    fn response(watch_id: i64, revision: i64) -> pb::WatchResponse {
        let header = Some(pb::ResponseHeader { revision, ..pb::ResponseHeader::default() });
        pb::WatchResponse { header, watch_id, ..pb::WatchResponse::default() }
    }

    /// What was sent to the server since it was asked last: creations and requests for progress.
    fn said(task: &mut Task) -> (usize, usize) {
        let mut said = (0, 0);
        for message in task.outgoing.drain(..) {
            match pb::WatchRequest::decode(message).unwrap().request_union {
                Some(RequestUnion::CreateRequest(_)) => said.0 += 1,
                Some(RequestUnion::ProgressRequest(_)) => said.1 += 1,
                _ => {}
            }
        }
        said
    }

    #[tokio::test]
    async fn progress_of_a_stream_says_nothing_of_a_watcher_that_it_does_not_know_yet() {
        let mut task = task();
        let (tell, mut told) = mpsc::channel(RESPONSES_MAX);
        let (created, _created) = oneshot::channel();
        let request = pb::WatchCreateRequest { start_revision: 5, ..Default::default() };
        let order = Order::next();
        task.obey(Command::Create { order, request, tell, created });
        task.obey(Command::Progress(order));
        assert_eq!(said(&mut task), (1, 1));
        // The answer to somebody who asked before.
        task.take(response(-1, 9));
        assert!(told.try_recv().is_err());
        task.take(pb::WatchResponse { created: true, ..response(1, 9) });
        assert_eq!(said(&mut task), (0, 1), "asked again");
        let kv = mvccpb::KeyValue { mod_revision: 6, ..mvccpb::KeyValue::default() };
        let event = mvccpb::Event { kv: Some(kv), ..mvccpb::Event::default() };
        task.take(pb::WatchResponse { events: vec![event], ..response(1, 6) });
        let heard = told.try_recv().expect("nothing is left out").unwrap();
        assert_eq!(heard.events.len(), 1);
        task.take(response(-1, 9));
        assert_eq!(told.try_recv().unwrap().unwrap().header.unwrap().revision, 9);
    }
}
