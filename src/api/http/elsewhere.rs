//! etcd's v2 API where the door belongs to a proxy: the request goes to a member as it is, over a stream of its own.
//!
//! Promises: as etcd's proxy, 501 for what is no GET where it is read-only, 503 without a member, 502 when none of them
//! answers, and `/v2/config/local/proxy` tells who they are. What may have been done is never asked again. Knows nothing
//! of: what is asked.

use std::pin::Pin;

use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{
    ALLOW, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;

use super::body::Answer;
use super::pages::{JSON, PLAIN, page};
use super::session::Session;
use crate::transport::Tunnel;

/// A stream to a member that speaks HTTP/1.1; else how many were tried, and why it failed.
pub type Opening<'a> = Pin<Box<dyn Future<Output = Result<Tunnel, (usize, String)>> + Send + 'a>>;

/// Members that answer in place of this door.
pub trait Elsewhere: Send + Sync + 'static {
    /// To another one each time.
    fn open(&self) -> Opening<'_>;

    /// Their URLs.
    fn endpoints(&self) -> Vec<String>;

    /// Whether only reads are passed on.
    fn is_readonly(&self) -> bool;
}

/// Attempts of a request that changes nothing.
const ATTEMPTS_MAX: usize = 3;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// About the connection, not the request: not passed on, as in Go.
const OF_THE_CONNECTION: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-authenticate"),
    HeaderName::from_static("proxy-authorization"),
    HeaderName::from_static("te"),
    HeaderName::from_static("trailers"),
    TRANSFER_ENCODING,
    HeaderName::from_static("upgrade"),
];

/// None where the path is not of the v2 API.
pub(super) async fn respond(
    session: &Session,
    elsewhere: &dyn Elsewhere,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Request<Incoming>> {
    if !request.uri().path().starts_with("/v2/") {
        return Err(request);
    }
    if elsewhere.is_readonly() && request.method() != Method::GET {
        let mut refused = Response::new(Answer::Plain(None));
        *refused.status_mut() = StatusCode::NOT_IMPLEMENTED;
        return Ok(refused);
    }
    if request.uri().path() == "/v2/config/local/proxy" {
        return Ok(local(elsewhere, request.method()));
    }
    Ok(passed(session, elsewhere, request).await)
}

async fn passed(
    session: &Session,
    elsewhere: &dyn Elsewhere,
    request: Request<Incoming>,
) -> Response<Answer> {
    let (mut head, body) = request.into_parts();
    for name in &OF_THE_CONNECTION {
        head.headers.remove(name);
    }
    forwarded_for(&mut head.headers, session);
    // To a member, a request says where it goes in its first line and in no URL.
    if let Some(authority) = head.uri.authority().cloned()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        head.headers.entry(HOST).or_insert(host);
    }
    if let Some(path) = head.uri.path_and_query().cloned() {
        head.uri = path.into();
    }
    let is_safe = head.method == Method::GET && hyper::body::Body::is_end_stream(&body);
    let mut body = Some(body);
    let mut why = Vec::new();
    for _ in 0..ATTEMPTS_MAX {
        let tunnel = match elsewhere.open().await {
            Ok(tunnel) => tunnel,
            Err((0, why)) => return none_there(&why),
            Err((count, error)) => {
                why.push(error);
                return nobody(count, &why.join("; "));
            }
        };
        let mut request = Request::new(());
        *request.headers_mut() = head.headers.clone();
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = head.uri.clone();
        let asked = match body.take().filter(|_| !is_safe) {
            Some(body) => ask(tunnel, request.map(|()| Asked::Body(body))).await,
            None => ask(tunnel, request.map(|()| Asked::Nothing)).await,
        };
        match asked {
            Ok(response) => return response,
            Err(error) => why.push(error),
        }
        if !is_safe {
            // It may have been done.
            return nobody(1, &why.join("; "));
        }
    }
    nobody(ATTEMPTS_MAX, &why.join("; "))
}

/// A request's body, or none.
enum Asked {
    Nothing,
    Body(Incoming),
}

impl hyper::body::Body for Asked {
    type Data = bytes::Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        match &mut *self {
            Self::Nothing => std::task::Poll::Ready(None),
            Self::Body(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Body(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Self::Nothing => hyper::body::SizeHint::with_exact(0),
            Self::Body(body) => body.size_hint(),
        }
    }
}

/// One request on one stream. The stream lives as long as the answer's body.
async fn ask(tunnel: Tunnel, request: Request<Asked>) -> Result<Response<Answer>, String> {
    let text = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = http1::handshake(TokioIo::new(tunnel)).await.map_err(text)?;
    let (held, gone) = oneshot::channel::<()>();
    tokio::spawn(async move {
        tokio::select! {
            // How it ends is seen by whoever reads the answer.
            _ = connection => {}
            // Nobody reads it any more.
            _ = gone => {}
        }
    });
    let response = sender.send_request(request).await.map_err(text)?;
    let (mut head, body) = response.into_parts();
    for name in &OF_THE_CONNECTION {
        head.headers.remove(name);
    }
    Ok(Response::from_parts(head, Answer::Passed { body, _held: held }))
}

/// As Go's proxies write it: behind what is there.
fn forwarded_for(headers: &mut HeaderMap, session: &Session) {
    let Some(address) = session.caller.address else { return };
    let before = headers.get_all(FORWARDED_FOR);
    let mut all: Vec<String> =
        before.iter().filter_map(|value| value.to_str().ok().map(str::to_owned)).collect();
    all.push(address.ip().to_string());
    if let Ok(value) = HeaderValue::from_str(&all.join(", ")) {
        headers.insert(FORWARDED_FOR, value);
    }
}

/// etcd's own page of a proxy.
fn local(elsewhere: &dyn Elsewhere, method: &Method) -> Response<Answer> {
    if method != Method::GET {
        let mut refused = super::v2::not_allowed();
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        return refused;
    }
    let endpoints = serde_json::json!({ "endpoints": elsewhere.endpoints() });
    page(StatusCode::OK, PLAIN, format!("{endpoints}\n"))
}

fn none_there(why: &str) -> Response<Answer> {
    tracing::debug!(why, "no member to ask");
    message(StatusCode::SERVICE_UNAVAILABLE, "httpproxy: zero endpoints currently available")
}

fn nobody(count: usize, why: &str) -> Response<Answer> {
    tracing::debug!(why, "no member answered");
    let text = format!("httpproxy: unable to get response from {count} endpoint(s)");
    message(StatusCode::BAD_GATEWAY, &text)
}

fn message(code: StatusCode, text: &str) -> Response<Answer> {
    page(code, JSON, serde_json::json!({ "message": text }).to_string())
}
