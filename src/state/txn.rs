//! Txn: compares, then checks, then the operations of the taken branches in order.
//!
//! ```text
//!   compares   all of them, inner ones too, against the state before  -> Path
//!   checks     in order: keys that puts want to keep, leases, range revisions -> a rejection changes nothing
//!   execute    ranges see what the transaction wrote before them, at current + 1
//! ```

use super::compare::{Path, branch};
use super::range::{Source, whole_range};
use super::reply::Rejection;
use super::stop::Stop;
use super::transaction::Transaction;
use super::wire;
use crate::proto::etcdserverpb::request_op::Request;
use crate::proto::etcdserverpb::response_op::Response;
use crate::proto::etcdserverpb::{
    PutRequest, RangeRequest, ResponseHeader, ResponseOp, TxnRequest, TxnResponse,
};
use crate::storage::Read;

/// In a writing transaction.
pub(super) fn write<R: Read>(
    txn: &mut Transaction<'_, '_, R>,
    request: &TxnRequest,
) -> Result<TxnResponse, Stop> {
    let path = Path::new(txn, request)?;
    each_op(request, &mut path.follow(), &mut |op| match op {
        Request::RequestPut(put) => check_put(txn, put),
        op => check_range(txn, op),
    })?;
    let mut response = execute(request, &mut path.follow(), &mut |op| {
        Ok(match op {
            Request::RequestRange(range) => Response::ResponseRange(txn.range(range)?),
            Request::RequestPut(put) => Response::ResponsePut(txn.put(put)?),
            Request::RequestDeleteRange(delete) => {
                Response::ResponseDeleteRange(txn.delete_range(delete)?)
            }
            Request::RequestTxn(_) => return Err(Rejection::KeyNotFound.into()),
        })
    })?;
    response.header = wire::header(txn.current());
    Ok(response)
}

/// Of ranges alone ([`check::is_read_only`](super::check::is_read_only)); any other operation is answered like one
/// without a request.
pub(super) fn read<S: Source>(source: &S, request: &TxnRequest) -> Result<TxnResponse, Stop> {
    let path = Path::new(source, request)?;
    each_op(request, &mut path.follow(), &mut |op| check_range(source, op))?;
    let mut response = execute(request, &mut path.follow(), &mut |op| match op {
        Request::RequestRange(range) => Ok(Response::ResponseRange(whole_range(source, range)?)),
        _ => Err(Rejection::KeyNotFound.into()),
    })?;
    response.header = wire::header(source.current());
    Ok(response)
}

/// Every operation of the taken branches that is not itself a transaction.
fn each_op(
    request: &TxnRequest,
    path: &mut dyn Iterator<Item = bool>,
    each: &mut dyn FnMut(&Request) -> Result<(), Stop>,
) -> Result<(), Stop> {
    for op in branch(request, path.next().unwrap_or(true)) {
        match &op.request {
            Some(Request::RequestTxn(inner)) => each_op(inner, path, each)?,
            Some(op) => each(op)?,
            None => return Err(Rejection::KeyNotFound.into()),
        }
    }
    Ok(())
}

/// The answers in the order of the operations; an inner transaction's header stays empty, as in etcd.
fn execute(
    request: &TxnRequest,
    path: &mut dyn Iterator<Item = bool>,
    run: &mut dyn FnMut(&Request) -> Result<Response, Stop>,
) -> Result<TxnResponse, Stop> {
    let succeeded = path.next().unwrap_or(true);
    let mut responses = Vec::new();
    for op in branch(request, succeeded) {
        let response = match &op.request {
            Some(Request::RequestTxn(inner)) => Response::ResponseTxn(execute(inner, path, run)?),
            Some(op) => run(op)?,
            None => return Err(Rejection::KeyNotFound.into()),
        };
        responses.push(ResponseOp { response: Some(response) });
    }
    Ok(TxnResponse { header: Some(ResponseHeader::default()), succeeded, responses })
}

/// Against the state before the transaction: keys whose value or lease is kept, then leases.
fn check_put<R: Read>(txn: &Transaction<'_, '_, R>, put: &PutRequest) -> Result<(), Stop> {
    let keeps = put.ignore_value || put.ignore_lease;
    if keeps && txn.reader(txn.current()).find(&put.key)?.is_none() {
        return Err(Rejection::KeyNotFound.into());
    }
    if put.lease != 0 && txn.leases.get(put.lease).is_none() {
        return Err(Rejection::LeaseNotFound.into());
    }
    Ok(())
}

/// Only 0 means the current revision here: a negative one lies below what compaction left. Before the first
/// compaction that is -1, which is let through, and read as the current one.
fn check_range<S: Source>(source: &S, op: &Request) -> Result<(), Stop> {
    let Request::RequestRange(RangeRequest { revision, .. }) = op else { return Ok(()) };
    let revision = *revision;
    if revision > source.current() {
        return Err(Rejection::FutureRev.into());
    }
    if revision != 0 && revision < source.compacted() {
        return Err(Rejection::Compacted.into());
    }
    Ok(())
}
