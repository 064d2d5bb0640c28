//! What a command asks of the quota. Checked at admission, never at apply: the replicated alarm is what refuses.

use prost::Message;

use super::envelope::Command;
use crate::proto::etcdserverpb::request_op::Request;
use crate::proto::etcdserverpb::{PutRequest, RequestOp, TxnRequest};
use crate::proto::quorate::log::auth_change::Change as AuthKind;
use crate::proto::quorate::log::v2_auth::Change;
use crate::proto::quorate::log::v2_request::Method;
use crate::proto::quorate::log::{AuthChange, V2Auth, V2Request};

/// What a version costs beside its key and value, bytes (etcd's estimate).
const VERSION_BYTES: u64 = 256;
/// What a lease costs, bytes (etcd's estimate).
const LEASE_BYTES: u64 = 64;

/// Bytes that the command may add to the store; 0 for whatever still works without space.
pub fn cost(command: &Command) -> u64 {
    match command {
        Command::Put(put) => put_cost(put),
        Command::Txn(txn) => txn_cost(txn),
        Command::LeaseGrant(_) => LEASE_BYTES,
        Command::V2(request) => v2_cost(request),
        Command::V2Auth(request) => v2_auth_cost(request),
        Command::Auth(request) => auth_cost(request),
        _ => 0,
    }
}

fn put_cost(put: &PutRequest) -> u64 {
    VERSION_BYTES + (put.key.len() + put.value.len()) as u64
}

/// What removes is free; everything else is kept three times: as a node, in its event, and in that of what replaces it. Each
/// directory above is a row with its path.
fn v2_cost(request: &V2Request) -> u64 {
    match request.method() {
        Method::Delete | Method::CompareAndDelete => 0,
        _ => {
            let directories = request.path.iter().filter(|byte| **byte == b'/').count();
            let copies = 3 * (request.path.len() + request.value.len());
            VERSION_BYTES + (copies + directories * request.path.len()) as u64
        }
    }
}

/// Whoever would make room must be able to delete, and to enable and disable.
fn v2_auth_cost(request: &V2Auth) -> u64 {
    match &request.change {
        Some(Change::User(_) | Change::Role(_)) => VERSION_BYTES + request.encoded_len() as u64,
        _ => 0,
    }
}

/// Likewise; who is granted less, or taken away, makes room.
fn auth_cost(request: &AuthChange) -> u64 {
    match &request.change {
        Some(AuthKind::AddUser(_) | AuthKind::AddRole(_) | AuthKind::GrantPermission(_)) => {
            VERSION_BYTES + request.encoded_len() as u64
        }
        _ => 0,
    }
}

/// The more expensive branch: which one is taken is not known before apply.
fn txn_cost(txn: &TxnRequest) -> u64 {
    branch_cost(&txn.success).max(branch_cost(&txn.failure))
}

fn branch_cost(ops: &[RequestOp]) -> u64 {
    let cost = |op: &RequestOp| match &op.request {
        Some(Request::RequestPut(put)) => put_cost(put),
        Some(Request::RequestTxn(txn)) => txn_cost(txn),
        _ => 0,
    };
    ops.iter().map(cost).sum()
}
