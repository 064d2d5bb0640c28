//! gRPC: a request under `/package.Service/Method`, answered by the service.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::http::request::Parts as Head;
use hyper::{HeaderMap, Request, Response};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::body::{Answer, Count, Parts, Stream, trailers};
use super::messages::{Messages, unless_crowded_out};
use super::session::{Place, Session, stopped};
use super::tally::Begun;
use super::{grpc_health, words};
use crate::api::ask;
use crate::base::limits;
use crate::proto::{Caller, Code, DoorEnd, Duplex, Item, Method, Retry, Shape, Status};

/// etcd's metadata: which API the client was written for.
const API_VERSION: &str = "client-api-version";

/// Whether this is gRPC's, whatever it asks for.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// Every failure is an answer.
pub(super) async fn respond(
    session: &Arc<Session>,
    request: Request<Incoming>,
) -> Response<Answer> {
    match answer(session, request).await {
        Ok(answer) => response(answer, HeaderMap::new()),
        // Without a message the end stands where the headers stand.
        Err(status) => response(Answer::Plain(None), trailers(&Err(status))),
    }
}

async fn answer(session: &Arc<Session>, request: Request<Incoming>) -> Result<Answer, Status> {
    // What is not needed of the head is not kept: calls are many, and their heads as long as clients like.
    let (Head { uri, headers, .. }, body) = request.into_parts();
    let messages = Messages::new(body, session);
    if let Some(asked) = grpc_health::Asked::of(uri.path()) {
        return grpc_health::answer(session, asked, messages).await;
    }
    let method = method(uri.path())?;
    drop(uri);
    let tally = &session.shared.tally;
    let begun = tally.started(method);
    let answer = of_method(session, (method, begun), headers, messages).await;
    match &answer {
        Ok(Answer::Message { parts, .. }) => {
            tally.sent(method, parts.length());
            tally.handled(begun, Code::Ok);
        }
        // Streams count themselves.
        Ok(_) => {}
        Err(status) => tally.handled(begun, status.code),
    }
    answer
}

async fn of_method(
    session: &Arc<Session>,
    (method, begun): (Method, Begun),
    headers: HeaderMap,
    messages: Messages,
) -> Result<Answer, Status> {
    let caller = with_metadata(&session.caller, &headers)?;
    let version = headers.get(API_VERSION).and_then(|version| version.to_str().ok());
    session.shared.tally.request(method.shape(), version.unwrap_or_default());
    match method.shape() {
        Shape::Unary => {
            let deadline_ms = deadline_ms(&headers)?;
            drop(headers);
            unary(session, &caller, method, deadline_ms, messages).await
        }
        Shape::ServerStream | Shape::Duplex => {
            drop(headers);
            stream(session, &caller, (method, begun), messages).await
        }
    }
}

async fn unary(
    session: &Session,
    caller: &Caller,
    method: Method,
    deadline_ms: u32,
    mut messages: Messages,
) -> Result<Answer, Status> {
    // Who waits for a lock takes no place: what he waits for may need it.
    let place = match method {
        Method::Lock | Method::Campaign => None,
        _ => Some(unless_crowded_out(session, session.place()).await?),
    };
    let body = only(session, &mut messages).await?;
    session.shared.tally.received(method, body.len());
    let message = ask::over(&session.desk, caller, method, body, deadline_ms).await?;
    Ok(message_of(message, place))
}

/// The one message of a unary request. It comes with its headers, or its caller has no business here.
pub(super) async fn only(session: &Session, messages: &mut Messages) -> Result<Bytes, Status> {
    let first = timeout(messages.deadline, messages.first(session)).await;
    let slow =
        || Status::new(Code::DeadlineExceeded, "quorate: no message came", Retry::NotProposed);
    let missing = || Status::new(Code::Internal, "the request has no message", Retry::NotProposed);
    first.map_err(|_| slow())??.ok_or_else(missing)
}

pub(super) fn message_of(message: Bytes, mut place: Option<Place>) -> Answer {
    if let Some(place) = &mut place {
        place.hold(message.len());
    }
    Answer::Message { parts: Parts::of(message), ended: false, _place: place }
}

async fn stream(
    session: &Arc<Session>,
    caller: &Caller,
    (method, begun): (Method, Begun),
    mut messages: Messages,
) -> Result<Answer, Status> {
    let first = tokio::select! {
        first = messages.first(session) => first?,
        () = session.left() => return Err(stopped()),
    };
    let Some(first) = first else {
        // A stream on which nothing was ever said ends as it was: well.
        let (sender, answers) = mpsc::channel(1);
        let _ended = sender.try_send(Item::End(Ok(())));
        let count = Some(Count::new(&session.shared.tally, begun));
        return Ok(stream_of(answers, None, count));
    };
    session.shared.tally.received(method, first.len());
    let (duplex, DoorEnd { requests, answers }) = Duplex::pair(limits::STREAM_MESSAGES_MAX);
    session.shared.service.open(caller, method, first, duplex);
    let (mut cutter, cut) = oneshot::channel();
    let count = Some(Count::new(&session.shared.tally, begun));
    let session = Arc::clone(session);
    tokio::spawn(async move {
        let why = tokio::select! {
            why = pump(&session, messages, requests, method) => why,
            () = session.left() => stopped(),
            // The client has its answers, or wants none.
            () = cutter.closed() => return,
        };
        // It may be gone: then nobody reads why.
        let _ = cutter.send(why);
    });
    Ok(stream_of(answers, Some(cut), count))
}

