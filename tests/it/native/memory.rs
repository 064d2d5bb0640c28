//! A service without an engine: keys and history in memory, calls that can be held back, leases that can vanish.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use prost::Message;
use quorate::proto::etcdserverpb as pb;
use quorate::proto::etcdserverpb::watch_request::RequestUnion;
use quorate::proto::mvccpb::{Event, KeyValue};
use quorate::proto::{Call, Caller, Code, Duplex, Item, Method, Outcome, Retry, Service, Status};
use tokio::sync::watch;

/// See the module. Clones of the `Arc` are members of one cluster: they share everything.
pub(crate) struct Memory {
    state: Mutex<State>,
    revision: watch::Sender<i64>,
}

#[derive(Default)]
struct State {
    history: Vec<(i64, KeyValue)>,
    compacted: i64,
    held: Option<Vec<Call>>,
    /// Calls that came, by method.
    seen: BTreeMap<Method, usize>,
    callers: Vec<Caller>,
    fails: Option<Status>,
    leases: BTreeSet<i64>,
    renewals: Vec<i64>,
    corrupt_snapshot: bool,
    watch_creates: usize,
}

impl Memory {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), revision: watch::Sender::new(1) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Calls are kept back until they are released.
    pub(crate) fn hold(&self) {
        self.lock().held = Some(Vec::new());
    }

    pub(crate) fn held(&self) -> usize {
        self.lock().held.as_ref().map_or(0, Vec::len)
    }

    /// Of these, those whose answer somebody waits for.
    pub(crate) fn wanted(&self) -> usize {
        let state = self.lock();
        state.held.iter().flatten().filter(|call| call.reply.is_wanted()).count()
    }

    /// Answers what was held, the last first, and holds nothing more.
    pub(crate) fn release(&self) {
        let held = self.lock().held.take().unwrap_or_default();
        for call in held.into_iter().rev() {
            self.answer(call);
        }
    }

    /// What every unary call is answered with, until taken back.
    pub(crate) fn fail_with(&self, status: Option<Status>) {
        self.lock().fails = status;
    }

    pub(crate) fn seen(&self, method: Method) -> usize {
        self.lock().seen.get(&method).copied().unwrap_or(0)
    }

    pub(crate) fn last_caller(&self) -> Caller {
        self.lock().callers.last().cloned().unwrap()
    }

    pub(crate) fn watch_creates(&self) -> usize {
        self.lock().watch_creates
    }

    pub(crate) fn put(&self, key: &str, value: &str) -> i64 {
        self.store(key.to_owned().into(), value.to_owned().into())
    }

    pub(crate) fn compact(&self, revision: i64) {
        self.lock().compacted = revision;
        self.revision.send_modify(|_| {});
    }

    pub(crate) fn revision(&self) -> i64 {
        *self.revision.borrow()
    }

    pub(crate) fn grant(&self, id: i64) {
        self.lock().leases.insert(id);
    }

    pub(crate) fn expire(&self, id: i64) {
        self.lock().leases.remove(&id);
    }

    pub(crate) fn renewals(&self, id: i64) -> usize {
        self.lock().renewals.iter().filter(|&&renewed| renewed == id).count()
    }

    pub(crate) fn corrupt_snapshots(&self) {
        self.lock().corrupt_snapshot = true;
    }

    fn store(&self, key: Bytes, value: Bytes) -> i64 {
        let mut state = self.lock();
        let revision = self.revision() + 1;
        let kv = KeyValue { key, value, mod_revision: revision, ..Default::default() };
        state.history.push((revision, kv));
        drop(state);
        self.revision.send_replace(revision);
        revision
    }

    fn header(&self) -> Option<pb::ResponseHeader> {
        Some(pb::ResponseHeader { revision: self.revision(), ..Default::default() })
    }

    fn answer(&self, call: Call) {
        let failure = self.lock().fails.clone();
        let outcome = match failure {
            Some(status) => Err(status),
            None => self.outcome(call.method, call.body),
        };
        call.reply.send(outcome);
    }

    fn outcome(&self, method: Method, body: Bytes) -> Outcome {
        match method {
            Method::Put => {
                let put = pb::PutRequest::decode(body).unwrap();
                self.store(put.key, put.value);
                Ok(pb::PutResponse { header: self.header(), prev_kv: None }.encode_to_vec().into())
            }
            Method::Range => {
                let range = pb::RangeRequest::decode(body).unwrap();
                let found =
                    self.lock().history.iter().rev().find(|(_, kv)| kv.key == range.key).cloned();
                let kvs: Vec<KeyValue> = found.into_iter().map(|(_, kv)| kv).collect();
                let count = kvs.len() as i64;
                let response = pb::RangeResponse { header: self.header(), kvs, more: false, count };
                Ok(response.encode_to_vec().into())
            }
            other => Err(Status::unimplemented(other.path())),
        }
    }

    async fn watch(self: Arc<Self>, first: Bytes, mut stream: Duplex) {
        let mut revision = self.revision.subscribe();
        let mut watchers: BTreeMap<i64, (pb::WatchCreateRequest, i64)> = BTreeMap::new();
        let mut message = Some(first);
        loop {
            if let Some(request) = message.take() {
                let request = pb::WatchRequest::decode(request).unwrap().request_union;
                if !self.ask(request, &mut watchers, &stream).await {
                    return;
                }
            }
            for (response, gone) in self.news(&mut watchers) {
                if stream.send(response.encode_to_vec().into()).await.is_err() {
                    return;
                }
                if gone {
                    watchers.remove(&response.watch_id);
                }
            }
            tokio::select! {
                next = stream.next() => match next {
                    Some(next) => message = Some(next),
                    None => return stream.end(Ok(())).await,
                },
                _ = revision.changed() => {}
            }
        }
    }

    async fn ask(
        &self,
        request: Option<RequestUnion>,
        watchers: &mut BTreeMap<i64, (pb::WatchCreateRequest, i64)>,
        stream: &Duplex,
    ) -> bool {
        let mut response = pb::WatchResponse { header: self.header(), ..Default::default() };
        match request {
            Some(RequestUnion::CreateRequest(create)) => {
                self.lock().watch_creates += 1;
                response.created = true;
                response.watch_id = create.watch_id;
                if create.key == "refused" {
                    response.watch_id = -1;
                    response.canceled = true;
                    response.cancel_reason = "mvcc: watcher range is empty".to_owned();
                } else {
                    let next = match create.start_revision {
                        0 => self.revision() + 1,
                        start => start,
                    };
                    watchers.insert(create.watch_id, (create, next));
                }
            }
            Some(RequestUnion::CancelRequest(cancel)) => {
                if watchers.remove(&cancel.watch_id).is_none() {
                    return true;
                }
                response.canceled = true;
                response.watch_id = cancel.watch_id;
            }
            _ => response.watch_id = -1,
        }
        stream.send(response.encode_to_vec().into()).await.is_ok()
    }

    /// What the watchers have not heard; true beside a cancelation. Each revision comes in pieces of one event.
    fn news(
        &self,
        watchers: &mut BTreeMap<i64, (pb::WatchCreateRequest, i64)>,
    ) -> Vec<(pb::WatchResponse, bool)> {
        let state = self.lock();
        let mut news = Vec::new();
        for (&watch_id, (create, next)) in watchers.iter_mut() {
            if *next < state.compacted {
                let compact_revision = state.compacted;
                let canceled = pb::WatchResponse {
                    watch_id,
                    canceled: true,
                    compact_revision,
                    ..Default::default()
                };
                news.push((canceled, true));
                continue;
            }
            for (revision, kv) in state.history.iter().filter(|(revision, _)| *revision >= *next) {
                if !kv.key.starts_with(&create.key) {
                    continue;
                }
                let header = Some(pb::ResponseHeader { revision: *revision, ..Default::default() });
                let event = Event { kv: Some(kv.clone()), ..Default::default() };
                let mut response = pb::WatchResponse {
                    header,
                    watch_id,
                    events: vec![event],
                    ..Default::default()
                };
                if kv.value == "twice" {
                    response.fragment = true;
                    news.push((response.clone(), false));
                    response.fragment = false;
                }
                news.push((response, false));
            }
            *next = (*next).max(state.history.last().map_or(0, |(revision, _)| revision + 1));
        }
        news
    }

    async fn keep_alive(self: Arc<Self>, first: Bytes, mut stream: Duplex) {
        let mut message = Some(first);
        while let Some(request) = message {
            let id = pb::LeaseKeepAliveRequest::decode(request).unwrap().id;
            let ttl = {
                let mut state = self.lock();
                state.renewals.push(id);
                if state.leases.contains(&id) { 1 } else { 0 }
            };
            let response = pb::LeaseKeepAliveResponse { header: self.header(), id, ttl };
            if stream.send(response.encode_to_vec().into()).await.is_err() {
                return;
            }
            message = stream.next().await;
        }
        stream.end(Ok(())).await;
    }

    async fn snapshot(self: Arc<Self>, stream: Duplex) {
        let pieces: [&[u8]; 2] = [&[1; 70_000], &[2; 10]];
        let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
        let mut remaining_bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
        for piece in pieces {
            hash.update(piece);
            remaining_bytes -= piece.len() as u64;
            let blob = Bytes::copy_from_slice(piece);
            let message = pb::SnapshotResponse { remaining_bytes, blob, ..Default::default() };
            stream.send(message.encode_to_vec().into()).await.unwrap();
        }
        let mut blob = hash.finish().as_ref().to_vec();
        if self.lock().corrupt_snapshot {
            blob[0] ^= 1;
        }
        let message = pb::SnapshotResponse { blob: blob.into(), ..Default::default() };
        stream.send(message.encode_to_vec().into()).await.unwrap();
        stream.end(Ok(())).await;
    }
}

