//! A websocket in place of a request: an object a message, a line of the answer a message. Browsers can speak it where
//! they cannot send a request and hear its answer at the same time.
//!
//! As in etcd's proxy: any path of the gateway, asked for with GET and answered as with POST; a token may stand in
//! `Sec-WebSocket-Protocol: Bearer, <token>`. An object is whole in one message, and bounded as in a request.

use std::sync::{Arc, PoisonError};

use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::json;
use super::objects::slow;
use super::serve::{STREAM_OBJECT_BYTES_MAX, TEXT_FACTOR, asked, caller, empty};
use crate::api::http::arriving::{Arriving, refused};
use crate::api::http::body::{Answer, Count};
use crate::api::http::pages;
use crate::api::http::session::{Session, stopped};
use crate::api::http::tally::Begun;
use crate::base::limits;
use crate::proto::{Caller, Code, DoorEnd, Duplex, Item, Method, Retry, Shape, Status};
use crate::transport::Bound;

/// What RFC 6455 hashes with a client's key.
const KEY_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A connection on its way to become a websocket.
pub(in crate::api::http) struct Upgrade {
    on_upgrade: OnUpgrade,
    /// None where the path has none.
    method: Option<Method>,
    caller: Caller,
}

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// The client is gone, or speaks no websocket.
struct Gone;

pub(super) fn is_asked_for(headers: &HeaderMap) -> bool {
    let has = |name: &HeaderName, wanted: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|it| it.trim().eq_ignore_ascii_case(wanted))
    };
    has(&CONNECTION, "upgrade") && has(&UPGRADE, "websocket")
}

