//! The calls that recipes are made of. Their failures are passed on as etcd's gateway to itself does: code Unknown, and the
//! text.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use crate::api::ask;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use crate::proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use crate::proto::etcdserverpb::request_op::Request;
use crate::proto::etcdserverpb::response_op::Response;
use crate::proto::etcdserverpb::watch_request::RequestUnion;
use crate::proto::mvccpb::KeyValue;
use crate::proto::{Caller, Code, DoorEnd, Duplex, Item, Method, Retry, Service, Status};

/// etcd's for a session whose lease the server grants, seconds.
const SESSION_TTL_S: i64 = 60;

/// Who asks, and whom.
pub(super) struct Steps {
    service: Arc<dyn Service>,
    caller: Caller,
}

/// Deliveries of one watcher.
pub(super) struct Watching {
    door: DoorEnd,
}

impl Steps {
    pub(super) fn new(service: Arc<dyn Service>, caller: Caller) -> Self {
        Self { service, caller }
    }

    /// A call whose failure is passed on as it is.
    pub(super) async fn exact<R: Message + Default>(
        &self,
        method: Method,
        request: &impl Message,
    ) -> Result<R, Status> {
        ask::message(self.service.as_ref(), &self.caller, method, request).await
    }

    async fn ask<R: Message + Default>(
        &self,
        method: Method,
        request: &impl Message,
    ) -> Result<R, Status> {
        let outcome = self.exact(method, request).await;
        outcome.map_err(|status| Status { code: Code::Unknown, ..status })
    }

    pub(super) async fn txn(
        &self,
        compare: pb::Compare,
        success: Vec<Request>,
        failure: Vec<Request>,
    ) -> Result<pb::TxnResponse, Status> {
        let ops = |ops: Vec<Request>| {
            ops.into_iter().map(|request| pb::RequestOp { request: Some(request) }).collect()
        };
        let txn =
            pb::TxnRequest { compare: vec![compare], success: ops(success), failure: ops(failure) };
        self.ask(Method::Txn, &txn).await
    }

    pub(super) async fn range(
        &self,
        request: &pb::RangeRequest,
    ) -> Result<pb::RangeResponse, Status> {
        self.ask(Method::Range, request).await
    }

    pub(super) async fn delete(&self, key: Bytes) -> Result<pb::DeleteRangeResponse, Status> {
        let request = pb::DeleteRangeRequest { key, ..Default::default() };
        self.ask(Method::DeleteRange, &request).await
    }

    /// The caller's lease, or a fresh one if he brings none.
    pub(super) async fn lease(&self, id: i64) -> Result<i64, Status> {
        if id != 0 {
            return Ok(id);
        }
        let request = pb::LeaseGrantRequest { ttl: SESSION_TTL_S, id: 0 };
        let granted: pb::LeaseGrantResponse = self.ask(Method::LeaseGrant, &request).await?;
        Ok(granted.id)
    }

    /// Renews a lease once; its TTL, seconds, or none if it is no more.
    pub(super) async fn renew(&self, id: i64) -> Result<Option<i64>, Status> {
        let (duplex, mut door) = Duplex::pair(1);
        let first = pb::LeaseKeepAliveRequest { id }.encode_to_vec().into();
        self.service.open(&self.caller, Method::LeaseKeepAlive, first, duplex);
        match door.answers.recv().await {
            Some(Item::Message(message)) => {
                let renewed: pb::LeaseKeepAliveResponse = decoded(message)?;
                Ok(Some(renewed.ttl).filter(|&ttl| ttl > 0))
            }
            Some(Item::End(Err(status))) => Err(status),
            Some(Item::End(Ok(()))) | None => Err(ask::stopped()),
        }
    }

    /// Watches from `revision` on; `end` as in a range.
    pub(super) fn watch(&self, key: Bytes, range_end: Bytes, start_revision: i64) -> Watching {
        let create =
            pb::WatchCreateRequest { key, range_end, start_revision, ..Default::default() };
        let request = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        let (duplex, door) = Duplex::pair(4);
        self.service.open(&self.caller, Method::Watch, request.encode_to_vec().into(), duplex);
        Watching { door }
    }
}

impl Watching {
    /// The next response with events.
    pub(super) async fn next(&mut self) -> Result<pb::WatchResponse, Status> {
        loop {
            match self.door.answers.recv().await {
                Some(Item::Message(message)) => {
                    let response: pb::WatchResponse = decoded(message)?;
                    if response.canceled {
                        let text = "etcdserver: mvcc: required revision has been compacted";
                        return Err(failed(text));
                    }
                    if !response.events.is_empty() {
                        return Ok(response);
                    }
                }
                Some(Item::End(Err(status))) => return Err(status),
                Some(Item::End(Ok(()))) | None => return Err(ask::stopped()),
            }
        }
    }
}

fn decoded<M: Message + Default>(message: Bytes) -> Result<M, Status> {
    M::decode(message).map_err(|error| failed(&error.to_string()))
}

/// A recipe's own failure.
pub(super) fn failed(text: &str) -> Status {
    Status::new(Code::Unknown, text, Retry::Never)
}

/// `key` was created at `revision`; 0 is "is not there".
pub(super) fn created_at(key: &Bytes, revision: i64) -> pb::Compare {
    pb::Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Create.into(),
        key: key.clone(),
        target_union: Some(TargetUnion::CreateRevision(revision)),
        ..Default::default()
    }
}

pub(super) fn put(key: &Bytes, value: Bytes, lease: i64) -> Request {
    Request::RequestPut(pb::PutRequest { key: key.clone(), value, lease, ..Default::default() })
}

pub(super) fn get(key: &Bytes) -> pb::RangeRequest {
    pb::RangeRequest { key: key.clone(), ..Default::default() }
}

/// The oldest key of a line.
pub(super) fn oldest(prefix: &Bytes) -> pb::RangeRequest {
    sorted(prefix, SortOrder::Ascend, 0)
}

/// The newest of those created at or below `revision`.
pub(super) fn newest(prefix: &Bytes, revision: i64) -> pb::RangeRequest {
    sorted(prefix, SortOrder::Descend, revision)
}

fn sorted(prefix: &Bytes, order: SortOrder, max_create_revision: i64) -> pb::RangeRequest {
    pb::RangeRequest {
        key: prefix.clone(),
        range_end: end_of(prefix),
        limit: 1,
        sort_order: order.into(),
        sort_target: SortTarget::Create.into(),
        max_create_revision,
        ..Default::default()
    }
}

/// Behind every key that begins with `prefix`, which ends in a slash.
pub(super) fn end_of(prefix: &Bytes) -> Bytes {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end.into()
}

/// The keys that a transaction's range at `place` found.
pub(super) fn found(response: &pb::TxnResponse, place: usize) -> &[KeyValue] {
    match response.responses.get(place).and_then(|op| op.response.as_ref()) {
        Some(Response::ResponseRange(range)) => &range.kvs,
        _ => &[],
    }
}

pub(super) fn revision(header: Option<&pb::ResponseHeader>) -> i64 {
    header.map_or(0, |header| header.revision)
}
