//! Remaining times and renewals: only the leader knows them, and the engine asks it.

use std::collections::VecDeque;

use bytes::Bytes;
use prost::Message;
use tokio::task::JoinHandle;

use super::reads::Asked;
use super::service::{Member, decoded};
use crate::api::status;
use crate::base::Moment;
use crate::engine::Error;
use crate::proto::etcdserverpb as pb;
use crate::proto::{Duplex, Method, Reply, Status};

/// Renewals of one stream on their way; a follower asks its leader for each.
const RENEWALS_MAX: usize = 256;

pub(super) async fn time_to_live(
    member: Member,
    asked: Asked,
    request: pb::LeaseTimeToLiveRequest,
    deadline: Moment,
    reply: Reply,
) {
    let ttl = match member.handle.time_to_live(request.id, deadline).await {
        Ok(ttl) => ttl,
        Err(error) => return reply.send(Err(status::of_error(&error))),
    };
    let reading = member.clone();
    // Dropped without having run, the job drops the reply, which says so itself.
    member.handle.read(Box::new(move || {
        let told = with_keys(&reading, &request, ttl);
        reply.send(told.and_then(|told| asked.look(&reading).map(|()| told)));
    }));
}

fn with_keys(
    member: &Member,
    request: &pb::LeaseTimeToLiveRequest,
    ttl: i64,
) -> Result<Bytes, Status> {
    let query = member.handle.query().map_err(|fault| status::of_fault(&fault))?;
    let header = member.header.at(query.revision(), member.handle.raft().term);
    let mut response =
        pb::LeaseTimeToLiveResponse { header, id: request.id, ttl: -1, ..Default::default() };
    if let Some(lease) = query.lease(request.id)
        && ttl >= 0
    {
        response.ttl = ttl;
        response.granted_ttl = lease.ttl;
        if request.keys {
            response.keys =
                query.lease_keys(request.id).map_err(|fault| status::of_fault(&fault))?;
        }
    }
    Ok(response.encode_to_vec().into())
}

/// Renewals side by side, answered in the order of the requests, as etcd does; an unknown lease is answered with TTL 0, an
/// error ends the stream.
pub(super) async fn keep_alive(member: Member, first: Bytes, mut stream: Duplex) {
    let mut renewing = Renewing::default();
    let mut next = Some(first);
    let mut ended = loop {
        if let Some(message) = next.take() {
            match decoded(Method::LeaseKeepAlive, message) {
                Ok(request) => renewing.0.push_back(tokio::spawn(renew(member.clone(), request))),
                Err(status) => break Err(status),
            };
        }
        tokio::select! {
            message = stream.next(), if renewing.0.len() < RENEWALS_MAX => match message {
                Some(message) => next = Some(message),
                // The client asks no more; what it asked is still answered.
                None => break Ok(()),
            },
            Some(renewed) = renewing.oldest() => match renewed {
                Ok(answer) => {
                    if stream.send(answer).await.is_err() {
                        return;
                    }
                }
                Err(error) => break Err(status::of_error(&error)),
            },
        }
    };
    while ended.is_ok()
        && let Some(renewed) = renewing.oldest().await
    {
        match renewed {
            Ok(answer) => {
                if stream.send(answer).await.is_err() {
                    return;
                }
            }
            Err(error) => ended = Err(status::of_error(&error)),
        }
    }
    stream.end(ended).await;
}

/// Renewals of one stream, oldest first.
#[derive(Default)]
struct Renewing(VecDeque<JoinHandle<Result<Bytes, Error>>>);

impl Renewing {
    /// The end of the oldest; it stays the oldest when this is dropped before.
    async fn oldest(&mut self) -> Option<Result<Bytes, Error>> {
        let renewed = self.0.front_mut()?.await;
        self.0.pop_front();
        Some(renewed.unwrap_or(Err(Error::Stopped)))
    }
}

impl Drop for Renewing {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

async fn renew(member: Member, request: pb::LeaseKeepAliveRequest) -> Result<Bytes, Error> {
    let now = member.handle.clock().now();
    // etcd takes the header before it renews.
    let header = member.header.at(member.handle.stamp().revision, member.handle.raft().term);
    let deadline = member.deadline(now, 0);
    let ttl = member.handle.keep_alive(request.id, deadline).await?;
    if ttl > 0 {
        member.handle.meters().leases_renewed.increment();
    }
    let response = pb::LeaseKeepAliveResponse { header, id: request.id, ttl };
    Ok(response.encode_to_vec().into())
}
