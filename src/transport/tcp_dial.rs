//! Dialling over TCP, for whoever speaks HTTP to a server: in clear, or TLS by the files of a client.
//!
//! What is said on the stream, and how long it may take, is the business of whoever dials.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::names::Names;
use super::tcp::ByteStream;
use crate::tls::{ClientFiles, Error, client_config};

/// Where hosts are, and whom to believe.
#[derive(Clone, Debug)]
pub struct TcpDialer {
    names: Names,
    /// None where nothing is to be secure.
    tls: Option<Arc<ClientConfig>>,
}

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub enum TcpDialError {
    #[error("{reason}")]
    Lookup { host: String, reason: String },
    /// The last address of those that were tried.
    #[error("{source}")]
    Connect { address: SocketAddr, source: io::Error },
    #[error("{0}")]
    Tls(String),
}

/// For people, where nobody asks which of them it was.
impl From<TcpDialError> for String {
    fn from(error: TcpDialError) -> Self {
        error.to_string()
    }
}

impl TcpDialer {
    /// `protocol` is what ALPN calls the language that is spoken.
    pub fn new(names: Names, files: Option<&ClientFiles>, protocol: &[u8]) -> Result<Self, Error> {
        let tls = match files {
            None => None,
            Some(files) => {
                let mut config = client_config(Some(files))?;
                config.alpn_protocols = vec![protocol.to_vec()];
                Some(Arc::new(config))
            }
        };
        Ok(Self { names, tls })
    }

    /// The first address of the host that takes the connection. A host is a name or an address, IPv6 without brackets.
    pub async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, TcpDialError> {
        let lost = |reason| TcpDialError::Lookup { host: host.to_owned(), reason };
        let mut failed = lost("the host has no address".to_owned());
        for address in self.names.find(host, port).await.map_err(lost)? {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // Questions are written whole: nothing is gained by waiting for more.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(source) => failed = TcpDialError::Connect { address, source },
            }
        }
        Err(failed)
    }

    /// TLS on a connection that leads to the host.
    pub async fn secure(
        &self,
        stream: TcpStream,
        host: &str,
    ) -> Result<Box<dyn ByteStream>, TcpDialError> {
        let Some(tls) = &self.tls else {
            return Err(TcpDialError::Tls("there are no files for TLS".to_owned()));
        };
        let failed = |error: &dyn std::error::Error| TcpDialError::Tls(error.to_string());
        let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(&error))?;
        let connector = TlsConnector::from(Arc::clone(tls));
        let stream = connector.connect(name, stream).await.map_err(|error| failed(&error))?;
        Ok(Box::new(stream))
    }
}
