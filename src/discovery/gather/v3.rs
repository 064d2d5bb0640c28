//! A registry by its token, as etcd 3.6 has it: keys of v3, asked over gRPC.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2;
use hyper::header::CONTENT_TYPE;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use prost::Message;
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::timeout;

use super::error::{Failure, GatherError};
use super::gathering::{Listing, Registry};
use super::meeting::Meeting;
use super::place::{Tokened, percent_decoded};
use super::wire::{Wire, authority};
use crate::base::{KeyRange, limits};
use crate::proto::Code;
use crate::proto::etcdserverpb as pb;
use crate::tls::Scheme;
use crate::transport::{Names, Url};

/// Servers of etcd close a connection that is asked more often (and Go's clients know it).
const KEEP_ALIVE_MIN: Duration = Duration::from_secs(10);

/// Who asks to be known where nobody need be is told so with this, and goes on.
const AUTH_NOT_ENABLED: &str = "etcdserver: authentication is not enabled";

/// One token, at one of its servers.
pub struct V3<'a> {
    meeting: &'a Meeting,
    tokened: &'a Tokened,
    server: &'a Url,
    sender: http2::SendRequest<Said>,
    /// The login's.
    token: Option<String>,
}

/// A request's body: one message, after which more could follow if it stays open.
struct Said {
    message: Option<Bytes>,
    stays_open: bool,
}

impl Body for Said {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match (self.message.take(), self.stays_open) {
            (Some(message), _) => Poll::Ready(Some(Ok(Frame::data(message)))),
            (None, true) => Poll::Pending,
            (None, false) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.message.is_none() && !self.stays_open
    }
}

/// Answers as they come.
struct Heard {
    body: Incoming,
    buffer: BytesMut,
}

impl<'a> V3<'a> {
    /// Asks the servers one after the other, another one first each time, until one can be talked to.
    pub async fn connect(
        meeting: &'a Meeting,
        tokened: &'a Tokened,
        names: &Names,
        attempt: usize,
    ) -> Result<Self, Failure> {
        let wire = Wire::new(meeting, names, b"h2")?;
        let mut tried = Vec::new();
        let count = tokened.servers.len();
        for at in 0..count {
            let server = &tokened.servers[(at + attempt) % count];
            match handshake(meeting, &wire, server).await {
                Ok(sender) => {
                    let mut v3 = Self { meeting, tokened, server, sender, token: None };
                    v3.log_in().await?;
                    return Ok(v3);
                }
                Err(what) => tried.push(what),
            }
        }
        Err(Failure::Passing(tried.join("; ")))
    }

