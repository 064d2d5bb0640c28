//! A caller over TCP who shows the certificate that he likes, or none, and writes down what he is told.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::harness::tls_config;

/// Longest wait for a word.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a stranger is told.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Answer {
    /// TLS says which.
    Alert(String),
    /// Hung up without a word.
    Silence,
    /// Status; and the body, where it is no success.
    Http(u16, String),
    /// Code and text.
    Grpc(u16, String),
}

/// What TLS shows and believes.
#[derive(Clone)]
pub(super) struct Tls {
    config: ClientConfig,
}

impl Tls {
    /// Believes `ca.crt` of this folder, shows the certificate of this stem.
    pub(super) fn of(certs: &Path, stem: Option<&Path>) -> Self {
        Self::spoken(certs, stem, rustls::ALL_VERSIONS)
    }

    /// The same by the version of ten years ago alone.
    pub(super) fn old(certs: &Path, stem: Option<&Path>) -> Self {
        Self::spoken(certs, stem, &[&rustls::version::TLS12])
    }

    fn spoken(
        certs: &Path,
        stem: Option<&Path>,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Self {
        let (authority, provider) =
            (certs.join("ca.crt"), rustls::crypto::ring::default_provider());
        Self { config: tls_config(&authority, stem, provider, versions) }
    }

    fn speaking(&self, protocol: &[u8]) -> Arc<ClientConfig> {
        let mut config = self.config.clone();
        config.alpn_protocols = vec![protocol.to_vec()];
        Arc::new(config)
    }
}

/// At a port of this machine, over TLS or in clear.
#[derive(Clone, Copy)]
pub(super) struct Caller<'t> {
    pub port: u16,
    pub tls: Option<&'t Tls>,
}

/// A request of HTTP/1.1.
#[derive(Clone, Debug, Default)]
pub(super) struct Page<'p> {
    pub method: &'p str,
    pub path: &'p str,
    /// Instead of `localhost`.
    pub host: Option<&'p str>,
    /// Lines with their ends.
    pub headers: String,
    pub body: &'p str,
}

impl Page<'_> {
    fn text(&self) -> String {
        let Self { method, path, host, headers, body } = self;
        let host = host.unwrap_or("localhost");
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }
}

impl Caller<'_> {
    /// Whether TLS lets him in at the door of gRPC: its first frame, or how it refuses.
    pub(super) fn preface(&self) -> Result<(), Answer> {
        let hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        // HTTP/2 goes on until its client has heard enough.
        self.said(b"h2", hello, 9)
            .and_then(|heard| if heard.len() < 9 { Err(Answer::Silence) } else { Ok(()) })
    }

    pub(super) fn page(&self, page: &Page<'_>) -> Answer {
        match self.said(b"http/1.1", page.text().as_bytes(), usize::MAX) {
            Ok(heard) if heard.starts_with(b"HTTP/1.") => http(&heard),
            // Frames of HTTP/2, from who speaks nothing else.
            Ok(_) => Answer::Silence,
            Err(refused) => refused,
        }
    }

    /// What is heard, up to the end or to `enough` bytes; nothing heard at all is how it was refused.
    fn said(&self, protocol: &[u8], said: &[u8], enough: usize) -> Result<Vec<u8>, Answer> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let Some(tls) = self.tls else { return exchange(stream, said, enough) };
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let connection = ClientConnection::new(tls.speaking(protocol), name).unwrap();
        exchange(StreamOwned::new(connection, stream), said, enough)
    }

    /// A unary call: how it ended, and its message.
    pub(super) async fn grpc(
        &self,
        method: &str,
        headers: &[(&str, &str)],
        message: &[u8],
    ) -> (Answer, Bytes) {
        // A handshake that fails says which alert to who asks for it.
        if self.tls.is_some()
            && let Err(refused) = self.preface()
        {
            return (refused, Bytes::new());
        }
        let asking = self.asked(method, headers, message);
        timeout(PATIENCE, asking)
            .await
            .expect("an answer")
            .unwrap_or_else(|_| (Answer::Silence, Bytes::new()))
    }

    async fn asked(
        &self,
        method: &str,
        headers: &[(&str, &str)],
        message: &[u8],
    ) -> Result<(Answer, Bytes), h2::Error> {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let Some(tls) = self.tls else {
            return call(stream, "http", method, headers, message).await;
        };
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let stream = TlsConnector::from(tls.speaking(b"h2")).connect(name, stream).await.unwrap();
        call(stream, "https", method, headers, message).await
    }
}

