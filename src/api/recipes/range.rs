//! `RangeStream`: a Range in pieces, all of one revision. What is told of the whole comes with the last piece.

use prost::Message;

use super::steps::{Steps, revision};
use crate::base::limits;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use crate::proto::{Code, Duplex, Method, Retry, Status};

/// Keys of the first piece; each next one has twice as many while it is small, half as many when it is large.
const FIRST_KEYS: i64 = 10;
const KEYS_MAX: i64 = 1 << 20;

pub(super) async fn range(
    steps: &Steps,
    request: pb::RangeRequest,
    stream: &Duplex,
) -> Result<(), Status> {
    check(&request)?;
    // Pieces come in the order of keys; a target without an order asks for no other.
    let mut next = pb::RangeRequest { sort_target: SortTarget::Key.into(), ..request.clone() };
    let mut keys = FIRST_KEYS;
    let mut told = 0;
    // Of the first piece, which saw the whole range.
    let mut whole = None;
    loop {
        if !request.count_only {
            let left = if request.limit > 0 { request.limit - told } else { i64::MAX };
            next.limit = keys.min(left);
        }
        let mut piece: pb::RangeResponse = steps.exact(Method::Range, &next).await?;
        let (header, count) = *whole.get_or_insert((piece.header, piece.count));
        told += i64::try_from(piece.kvs.len()).unwrap_or(i64::MAX);
        let is_last = !piece.more || (request.limit > 0 && told >= request.limit);
        if let Some(last) = piece.kvs.last() {
            // The smallest key behind it.
            next.key = [last.key.as_ref(), b"\0"].concat().into();
        }
        if next.revision <= 0 {
            next.revision = revision(header.as_ref());
        }
        // What was read of that revision is here.
        next.serializable = true;
        (piece.header, piece.count) = if is_last { (header, count) } else { (None, 0) };
        piece.more &= is_last;
        let bytes = piece.encoded_len();
        keys = match bytes {
            _ if bytes > limits::REQUEST_BYTES_MAX => (keys / 2).max(1),
            _ if bytes < limits::REQUEST_BYTES_MAX / 2 => (keys * 2).min(KEYS_MAX),
            _ => keys,
        };
        let response = pb::RangeStreamResponse { range_response: Some(piece) };
        if stream.send(response.encode_to_vec().into()).await.is_err() || is_last {
            return Ok(());
        }
    }
}

fn check(request: &pb::RangeRequest) -> Result<(), Status> {
    let refused = |what: &str| {
        let text = format!("RangeStream does not support {what}");
        Err(Status::new(Code::Unimplemented, text, Retry::Never))
    };
    let is_plain = match request.sort_order() {
        SortOrder::None => true,
        SortOrder::Ascend => request.sort_target() == SortTarget::Key,
        SortOrder::Descend => false,
    };
    let filters = [
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    ];
    match filters {
        _ if !is_plain => refused("custom sort orders"),
        [0, 0, 0, 0] => Ok(()),
        _ => refused("revision filters"),
    }
}
