//! gRPC over TCP, for servers that no QUIC leads to: an etcd, or a member of whom the TCP port alone is published.
//!
//! The messages are the same on both wires; here each call is a request of HTTP/2, and how it ended stands in its
//! trailers. Whether a failed write was done is not told by gRPC: such a failure is ambiguous.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2;
use hyper::header::CONTENT_TYPE;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::mpsc;

use super::Config;
use super::lane::Failure;
use super::link::ANSWER_BYTES_MAX;
use crate::discovery::Resolver;
use crate::proto::{Code, Method, Retry, Status};
use crate::tls::Scheme;
use crate::transport::{ByteStream, TcpDialer, Url};

/// As etcdctl: asked after two seconds of silence, given up after six more.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(6);

/// Messages of a stream that may wait for the wire.
const WAITING_MAX: usize = 16;

/// Bytes before each message: whether it is compressed, and its length.
const HEAD_BYTES: usize = 5;

/// One connection.
pub(super) struct Grpc {
    sender: http2::SendRequest<Said>,
    /// `http://host:port`.
    base: String,
    agent: String,
    token: Option<String>,
    is_closed: AtomicBool,
}

impl fmt::Debug for Grpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gRPC at {}", self.base)
    }
}

impl Grpc {
    /// Connects; the error is a text for people.
    pub(super) async fn open(url: &Url, config: &Config, token: &str) -> Result<Self, String> {
        let names = config.dns_server.map_or_else(Resolver::system, Resolver::at).names();
        let is_secure = url.scheme == Scheme::Https;
        let files = config.tls.clone().unwrap_or_default();
        let dialer = TcpDialer::new(names, is_secure.then_some(&files), b"h2");
        let dialer = dialer.map_err(|error| error.to_string())?;
        let stream = dialer.dial(&url.host, url.port).await?;
        let stream: Box<dyn ByteStream> = match is_secure {
            true => dialer.secure(stream, &url.host).await?,
            false => Box::new(stream),
        };
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(false)
            .adaptive_window(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection of gRPC has ended");
            }
        });
        let authority = url.to_string();
        Ok(Self {
            sender,
            base: authority.trim_end_matches('/').to_owned(),
            agent: config.name.clone(),
            token: Some(token.to_owned()).filter(|token| !token.is_empty()),
            is_closed: AtomicBool::new(false),
        })
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_closed.load(Ordering::Acquire) || self.sender.is_closed()
    }

    /// The connection goes with the last call that is under way.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
    }

    pub(super) async fn call(
        &self,
        method: Method,
        body: &[u8],
        deadline_ms: u32,
    ) -> Result<Bytes, Failure> {
        // Without one the server has its own.
        let deadline_ms = Some(deadline_ms).filter(|ms| *ms != 0);
        let (mut send, mut recv) = self.begin(method, deadline_ms)?;
        send.send(body).await?;
        send.finish();
        let Some(message) = recv.next().await? else {
            return Err(lost("the server answered nothing"));
        };
        // How it ended comes behind the message.
        recv.next().await?;
        Ok(message)
    }

    pub(super) fn stream(&self, method: Method) -> Result<(GrpcSend, GrpcRecv), Failure> {
        self.begin(method, None)
    }

    fn begin(
        &self,
        method: Method,
        deadline_ms: Option<u32>,
    ) -> Result<(GrpcSend, GrpcRecv), Failure> {
        let mut head = Request::post(format!("{}/{}", self.base, method.path()))
            .header(CONTENT_TYPE, "application/grpc")
            .header("te", "trailers")
            .header("user-agent", &self.agent);
        if method == Method::Watch {
            // A member that is cut off would never say so: it ends the stream instead, which goes on elsewhere.
            head = head.header("hasleader", "true");
        }
        if let Some(ms) = deadline_ms {
            head = head.header("grpc-timeout", format!("{}m", ms.min(99_999_999)));
        }
        if let Some(token) = &self.token {
            head = head.header("token", token);
        }
        let (to_wire, messages) = mpsc::channel(WAITING_MAX);
        let request = head.body(Said(messages)).map_err(lost)?;
        let response = self.sender.clone().send_request(request);
        let recv =
            GrpcRecv { answer: Answer::Awaited(Box::pin(response)), buffer: BytesMut::new() };
        Ok((GrpcSend(Some(to_wire)), recv))
    }
}

fn lost(reason: impl fmt::Display) -> Failure {
    Failure::Lost { reason: reason.to_string().into(), sent: true }
}

/// A request's body: the messages of a stream as they come.
struct Said(mpsc::Receiver<Bytes>);

impl Body for Said {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|message| message.map(|message| Ok(Frame::data(message))))
    }
}

/// The client's half of a stream.
#[derive(Debug)]
pub(crate) struct GrpcSend(Option<mpsc::Sender<Bytes>>);

impl GrpcSend {
    pub(super) async fn send(&mut self, message: &[u8]) -> Result<(), Failure> {
        let mut framed = BytesMut::with_capacity(HEAD_BYTES + message.len());
        framed.put_u8(0);
        framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
        framed.put_slice(message);
        let Some(to_wire) = &self.0 else { return Err(lost("the stream is finished")) };
        to_wire.send(framed.freeze()).await.map_err(|_| lost("the server closed the stream"))
    }