/// Says yes, and leaves the rest to [`serve`]; or why not, in the words of etcd's library.
pub(super) fn accept(
    session: &Session,
    method: Option<Method>,
    mut request: Request<Incoming>,
) -> Response<Answer> {
    let refused = |code, text: &str| pages::page(code, pages::PLAIN, format!("{text}\n"));
    if request.method() != hyper::Method::GET {
        return refused(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    }
    let headers = request.headers();
    let is_version = headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|key| !key.is_empty());
    let (true, Some(key)) = (is_version, key) else {
        return refused(StatusCode::BAD_REQUEST, "Bad Request");
    };
    let accept =
        digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key.as_bytes(), KEY_SUFFIX.as_bytes()].concat());
    let Ok(accept) = HeaderValue::from_str(&BASE64_STANDARD.encode(accept)) else {
        return refused(StatusCode::BAD_REQUEST, "Bad Request");
    };
    let protocol = headers.get(SEC_WEBSOCKET_PROTOCOL).and_then(|it| it.to_str().ok());
    let is_bearer = protocol.is_some_and(|protocol| protocol.starts_with("Bearer"));
    let mut caller = caller(&session.caller, headers);
    if let Some((_, token)) = protocol.and_then(|protocol| protocol.split_once("Bearer,")) {
        caller.token = Some(format!("Bearer {}", token.trim_matches(' ')));
    }
    let upgrade = Upgrade { on_upgrade: hyper::upgrade::on(&mut request), method, caller };
    *session.upgrade.lock().unwrap_or_else(PoisonError::into_inner) = Some(upgrade);
    let mut response = Response::new(Answer::Plain(None));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    if is_bearer {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Until one of both ends it, or the session does.
pub(in crate::api::http) async fn serve(
    session: &Arc<Session>,
    upgrade: Upgrade,
) -> hyper::Result<()> {
    let Upgrade { on_upgrade, method, caller } = upgrade;
    let io = TokioIo::new(on_upgrade.await?);
    let is_unary = method.is_some_and(|method| method.shape() == Shape::Unary);
    let bytes_max = match is_unary {
        true => session.shared.config.message_bytes_max * TEXT_FACTOR,
        false => STREAM_OBJECT_BYTES_MAX,
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(limits::UNFINISHED_FREE_BYTES)
        .max_message_size(Some(bytes_max))
        .max_frame_size(Some(bytes_max));
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
    let told = match method {
        None => {
            let unknown = Status::new(Code::NotFound, "Not Found", Retry::Never);
            tell(&mut socket, json::failure(&unknown).into()).await
        }
        Some(method) => {
            let begun = session.shared.tally.started(method);
            match is_unary {
                true => unary(session, &caller, (method, begun), &mut socket, bytes_max).await,
                false => stream(session, &caller, (method, begun), &mut socket).await,
            }
        }
    };
    if told.is_ok() {
        // It may be gone by now.
        let _closed = timeout(limits::REFUSED_GRACE, socket.close(None)).await;
    }
    Ok(())
}

/// One object, one answer.
async fn unary(
    session: &Session,
    caller: &Caller,
    (method, begun): (Method, Begun),
    socket: &mut Socket,
    bytes_max: usize,
) -> Result<(), Gone> {
    let outcome = async {
        // As a long request of HTTP: it holds what it may become, and not for long.
        let mut arriving = Arriving::of(session);
        arriving.expect(bytes_max);
        let first = async {
            tokio::select! {
                first = next(socket) => Ok(object(&first?)),
                () = arriving.crowded_out() => Ok(Err(refused(Bound::Unfinished))),
            }
        };
        let first = timeout(session.shared.config.message_deadline, first).await;
        Ok(match first.unwrap_or_else(|_| Ok(Err(slow())))? {
            Ok(object) => asked(session, caller, (method, begun), object).await,
            Err(status) => Err(status),
        })
    };
    let outcome = tokio::select! {
        outcome = outcome => outcome?,
        () = session.left() => Err(stopped()),
    };
    let text = outcome.unwrap_or_else(|status| {
        session.shared.tally.handled(begun, status.code);
        json::failure(&status).into()
    });
    tell(socket, text).await
}

/// Objects in, lines out.
async fn stream(
    session: &Arc<Session>,
    caller: &Caller,
    (method, begun): (Method, Begun),
    socket: &mut Socket,
) -> Result<(), Gone> {
    let tally = &session.shared.tally;
    let mut count = Count::new(tally, begun);
    let first = tokio::select! {
        first = next(socket) => object(&first?).and_then(|object| json::request(method, object)),
        () = session.left() => Err(stopped()),
    };
    let first = match first {
        Ok(first) => first,
        Err(status) => {
            count.ended(status.code);
            return tell(socket, json::failure(&status).into()).await;
        }
    };
    tally.received(method, first.len());
    let (duplex, DoorEnd { requests, mut answers }) = Duplex::pair(limits::STREAM_MESSAGES_MAX);
    session.shared.service.open(caller, method, first, duplex);
    let ended = exchange(session, method, socket, &requests, &mut answers).await?;
    count.ended(ended.as_ref().err().map_or(Code::Ok, |status| status.code));
    match ended {
        Ok(()) => Ok(()),
        Err(status) => tell(socket, line(method, Err(&status))).await,
    }
}

/// Until the service or the session ends it: how; or until the client is gone.
async fn exchange(
    session: &Session,
    method: Method,
    socket: &mut Socket,
    requests: &mpsc::Sender<Bytes>,
    answers: &mut mpsc::Receiver<Item>,
) -> Result<Result<(), Status>, Gone> {
    let tally = &session.shared.tally;
    // What the client said and the service has no room for yet; meanwhile nothing further is read.
    let mut waiting = None;
    loop {
        tokio::select! {
            item = answers.recv() => match item {
                Some(Item::Message(message)) => {
                    tally.sent(method, message.len());
                    tell(socket, line(method, Ok(message))).await?;
                }
                Some(Item::End(ended)) => return Ok(ended),
                None => return Ok(Err(stopped())),
            },
            room = requests.reserve(), if waiting.is_some() => {
                // Without room the service listens no more; what it has to say comes.
                if let (Ok(room), Some(message)) = (room, waiting.take()) {
                    room.send(message);
                }
            }
            said = next(socket), if waiting.is_none() => {
                match object(&said?).and_then(|object| json::request(method, object)) {
                    Ok(message) => {
                        tally.received(method, message.len());
                        waiting = Some(message);
                    }
                    Err(status) => return Ok(Err(status)),
                }
            }
            () = session.left() => return Ok(Err(stopped())),
        }
    }
}

/// The next message of the client; what keeps the connection alive is answered meanwhile.
async fn next(socket: &mut Socket) -> Result<Bytes, Gone> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return Ok(text.into()),
            Some(Ok(Message::Binary(bytes))) => return Ok(bytes),
            // What answers a close goes out with the next look, which then finds the end.
            Some(Ok(
                Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_),
            )) => {}
            Some(Err(_)) | None => return Err(Gone),
        }
    }
}

fn object(message: &[u8]) -> Result<Value, Status> {
    if message.trim_ascii().is_empty() {
        return Ok(empty());
    }
    serde_json::from_slice(message).map_err(|error| json::invalid(&error.to_string()))
}

/// A line without its end: a message has its own.
fn line(method: Method, item: Result<Bytes, &Status>) -> Bytes {
    let line = json::line(method, item);
    line.slice(..line.len().saturating_sub(1))
}

async fn tell(socket: &mut Socket, text: Bytes) -> Result<(), Gone> {
    // It is JSON, which is a text.
    let text = text.try_into().map_err(|_| Gone)?;
    socket.send(Message::Text(text)).await.map_err(|_| Gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_websocket_is_asked_for_in_two_headers() {
        let headers = |connection: &'static str, upgrade: &'static str| {
            HeaderMap::from_iter([
                (CONNECTION, HeaderValue::from_static(connection)),
                (UPGRADE, HeaderValue::from_static(upgrade)),
            ])
        };
        assert!(is_asked_for(&headers("Upgrade", "websocket")));
        assert!(is_asked_for(&headers("keep-alive, upgrade", "WebSocket")));
        assert!(!is_asked_for(&headers("keep-alive", "websocket")));
        assert!(!is_asked_for(&headers("Upgrade", "h2c")));
    }
}
