//! Dialling over TCP, for servers that are not ours: in clear, or TLS by the files of a client.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::names::Names;
use super::tcp::ByteStream;
use crate::tls::{ClientFiles, Error, client_config};

/// Where hosts are, and whom to believe. The errors of its calls are for people; who calls sets the deadline.
pub struct TcpDialer {
    names: Names,
    /// None where nothing is to be secure.
    tls: Option<TlsConnector>,
}

impl TcpDialer {
    /// `protocol` is what ALPN calls the language that is spoken.
    pub fn new(names: Names, files: Option<&ClientFiles>, protocol: &[u8]) -> Result<Self, Error> {
        let tls = match files {
            None => None,
            Some(files) => {
                let mut config = client_config(Some(files))?;
                config.alpn_protocols = vec![protocol.to_vec()];
                Some(TlsConnector::from(Arc::new(config)))
            }
        };
        Ok(Self { names, tls })
    }

    /// The first address of the host that takes the connection.
    pub async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, String> {
        let mut failed = "the host has no address".to_owned();
        for address in self.names.find(host, port).await? {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // Questions are written whole: nothing is gained by waiting for more.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => failed = error.to_string(),
            }
        }
        Err(failed)
    }

    /// TLS on a connection that leads to the host.
    pub async fn secure(
        &self,
        stream: TcpStream,
        host: &str,
    ) -> Result<Box<dyn ByteStream>, String> {
        let Some(tls) = &self.tls else { return Err("there are no files for TLS".to_owned()) };
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        let stream = tls.connect(name, stream).await.map_err(|error| error.to_string())?;
        Ok(Box::new(stream))
    }
}