    async fn log_in(&mut self) -> Result<(), Failure> {
        let Some(credentials) = &self.meeting.credentials else { return Ok(()) };
        let request = pb::AuthenticateRequest {
            name: credentials.user.clone(),
            password: credentials.password.clone(),
        };
        match self.call("/etcdserverpb.Auth/Authenticate", &request).await {
            Ok(pb::AuthenticateResponse { token, .. }) => self.token = Some(token),
            Err(Failure::Final(GatherError::Refused { what, .. })) if what == AUTH_NOT_ENABLED => {}
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    async fn call<R: Message + Default>(
        &mut self,
        path: &str,
        request: &impl Message,
    ) -> Result<R, Failure> {
        let patience = self.meeting.request_timeout;
        let asking = async {
            let mut heard = self.open(path, request, false).await?;
            let Some(message) = self.next(&mut heard).await? else {
                return Err(self.passing("answered nothing"));
            };
            R::decode(message).map_err(|error| self.bad(&error.to_string()))
        };
        match timeout(patience, asking).await {
            Ok(answered) => answered,
            Err(_) => Err(self.passing(&format!("no answer within {patience:?}"))),
        }
    }

    async fn open(
        &self,
        path: &str,
        request: &impl Message,
        stays_open: bool,
    ) -> Result<Heard, Failure> {
        let scheme = if self.server.scheme == Scheme::Https { "https" } else { "http" };
        let uri = format!("{scheme}://{}{path}", authority(self.server));
        let mut head = Request::post(uri)
            .header(CONTENT_TYPE, "application/grpc")
            .header("te", "trailers")
            .header("user-agent", concat!("quorate/", env!("CARGO_PKG_VERSION")));
        if let Some(token) = &self.token {
            head = head.header("token", token);
        }
        let message = request.encode_to_vec();
        let mut body = BytesMut::with_capacity(5 + message.len());
        body.put_u8(0);
        body.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
        body.extend_from_slice(&message);
        let body = Said { message: Some(body.freeze()), stays_open };
        let request = head.body(body).map_err(|error| self.passing(&error.to_string()))?;
        let mut sender = self.sender.clone();
        let response = sender.send_request(request).await;
        self.answered(response.map_err(|error| self.passing(&error.to_string()))?)
    }

    /// An answer of gRPC, or what it is instead.
    fn answered(&self, response: Response<Incoming>) -> Result<Heard, Failure> {
        let (head, body) = response.into_parts();
        let is_grpc = head
            .headers
            .get(CONTENT_TYPE)
            .and_then(|it| it.to_str().ok())
            .is_some_and(|it| it.starts_with("application/grpc"));
        let is_passing =
            matches!(head.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
        if head.status.is_server_error() || is_passing {
            return Err(self.passing(&format!("answers {}", head.status)));
        }
        if head.status != StatusCode::OK || !is_grpc {
            return Err(self.bad(&format!("answers {} without gRPC", head.status)));
        }
        if head.headers.contains_key("grpc-status") {
            self.ended(&head.headers)?;
        }
        Ok(Heard { body, buffer: BytesMut::new() })
    }

    /// The next message; none when the stream ended well.
    async fn next(&self, heard: &mut Heard) -> Result<Option<Bytes>, Failure> {
        loop {
            if let Some(&[_, a, b, c, d]) = heard.buffer.first_chunk::<5>() {
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                if length > limits::DISCOVERY_ANSWER_BYTES_MAX {
                    return Err(self.bad(&format!("answers {length} bytes")));
                }
                if heard.buffer.len() >= 5 + length {
                    heard.buffer.advance(5);
                    return Ok(Some(heard.buffer.split_to(length).freeze()));
                }
            }
            match heard.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(self.passing(&error.to_string())),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => heard.buffer.extend_from_slice(&data),
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        return self.ended(&trailers).map(|()| None);
                    }
                },
            }
        }
    }

    /// How gRPC says that a call ended.
    fn ended(&self, trailers: &HeaderMap) -> Result<(), Failure> {
        let read = |name: &str| trailers.get(name).and_then(|it| it.to_str().ok());
        let code = read("grpc-status").and_then(|it| it.parse::<u32>().ok()).unwrap_or(2);
        let text = percent_decoded(read("grpc-message").unwrap_or_default());
        let is = |codes: &[Code]| codes.iter().any(|it| *it as u32 == code);
        if code == 0 {
            return Ok(());
        }
        if self.token.is_some() && is_of_a_login(&text) {
            return Err(self.passing(&format!("takes our login for no longer good: {text}")));
        }
        let is_login = is(&[Code::Unauthenticated, Code::PermissionDenied])
            || (is(&[Code::InvalidArgument]) && text.contains("user name is empty"))
            || text.contains("authentication failed");
        let refusals = [
            Code::InvalidArgument,
            Code::NotFound,
            Code::AlreadyExists,
            Code::FailedPrecondition,
            Code::Unimplemented,
        ];
        if is_login || is(&refusals) {
            let endpoint = self.server.to_string();
            return Err(GatherError::Refused { endpoint, what: text, is_login }.into());
        }
        Err(self.passing(&format!("answers {text} (gRPC's code {code})")))
    }

    fn passing(&self, what: &str) -> Failure {
        Failure::Passing(format!("{}: {what}", self.server))
    }

    fn bad(&self, what: &str) -> Failure {
        let endpoint = self.server.to_string();
        GatherError::BadEndpoint { endpoint, what: what.to_owned() }.into()
    }

    async fn size_pair(&mut self) -> Result<crate::proto::mvccpb::KeyValue, Failure> {
        let key = Bytes::from(self.tokened.size_key());
        let request = pb::RangeRequest { key, ..Default::default() };
        let found: pb::RangeResponse = self.call("/etcdserverpb.KV/Range", &request).await?;
        found
            .kvs
            .into_iter()
            .next()
            .ok_or_else(|| GatherError::SizeNotFound { place: self.tokened.described() }.into())
    }
}

