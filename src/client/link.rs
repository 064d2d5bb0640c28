//! One connection to one server: Hello, unary lanes, moved answers, streams of their own; or the same calls over gRPC, where
//! no QUIC leads to it.
//!
//! A link is up only after the server's Hello: the dialler's TLS stack believes so earlier than the server has judged
//! the certificate. Everything waiting on it fails together when the connection ends.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use bytes::{Bytes, BytesMut};
use tokio::sync::Semaphore;

#[cfg(feature = "server")]
use super::grpc::{Grpc, GrpcRecv, GrpcSend};
use super::lane::{Failure, Lane};
use super::silence;
use crate::base::limits;
#[cfg(feature = "server")]
use crate::proto::frame::HTTP_STREAM;
use crate::proto::frame::{MOVED_HEAD, MovedHead, StreamFrame, UNARY_STREAM};
use crate::proto::hello::{CONTROL_BYTES_MAX, ClientHello, Control, PROTOCOL_VERSION, ServerHello};
use crate::proto::{Code, Method, Retry, Status};
#[cfg(feature = "server")]
use crate::transport::Tunnel;
use crate::transport::{CloseCode, Connection, RecvStream, SendStream, Traffic};

/// Bytes of requests that one place among the unanswered stands for, so that large requests cannot fill the memory.
const BYTES_PER_PLACE: usize = 16 * 1024;

/// Longest answer taken, bytes (gRPC's MaxInt32).
pub(super) const ANSWER_BYTES_MAX: usize = i32::MAX as usize;

/// Answers taken from a stream at a time, bytes.
const READ_BYTES: usize = 256 * 1024;

/// Moved answers that may arrive at the same time.
const MOVED_STREAMS_MAX: u32 = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Link {
    pub endpoint: Arc<str>,
    pub hello: ServerHello,
    /// What was said with our Hello, or is said with every call over gRPC; empty: none.
    pub token: String,
    wire: Wire,
    /// The server is going away, or this client has turned to another one.
    is_leaving: AtomicBool,
}

#[derive(Debug)]
enum Wire {
    Quic(Quic),
    #[cfg(feature = "server")]
    Grpc(Grpc),
}

#[derive(Debug)]
struct Quic {
    connection: Connection,
    lanes: Vec<Arc<Lane>>,
    lane_next: AtomicUsize,
    places: Semaphore,
    places_max: u32,
}

impl Link {
    /// Says Hello on a fresh connection and starts its tasks. The error is a text for people.
    pub(super) async fn open(
        connection: Connection,
        endpoint: Arc<str>,
        client: ClientHello,
        unary_streams: usize,
    ) -> Result<Arc<Self>, String> {
        let why = |error: &dyn Display| why(&connection, error);
        // Given up on the way (another endpoint was faster), nothing of it must stay.
        let mut unfinished = Unfinished(Some(connection.clone()));
        connection.allow_streams(0, MOVED_STREAMS_MAX);
        let (mut send, mut recv) = connection.open_bi().await.map_err(|e| why(&e))?;
        let token = client.token.clone();
        let hello = Control::ClientHello(client).encode();
        send.bytes(hello).await.map_err(|e| why(&e))?;
        let hello = loop {
            let frame = recv.frame(CONTROL_BYTES_MAX).await.map_err(|e| why(&e))?;
            let Some(frame) = frame else {
                return Err(why(&"the server ended the conversation before its Hello"));
            };
            if let Control::ServerHello(hello) = Control::parse(frame).map_err(|e| why(&e))? {
                break hello;
            }
        };
        if hello.version != PROTOCOL_VERSION {
            return Err(format!("the server speaks version {} of the protocol", hello.version));
        }
        let lanes = open_lanes(&connection, unary_streams).await?;
        unfinished.0 = None;
        let places_max = hello.in_flight_max.max(1);
        tokio::spawn(read_moved(lanes.clone(), connection.clone()));
        tokio::spawn(fail_together(lanes.clone(), connection.clone()));
        let quic = Quic {
            connection,
            lanes,
            lane_next: AtomicUsize::new(0),
            places: Semaphore::new(places_max as usize),
            places_max,
        };
        let (wire, is_leaving) = (Wire::Quic(quic), AtomicBool::new(false));
        let link = Arc::new(Self { endpoint, hello, token, wire, is_leaving });
        tokio::spawn(read_control(Arc::downgrade(&link), send, recv));
        tokio::spawn(silence::watch_over(Arc::downgrade(&link)));
        Ok(link)
    }

