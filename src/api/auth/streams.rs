//! Streams: some are asked about once, watches and renewals message by message.
//!
//! What comes from the service goes to the client untouched. A watch is asked about when it is created and never again, as in
//! etcd: who may read no more goes on hearing until the stream ends.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::check;
use super::service::{Inner, admitted};
use crate::api::{denial, status};
use crate::base::limits;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::watch_request::RequestUnion;
use crate::proto::{Caller, Code, Duplex, Item, Method, Status};
use crate::state::{Asker, Auth, Rejection};
use crate::watch::{Denial, range};

/// Of which the first message says all.
pub(super) async fn once(
    inner: Arc<Inner>,
    caller: Caller,
    method: Method,
    first: Bytes,
    stream: Duplex,
) {
    let deadline = inner.deadline(0);
    let judge = |auth: &_, asker: &_| check::unary(auth, asker, method, &first);
    match inner.settled(&caller, deadline, judge).await {
        Ok((asker, _)) => {
            inner.below.open(&admitted(&caller, &asker), method, first.clone(), stream);
        }
        Err(status) => stream.end(Err(status)).await,
    }
}

/// A refused watcher is told so in its turn, and the stream goes on.
pub(super) async fn watch(inner: Arc<Inner>, caller: Caller, first: Bytes, stream: Duplex) {
    let (mut requests, answers) = stream.split();
    let first = watched(&inner, &caller, first).await;
    let below = open(&inner, &caller, Method::Watch, first, answers);
    while let Some(message) = next(&mut requests, &below).await {
        let message = watched(&inner, &caller, message).await;
        if below.send(message).await.is_err() {
            return;
        }
    }
}

/// A refused renewal ends the stream, as in etcd.
pub(super) async fn keep_alive(inner: Arc<Inner>, caller: Caller, first: Bytes, stream: Duplex) {
    let (mut requests, answers) = stream.split();
    if let Err(status) = renews(&inner, &caller, &first).await {
        // A client that is gone needs no ending.
        let _gone = answers.send(Item::End(Err(status))).await;
        return;
    }
    let told = answers.downgrade();
    let below = open(&inner, &caller, Method::LeaseKeepAlive, first, answers);
    while let Some(message) = next(&mut requests, &below).await {
        if let Err(status) = renews(&inner, &caller, &message).await {
            if let Some(answers) = told.upgrade() {
                let _gone = answers.send(Item::End(Err(status))).await;
            }
            return;
        }
        if below.send(message).await.is_err() {
            return;
        }
    }
}

fn open(
    inner: &Inner,
    caller: &Caller,
    method: Method,
    first: Bytes,
    answers: Sender<Item>,
) -> Sender<Bytes> {
    let (below, requests) = mpsc::channel(limits::STREAM_MESSAGES_MAX);
    inner.below.open(caller, method, first, Duplex::behind(requests, answers));
    below
}

/// None when one of both wants no more.
async fn next(requests: &mut Receiver<Bytes>, below: &Sender<Bytes>) -> Option<Bytes> {
    tokio::select! {
        message = requests.recv() => message,
        () = below.closed() => None,
    }
}

/// What goes on in place of the message: itself, if it creates no watcher that may not be.
async fn watched(inner: &Inner, caller: &Caller, message: Bytes) -> Bytes {
    if !inner.handle.auth().is_enabled() {
        return message;
    }
    let request = pb::WatchRequest::decode(message.clone()).map(|request| request.request_union);
    let Ok(Some(RequestUnion::CreateRequest(create))) = request else { return message };
    if create.start_revision < 0 {
        // Refused for that, below.
        return message;
    }
    // The very range that is watched then.
    let range = range(create.key, create.range_end);
    let judge = |auth: &Auth, asker: &Asker| auth.read(asker, &range).map_err(status::of_rejection);
    match inner.settled(caller, inner.deadline(0), judge).await {
        Ok(_) => message,
        Err(refused) => denial::message(denial_of(&refused)),
    }
}

fn denial_of(refused: &Status) -> Denial {
    let said = |rejection: Rejection| refused.text == rejection.to_string();
    match refused.code {
        Code::Unauthenticated => Denial::Token,
        _ if said(Rejection::AuthOldRevision) => Denial::OldRevision,
        _ if said(Rejection::UserEmpty) => Denial::Nobody,
        _ => Denial::Permission,
    }
}

async fn renews(inner: &Inner, caller: &Caller, message: &Bytes) -> Result<(), Status> {
    if !inner.handle.auth().is_enabled() {
        return Ok(());
    }
    let request: pb::LeaseKeepAliveRequest = check::decoded(Method::LeaseKeepAlive, message)?;
    let judge = |auth: &Auth, asker: &Asker| {
        auth.somebody(asker).map_err(status::of_rejection)?;
        Ok(auth.admin(asker).is_ok())
    };
    let (asker, is_root) = inner.settled(caller, inner.deadline(0), judge).await?;
    if is_root { Ok(()) } else { inner.writes_lease(&asker, request.id).await }
}
