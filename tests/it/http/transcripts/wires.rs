//! The same methods on four wires.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost_reflect::DynamicMessage;
use quorate::proto::frame::{Answer, MOVED_HEAD, Request, StreamFrame};
use quorate::proto::{Method, Shape};
use serde_json::Value;

use super::super::super::native::raw::{self, Raw};
use super::super::client::{self, Client, End};
use super::super::gateway::{Lines, post_as};
use super::super::soon;
use super::super::websocket::Socket;
use super::place::Member;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wire {
    Grpc,
    Json,
    /// JSON, too: a websocket of the gateway.
    Socket,
    Native,
}

/// What is answered, as it came.
pub(super) enum Said {
    Message(Bytes),
    Object(Value),
}

/// A stream on its way.
#[allow(clippy::large_enum_variant, reason = "a test has few of them")]
pub(super) enum Open {
    Grpc(client::Stream),
    Json(Lines),
    Socket(Socket),
    Native { stream: raw::Stream, _control: raw::Stream, _raw: Raw },
}

/// Where a line goes: a member, a path of the gateway and its method, and metadata where the wire has it.
pub(super) struct To<'a> {
    pub member: &'a Member,
    pub path: &'a str,
    pub method: Method,
    pub metadata: &'a [(String, Vec<u8>)],
    pub token: Option<&'a str>,
}

impl To<'_> {
    async fn grpc(&self) -> client::Stream {
        let client = Client::dial(self.member.client).await;
        let metadata = self.metadata.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        let token = self.token.map(|token| ("token", token.as_bytes()));
        let metadata: Vec<_> = metadata.chain(token).collect();
        client.open_raw(&format!("/{}", self.method.path()), &metadata).await
    }

    async fn greeted(&self) -> (Raw, raw::Stream) {
        Raw::greeted_as(&self.member.url(), self.token.unwrap_or_default()).await
    }

    async fn socket(&self) -> Socket {
        Socket::open_as(self.member.client, &self.path(), self.token).await
    }

    fn path(&self) -> String {
        format!("/v3/{}", self.path)
    }

    /// One request, one answer.
    pub(super) async fn unary(&self, wire: Wire, request: &DynamicMessage) -> Result<Said, End> {
        match wire {
            Wire::Grpc => {
                let mut stream = self.grpc().await;
                stream.say(request, true);
                let message = stream.next().await?.expect("it ended well, and gave no message");
                assert_eq!(stream.next().await, Ok(None));
                Ok(Said::Message(message))
            }
            Wire::Json => {
                let body = serde_json::to_string(request).unwrap();
                let (status, text) =
                    post_as(self.member.client, &self.path(), self.token, &body).await;
                let said: Value = serde_json::from_str(&text).unwrap();
                if status == 200 { Ok(Said::Object(said)) } else { Err(failure(&said)) }
            }
            Wire::Socket => {
                let mut socket = self.socket().await;
                socket.say(serde_json::to_string(request).unwrap()).await;
                let said = socket.next().await.expect("it ended without an answer");
                if said.get("code").is_none() {
                    Ok(Said::Object(said))
                } else {
                    Err(failure(&said))
                }
            }
            Wire::Native => {
                let (raw, _control) = self.greeted().await;
                let mut stream = raw.unary().await;
                let (method, body) = (self.method.number(), request.encode_to_vec().into());
                stream.request(Request::Call { id: 1, method, deadline_ms: 0, body }).await;
                match stream.answer().await {
                    Answer::Message { body, .. } => Ok(Said::Message(body)),
                    Answer::Error { status, .. } => Err((status.code.number(), status.text)),
                    Answer::Moved { .. } => {
                        let moved = soon("a moved answer", raw.connection.accept_uni()).await;
                        let mut moved = moved.unwrap();
                        moved.exactly(MOVED_HEAD).await.unwrap();
                        let mut body = BytesMut::new();
                        while let Some(chunk) = soon("a chunk", moved.chunk()).await.unwrap() {
                            body.extend_from_slice(&chunk);
                        }
                        Ok(Said::Message(body.freeze()))
                    }
                }
            }
        }
    }

    /// A stream on which these were said, and nothing further will be if it is `whole`.
    pub(super) async fn open(&self, wire: Wire, said: &[DynamicMessage], whole: bool) -> Open {
        if wire == Wire::Json {
            assert!(whole, "etcd's gateway begins to answer when all is said");
            let said: Vec<String> =
                said.iter().map(|request| serde_json::to_string(request).unwrap()).collect();
            let body = said.join("\n");
            return Open::Json(
                Lines::whole(self.member.client, &self.path(), self.token, &body).await,
            );
        }
        let mut open = match wire {
            Wire::Native => {
                let (raw, control) = self.greeted().await;
                let mut stream = raw.stream().await;
                let opening = Bytes::copy_from_slice(&self.method.number().to_be_bytes());
                stream.send.bytes(opening).await.unwrap();
                Open::Native { stream, _control: control, _raw: raw }
            }
            Wire::Socket => Open::Socket(self.socket().await),
            _ => Open::Grpc(self.grpc().await),
        };
        for (number, request) in (1..).zip(said) {
            // Who is asked once waits until no more can come.
            let is_last = self.method.shape() == Shape::ServerStream && number == said.len();
            open.say(request, is_last).await;
        }
        open
    }
}

