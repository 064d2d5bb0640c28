//! Where the servers are, whom to believe, and how long to wait.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Error;
use crate::discovery::{self, Resolver, Srv};
use crate::tls::ClientFiles;
use crate::transport::{ParseUrlError, Url};

/// etcd's client port, for an endpoint that names none.
const PORT_DEFAULT: u16 = 2379;

/// Settings of a [`Client`](super::Client).
#[derive(Clone, Debug)]
pub struct Config {
    /// `https://host:port` (mutual TLS with `tls`) or `http://host:port` (nobody is verified). Without a scheme it is
    /// `https` when `tls` is set. One is used at a time, and the leader for writes; the others stand by.
    pub endpoints: Vec<String>,
    /// Files for `https` endpoints; none believes the system's authorities and shows no certificate.
    pub tls: Option<ClientFiles>,
    /// What the client calls itself in the server's logs.
    pub name: String,
    /// An authentication token, where one is known already.
    pub token: Option<String>,
    /// Who asks, where the servers want to know: shown for a token with the first connection, and again when the servers do not
    /// know that token any more.
    pub login: Option<Login>,
    /// Time for one endpoint to answer a Hello.
    pub dial_timeout: Duration,
    /// Time for one call, retries included.
    pub request_timeout: Duration,
    /// Streams that carry unary calls, 1 to 4. More than one helps only where packets are lost.
    pub unary_streams: usize,
    /// Whether writes go to the leader over a connection of their own, where several endpoints are given and it can be
    /// reached: at one of them, or at a URL that the member list says. Else the member in use forwards them.
    pub writes_to_leader: bool,
    /// The DNS server that knows the hosts of `endpoints`; none asks as the system does.
    pub dns_server: Option<SocketAddr>,
    /// What is spoken to the servers.
    pub wire: Wire,
}

/// What a client speaks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Wire {
    /// The native protocol, over QUIC.
    #[default]
    Quic,
    /// gRPC over TCP, which any etcd speaks. Only in builds with the server.
    #[cfg(feature = "server")]
    Grpc,
    /// QUIC, and gRPC where nobody answers on UDP within a moment. Only in builds with the server.
    #[cfg(feature = "server")]
    Either,
}

/// A user and its password.
#[derive(Clone, Eq, PartialEq)]
pub struct Login {
    /// Of the user.
    pub name: String,
    /// In clear; never shown by [`Debug`](fmt::Debug).
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Config {
    /// Defaults for these endpoints: 2 s to dial, 5 s for a call, one unary stream.
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            tls: None,
            name: concat!("quorate/", env!("CARGO_PKG_VERSION")).to_owned(),
            token: None,
            login: None,
            dial_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(5),
            unary_streams: 1,
            writes_to_leader: true,
            dns_server: None,
            wire: Wire::default(),
        }
    }

    /// The endpoints that SRV records name: `_quorate-client._udp`, `_etcd-client-ssl._tcp` (both `https`) and
    /// `_etcd-client._tcp` (`http`) of `domain`, asked of `dns_server` or as the system does. Servers must show
    /// certificates for their hosts' names; where an attacker may write the answers of DNS, set
    /// [`ClientFiles::server_name`] to `domain`. Must be called inside a tokio runtime.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), quorate::client::Error> {
    /// use quorate::client::{Client, Config};
    ///
    /// let client = Client::connect(Config::discover("example.com", None).await?).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn discover(domain: &str, dns_server: Option<SocketAddr>) -> Result<Self, Error> {
        let srv = Srv { domain: domain.to_owned(), service: None };
        let resolver = dns_server.map_or_else(Resolver::system, Resolver::at);
        let found = discovery::endpoints(&srv, resolver, false).await;
        let endpoints = found.map_err(|error| Error::Config(error.to_string()))?;
        Ok(Self { dns_server, ..Self::new(endpoints) })
    }

    /// Whom to believe at `https` endpoints, and what to show there.
    ///
    /// ```
    /// use quorate::client::{ClientFiles, Config};
    ///
    /// let config = Config::new(["https://10.0.0.1:2379", "https://10.0.0.2:2379"]).tls(ClientFiles {
    ///     trusted_ca: Some("ca.crt".into()),
    ///     cert: Some("client-root.crt".into()),
    ///     key: Some("client-root.key".into()),
    ///     ..ClientFiles::default()
    /// });
    /// ```
    pub fn tls(mut self, files: ClientFiles) -> Self {
        self.tls = Some(files);
        self
    }

    /// Who asks, where the servers want to know.
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.login = Some(Login { name: name.into(), password: password.into() });
        self
    }

    pub(super) fn parsed(&self) -> Result<Vec<Endpoint>, Error> {
        if self.endpoints.is_empty() {
            return Err(Error::Config(
                "no endpoint given: name one such as https://127.0.0.1:2379".to_owned(),
            ));
        }
        self.endpoints.iter().map(|text| Endpoint::parse(text, self.tls.is_some())).collect()
    }
}

/// One server's address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Endpoint {
    /// As people read it.
    pub text: Arc<str>,
    pub url: Url,
}

impl Endpoint {
    pub(super) fn parse(text: &str, secure_by_default: bool) -> Result<Self, Error> {
        let text = text.trim();
        let wrong = |why: &str| {
            let example = "such as https://127.0.0.1:2379";
            Error::Config(format!("{text:?} is no endpoint: {why} ({example})"))
        };
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme @ ("http" | "https"), rest)) => (scheme, rest),
            Some(_) => return Err(wrong("its scheme is neither https nor http")),
            None => (if secure_by_default { "https" } else { "http" }, text),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = split_port(rest).ok_or_else(|| wrong("host or port cannot be read"))?;
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let url: Url = format!("{scheme}://{host}:{port}")
            .parse()
            .map_err(|error: ParseUrlError| wrong(&error.to_string()))?;
        Ok(Self { text: url.to_string().into(), url })
    }
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`; none if it is neither.
fn split_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        Some(digits) => digits.parse().ok().filter(|&port| port != 0)?,
        None => PORT_DEFAULT,
    };
    (!host.is_empty()).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_as_etcds_users_write_them() {
        for (text, secure, url) in [
            ("https://a.example:1", false, "https://a.example:1"),
            ("http://127.0.0.1:2379/", true, "http://127.0.0.1:2379"),
            ("127.0.0.1:2379", false, "http://127.0.0.1:2379"),
            ("127.0.0.1:2379", true, "https://127.0.0.1:2379"),
            ("localhost", false, "http://localhost:2379"),
            ("https://[::1]:12379", false, "https://[::1]:12379"),
            ("[::1]", false, "http://[::1]:2379"),
        ] {
            let endpoint = Endpoint::parse(text, secure).unwrap();
            assert_eq!(endpoint.text.as_ref(), url);
            assert!(!endpoint.url.host.contains(['[', ']']));
        }
        for text in
            ["", "unix://x", "https://", "http://a:b", "a:0", "a:70000", "http://a/b", "[::1"]
        {
            let error = Endpoint::parse(text, false).unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn a_client_without_endpoints_is_told_so() {
        let error = Config::new(Vec::<String>::new()).parsed().unwrap_err();
        assert!(error.to_string().contains("no endpoint given"), "{error}");
    }
}
