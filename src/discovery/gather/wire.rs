//! A stream of bytes to a discovery service: TCP, a proxy if there is one, TLS if the URL says so.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::error::{Failure, GatherError};
use super::meeting::{Credentials, Meeting};
use crate::tls::Scheme;
use crate::transport::{ByteStream, Names, TcpDialer, Url};

/// Longest head of a proxy's answer, bytes.
const PROXY_HEAD_BYTES_MAX: usize = 8 * 1024;

/// How a place is reached.
pub(super) struct Wire<'a> {
    meeting: &'a Meeting,
    dialer: TcpDialer,
}

impl<'a> Wire<'a> {
    /// `protocol` is what ALPN calls the language that is to be spoken.
    pub(super) fn new(
        meeting: &'a Meeting,
        names: &Names,
        protocol: &[u8],
    ) -> Result<Self, Failure> {
        let files = meeting.place.is_secure().then_some(&meeting.tls);
        let dialer = TcpDialer::new(names.clone(), files, protocol)
            .map_err(|error| GatherError::Settings(error.to_string()))?;
        Ok(Self { meeting, dialer })
    }

    /// A connection; the error names the server. `is_page`: one request of HTTP/1.1, which a proxy can pass on itself.
    pub(super) async fn open(
        &self,
        server: &Url,
        is_page: bool,
    ) -> Result<Box<dyn ByteStream>, String> {
        let after = self.meeting.dial_timeout;
        match timeout(after, self.dial(server, is_page)).await {
            Ok(opened) => opened.map_err(|error| format!("{server}: {error}")),
            Err(_) => Err(format!("{server}: no connection within {after:?}")),
        }
    }

    async fn dial(&self, server: &Url, is_page: bool) -> Result<Box<dyn ByteStream>, String> {
        let stream = match &self.meeting.proxy {
            None => self.dialer.dial(&server.host, server.port).await?,
            Some((proxy, credentials)) => {
                let through = |error: String| format!("by discovery-proxy {proxy}: {error}");
                let dialled = self.dialer.dial(&proxy.host, proxy.port).await;
                let stream = dialled.map_err(|error| through(error.into()))?;
                if self.passes_on(server, is_page) {
                    stream
                } else {
                    tunnel(stream, server, credentials.as_ref()).await.map_err(through)?
                }
            }
        };
        match server.scheme {
            Scheme::Http => Ok(Box::new(stream)),
            Scheme::Https => Ok(self.dialer.secure(stream, &server.host).await?),
        }
    }

    /// Whether a proxy is given the whole request, to ask for us.
    pub(super) fn passes_on(&self, server: &Url, is_page: bool) -> bool {
        self.meeting.proxy.is_some() && is_page && server.scheme == Scheme::Http
    }

    /// What a proxy that passes on is told.
    pub(super) fn proxy_login(&self) -> Option<String> {
        let (_, credentials) = self.meeting.proxy.as_ref()?;
        credentials.as_ref().map(basic)
    }
}

/// The value of HTTP's `Authorization`.
pub(super) fn basic(credentials: &Credentials) -> String {
    let Credentials { user, password } = credentials;
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// Host and port as HTTP writes them.
pub(super) fn authority(server: &Url) -> String {
    match server.host.contains(':') {
        true => format!("[{}]:{}", server.host, server.port),
        false => format!("{}:{}", server.host, server.port),
    }
}

/// Asks a proxy to let bytes through.
async fn tunnel(
    mut stream: TcpStream,
    server: &Url,
    credentials: Option<&Credentials>,
) -> Result<TcpStream, String> {
    let to = authority(server);
    let login = credentials.map(|it| format!("Proxy-Authorization: {}\r\n", basic(it)));
    let head = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n{}\r\n", login.unwrap_or_default());
    stream.write_all(head.as_bytes()).await.map_err(|error| error.to_string())?;
    let mut answer = Vec::new();
    // Byte by byte: what follows the head is the server's.
    while !answer.ends_with(b"\r\n\r\n") {
        let byte = stream.read_u8().await.map_err(|error| error.to_string())?;
        answer.push(byte);
        if answer.len() > PROXY_HEAD_BYTES_MAX {
            return Err("its answer has no end".to_owned());
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    let line = answer.lines().next().unwrap_or_default();
    match line.split(' ').nth(1) {
        Some("200") => Ok(stream),
        _ => Err(format!("it answers {line:?}")),
    }
}