/// What a server says of a login that has ended, or is older than its users: another one is taken.
fn is_of_a_login(text: &str) -> bool {
    text.contains("invalid auth token") || text.contains("revision of auth store is old")
}

async fn handshake(
    meeting: &Meeting,
    wire: &Wire<'_>,
    server: &Url,
) -> Result<http2::SendRequest<Said>, String> {
    let stream = wire.open(server, false).await?;
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(meeting.keep_alive.max(KEEP_ALIVE_MIN)))
        .keep_alive_timeout(meeting.keep_alive_timeout)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| format!("{server}: {error}"))?;
    // How it ends is seen by its calls.
    tokio::spawn(connection);
    Ok(sender)
}

impl Registry for V3<'_> {
    async fn size(&mut self) -> Result<String, Failure> {
        let pair = self.size_pair().await?;
        Ok(String::from_utf8_lossy(&pair.value).into_owned())
    }

    async fn entries(&mut self) -> Result<Listing, Failure> {
        let prefix = self.tokened.members();
        let request = pb::RangeRequest {
            key: Bytes::from(prefix.clone()),
            range_end: KeyRange::prefix_end(prefix.as_bytes()).unwrap_or_default(),
            sort_target: pb::range_request::SortTarget::Create.into(),
            sort_order: pb::range_request::SortOrder::Ascend.into(),
            ..Default::default()
        };
        let found: pb::RangeResponse = self.call("/etcdserverpb.KV/Range", &request).await?;
        let at = found.header.as_ref().map_or(0, |header| header.revision);
        let entry = |pair: crate::proto::mvccpb::KeyValue| {
            let key = String::from_utf8_lossy(&pair.key);
            let id = key.strip_prefix(&prefix).unwrap_or_default().to_owned();
            (id, String::from_utf8_lossy(&pair.value).into_owned())
        };
        let entries = found.kvs.into_iter().map(entry).collect();
        Ok(Listing { entries, at: u64::try_from(at).unwrap_or_default() })
    }

    async fn register(&mut self, id: &str, entry: &str) -> Result<(), Failure> {
        // A token that ends takes its members along.
        let lease = self.size_pair().await?.lease;
        let key = Bytes::from(format!("{}{id}", self.tokened.members()));
        let value = Bytes::from(entry.to_owned());
        let put = pb::PutRequest { key: key.clone(), value, lease, ..Default::default() };
        let absent = pb::Compare {
            key,
            target: pb::compare::CompareTarget::Create.into(),
            result: pb::compare::CompareResult::Equal.into(),
            target_union: Some(pb::compare::TargetUnion::CreateRevision(0)),
            ..Default::default()
        };
        let put = pb::RequestOp { request: Some(pb::request_op::Request::RequestPut(put)) };
        let request =
            pb::TxnRequest { compare: vec![absent], success: vec![put], ..Default::default() };
        let _: pb::TxnResponse = self.call("/etcdserverpb.KV/Txn", &request).await?;
        Ok(())
    }

    async fn change(&mut self, since: u64) -> Result<(), Failure> {
        let prefix = self.tokened.members();
        let create = pb::WatchCreateRequest {
            range_end: KeyRange::prefix_end(prefix.as_bytes()).unwrap_or_default(),
            key: Bytes::from(prefix),
            start_revision: i64::try_from(since).unwrap_or_default() + 1,
            ..Default::default()
        };
        let union = Some(pb::watch_request::RequestUnion::CreateRequest(create));
        let request = pb::WatchRequest { request_union: union };
        let watching = async {
            let mut heard = self.open("/etcdserverpb.Watch/Watch", &request, true).await?;
            while let Some(message) = self.next(&mut heard).await? {
                let told = pb::WatchResponse::decode(message);
                let told = told.map_err(|error| self.bad(&error.to_string()))?;
                if told.compact_revision > 0 || !told.events.is_empty() {
                    return Ok(());
                }
                if told.canceled {
                    let what = format!("the watch was canceled: {}", told.cancel_reason);
                    return Err(self.passing(&what));
                }
            }
            Err(self.passing("the watch ended"))
        };
        timeout(limits::DISCOVERY_LOOK_AGAIN, watching).await.unwrap_or(Ok(()))
    }
}
