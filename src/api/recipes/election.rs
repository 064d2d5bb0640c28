//! `v3electionpb`: the leader is who has the oldest key of its line; what he proclaims is its value.

use bytes::Bytes;
use prost::Message;

use super::queue::{Place, prefix};
use super::steps::{Steps, created_at, end_of, failed, oldest, put, revision};
use crate::proto::etcdserverpb::request_op::Request;
use crate::proto::etcdserverpb::{DeleteRangeRequest, ResponseHeader};
use crate::proto::mvccpb::KeyValue;
use crate::proto::mvccpb::event::EventType;
use crate::proto::v3electionpb as pb;
use crate::proto::{Duplex, Reply, Status};

fn named(leader: Option<pb::LeaderKey>) -> Result<pb::LeaderKey, Status> {
    leader.ok_or_else(|| failed("\"leader\" field must be provided"))
}

/// Answers when the caller leads.
pub(super) async fn campaign(
    steps: &Steps,
    request: pb::CampaignRequest,
    reply: &Reply,
) -> Result<pb::CampaignResponse, Status> {
    let lease = steps.lease(request.lease).await?;
    let mut place = Place::join(steps, &request.name, lease, request.value.clone()).await?;
    let header = place.header;
    let leader =
        pb::LeaderKey { name: request.name, key: place.key.clone(), rev: place.revision, lease };
    if place.value.as_ref().is_some_and(|value| *value != request.value) {
        say(steps, &leader, request.value).await?;
    }
    place.turn(steps, reply).await?;
    Ok(pb::CampaignResponse { header, leader: Some(leader) })
}

pub(super) async fn proclaim(
    steps: &Steps,
    request: pb::ProclaimRequest,
) -> Result<pb::ProclaimResponse, Status> {
    let leader = named(request.leader)?;
    let header = say(steps, &leader, request.value).await?;
    Ok(pb::ProclaimResponse { header })
}

/// Gives the key another value, if it is still the one that was won with.
async fn say(
    steps: &Steps,
    leader: &pb::LeaderKey,
    value: Bytes,
) -> Result<Option<ResponseHeader>, Status> {
    let said = vec![put(&leader.key, value, leader.lease)];
    let outcome = steps.txn(created_at(&leader.key, leader.rev), said, Vec::new()).await?;
    if outcome.succeeded { Ok(outcome.header) } else { Err(failed("election: not leader")) }
}

pub(super) async fn leader(
    steps: &Steps,
    request: pb::LeaderRequest,
) -> Result<pb::LeaderResponse, Status> {
    let found = steps.range(&oldest(&prefix(&request.name))).await?;
    match found.kvs.into_iter().next() {
        Some(kv) => Ok(pb::LeaderResponse { header: found.header, kv: Some(kv) }),
        None => Err(failed("election: no leader")),
    }
}

/// Who is not the leader any more has resigned already.
pub(super) async fn resign(
    steps: &Steps,
    request: pb::ResignRequest,
) -> Result<pb::ResignResponse, Status> {
    let leader = named(request.leader)?;
    let key = leader.key.clone();
    let gone = Request::RequestDeleteRange(DeleteRangeRequest { key, ..Default::default() });
    let outcome = steps.txn(created_at(&leader.key, leader.rev), vec![gone], Vec::new()).await?;
    Ok(pb::ResignResponse { header: outcome.header })
}

/// Every value of every leader, until the client has enough.
pub(super) async fn observe(
    steps: &Steps,
    request: pb::LeaderRequest,
    stream: &Duplex,
) -> Result<(), Status> {
    let prefix = prefix(&request.name);
    loop {
        let found = steps.range(&oldest(&prefix)).await?;
        let (header, kv) = match found.kvs.into_iter().next() {
            Some(kv) => (found.header, kv),
            None => first_put(steps, &prefix, revision(found.header.as_ref())).await?,
        };
        let (key, from) = (kv.key.clone(), revision(header.as_ref()) + 1);
        if !tell(stream, header, kv).await {
            return Ok(());
        }
        let mut watching = steps.watch(key, Bytes::new(), from);
        let mut is_gone = false;
        while !is_gone {
            let response = watching.next().await?;
            for event in response.events {
                if event.r#type() == EventType::Delete {
                    is_gone = true;
                    break;
                }
                if let Some(kv) = event.kv
                    && !tell(stream, response.header, kv).await
                {
                    return Ok(());
                }
            }
        }
    }
}

/// Nobody leads: whoever is the first to say something.
async fn first_put(
    steps: &Steps,
    prefix: &Bytes,
    from: i64,
) -> Result<(Option<ResponseHeader>, KeyValue), Status> {
    let mut watching = steps.watch(prefix.clone(), end_of(prefix), from);
    loop {
        let response = watching.next().await?;
        let puts = response.events.into_iter().filter(|event| event.r#type() == EventType::Put);
        if let Some(kv) = puts.filter_map(|event| event.kv).next() {
            // There may be later ones in the response: they come with the watch that follows.
            let header = response
                .header
                .map(|header| ResponseHeader { revision: kv.mod_revision, ..header });
            return Ok((header, kv));
        }
    }
}

/// False when the client is gone.
async fn tell(stream: &Duplex, header: Option<ResponseHeader>, kv: KeyValue) -> bool {
    let response = pb::LeaderResponse { header, kv: Some(kv) };
    stream.send(response.encode_to_vec().into()).await.is_ok()
}
