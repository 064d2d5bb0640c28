//! What is done to this member alone.

use bytes::Bytes;

use super::service::Member;
use crate::api::status;
use crate::proto::Reply;

/// Takes as long as it takes, as in etcd: who does not wait for the answer gets the space back all the same. etcd's
/// answer has no header: it is empty.
pub(super) async fn defragment(member: Member, reply: Reply) {
    let rewritten = member.handle.rewrite().await;
    reply.send(rewritten.map(|()| Bytes::new()).map_err(|error| status::of_error(&error)));
}
