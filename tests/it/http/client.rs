//! gRPC as it stands on the wire: HTTP/2 by a library, everything else by hand.

use std::net::SocketAddr;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use hyper::{HeaderMap, Request};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::soon;

/// A connection.
pub(super) struct Client {
    send: SendRequest<Bytes>,
}

/// One call or stream on its way.
pub(super) struct Stream {
    send: SendStream<Bytes>,
    response: Option<ResponseFuture>,
    body: Option<RecvStream>,
    pub headers: HeaderMap,
    buffer: BytesMut,
}

/// How a call ended: gRPC's number and text.
pub(super) type End = (u16, String);

impl Client {
    pub(super) async fn dial(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap()).await
    }

    /// One that gives answers so much room.
    pub(super) async fn dial_with(address: SocketAddr, window: u32) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        Self::over_with(stream, window).await
    }

    pub(super) async fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        // These tests read late: the library takes many small answers for an attack where windows are small.
        Self::over_with(stream, 16 << 20).await
    }

    async fn over_with(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        window: u32,
    ) -> Self {
        let mut builder = h2::client::Builder::new();
        builder.initial_connection_window_size(window);
        let (send, connection) = soon("the handshake", builder.handshake(stream)).await.unwrap();
        tokio::spawn(async move {
            // How a connection ends is seen by its calls.
            let _ = connection.await;
        });
        Self { send }
    }

    /// Headers sent, body open.
    pub(super) async fn open(&self, path: &str, headers: &[(&str, &str)]) -> Stream {
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        self.open_raw(path, &headers).await
    }

    pub(super) async fn open_raw(&self, path: &str, headers: &[(&str, &[u8])]) -> Stream {
        let uri = format!("http://localhost{path}");
        let mut request = Request::post(uri).header("content-type", "application/grpc");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let send = self.send.clone();
        let mut send = soon("room for a stream", send.ready()).await.unwrap();
        let (response, send) = send.send_request(request.body(()).unwrap(), false).unwrap();
        let (headers, buffer) = (HeaderMap::new(), BytesMut::new());
        Stream { send, response: Some(response), body: None, headers, buffer }
    }

    /// A unary call: the message, or how it failed.
    pub(super) async fn call<R: Message + Default>(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        request: &impl Message,
    ) -> Result<R, End> {
        let mut stream = self.open(path, headers).await;
        stream.say(request, true);
        let mut found = None;
        while let Some(message) = stream.next().await? {
            assert!(found.replace(R::decode(message).unwrap()).is_none(), "two answers");
        }
        Ok(found.unwrap())
    }
}

impl Stream {
    pub(super) fn say(&mut self, message: &impl Message, is_last: bool) {
        self.bytes(prefixed(0, &message.encode_to_vec()), is_last);
    }

    /// Whatever bytes.
    pub(super) fn bytes(&mut self, bytes: Bytes, is_last: bool) {
        self.send.send_data(bytes, is_last).unwrap();
    }

    /// The next message, or none when the stream ended well.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, End> {
        soon("an answer", self.take()).await
    }

    async fn take(&mut self) -> Result<Option<Bytes>, End> {
        if let Some(response) = self.response.take() {
            let response = response.await.map_err(|error| (1, error.to_string()))?;
            let (head, body) = response.into_parts();
            assert_eq!(head.status, 200);
            self.headers = head.headers;
            self.body = Some(body);
            if self.headers.contains_key("grpc-status") {
                return end(&self.headers);
            }
        }
        let body = self.body.as_mut().unwrap();
        loop {
            if let Some(&[0, a, b, c, d]) = self.buffer.first_chunk::<5>() {
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                if self.buffer.len() >= 5 + length {
                    self.buffer.advance(5);
                    return Ok(Some(self.buffer.split_to(length).freeze()));
                }
            }
            match body.data().await {
                Some(data) => {
                    let data = data.map_err(|error| (1, error.to_string()))?;
                    body.flow_control().release_capacity(data.len()).unwrap();
                    self.buffer.extend_from_slice(&data);
                }
                None => return end(&body.trailers().await.unwrap().unwrap()),
            }
        }
    }

    /// What the stream says next, decoded.
    pub(super) async fn hear<M: Message + Default>(&mut self) -> M {
        let message = self.next().await.unwrap().expect("the stream ended");
        M::decode(message).unwrap()
    }

    /// The HTTP status alone.
    pub(super) async fn status(mut self) -> u16 {
        let response = self.response.take().unwrap();
        soon("the answer", response).await.unwrap().status().as_u16()
    }

    /// The client wants no more.
    pub(super) fn reset(mut self) {
        self.send.send_reset(h2::Reason::CANCEL);
    }
}

fn end(trailers: &HeaderMap) -> Result<Option<Bytes>, End> {
    let code: u16 = trailers["grpc-status"].to_str().unwrap().parse().unwrap();
    let text = trailers.get("grpc-message").map_or("", |text| text.to_str().unwrap());
    if code == 0 { Ok(None) } else { Err((code, text.to_owned())) }
}

pub(super) fn prefixed(flag: u8, message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(5 + message.len());
    bytes.put_u8(flag);
    bytes.put_u32(u32::try_from(message.len()).unwrap());
    bytes.extend_from_slice(message);
    bytes.freeze()
}
