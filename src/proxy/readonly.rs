//! A service that lets no change through: etcd's `--proxy readonly`.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::alarm_request::AlarmAction;
use crate::proto::etcdserverpb::request_op::Request;
use crate::proto::{Call, Caller, Code, Duplex, Method, Retry, Service, Status};

/// See the module.
pub struct Readonly {
    below: Arc<dyn Service>,
}

impl Readonly {
    pub fn new(below: Arc<dyn Service>) -> Self {
        Self { below }
    }
}

impl Service for Readonly {
    fn call(&self, caller: &Caller, batch: Vec<Call>) {
        let (let_through, refused): (Vec<Call>, Vec<Call>) =
            batch.into_iter().partition(|call| reads(call.method, &call.body));
        for call in refused {
            call.reply.send(Err(refusal(call.method)));
        }
        if !let_through.is_empty() {
            self.below.call(caller, let_through);
        }
    }

    fn open(&self, caller: &Caller, method: Method, first: Bytes, stream: Duplex) {
        if reads(method, &first) {
            return self.below.open(caller, method, first, stream);
        }
        tokio::spawn(stream.end(Err(refusal(method))));
    }
}

/// What JSON's gateway tells as 501, as etcd's read-only proxy does.
fn refusal(method: Method) -> Status {
    let text = format!(
        "quorate: this proxy is read-only, and {} changes something: ask a member",
        method.path()
    );
    Status::new(Code::Unimplemented, text, Retry::Never)
}

/// Whether nothing changes by it. What cannot be read is passed on: whoever reads it refuses it.
fn reads(method: Method, body: &Bytes) -> bool {
    match method {
        Method::Txn => pb::TxnRequest::decode(body.clone()).map_or(true, |txn| only_ranges(&txn)),
        Method::Alarm => pb::AlarmRequest::decode(body.clone())
            .map_or(true, |request| request.action() == AlarmAction::Get),
        // Who logs in changes nothing that others see.
        Method::Watch | Method::Observe | Method::Authenticate => true,
        other => other.is_read(),
    }
}

fn only_ranges(txn: &pb::TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).all(|op| match &op.request {
        Some(Request::RequestRange(_)) | None => true,
        Some(Request::RequestTxn(inner)) => only_ranges(inner),
        Some(Request::RequestPut(_) | Request::RequestDeleteRange(_)) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(request: Request) -> pb::RequestOp {
        pb::RequestOp { request: Some(request) }
    }

    #[test]
    fn a_transaction_reads_if_all_of_it_does() {
        let reads = |success: Vec<pb::RequestOp>| {
            let txn = pb::TxnRequest { success, ..Default::default() };
            reads(Method::Txn, &txn.encode_to_vec().into())
        };
        let range = op(Request::RequestRange(pb::RangeRequest::default()));
        let put = op(Request::RequestPut(pb::PutRequest::default()));
        let nested = |inner: &pb::RequestOp| {
            let success = vec![inner.clone()];
            op(Request::RequestTxn(pb::TxnRequest { success, ..Default::default() }))
        };
        assert!(reads(vec![]));
        assert!(reads(vec![range.clone(), nested(&range)]));
        assert!(!reads(vec![range, put.clone()]));
        assert!(!reads(vec![nested(&put)]));
    }

    #[test]
    fn an_alarm_may_be_looked_at() {
        let reads = |action| {
            let mut request = pb::AlarmRequest::default();
            request.set_action(action);
            reads(Method::Alarm, &request.encode_to_vec().into())
        };
        assert!(reads(AlarmAction::Get));
        assert!(!reads(AlarmAction::Deactivate));
        assert!(!super::reads(Method::LeaseKeepAlive, &Bytes::new()));
        assert!(!super::reads(Method::Defragment, &Bytes::new()));
    }
}
