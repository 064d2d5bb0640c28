//! A client that writes frames itself and keeps to no rule.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use quorate::proto::frame::{Answer, Request, UNARY_STREAM};
use quorate::proto::hello::{
    CONTROL_BYTES_MAX, ClientHello, Control, PROTOCOL_VERSION, ServerHello,
};
use quorate::proto::{Method, etcdserverpb as pb};
use quorate::tls::ClientFiles;
use quorate::transport::{Connection, DialOptions, Dialer, Names, RecvStream, SendStream};

use super::{Server, soon};

/// A connection, and what keeps it.
pub(crate) struct Raw {
    pub connection: Connection,
    _dialer: Dialer,
}

impl Raw {
    pub(super) async fn dial(server: &Server) -> Self {
        Self::to(&server.url()).await
    }

    async fn to(url: &str) -> Self {
        let options = DialOptions { timeout: Duration::from_secs(5), ..Default::default() };
        let dialer = Dialer::new(&ClientFiles::default(), options, Names::default()).unwrap();
        let connection = dialer.dial(&url.parse().unwrap()).await.unwrap();
        Self { connection, _dialer: dialer }
    }

    /// Dialled, and nothing said.
    pub(crate) async fn stranger(url: &str) -> Self {
        Self::to(url).await
    }

    /// Dialled and greeted.
    pub(super) async fn open(server: &Server) -> (Self, ServerHello, Stream) {
        Self::to(&server.url()).await.hello().await
    }

    /// The same with any server; its control stream is to be kept.
    pub(crate) async fn greeted(url: &str) -> (Self, Stream) {
        Self::greeted_as(url, "").await
    }

    /// The same with a token.
    pub(crate) async fn greeted_as(url: &str, token: &str) -> (Self, Stream) {
        let (raw, _, control) = Self::to(url).await.hello_as(token).await;
        (raw, control)
    }

    async fn hello(self) -> (Self, ServerHello, Stream) {
        self.hello_as("").await
    }

    async fn hello_as(self, token: &str) -> (Self, ServerHello, Stream) {
        let raw = self;
        let mut control = raw.stream().await;
        let hello = ClientHello {
            versions: vec![PROTOCOL_VERSION],
            client: "raw".to_owned(),
            token: token.to_owned(),
            ..ClientHello::default()
        };
        control.send.bytes(Control::ClientHello(hello).encode()).await.unwrap();
        let frame = soon("Hello", control.recv.frame(CONTROL_BYTES_MAX)).await.unwrap().unwrap();
        let Control::ServerHello(hello) = Control::parse(frame).unwrap() else {
            panic!("no Hello");
        };
        (raw, hello, control)
    }

    pub(crate) async fn stream(&self) -> Stream {
        let (send, recv) = soon("a stream", self.connection.open_bi()).await.unwrap();
        Stream { send, recv }
    }

    /// None where the server has closed the connection.
    pub(crate) async fn try_stream(&self) -> Option<Stream> {
        let (send, recv) = soon("a stream, or the close", self.connection.open_bi()).await.ok()?;
        Some(Stream { send, recv })
    }

    pub(crate) async fn unary(&self) -> Stream {
        let mut stream = self.stream().await;
        let opening = Bytes::copy_from_slice(&UNARY_STREAM.to_be_bytes());
        stream.send.bytes(opening).await.unwrap();
        stream
    }

    /// Why the server closed.
    pub(super) async fn closed(&self) -> String {
        format!("{:?}", soon("the close", self.connection.closed()).await)
    }
}

pub(crate) struct Stream {
    pub send: SendStream,
    pub recv: RecvStream,
}

impl Stream {
    pub(crate) async fn request(&mut self, request: Request) {
        let mut bytes = BytesMut::new();
        request.encode(&mut bytes);
        self.send.bytes(bytes.freeze()).await.unwrap();
    }

    /// The same to a server that reads no more: it may stop the stream while this is written.
    pub(super) async fn request_in_vain(&mut self, request: Request) {
        let mut bytes = BytesMut::new();
        request.encode(&mut bytes);
        let _stopped = self.send.bytes(bytes.freeze()).await;
    }

    pub(crate) async fn answer(&mut self) -> Answer {
        let frame = soon("an answer", self.recv.frame(4 << 20)).await.unwrap().unwrap();
        Answer::parse(frame).unwrap()
    }
}

pub(crate) fn get(id: u64, key: &str) -> Request {
    let range = pb::RangeRequest { key: key.to_owned().into(), ..Default::default() };
    let body = prost::Message::encode_to_vec(&range).into();
    Request::Call { id, method: Method::Range.number(), deadline_ms: 0, body }
}