impl Open {
    pub(super) async fn say(&mut self, request: &DynamicMessage, is_last: bool) {
        match self {
            Self::Grpc(stream) => stream.say(request, is_last),
            Self::Json(_) => panic!("all was said"),
            Self::Socket(socket) => socket.say(serde_json::to_string(request).unwrap()).await,
            Self::Native { stream, .. } => {
                let mut frame = BytesMut::new();
                StreamFrame::Message(request.encode_to_vec().into()).encode(&mut frame);
                stream.send.bytes(frame.freeze()).await.unwrap();
                if is_last {
                    stream.send.finish();
                }
            }
        }
    }

    /// Nothing further will be said.
    pub(super) fn finish(&mut self) {
        match self {
            Self::Grpc(stream) => stream.bytes(Bytes::new(), true),
            Self::Json(_) => {}
            Self::Socket(_) => panic!("a websocket has two ends, and they end together"),
            Self::Native { stream, .. } => stream.send.finish(),
        }
    }

    /// What comes next; none when it ended well.
    pub(super) async fn next(&mut self) -> Result<Option<Said>, End> {
        match self {
            Self::Grpc(stream) => Ok(stream.next().await?.map(Said::Message)),
            Self::Json(lines) => of_line(lines.next_if_any().await),
            Self::Socket(socket) => of_line(socket.next().await),
            Self::Native { stream, .. } => {
                let frame = soon("a frame", stream.recv.frame(64 << 20)).await.unwrap().unwrap();
                match StreamFrame::parse(frame).unwrap() {
                    StreamFrame::Message(message) => Ok(Some(Said::Message(message))),
                    StreamFrame::End(Ok(())) => Ok(None),
                    StreamFrame::End(Err(status)) => Err((status.code.number(), status.text)),
                }
            }
        }
    }
}

fn of_line(line: Option<Value>) -> Result<Option<Said>, End> {
    let Some(mut line) = line else { return Ok(None) };
    match (line.get("result").is_some(), line.get("error")) {
        (true, _) => Ok(Some(Said::Object(line["result"].take()))),
        (false, Some(error)) => Err(failure(error)),
        // It ended before it began.
        (false, None) => Err(failure(&line)),
    }
}

fn failure(said: &Value) -> End {
    (said["code"].as_u64().unwrap() as u16, said["message"].as_str().unwrap().to_owned())
}

/// What no descriptor describes: gRPC's own health check, and methods that do not exist.
pub(super) async fn other(member: &Member, name: &str, service: &str) -> Result<u8, End> {
    let client = Client::dial(member.client).await;
    let mut stream = client.open(&format!("/{name}"), &[]).await;
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        message.put_u8(service.len() as u8);
        message.put_slice(service.as_bytes());
    }
    stream.bytes(client::prefixed(0, &message), true);
    let answer = stream.next().await?.expect("it ended well, and gave no message");
    Ok(answer.get(1).copied().unwrap_or_default())
}