    /// The same over gRPC, which has no Hello: nobody knows who it is that answers.
    #[cfg(feature = "server")]
    pub(super) fn over_grpc(endpoint: Arc<str>, token: String, grpc: Grpc) -> Arc<Self> {
        let hello = ServerHello { version: PROTOCOL_VERSION, ..ServerHello::default() };
        let (wire, is_leaving) = (Wire::Grpc(grpc), AtomicBool::new(false));
        Arc::new(Self { endpoint, hello, token, wire, is_leaving })
    }

    /// Whether new calls belong here.
    pub(super) fn is_usable(&self) -> bool {
        let is_up = match &self.wire {
            Wire::Quic(quic) => {
                quic.connection.lost().is_none() && !quic.lanes.iter().any(|lane| lane.is_over())
            }
            #[cfg(feature = "server")]
            Wire::Grpc(grpc) => !grpc.is_over(),
        };
        !self.is_leaving.load(Ordering::Acquire) && is_up
    }

    /// Whether the connection is no more.
    pub(super) fn is_over(&self) -> bool {
        match &self.wire {
            Wire::Quic(quic) => quic.connection.lost().is_some(),
            #[cfg(feature = "server")]
            Wire::Grpc(grpc) => grpc.is_over(),
        }
    }

    /// None where somebody else watches over it.
    pub(super) fn traffic(&self) -> Option<Traffic> {
        match &self.wire {
            Wire::Quic(quic) => Some(quic.connection.traffic()),
            #[cfg(feature = "server")]
            Wire::Grpc(_) => None,
        }
    }

    /// Nothing will come any more: everything that waits here is told why.
    pub(super) fn give_up(&self, reason: &str) {
        self.leave();
        let told: Arc<str> = reason.into();
        match &self.wire {
            Wire::Quic(quic) => {
                for lane in &quic.lanes {
                    lane.fail(&told);
                }
                quic.connection.close(CloseCode::Done, reason);
            }
            #[cfg(feature = "server")]
            Wire::Grpc(grpc) => grpc.close(),
        }
    }

    /// No new calls; what is under way still ends here.
    pub(super) fn leave(&self) {
        self.is_leaving.store(true, Ordering::Release);
    }

    /// One unary call; `deadline_ms` is what the server is told.
    pub(super) async fn call(
        &self,
        method: Method,
        body: &[u8],
        deadline_ms: u32,
    ) -> Result<Bytes, Failure> {
        let quic = match &self.wire {
            Wire::Quic(quic) => quic,
            #[cfg(feature = "server")]
            Wire::Grpc(grpc) => return grpc.call(method, body, deadline_ms).await,
        };
        let max = self.hello.frame_bytes_max as usize;
        if body.len() + 64 > max {
            let text = "etcdserver: request is too large";
            return Err(Failure::Status(Status::new(Code::InvalidArgument, text, Retry::Never)));
        }
        let places = u32::try_from(body.len() / BYTES_PER_PLACE).unwrap_or(u32::MAX).max(1);
        // The semaphore is never closed.
        let _place = quic.places.acquire_many(places.min(quic.places_max)).await.ok();
        let turn = quic.lane_next.fetch_add(1, Ordering::Relaxed);
        quic.lanes[turn % quic.lanes.len()].call(method, body, deadline_ms).await
    }