/// A member of the cluster in memory.
pub(crate) struct InMemory(pub(crate) Arc<Memory>);

impl Service for InMemory {
    fn call(&self, caller: &Caller, batch: Vec<Call>) {
        for call in batch {
            let mut state = self.0.lock();
            *state.seen.entry(call.method).or_default() += 1;
            state.callers.push(caller.clone());
            if let Some(held) = &mut state.held {
                held.push(call);
                continue;
            }
            drop(state);
            self.0.answer(call);
        }
    }

    fn open(&self, _: &Caller, method: Method, first: Bytes, stream: Duplex) {
        let memory = Arc::clone(&self.0);
        match method {
            Method::Watch => drop(tokio::spawn(memory.watch(first, stream))),
            Method::LeaseKeepAlive => drop(tokio::spawn(memory.keep_alive(first, stream))),
            Method::Snapshot => drop(tokio::spawn(memory.snapshot(stream))),
            other => {
                let (_, answers) = stream.split();
                let status = Status::unimplemented(other.path());
                tokio::spawn(async move { answers.send(Item::End(Err(status))).await.unwrap() });
            }
        }
    }
}

/// A member without a leader.
pub(crate) fn no_leader() -> Status {
    Status::new(Code::Unavailable, "etcdserver: no leader", Retry::NotProposed)
}