/// Says all of it, whether or not somebody listens: why he does not is in what he says.
fn exchange(mut stream: impl Read + Write, said: &[u8], enough: usize) -> Result<Vec<u8>, Answer> {
    let written = stream.write_all(said).and_then(|()| stream.flush());
    let mut heard = Vec::new();
    let mut piece = [0; 4096];
    let mut ended = written.err();
    while heard.len() < enough {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => heard.extend_from_slice(&piece[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                assert!(!is_waiting(&error), "neither an answer nor an end within {PATIENCE:?}");
                // The first to go wrong may be that nobody reads; the alert comes behind it.
                ended = Some(ended.filter(|ended| alert(ended).is_some()).unwrap_or(error));
                break;
            }
        }
    }
    if !heard.is_empty() {
        return Ok(heard);
    }
    Err(ended.as_ref().and_then(alert).map_or(Answer::Silence, Answer::Alert))
}

fn is_waiting(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn alert(error: &io::Error) -> Option<String> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(format!("{alert:?}")),
        _ => None,
    }
}

/// An answer of HTTP/1.1.
fn http(heard: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(heard);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status: u16 = head.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("a status");
    let is_chunked = head.to_lowercase().contains("transfer-encoding: chunked");
    let body = if is_chunked { whole(body) } else { body.to_owned() };
    Answer::Http(status, if status < 300 { String::new() } else { body.trim_end().to_owned() })
}

fn whole(mut chunks: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = chunks.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).expect("the length of a chunk");
        let Some((chunk, rest)) = rest.split_at_checked(length) else { break };
        whole.push_str(chunk);
        chunks = rest.trim_start_matches("\r\n");
    }
    whole
}

async fn call(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    scheme: &str,
    method: &str,
    headers: &[(&str, &str)],
    message: &[u8],
) -> Result<(Answer, Bytes), h2::Error> {
    let (send, connection) = h2::client::handshake(stream).await?;
    // How a connection ends is seen by its calls.
    let connection = tokio::spawn(connection);
    let mut request = hyper::Request::post(format!("{scheme}://localhost/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut send = send.ready().await?;
    let (response, mut body) = send.send_request(request.body(()).unwrap(), false)?;
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    // Refused without being read is an answer, too.
    let _ = body.send_data([&[0][..], &length[..], message].concat().into(), true);
    let (head, mut body) = response.await?.into_parts();
    let mut heard = BytesMut::new();
    let ended = |headers: &hyper::HeaderMap| {
        let code = headers.get("grpc-status")?.to_str().ok()?.parse().ok()?;
        let text = headers.get("grpc-message").map_or("", |text| text.to_str().unwrap());
        Some(Answer::Grpc(code, text.to_owned()))
    };
    let mut answer = ended(&head.headers);
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        heard.extend_from_slice(&data);
    }
    if let Some(trailers) = body.trailers().await? {
        answer = answer.or_else(|| ended(&trailers));
    }
    drop(send);
    connection.abort();
    if let Some(answer) = answer {
        heard.advance(heard.len().min(5));
        return Ok((answer, heard.freeze()));
    }
    let text = String::from_utf8_lossy(&heard).trim_end().to_owned();
    Ok((Answer::Http(head.status.as_u16(), text), Bytes::new()))
}
