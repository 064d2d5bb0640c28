//! One client's watch stream: requests to the hub, deliveries as etcd's responses.

use bytes::Bytes;
use prost::Message;

use super::events::responses;
use super::service::{Member, decoded};
use crate::api::{denial, status};
use crate::base::Term;
use crate::engine::{Delivered, Error, WatchStream};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::watch_create_request::FilterType;
use crate::proto::etcdserverpb::watch_request::RequestUnion;
use crate::proto::{Closed, Duplex, Method};
use crate::watch::{Delivery, Denial, Spec, range};

/// Until the client or the engine ends it.
pub(super) async fn serve(member: Member, first: Bytes, mut stream: Duplex) {
    let watch = member.handle.watch_stream();
    let mut message = Some(first);
    loop {
        if let Some(request) = message.take() {
            let denied = denial::of(&request);
            match decoded(Method::Watch, request) {
                Ok(request) => ask(&watch, request, denied),
                Err(status) => return stream.end(Err(status)).await,
            }
        }
        tokio::select! {
            next = stream.next(), if !watch.is_full() => match next {
                Some(next) => message = Some(next),
                None => return stream.end(Ok(())).await,
            },
            delivered = watch.next() => {
                let Some(delivered) = delivered else {
                    return stream.end(Err(status::of_error(&Error::Stopped))).await;
                };
                if tell(&member, delivered, &stream).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn ask(watch: &WatchStream, request: pb::WatchRequest, denied: Option<Denial>) {
    match request.request_union {
        None if denied.is_some() => {
            watch.create(Spec { denied, ..spec(pb::WatchCreateRequest::default()) });
        }
        Some(RequestUnion::CreateRequest(create)) => watch.create(spec(create)),
        Some(RequestUnion::CancelRequest(cancel)) => watch.cancel(cancel.watch_id),
        Some(RequestUnion::ProgressRequest(_)) => watch.progress(),
        // A request of a later version: etcd ignores it.
        None => {}
    }
}

fn spec(create: pb::WatchCreateRequest) -> Spec {
    let filters = |wanted: FilterType| create.filters().any(|filter| filter == wanted);
    Spec {
        start_revision: create.start_revision,
        progress_notify: create.progress_notify,
        no_put: filters(FilterType::Noput),
        no_delete: filters(FilterType::Nodelete),
        prev_kv: create.prev_kv,
        fragment: create.fragment,
        id: Some(create.watch_id).filter(|&id| id != 0),
        denied: None,
        range: range(create.key, create.range_end),
    }
}

async fn tell(member: &Member, delivered: Vec<Delivered>, stream: &Duplex) -> Result<(), Closed> {
    let term = member.handle.raft().term;
    for Delivered { delivery, previous } in delivered {
        if let Delivery::Events { batch, watchers } = &delivery {
            let encoded = member.events.of(batch);
            let header = member.header.at(batch.revision, term);
            let fragment_bytes = member.config.fragment_bytes;
            for matched in watchers {
                let previous = previous.as_ref();
                for response in
                    responses(&encoded, batch, matched, previous, header, fragment_bytes)
                {
                    stream.send(response).await?;
                }
            }
            continue;
        }
        if let Some(response) = response(member, &delivery, term) {
            stream.send(response.encode_to_vec().into()).await?;
        }
    }
    Ok(())
}

/// What is said beside events, in etcd's shapes.
fn response(member: &Member, delivery: &Delivery, term: Term) -> Option<pb::WatchResponse> {
    let header = |revision| member.header.at(revision, term);
    let response = match delivery {
        Delivery::Created { id, revision } => pb::WatchResponse {
            header: header(*revision),
            watch_id: *id,
            created: true,
            ..Default::default()
        },
        Delivery::Refused { reason, revision } => pb::WatchResponse {
            header: header(*revision),
            watch_id: -1,
            created: true,
            canceled: true,
            cancel_reason: reason.to_string(),
            ..Default::default()
        },
        Delivery::Progress { id, revision } => {
            pb::WatchResponse { header: header(*revision), watch_id: *id, ..Default::default() }
        }
        Delivery::Canceled { id, revision, compact_revision } => pb::WatchResponse {
            header: header(*revision),
            watch_id: *id,
            canceled: true,
            compact_revision: compact_revision.unwrap_or(0),
            ..Default::default()
        },
        Delivery::Events { .. } => return None,
    };
    Some(response)
}
