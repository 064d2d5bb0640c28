//! What a stranger may ask of etcd's methods: to see the tokens that he knows, and to write what a member that bootstraps
//! writes. Pure.

use bytes::Bytes;
use prost::Message;

use crate::discovery::{Place, Token, token_of};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::request_op::Request;
use crate::proto::etcdserverpb::watch_request::RequestUnion;
use crate::proto::{Code, Method, Retry, Status};

/// What becomes of a call.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    Through,
    /// A size is set, by this put.
    Sizes(Token, pb::PutRequest),
    /// A member registers, by this put or by a transaction that has it.
    Registers {
        token: Token,
        id: String,
        put: pb::PutRequest,
        whole: Option<pb::TxnRequest>,
    },
    Refused(Status),
}

/// Keys that are read to see whether the service is well: ours, and etcdctl's.
const PROBES: [&[u8]; 2] = [b"\0", b"health"];

pub(super) fn judge(method: Method, body: &Bytes) -> Verdict {
    match method {
        Method::MemberList | Method::Status | Method::Authenticate => Verdict::Through,
        Method::Alarm => match pb::AlarmRequest::decode(body.clone()) {
            Ok(request) if request.action == 0 => Verdict::Through,
            _ => refused(),
        },
        Method::Range => match pb::RangeRequest::decode(body.clone()) {
            Ok(request) if may_read(&request.key, &request.range_end) => Verdict::Through,
            Ok(request) if request.range_end.is_empty() && PROBES.contains(&&*request.key) => {
                Verdict::Through
            }
            _ => refused(),
        },
        Method::Put => match pb::PutRequest::decode(body.clone()) {
            Ok(put) => judge_put(put),
            Err(_) => refused(),
        },
        Method::Txn => match pb::TxnRequest::decode(body.clone()) {
            Ok(txn) => judge_txn(txn),
            Err(_) => refused(),
        },
        _ => refused(),
    }
}

/// A message of a stream of watches.
pub(super) fn may_watch(message: &Bytes) -> Result<(), Status> {
    let request = pb::WatchRequest::decode(message.clone())
        .map_err(|error| Status::invalid(error.to_string()))?;
    match request.request_union {
        Some(RequestUnion::CreateRequest(create)) if !may_read(&create.key, &create.range_end) => {
            Err(denied())
        }
        _ => Ok(()),
    }
}

fn judge_put(put: pb::PutRequest) -> Verdict {
    if put.ignore_value || put.ignore_lease {
        return refused();
    }
    match Place::of_key(&put.key) {
        Some(Place::Size(token)) => Verdict::Sizes(token, put),
        Some(Place::Member(token, id)) => Verdict::Registers { token, id, put, whole: None },
        _ => refused(),
    }
}

/// Comparisons and reads of one token, and at most one put, of a member.
fn judge_txn(txn: pb::TxnRequest) -> Verdict {
    let mut put = None;
    for op in txn.success.iter().chain(&txn.failure) {
        match &op.request {
            Some(Request::RequestRange(range)) if may_read(&range.key, &range.range_end) => {}
            Some(Request::RequestPut(found)) if put.is_none() => put = Some(found.clone()),
            _ => return refused(),
        }
    }
    if !txn.compare.iter().all(|compare| may_read(&compare.key, &compare.range_end)) {
        return refused();
    }
    match put.map(judge_put) {
        None => Verdict::Through,
        Some(Verdict::Registers { token, id, put, .. }) => {
            Verdict::Registers { token, id, put, whole: Some(txn) }
        }
        Some(_) => refused(),
    }
}

/// A key, or a range, under one token.
fn may_read(key: &[u8], range_end: &[u8]) -> bool {
    let Some(token) = token_of(key) else { return false };
    let first = token.all();
    let behind = behind(&first);
    key.starts_with(first.as_bytes())
        && (range_end.is_empty() || (range_end > key && range_end <= behind.as_slice()))
}