    pub(super) fn finish(&mut self) {
        self.0 = None;
    }
}

type Responding = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

enum Answer {
    /// A server begins to answer when it has something to say.
    Awaited(Responding),
    Body(Incoming),
    Over,
}

/// The server's half of a stream.
pub(crate) struct GrpcRecv {
    answer: Answer,
    buffer: BytesMut,
}

impl fmt::Debug for GrpcRecv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a stream of gRPC with {} bytes", self.buffer.len())
    }
}

impl GrpcRecv {
    /// The next message; none when the stream ended well. Safe to drop while it waits.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            if let Some(message) = self.whole()? {
                return Ok(Some(message));
            }
            match &mut self.answer {
                Answer::Over => return Ok(None),
                Answer::Awaited(response) => {
                    let response = response.await;
                    self.answer = Answer::Over;
                    self.answer = begun(response.map_err(lost)?)?;
                }
                Answer::Body(body) => match body.frame().await {
                    None => {
                        self.answer = Answer::Over;
                        return Err(lost("the server cut the stream short"));
                    }
                    Some(Err(error)) => {
                        self.answer = Answer::Over;
                        return Err(lost(error));
                    }
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => self.buffer.extend_from_slice(&data),
                        Err(frame) => {
                            self.answer = Answer::Over;
                            ended(&frame.into_trailers().unwrap_or_default())?;
                        }
                    },
                },
            }
        }
    }

    /// The first message of what has come, if all of it has.
    fn whole(&mut self) -> Result<Option<Bytes>, Failure> {
        let Some(&[is_compressed, a, b, c, d]) = self.buffer.first_chunk::<HEAD_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if is_compressed != 0 {
            return Err(lost("the server compresses its answers, and nobody asked for that"));
        }
        if length > ANSWER_BYTES_MAX {
            return Err(lost(format!(
                "an answer of {length} bytes: {ANSWER_BYTES_MAX} are the most"
            )));
        }
        if self.buffer.len() < HEAD_BYTES + length {
            return Ok(None);
        }
        self.buffer.advance(HEAD_BYTES);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
}

/// An answer of gRPC, or what it is instead.
fn begun(response: Response<Incoming>) -> Result<Answer, Failure> {
    let (head, body) = response.into_parts();
    if head.headers.contains_key("grpc-status") {
        return ended(&head.headers).map(|()| Answer::Over);
    }
    let kind = head.headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or_default();
    if head.status != StatusCode::OK || !kind.starts_with("application/grpc") {
        let text = format!("the server answers {} and no gRPC", head.status);
        return Err(Failure::Status(Status::new(Code::Unavailable, text, Retry::Ambiguous)));
    }
    Ok(Answer::Body(body))
}

/// How gRPC says that a call ended.
fn ended(trailers: &HeaderMap) -> Result<(), Failure> {
    let read = |name: &str| trailers.get(name).and_then(|it| it.to_str().ok());
    let number = read("grpc-status").and_then(|it| it.parse::<u16>().ok()).unwrap_or(2);
    if number == 0 {
        return Ok(());
    }
    let code = Code::from_number(number);
    let retry = match code {
        Code::Unavailable | Code::DeadlineExceeded | Code::Canceled | Code::Unknown => {
            Retry::Ambiguous
        }
        _ => Retry::Never,
    };
    let text = percent_decoded(read("grpc-message").unwrap_or_default());
    Err(Failure::Status(Status::new(code, text, retry)))
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart_however_they_come() {
        let mut recv = GrpcRecv { answer: Answer::Over, buffer: BytesMut::new() };
        let bytes = [0, 0, 0, 0, 2, b'a', b'b', 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let mut found = Vec::new();
        for byte in bytes {
            recv.buffer.put_u8(byte);
            found.extend(recv.whole().unwrap());
        }
        assert_eq!(found, ["ab", ""]);
        assert_eq!(recv.buffer.len(), 5);
        for bytes in [[1, 0, 0, 0, 1], [0, 255, 255, 255, 255]] {
            let mut recv = GrpcRecv { answer: Answer::Over, buffer: BytesMut::from(&bytes[..]) };
            assert!(recv.whole().is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn an_end_is_read_with_its_text() {
        let trailers = |status: &str, message: &str| {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", status.parse().unwrap());
            trailers.insert("grpc-message", message.parse().unwrap());
            ended(&trailers)
        };
        assert!(trailers("0", "").is_ok());
        let Err(Failure::Status(status)) = trailers("9", "50%25 \"%C3%A9\" %zz") else {
            panic!("a status")
        };
        assert_eq!(
            (status.code, status.text.as_str()),
            (Code::FailedPrecondition, "50% \"é\" %zz")
        );
        assert!(
            matches!(trailers("14", "x"), Err(Failure::Status(it)) if it.retry == Retry::Ambiguous)
        );
    }
}
