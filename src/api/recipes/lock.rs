//! `v3lockpb`: a lock is held by who has the oldest key of its line.

use super::queue::Place;
use super::steps::Steps;
use crate::proto::v3lockpb as pb;
use crate::proto::{Reply, Status};

/// Answers when the caller holds the lock; its key goes with his lease, or by Unlock.
pub(super) async fn lock(
    steps: &Steps,
    request: pb::LockRequest,
    reply: &Reply,
) -> Result<pb::LockResponse, Status> {
    let lease = steps.lease(request.lease).await?;
    let mut place = Place::join(steps, &request.name, lease, bytes::Bytes::new()).await?;
    place.turn(steps, reply).await?;
    Ok(pb::LockResponse { header: place.header, key: place.key })
}

pub(super) async fn unlock(
    steps: &Steps,
    request: pb::UnlockRequest,
) -> Result<pb::UnlockResponse, Status> {
    let deleted = steps.delete(request.key).await?;
    Ok(pb::UnlockResponse { header: deleted.header })
}
