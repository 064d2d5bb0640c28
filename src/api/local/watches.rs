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
use crate::transport::{Turn, Turnstile};
use crate::watch::{Delivery, Denial, Spec, range};

/// What one stream is told before others have their turn, bytes.
const TURN_BYTES: usize = 64 * 1024;

/// Until the client or the engine ends it.
pub(super) async fn serve(member: Member, first: Bytes, mut stream: Duplex) {
    let watch = member.handle.watch_stream();
    let (mut message, turnstile) = (Some(first), Turnstile::of_thread());
    let mut telling = Telling { member: &member, turnstile, turn: None, bytes: 0 };
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
            is_running = watch.filled() => {
                if !is_running {
                    return stream.end(Err(status::of_error(&Error::Stopped))).await;
                }
                if telling.tell(&watch, &stream).await.is_err() {
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

/// Tells one client what its watchers see. Of a thousand streams with watchers of one key one is at it at a time, and
/// what comes while the others wait for their turn is told with it.
struct Telling<'a> {
    member: &'a Member,
    turnstile: Turnstile,
    turn: Option<Turn>,
    /// Encoded in this turn.
    bytes: usize,
}

impl Telling<'_> {
    async fn tell(&mut self, watch: &WatchStream, stream: &Duplex) -> Result<(), Closed> {
        self.begin().await;
        let told = self.all(watch.take().unwrap_or_default(), stream).await;
        self.end().await;
        told
    }

    async fn all(&mut self, delivered: Vec<Delivered>, stream: &Duplex) -> Result<(), Closed> {
        let member = self.member;
        let term = member.handle.raft().term;
        for Delivered { delivery, previous } in delivered {
            let Delivery::Events { batch, watchers } = &delivery else {
                if let Some(response) = response(member, &delivery, term) {
                    self.send(response.encode_to_vec().into(), stream).await?;
                }
                continue;
            };
            let encoded = member.events.of(batch);
            let header = member.header.at(batch.revision, term);
            let fragment_bytes = member.config.fragment_bytes;
            for matched in watchers {
                let previous = previous.as_ref();
                for response in
                    responses(&encoded, batch, matched, previous, header, fragment_bytes)
                {
                    self.send(response, stream).await?;
                }
            }
        }
        Ok(())
    }

    /// Who takes nothing is waited for outside of a turn, and who takes much gets it in several.
    async fn send(&mut self, message: Bytes, stream: &Duplex) -> Result<(), Closed> {
        self.bytes += message.len();
        if let Some(message) = stream.try_send(message)? {
            self.end().await;
            stream.send(message).await?;
        }
        if self.turn.is_none() || self.bytes >= TURN_BYTES {
            self.end().await;
            self.begin().await;
        }
        Ok(())
    }

    async fn begin(&mut self) {
        self.bytes = 0;
        self.turn = Some(self.turnstile.turn().await);
    }

    async fn end(&mut self) {
        if let Some(turn) = self.turn.take() {
            turn.end().await;
        }
    }
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