pub(super) fn stream_of(
    answers: mpsc::Receiver<Item>,
    cut: Option<oneshot::Receiver<Status>>,
    count: Option<Count>,
) -> Answer {
    Answer::Stream(Stream { cut, ..Stream::new(answers, count) })
}

/// Hands messages to the service. Returns only when the client breaks the protocol: after its last message the stream
/// lives on for the answers.
async fn pump(
    session: &Session,
    mut messages: Messages,
    requests: mpsc::Sender<Bytes>,
    method: Method,
) -> Status {
    loop {
        match messages.next().await {
            Ok(Some(message)) => {
                session.shared.tally.received(method, message.len());
                if requests.send(message).await.is_err() {
                    break;
                }
            }
            Ok(None) => break,
            Err(status) => return status,
        }
    }
    // etcd's watchers go on when their client has said all it wants to say; renewals end.
    let _open = (method == Method::Watch).then_some(requests);
    std::future::pending().await
}

fn method(path: &str) -> Result<Method, Status> {
    let path = path.strip_prefix('/').unwrap_or(path);
    if let Some(method) = Method::ALL.iter().find(|method| method.path() == path) {
        return Ok(*method);
    }
    let unknown = |text| Err(Status::new(Code::Unimplemented, text, Retry::NotProposed));
    let Some((service, name)) = path.rsplit_once('/') else {
        return unknown(format!("malformed method name: {path:?}"));
    };
    let is_known = Method::ALL
        .iter()
        .any(|method| method.path().rsplit_once('/').is_some_and(|(known, _)| known == service));
    // grpc-go's words.
    unknown(match is_known {
        true => format!("unknown method {name} for service {service}"),
        false => format!("unknown service {service}"),
    })
}

/// The connection's caller, and what this request says of him in etcd's metadata.
fn with_metadata(caller: &Caller, headers: &HeaderMap) -> Result<Caller, Status> {
    let text = |value: Option<&HeaderValue>| value?.to_str().ok().map(str::to_owned);
    if headers.get(API_VERSION).is_some_and(|it| str::from_utf8(it.as_bytes()).is_err()) {
        let text = "etcdserver: invalid client api version";
        return Err(Status::new(Code::InvalidArgument, text, Retry::Never));
    }
    Ok(Caller {
        token: text(headers.get("token").or_else(|| headers.get("authorization"))),
        client: text(headers.get(USER_AGENT)).unwrap_or_default(),
        requires_leader: headers.get("hasleader").is_some_and(|value| value == "true"),
        ..caller.clone()
    })
}

/// Milliseconds that the caller waits, at least one; 0 if he did not say.
fn deadline_ms(headers: &HeaderMap) -> Result<u32, Status> {
    let Some(value) = headers.get("grpc-timeout") else { return Ok(0) };
    let timeout: Option<Duration> = value.to_str().ok().and_then(words::timeout);
    let Some(timeout) = timeout else {
        let text = format!("malformed grpc-timeout: {value:?}");
        return Err(Status::new(Code::Internal, text, Retry::NotProposed));
    };
    Ok(u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).max(1))
}

fn response(answer: Answer, more: HeaderMap) -> Response<Answer> {
    let mut response = Response::new(answer);
    *response.headers_mut() = more;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_methods_are_told_as_grpc_does() {
        assert_eq!(method("/etcdserverpb.KV/Put").unwrap(), Method::Put);
        let text = |path| method(path).unwrap_err().text;
        assert_eq!(
            text("/etcdserverpb.KV/Steal"),
            "unknown method Steal for service etcdserverpb.KV"
        );
        assert_eq!(text("/grpc.Nobody/Put"), "unknown service grpc.Nobody");
        assert_eq!(text("/"), "malformed method name: \"\"");
    }

    #[test]
    fn a_deadline_is_at_least_a_millisecond() {
        let deadline = |text: &str| {
            let value = HeaderValue::from_str(text).unwrap();
            deadline_ms(&HeaderMap::from_iter([("grpc-timeout".parse().unwrap(), value)]))
        };
        assert_eq!(deadline_ms(&HeaderMap::new()).unwrap(), 0);
        assert_eq!(deadline("5S").unwrap(), 5_000);
        assert_eq!(deadline("1n").unwrap(), 1);
        assert_eq!(deadline("99999999H").unwrap(), u32::MAX);
        assert!(deadline("soon").unwrap_err().text.contains("soon"));
    }
}
