//! One function per request, in etcd's order of checks.

use super::intervals;
use super::malformed::Malformed;
use super::urls;
use crate::base::limits;
use crate::mvcc::check_key;
use crate::proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use crate::proto::etcdserverpb::request_op::Request;
use crate::proto::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, MemberAddRequest,
    MemberUpdateRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};

pub fn range(request: &RangeRequest) -> Result<(), Malformed> {
    if request.key.is_empty() {
        return Err(Malformed::EmptyKey);
    }
    let order = SortOrder::try_from(request.sort_order);
    let target = SortTarget::try_from(request.sort_target);
    if order.is_err() || target.is_err() {
        return Err(Malformed::InvalidSortOption);
    }
    Ok(())
}

pub fn put(request: &PutRequest) -> Result<(), Malformed> {
    if request.key.is_empty() {
        return Err(Malformed::EmptyKey);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(Malformed::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(Malformed::LeaseProvided);
    }
    check_key(&request.key).map_err(|error| Malformed::KeyTooLong { bytes: error.escaped })
}

pub fn delete_range(request: &DeleteRangeRequest) -> Result<(), Malformed> {
    if request.key.is_empty() { Err(Malformed::EmptyKey) } else { Ok(()) }
}

/// Counts, keys and depth first, then that no key is written twice.
/// A branch has at most `ops_max` operations.
pub fn txn(request: &TxnRequest, ops_max: usize) -> Result<(), Malformed> {
    txn_shape(request, ops_max, 1)?;
    intervals::check(&request.success)?;
    intervals::check(&request.failure)
}

/// Nothing that the state does not decide.
pub fn compact(_: &CompactionRequest) -> Result<(), Malformed> {
    Ok(())
}

pub fn lease_grant(request: &LeaseGrantRequest) -> Result<(), Malformed> {
    if request.ttl > limits::LEASE_TTL_S_MAX { Err(Malformed::LeaseTtlTooLarge) } else { Ok(()) }
}

pub fn member_add(request: &MemberAddRequest) -> Result<(), Malformed> {
    urls::check(&request.peer_ur_ls)
}

pub fn member_update(request: &MemberUpdateRequest) -> Result<(), Malformed> {
    urls::check(&request.peer_ur_ls)
}

/// Whether the transaction needs no entry: all its operations are ranges. One inside another counts as a write.
pub fn is_read_only(request: &TxnRequest) -> bool {
    let is_range = |op: &RequestOp| matches!(op.request, Some(Request::RequestRange(_)));
    request.success.iter().chain(&request.failure).all(is_range)
}

/// Whether a read-only transaction holds a range that is not serializable, so that it must wait for a ReadIndex. One
/// with compares alone does not.
pub fn needs_barrier(request: &TxnRequest) -> bool {
    let is_linearizable = |op: &RequestOp| match &op.request {
        Some(Request::RequestRange(range)) => !range.serializable,
        _ => true,
    };
    request.success.iter().chain(&request.failure).any(is_linearizable)
}

/// An inner transaction has what its parent's longest list leaves of the budget.
fn txn_shape(request: &TxnRequest, ops_max: usize, depth: usize) -> Result<(), Malformed> {
    if depth > limits::TXN_DEPTH_MAX {
        return Err(Malformed::TxnTooDeep);
    }
    let ops = request.compare.len().max(request.success.len()).max(request.failure.len());
    let Some(left) = ops_max.checked_sub(ops) else {
        return Err(Malformed::TooManyOps);
    };
    if request.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(Malformed::EmptyKey);
    }
    for op in request.success.iter().chain(&request.failure) {
        match &op.request {
            Some(Request::RequestRange(request)) => range(request)?,
            Some(Request::RequestPut(request)) => put(request)?,
            Some(Request::RequestDeleteRange(request)) => delete_range(request)?,
            Some(Request::RequestTxn(request)) => txn_shape(request, left, depth + 1)?,
            None => return Err(Malformed::KeyNotFound),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use prost::Message;

    use super::*;
    use crate::base::RequestId;
    use crate::state::{Command, Envelope, decode, encode};

    fn op(request: Request) -> RequestOp {
        RequestOp { request: Some(request) }
    }

    fn get(key: &'static str) -> RequestOp {
        let key = Bytes::from(key);
        op(Request::RequestRange(RangeRequest { key, ..RangeRequest::default() }))
    }

    fn nested(depth: usize) -> TxnRequest {
        let mut txn = TxnRequest { success: vec![get("k")], ..TxnRequest::default() };
        for _ in 1..depth {
            txn = TxnRequest { success: vec![op(Request::RequestTxn(txn))], ..Default::default() };
        }
        txn
    }

    #[test]
    fn the_deepest_transaction_is_still_readable_from_the_log() {
        let deepest = nested(limits::TXN_DEPTH_MAX);
        assert_eq!(txn(&deepest, limits::TXN_OPS_MAX), Ok(()));
        // A decoder that stops before our limit would let a client stop every member.
        let envelope = Envelope::new(RequestId::default(), Command::Txn(deepest));
        assert_eq!(decode(2, &encode(&envelope)).unwrap(), envelope);
        assert_eq!(
            txn(&nested(limits::TXN_DEPTH_MAX + 1), limits::TXN_OPS_MAX),
            Err(Malformed::TxnTooDeep)
        );
        let too_deep = nested(limits::TXN_DEPTH_MAX + 1).encode_to_vec();
        assert!(TxnRequest::decode(too_deep.as_slice()).is_ok(), "refused by us, in words");
    }

    #[test]
    fn an_inner_transaction_has_what_the_outer_leaves() {
        let inner = |ops: usize| TxnRequest { success: vec![get("k"); ops], ..Default::default() };
        assert_eq!(txn(&inner(128), limits::TXN_OPS_MAX), Ok(()));
        assert_eq!(txn(&inner(129), limits::TXN_OPS_MAX), Err(Malformed::TooManyOps));
        let outer = |ops: usize, inner: TxnRequest| {
            let mut success = vec![get("k"); ops - 1];
            success.push(op(Request::RequestTxn(inner)));
            TxnRequest { success, ..Default::default() }
        };
        assert_eq!(txn(&outer(28, inner(100)), limits::TXN_OPS_MAX), Ok(()));
        assert_eq!(txn(&outer(28, inner(101)), limits::TXN_OPS_MAX), Err(Malformed::TooManyOps));
        // The longest of the three lists counts, not their sum.
        let mut wide = outer(28, inner(100));
        wide.failure = vec![get("k"); 28];
        assert_eq!(txn(&wide, limits::TXN_OPS_MAX), Ok(()));
        wide.failure.push(get("k"));
        assert_eq!(txn(&wide, limits::TXN_OPS_MAX), Err(Malformed::TooManyOps));
    }

    #[test]
    fn only_ranges_need_no_entry() {
        let mut request = TxnRequest::default();
        assert!(is_read_only(&request) && !needs_barrier(&request));
        request.failure = vec![get("k")];
        assert!(is_read_only(&request) && needs_barrier(&request));
        let serializable = RangeRequest { serializable: true, ..RangeRequest::default() };
        request.failure = vec![op(Request::RequestRange(serializable))];
        assert!(is_read_only(&request) && !needs_barrier(&request));
        request.success = vec![op(Request::RequestTxn(TxnRequest::default()))];
        assert!(!is_read_only(&request));
    }

    #[test]
    fn a_long_key_is_refused_with_its_length_and_the_limit() {
        let put_of = |key: Vec<u8>| PutRequest { key: key.into(), ..PutRequest::default() };
        assert_eq!(put(&put_of(vec![b'k'; 1_966])), Ok(()));
        let text = put(&put_of(vec![b'k'; 1_967])).unwrap_err().to_string();
        assert!(text.contains("1969") && text.contains("1968"), "{text}");
        assert!(put(&put_of(vec![0; 1_000])).is_err());
    }
}
