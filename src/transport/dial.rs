//! Dials: from a URL to a connection, or to the reason why there is none.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{CloseCode, Connection, DialError, Lost, Names, Url, quic};
use crate::base::limits;
use crate::tls::{self, ALPN_CLIENT, ClientFiles, Scheme, Stamp};

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;

/// Head start of each address over the next.
const STAGGER: Duration = Duration::from_millis(100);

/// How a client dials.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DialOptions {
    /// For one address, handshake included.
    pub timeout: Duration,
    /// Silence after which the connection is dead.
    pub idle: Duration,
    pub keep_alive: Option<Duration>,
}

impl Default for DialOptions {
    fn default() -> Self {
        let keep_alive = Some(limits::CLIENT_IDLE / 6);
        Self { timeout: limits::DIAL_DEADLINE, idle: limits::CLIENT_IDLE / 2, keep_alive }
    }
}

/// One UDP socket that a client dials from, any number of times; its files are read again when they have changed.
#[derive(Debug)]
pub struct Dialer {
    endpoint: Endpoint,
    files: ClientFiles,
    secure: Mutex<Secure>,
    insecure: ClientConfig,
    options: DialOptions,
    names: Names,
}

/// What the files said when they were read last.
#[derive(Debug)]
struct Secure {
    stamp: Stamp,
    /// An error here matters only to those who dial https.
    config: Result<ClientConfig, String>,
}

impl Dialer {
    /// Must be called inside a tokio runtime, on which the socket then lives: best a current-thread one.
    pub fn new(files: &ClientFiles, options: DialOptions, names: Names) -> Result<Self, DialError> {
        let stamp = files.stamp();
        let config = prepared(Some(files), options);
        Ok(Self {
            endpoint: socket()?,
            files: files.clone(),
            secure: Mutex::new(Secure { stamp, config }),
            insecure: prepared(None, options).map_err(DialError::Settings)?,
            options,
            names,
        })
    }

    /// Of the files as they are now; of the last ones that could be used, where these cannot.
    fn secure(&self) -> Result<ClientConfig, DialError> {
        let mut secure = self.secure.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = self.files.stamp();
        if stamp != secure.stamp {
            match prepared(Some(&self.files), self.options) {
                Err(error) if secure.config.is_ok() => {
                    tracing::warn!(
                        error,
                        "cannot use the new certificate files: the old ones stay in force"
                    );
                }
                fresh => *secure = Secure { stamp, config: fresh },
            }
        }
        secure.config.clone().map_err(DialError::Settings)
    }

    /// Connects for ALPN `quorate/1`. TLS 1.3 tells the dialler that it is connected before the other side has looked
    /// at its certificate: only the other side's Hello says that it is welcome.
    pub async fn dial(&self, url: &Url) -> Result<Connection, DialError> {
        let config = match url.scheme {
            Scheme::Http => self.insecure.clone(),
            Scheme::Https => self.secure()?,
        };
        let connected =
            connect(&self.endpoint, &self.names, &config, url, self.options.timeout).await;
        match connected {
            Ok(quic) => Ok(Connection::new(quic)),
            Err(DialError::NoAnswer { address, .. }) => {
                let tcp = timeout(self.options.timeout / 4, TcpStream::connect(address)).await;
                Err(DialError::NoAnswer { address, tcp_answers: matches!(tcp, Ok(Ok(_))) })
            }
            Err(other) => Err(other),
        }
    }

    /// Closes every connection that was dialled here, and waits (briefly) until the other sides can know.
    pub async fn close(&self) {
        self.endpoint.close(CloseCode::Done.code(), b"");
        // A close that is not acknowledged costs the other side its idle time, and us nothing.
        let _ = timeout(Duration::from_millis(200), self.endpoint.wait_idle()).await;
    }
}

/// For `https` with these files, or for `http`.
fn prepared(files: Option<&ClientFiles>, options: DialOptions) -> Result<ClientConfig, String> {
    let mut tls = tls::client_config(files).map_err(|error| error.to_string())?;
    tls.alpn_protocols = vec![ALPN_CLIENT.to_vec()];
    quic_config(tls, &quic::dialling(options.idle, options.keep_alive))
}

/// A socket for both IP versions, or for IPv4 where there is no other.
pub(super) fn socket() -> Result<Endpoint, DialError> {
    Endpoint::client(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)))
        .or_else(|_| Endpoint::client(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))))
        .map_err(|error| DialError::Settings(format!("cannot open a UDP socket: {error}")))
}

pub(super) fn quic_config(
    tls: rustls::ClientConfig,
    transport: &Arc<quinn::TransportConfig>,
) -> Result<ClientConfig, String> {
    let crypto = QuicClientConfig::try_from(tls).map_err(|error| error.to_string())?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::clone(transport));
    Ok(config)
}

/// Tries the addresses of the URL's host, each a moment after the one before it, and takes the first that answers: a
/// name often has one where nobody listens, and over UDP that is only a silence.
pub(super) async fn connect(
    endpoint: &Endpoint,
    names: &Names,
    config: &ClientConfig,
    url: &Url,
    deadline: Duration,
) -> Result<quinn::Connection, DialError> {
    let unresolved = |what: String| DialError::Resolve { host: url.host.clone(), what };
    let addresses: Vec<SocketAddr> = match timeout(deadline, names.find(&url.host, url.port)).await
    {
        Ok(Ok(found)) => found.into_iter().take(ADDRESSES_MAX).collect(),
        Ok(Err(what)) => return Err(unresolved(what)),
        Err(_) => return Err(unresolved("no answer from the resolver".into())),
    };
    let mut attempts = JoinSet::new();
    let mut stagger = Duration::ZERO;
    for address in addresses {
        let (endpoint, config, host) = (endpoint.clone(), config.clone(), url.host.clone());
        attempts.spawn(async move {
            sleep(stagger).await;
            attempt(&endpoint, config, address, &host, deadline).await
        });
        stagger += STAGGER;
    }
    let mut failure = unresolved("it has none".into());
    while let Some(attempt) = attempts.join_next().await {
        match attempt {
            // The others are dropped, and with them what they began.
            Ok(Ok(connection)) => return Ok(connection),
            // A refusal says more than a silence.
            Ok(Err(DialError::NoAnswer { .. })) if matches!(failure, DialError::Lost { .. }) => {}
            Ok(Err(error)) => failure = error,
            Err(_) => {}
        }
    }
    Err(failure)
}

async fn attempt(
    endpoint: &Endpoint,
    config: ClientConfig,
    address: SocketAddr,
    host: &str,
    deadline: Duration,
) -> Result<quinn::Connection, DialError> {
    let lost = |lost| DialError::Lost { address, lost };
    let connecting = endpoint
        .connect_with(config, address, host)
        .map_err(|error| lost(Lost::Other(error.to_string())))?;
    match timeout(deadline, connecting).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(quinn::ConnectionError::TimedOut)) | Err(_) => {
            Err(DialError::NoAnswer { address, tcp_answers: false })
        }
        Ok(Err(error)) => Err(lost(error.into())),
    }
}
