//! One request over HTTP/1.1, in clear or over TLS of a chosen version, suite and certificate.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::ServerName;
use rustls::{CipherSuite, ClientConfig, ClientConnection, StreamOwned};

use crate::harness::tls_config;

const PATIENCE: Duration = Duration::from_secs(20);

/// How somebody calls.
#[derive(Clone)]
pub(crate) struct Tls {
    config: ClientConfig,
}

impl Tls {
    fn of(authority: &Path, shown: Option<&Path>, provider: CryptoProvider, old: bool) -> Self {
        let versions: &[_] = if old { &[&rustls::version::TLS12] } else { rustls::ALL_VERSIONS };
        Self { config: tls_config(authority, shown, provider, versions) }
    }

    /// Shows nothing; believes `ca.crt` of the folder.
    pub(crate) fn without(certs: &Path) -> Self {
        Self::of(&certs.join("ca.crt"), None, ring::default_provider(), false)
    }

    /// Shows `<name>.crt` of the folder.
    pub(crate) fn with(certs: &Path, name: &str) -> Self {
        let shown = certs.join(name);
        Self::of(&certs.join("ca.crt"), Some(&shown), ring::default_provider(), false)
    }

    /// Believes this certificate alone.
    pub(crate) fn believing(certificate: &Path) -> Self {
        Self::of(certificate, None, ring::default_provider(), false)
    }

    /// Speaks TLS 1.2 with this suite and nothing else.
    pub(crate) fn old(certs: &Path, suite: CipherSuite) -> Self {
        let whole = ring::default_provider();
        let cipher_suites =
            whole.cipher_suites.iter().copied().filter(|it| it.suite() == suite).collect();
        let provider = CryptoProvider { cipher_suites, ..whole };
        Self::of(&certs.join("ca.crt"), None, provider, true)
    }
}

/// The whole answer; an error, if there was none.
pub(crate) fn get(port: u16, path: &str, tls: &Tls) -> io::Result<String> {
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let connection = ClientConnection::new(Arc::new(tls.config.clone()), name);
    let stream = StreamOwned::new(connection.map_err(io::Error::other)?, connect(port)?);
    asked(stream, path)
}

pub(crate) fn get_in_clear(port: u16, path: &str) -> io::Result<String> {
    asked(connect(port)?, path)
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn asked(mut stream: impl Read + Write, path: &str) -> io::Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        // Whoever has everything need not be told goodbye.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !answer.is_empty() => {}
        read => drop(read?),
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    if answer.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(answer) }
}