    /// A stream of its own for `method`.
    pub(super) async fn stream(&self, method: Method) -> Result<(StreamSend, StreamRecv), Failure> {
        let quic = match &self.wire {
            Wire::Quic(quic) => quic,
            #[cfg(feature = "server")]
            Wire::Grpc(grpc) => {
                let (send, recv) = grpc.stream(method)?;
                return Ok((StreamSend::Grpc(send), StreamRecv::Grpc(recv)));
            }
        };
        let (send, recv) = quic.open(method.number()).await?;
        let connection = quic.connection.clone();
        let send = StreamSend::Quic(connection.clone(), send);
        Ok((send, StreamRecv::Quic(connection, recv)))
    }

    /// A stream that carries HTTP/1.1 as it is.
    #[cfg(feature = "server")]
    pub(super) async fn http(&self) -> Result<Tunnel, Failure> {
        match &self.wire {
            Wire::Quic(quic) => {
                let (send, recv) = quic.open(HTTP_STREAM).await?;
                Ok(recv.tunnel(send))
            }
            Wire::Grpc(_) => Err(Failure::Lost {
                reason: "HTTP has no streams of its own over gRPC".into(),
                sent: false,
            }),
        }
    }

    /// Ends the connection.
    pub(super) fn close(&self) {
        self.leave();
        match &self.wire {
            Wire::Quic(quic) => quic.connection.close(CloseCode::Done, "done"),
            #[cfg(feature = "server")]
            Wire::Grpc(grpc) => grpc.close(),
        }
    }
}

impl Quic {
    async fn open(&self, opening: u16) -> Result<(SendStream, RecvStream), Failure> {
        let lost = |error: &dyn Display| Failure::Lost {
            reason: why(&self.connection, error).into(),
            sent: false,
        };
        let (mut send, recv) = self.connection.open_bi().await.map_err(|e| lost(&e))?;
        let opening = Bytes::copy_from_slice(&opening.to_be_bytes());
        send.bytes(opening).await.map_err(|e| lost(&e))?;
        Ok((send, recv))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.close();
    }
}

/// Closes a connection that became no link.
struct Unfinished(Option<Connection>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(connection) = &self.0 {
            connection.close(CloseCode::Done, "done");
        }
    }
}

/// The client's half of a method's own stream.
#[derive(Debug)]
pub(crate) enum StreamSend {
    Quic(Connection, SendStream),
    #[cfg(feature = "server")]
    Grpc(GrpcSend),
}

impl StreamSend {
    pub(crate) async fn send(&mut self, message: Bytes) -> Result<(), Failure> {
        self.send_all(std::iter::once(message)).await
    }

    /// Several in one write.
    pub(super) async fn send_all(
        &mut self,
        messages: impl Iterator<Item = Bytes>,
    ) -> Result<(), Failure> {
        match self {
            Self::Quic(connection, send) => {
                let mut frames = BytesMut::new();
                for message in messages {
                    StreamFrame::Message(message).encode(&mut frames);
                }
                send.bytes(frames.freeze()).await.map_err(|error| Failure::Lost {
                    reason: why(connection, &error).into(),
                    sent: true,
                })
            }
            #[cfg(feature = "server")]
            Self::Grpc(send) => {
                for message in messages {
                    send.send(&message).await?;
                }
                Ok(())
            }
        }
    }

    /// Nothing more will be sent.
    pub(crate) fn finish(&mut self) {
        match self {
            Self::Quic(_, send) => send.finish(),
            #[cfg(feature = "server")]
            Self::Grpc(send) => send.finish(),
        }
    }
}

/// The server's half of a method's own stream.
#[derive(Debug)]
pub(crate) enum StreamRecv {
    Quic(Connection, RecvStream),
    #[cfg(feature = "server")]
    Grpc(GrpcRecv),
}

impl StreamRecv {
    /// The next message; none when the server ended the stream in peace. Safe to drop while it waits.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let (connection, recv) = match self {
            Self::Quic(connection, recv) => (connection, recv),
            #[cfg(feature = "server")]
            Self::Grpc(recv) => return recv.next().await,
        };
        let lost = |error: &dyn Display| Failure::Lost {
            reason: why(connection, error).into(),
            sent: true,
        };
        let frame = recv.frame(ANSWER_BYTES_MAX).await.map_err(|e| lost(&e))?;
        let Some(frame) = frame else {
            return Err(lost(&"the server cut the stream short"));
        };
        match StreamFrame::parse(frame).map_err(|e| lost(&e))? {
            StreamFrame::Message(message) => Ok(Some(message)),
            StreamFrame::End(Ok(())) => Ok(None),
            StreamFrame::End(Err(status)) => Err(Failure::Status(status)),
        }
    }
}

