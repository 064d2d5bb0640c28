//! A request to its answer, as etcd's gateway gives it.

use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use hyper::{HeaderMap, Request, Response, StatusCode};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use super::json;
use super::objects::Objects;
use super::routes;
use super::websocket;
use crate::api::ask;
use crate::api::http::body::{Answer, Count, Stream};
use crate::api::http::door::Shared;
use crate::api::http::session::{Session, stopped};
use crate::api::http::tally::Begun;
use crate::base::limits;
use crate::proto::{Caller, Code, DoorEnd, Duplex, Item, Method, Retry, Shape, Status};

/// Longest object of a stream: each is looked at again with every piece of it.
pub(super) const STREAM_OBJECT_BYTES_MAX: usize = 64 * 1024;

/// What base64 and names may add to a message, times its length.
pub(super) const TEXT_FACTOR: usize = 2;

/// None where the path is not the gateway's.
pub(in crate::api::http) async fn respond(
    session: &Arc<Session>,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Request<Incoming>> {
    let Some(rest) = routes::rest(request.uri().path()) else { return Err(request) };
    if websocket::is_asked_for(request.headers()) {
        let method = routes::method(rest);
        return Ok(websocket::accept(session, method, request));
    }
    let Some(method) = routes::method(rest) else {
        return Ok(failed(&Status::new(Code::NotFound, "Not Found", Retry::Never)));
    };
    if request.method() != hyper::Method::POST {
        return Ok(failed(&Status::unimplemented("Method Not Allowed")));
    }
    let tally = &session.shared.tally;
    let begun = tally.started(method);
    let (head, body) = request.into_parts();
    let caller = caller(&session.caller, &head.headers);
    let answered = match method.shape() {
        Shape::Unary => {
            let answered = unary(session, &caller, (method, begun), body).await;
            answered.inspect_err(|status| tally.handled(begun, status.code))
        }
        Shape::ServerStream | Shape::Duplex => {
            let mut count = Count::new(tally, begun);
            match stream(session, &caller, method, body).await {
                Ok(stream) => {
                    let stream = Stream { count: Some(count), ..stream };
                    Ok(succeeded(Answer::Stream(stream)))
                }
                Err(status) => {
                    count.ended(status.code);
                    Err(status)
                }
            }
        }
    };
    Ok(answered.unwrap_or_else(|status| failed(&status)))
}

async fn unary(
    session: &Session,
    caller: &Caller,
    (method, begun): (Method, Begun),
    body: Incoming,
) -> Result<Response<Answer>, Status> {
    // Who waits for a lock takes no place: what he waits for may need it.
    let place = match method {
        Method::Lock | Method::Campaign => None,
        _ => Some(session.place().await?),
    };
    let shared = &session.shared;
    let bytes_max = shared.config.message_bytes_max * TEXT_FACTOR;
    let object = Objects::new(body, bytes_max, session).only().await?;
    let text = asked(session, caller, (method, begun), object.unwrap_or_else(empty)).await?;
    Ok(succeeded(match place {
        Some(mut place) => {
            place.hold(text.len());
            Answer::Placed { page: Some(text), _place: place }
        }
        None => Answer::Plain(Some(text)),
    }))
}

/// The answer to the one object of a call, which is counted if it goes well.
pub(super) async fn asked(
    session: &Session,
    caller: &Caller,
    (method, begun): (Method, Begun),
    object: serde_json::Value,
) -> Result<Bytes, Status> {
    let shared = &session.shared;
    let request = json::request(method, object)?;
    if request.len() > shared.config.message_bytes_max {
        let text = "etcdserver: request is too large";
        return Err(Status::new(Code::InvalidArgument, text, Retry::Never));
    }
    shared.tally.received(method, request.len());
    let message = ask::bytes(shared.service.as_ref(), caller, method, request).await?;
    let length = message.len();
    let text = text_of(shared, method, message).await?;
    shared.tally.sent(method, length);
    shared.tally.handled(begun, Code::Ok);
    Ok(text)
}

/// A long answer takes its time, for which nobody else's connection is to wait.
async fn text_of(shared: &Shared, method: Method, message: Bytes) -> Result<Bytes, Status> {
    if message.len() <= limits::JSON_INLINE_BYTES_MAX {
        return json::response(method, message).map(Bytes::from);
    }
    let _place = shared.texts.acquire().await.map_err(|_| stopped())?;
    let text = spawn_blocking(move || json::response(method, message).map(Bytes::from));
    text.await.map_err(|_| stopped())?
}

/// A stream that has begun; nobody is told yet how it ends.
async fn stream(
    session: &Arc<Session>,
    caller: &Caller,
    method: Method,
    body: Incoming,
) -> Result<Stream, Status> {
    let shared = &session.shared;
    let mut objects = Objects::new(body, STREAM_OBJECT_BYTES_MAX, session);
    let first = tokio::select! {
        first = objects.next() => first?,
        () = session.left() => return Err(stopped()),
    };
    let first = json::request(method, first.unwrap_or_else(empty))?;
    shared.tally.received(method, first.len());
    let (duplex, DoorEnd { requests, mut answers }) = Duplex::pair(limits::STREAM_MESSAGES_MAX);
    shared.service.open(caller, method, first, duplex);
    // Not every object is answered: what follows is read before the first answer comes.
    let (cutter, mut cut) = oneshot::channel();
    tokio::spawn(follow(Arc::clone(session), method, objects, requests, cutter));
    // How it begins decides what it is answered.
    let begun = tokio::select! {
        biased;
        begun = answers.recv() => begun.unwrap_or_else(|| Item::End(Err(stopped()))),
        why = &mut cut => return Err(why.unwrap_or_else(|_| stopped())),
    };
    if let Item::End(Err(status)) = begun {
        return Err(status);
    }
    Ok(Stream {
        cut: Some(cut),
        first: Some(begun),
        json: Some(method),
        ..Stream::new(answers, None)
    })
}

/// Hands further objects to the service, until the client has its answers, or one of both stops.
async fn follow(
    session: Arc<Session>,
    method: Method,
    mut objects: Objects,
    requests: mpsc::Sender<Bytes>,
    mut cutter: oneshot::Sender<Status>,
) {
    let pump = async {
        loop {
            let object = match objects.next().await {
                Ok(Some(object)) => object,
                Ok(None) => break,
                Err(status) => return status,
            };
            match json::request(method, object) {
                Ok(message) => {
                    session.shared.tally.received(method, message.len());
                    if requests.send(message).await.is_err() {
                        break;
                    }
                }
                Err(status) => return status,
            }
        }
        // A watch goes on when its client has said all; renewals end.
        let _open = (method == Method::Watch).then_some(requests);
        std::future::pending().await
    };
    let why = tokio::select! {
        why = pump => why,
        () = session.left() => stopped(),
        () = cutter.closed() => return,
    };
    // It may be gone: then nobody reads why.
    let _ = cutter.send(why);
}

pub(super) fn empty() -> serde_json::Value {
    serde_json::Value::Object(serde_json::Map::new())
}

/// The connection's caller, and what this request says of him. A certificate's name is no user here, as in etcd: its
/// gateway asks in its own name.
pub(super) fn caller(caller: &Caller, headers: &HeaderMap) -> Caller {
    let text = |value: Option<&HeaderValue>| value?.to_str().ok().map(str::to_owned);
    let leader = headers.get("grpc-metadata-hasleader");
    let of_metadata = |name: &str| headers.get(name);
    let token = of_metadata("grpc-metadata-token")
        .or_else(|| headers.get(AUTHORIZATION))
        .or_else(|| of_metadata("grpc-metadata-authorization"));
    Caller {
        token: text(token),
        client: text(headers.get(USER_AGENT)).unwrap_or_default(),
        requires_leader: leader.is_some_and(|value| value == "true"),
        common_name: None,
        ..caller.clone()
    }
}

fn succeeded(answer: Answer) -> Response<Answer> {
    let mut response = Response::new(answer);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let name = HeaderName::from_static("grpc-metadata-content-type");
    headers.insert(name, HeaderValue::from_static("application/grpc"));
    response
}

fn failed(status: &Status) -> Response<Answer> {
    let mut response = Response::new(Answer::Plain(Some(json::failure(status).into())));
    *response.status_mut() = http_status(status.code);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// As grpc-gateway maps them.
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Canceled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
    }
}