/// The first key behind all that begin with `prefix`, which ends in ASCII.
pub(super) fn behind(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

fn refused() -> Verdict {
    Verdict::Refused(denied())
}

pub(super) fn denied() -> Status {
    let text = "quorate: this is a discovery service: it serves the keys under /_etcd/registry/TOKEN/ to members that \
                bootstrap, and everything else to its operator, over QUIC on its own machine";
    Status::new(Code::PermissionDenied, text, Retry::Never)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_through(method: Method, request: &impl Message) -> bool {
        judge(method, &request.encode_to_vec().into()) == Verdict::Through
    }

    fn range(key: &str, range_end: &[u8]) -> pb::RangeRequest {
        pb::RangeRequest {
            key: key.to_owned().into(),
            range_end: Bytes::copy_from_slice(range_end),
            ..Default::default()
        }
    }

    const MEMBERS: &str = "/_etcd/registry/t/members/";

    #[test]
    fn a_stranger_reads_below_a_token_that_he_names() {
        let may = |key: &str, end: &[u8]| is_through(Method::Range, &range(key, end));
        assert!(may("/_etcd/registry/t/_config/size", b""));
        assert!(may(MEMBERS, &behind(MEMBERS)));
        assert!(may("\0", b""));
        for (key, end) in [
            ("/_etcd/registry/", &behind("/_etcd/registry/")[..]),
            ("/_etcd/registry/t", &behind("/_etcd/registry/t")),
            (MEMBERS, b"\0"),
            (MEMBERS, b"/_etcd/registry/u"),
            ("/_etcd/registry/t/", b"/_etcd/registry/t1"),
            ("\0", b"\0"),
            ("key", b""),
        ] {
            assert!(!may(key, end), "{key} {end:?}");
        }
        let watch = |key: &str, end: &[u8]| {
            let create = pb::WatchCreateRequest {
                key: key.to_owned().into(),
                range_end: Bytes::copy_from_slice(end),
                ..Default::default()
            };
            let union = Some(RequestUnion::CreateRequest(create));
            may_watch(&pb::WatchRequest { request_union: union }.encode_to_vec().into()).is_ok()
        };
        assert!(watch(MEMBERS, &behind(MEMBERS)));
        assert!(!watch("/_etcd/registry/", b"\0"));
    }

    #[test]
    fn a_stranger_writes_sizes_and_members_and_nothing_else() {
        let put = |key: &str| pb::PutRequest {
            key: key.to_owned().into(),
            value: "3".into(),
            ..Default::default()
        };
        let judged = |key: &str| judge(Method::Put, &put(key).encode_to_vec().into());
        assert!(matches!(judged("/_etcd/registry/t/_config/size"), Verdict::Sizes(..)));
        let member = format!("{MEMBERS}8e");
        assert!(matches!(judged(&member), Verdict::Registers { .. }));
        for key in ["k", "/_etcd/registry/t/members/XX", "/_etcd/registry/t/x"] {
            assert!(matches!(judged(key), Verdict::Refused(_)), "{key}");
        }
        let txn = |requests: Vec<Request>| {
            let ops = requests.into_iter().map(|it| pb::RequestOp { request: Some(it) });
            let txn = pb::TxnRequest { success: ops.collect(), ..Default::default() };
            judge(Method::Txn, &txn.encode_to_vec().into())
        };
        assert!(matches!(
            txn(vec![Request::RequestPut(put(&member))]),
            Verdict::Registers { whole: Some(_), .. }
        ));
        let twice = vec![Request::RequestPut(put(&member)), Request::RequestPut(put(&member))];
        assert!(matches!(txn(twice), Verdict::Refused(_)));
        let other = range("k", b"");
        assert!(matches!(txn(vec![Request::RequestRange(other)]), Verdict::Refused(_)));
        for method in [Method::DeleteRange, Method::LeaseGrant, Method::Snapshot, Method::HashKv] {
            assert!(matches!(judge(method, &Bytes::new()), Verdict::Refused(_)), "{method:?}");
        }
    }
}