async fn open_lanes(
    connection: &Connection,
    unary_streams: usize,
) -> Result<Vec<Arc<Lane>>, String> {
    let count = unary_streams.clamp(1, 4) as u64;
    let mut lanes = Vec::new();
    for index in 0..count {
        let lane = Arc::new(Lane::new(index, count));
        let (mut send, recv) = connection.open_bi().await.map_err(|e| why(connection, &e))?;
        let opening = Bytes::copy_from_slice(&UNARY_STREAM.to_be_bytes());
        send.bytes(opening).await.map_err(|e| why(connection, &e))?;
        tokio::spawn(write_lane(Arc::clone(&lane), send));
        tokio::spawn(read_lane(Arc::clone(&lane), connection.clone(), recv));
        lanes.push(lane);
    }
    Ok(lanes)
}

async fn write_lane(lane: Arc<Lane>, mut send: SendStream) {
    while let Some(bytes) = lane.take_out().await {
        // The connection's end is told by its watcher.
        if send.bytes(bytes).await.is_err() {
            return;
        }
    }
}

async fn read_lane(lane: Arc<Lane>, connection: Connection, mut recv: RecvStream) {
    let mut frames = Vec::new();
    let reason = loop {
        match recv.frames(limits::FRAME_BYTES_MAX, READ_BYTES, &mut frames).await {
            Ok(true) => {}
            Ok(false) => return lane.end(&"the server is stopping".into()),
            Err(error) => break why(&connection, &error),
        }
        if let Err(error) = lane.receive(frames.drain(..)) {
            break error.to_string();
        }
    };
    lane.fail(&reason.as_str().into());
    connection.close(CloseCode::Protocol, &reason);
}

async fn fail_together(lanes: Vec<Arc<Lane>>, connection: Connection) {
    let reason: Arc<str> = connection.closed().await.to_string().into();
    for lane in lanes {
        lane.fail(&reason);
    }
}

async fn read_control(link: Weak<Link>, _kept_open: SendStream, mut recv: RecvStream) {
    while let Ok(Some(frame)) = recv.frame(CONTROL_BYTES_MAX).await {
        if let Ok(Control::GoAway(away)) = Control::parse(frame) {
            let Some(link) = link.upgrade() else { return };
            tracing::debug!(endpoint = %link.endpoint, reason = away.text, "server goes away");
            link.leave();
        }
    }
}

async fn read_moved(lanes: Vec<Arc<Lane>>, connection: Connection) {
    while let Ok(recv) = connection.accept_uni().await {
        tokio::spawn(take_moved(lanes.clone(), recv));
    }
}

/// One moved answer. If it is cut short, the connection is ending, or the caller's deadline settles it.
async fn take_moved(lanes: Vec<Arc<Lane>>, mut recv: RecvStream) {
    let Ok(head) = recv.exactly(MOVED_HEAD).await else { return };
    let Some(head) = MovedHead::decode(&head) else { return };
    let lane = &lanes[usize::try_from(head.id).unwrap_or(0) % lanes.len()];
    let length = usize::try_from(head.length).unwrap_or(usize::MAX);
    if !lane.awaits(head.id) || length > ANSWER_BYTES_MAX {
        recv.stop(CloseCode::Done as u32);
        return;
    }
    let mut body = BytesMut::new();
    while body.len() < length {
        let Ok(Some(chunk)) = recv.chunk().await else { return };
        body.extend_from_slice(&chunk);
    }
    if body.len() == length {
        lane.complete(head.id, body.freeze());
    }
}

/// The connection's own end says more than the error of a stream on it.
fn why(connection: &Connection, error: &dyn Display) -> String {
    connection.lost().map_or_else(|| error.to_string(), |lost| lost.to_string())
}
