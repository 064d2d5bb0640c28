//! One request to one endpoint, over TCP: HTTP/1.1, a connection for each.
//!
//! What goes wrong is told in Go's words, because etcdctl's users know them and scripts look for them.

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::handshake;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, LOCATION, USER_AGENT};
use hyper::{Method, Request, Response, Uri, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::super::go::quote;
use crate::base::limits;
use crate::tls::Scheme;
use crate::transport::{ByteStream, TcpDialError, TcpDialer};

/// Redirects that are followed, one after the other (etcd's).
const REDIRECTS_MAX: usize = 10;

/// Where a member listens, and below which path.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    text: String,
    scheme: Scheme,
    host: String,
    port: u16,
    /// Host and port as they were written.
    authority: String,
    pub path: String,
}

impl Endpoint {
    /// Without a scheme it is `http://`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = match text.contains("://") {
            true => text.to_owned(),
            false => format!("http://{text}"),
        };
        let uri: Uri = text.parse().map_err(|error| format!("parse {text:?}: {error}"))?;
        let scheme = match uri.scheme_str() {
            Some("https") => Scheme::Https,
            Some("http") => Scheme::Http,
            other => return Err(format!("unsupported protocol scheme {:?}", other.unwrap_or(""))),
        };
        let Some(authority) = uri.authority() else {
            return Err(format!("parse {text:?}: no host in request URL"));
        };
        let port = authority.port_u16().unwrap_or(match scheme {
            Scheme::Https => 443,
            Scheme::Http => 80,
        });
        Ok(Self {
            scheme,
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port,
            // A user and a password there are nobody's but the client's.
            authority: authority.as_str().rsplit('@').next().unwrap_or_default().to_owned(),
            path: uri.path().to_owned(),
            text,
        })
    }

    pub(super) fn is_secure(&self) -> bool {
        self.scheme == Scheme::Https
    }

    /// The whole address of a path and a query here.
    fn whole(&self, target: &str) -> String {
        let scheme = match self.scheme {
            Scheme::Https => "https",
            Scheme::Http => "http",
        };
        format!("{scheme}://{}{target}", self.authority)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A request of any endpoint.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub method: Method,
    /// From the endpoint's path on: not escaped, no query.
    pub path: String,
    /// Escaped.
    pub query: String,
    pub body: Option<(&'static str, String)>,
    /// The answer takes as long as it takes.
    pub is_wait: bool,
    /// It is told to one endpoint: another might do it a second time.
    pub is_once: bool,
}

impl Ask {
    pub(super) fn new(method: Method, path: impl Into<String>) -> Self {
        let (query, path) = (String::new(), path.into());
        Self { method, path, query, body: None, is_wait: false, is_once: false }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// No answer, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Lost {
    pub text: String,
    /// Nobody is there, as opposed to somebody who answers strangely.
    pub is_connection: bool,
}

impl Lost {
    pub(super) fn told(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_connection: false }
    }
}

/// How requests are made.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub dialer: TcpDialer,
    /// Until the head of an answer is there; zero is for ever.
    pub timeout: Duration,
    /// Until a connection is there.
    pub dial_timeout: Duration,
    /// The header `authorization`.
    pub credentials: Option<String>,
    /// Tells each request on stderr as a call of curl.
    pub debug: bool,
}

impl Site {
    /// Follows redirects.
    pub(super) async fn send(&self, endpoint: &Endpoint, ask: &Ask) -> Result<Answer, Lost> {
        let path = escaped_path(&canonical(&format!("{}{}", endpoint.path, ask.path)));
        let mark = if ask.query.is_empty() { "" } else { "?" };
        let mut target = format!("{path}{mark}{}", ask.query);
        let mut endpoint = endpoint.clone();
        for _ in 0..=REDIRECTS_MAX {
            let answer = self.exchange(&endpoint, &target, ask).await?;
            if answer.status / 100 != 3 {
                return Ok(answer);
            }
            let location = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok());
            let location = location.ok_or_else(|| Lost::told("location header not set"))?;
            endpoint = Endpoint::parse(location)
                .map_err(|_| Lost::told(format!("location header not valid URL: {location}")))?;
            let uri: Uri =
                location.parse().map_err(|_| Lost::told("location header not valid URL"))?;
            target = uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        }
        Err(Lost::told("client: too many redirects"))
    }

    async fn exchange(&self, endpoint: &Endpoint, target: &str, ask: &Ask) -> Result<Answer, Lost> {
        if self.debug {
            let body = ask.body.as_ref();
            let body = body.map(|(_, body)| format!(" -d {}", quote(body.as_bytes())));
            let whole = endpoint.whole(target);
            eprintln!("cURL Command: curl -X {} {whole}{}", ask.method, body.unwrap_or_default());
        }
        let request = self.request(endpoint, target, ask)?;
        // The connection's own task ends with this one.
        let mut tasks = JoinSet::new();
        let head = self.head(endpoint, request, &mut tasks);
        let response = if ask.is_wait || self.timeout.is_zero() {
            head.await?
        } else {
            timeout(self.timeout, head).await.map_err(|_| {
                Lost::told(format!("client: endpoint {endpoint} exceeded header timeout"))
            })??
        };
        let (head, body) = response.into_parts();
        let body = Limited::new(body, limits::V2_ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| match error.downcast::<hyper::Error>() {
            Ok(error) => of_hyper(&error),
            Err(error) => Lost::told(format!("the answer of {endpoint}: {error}")),
        })?;
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes() })
    }

    fn request(
        &self,
        endpoint: &Endpoint,
        target: &str,
        ask: &Ask,
    ) -> Result<Request<Full<Bytes>>, Lost> {
        let mut request = Request::builder()
            .method(ask.method.clone())
            .uri(target)
            .header(HOST, &endpoint.authority)
            .header(USER_AGENT, concat!("quorate/", env!("CARGO_PKG_VERSION")));
        if let Some(credentials) = &self.credentials {
            request = request.header(AUTHORIZATION, credentials);
        }
        if let Some((kind, _)) = &ask.body {
            request = request.header(CONTENT_TYPE, *kind);
        }
        let body = ask.body.as_ref().map(|(_, body)| Bytes::from(body.clone()));
        let request = request.body(Full::new(body.unwrap_or_default()));
        request.map_err(|error| Lost::told(error.to_string()))
    }

    async fn dial(&self, endpoint: &Endpoint) -> Result<Box<dyn ByteStream>, TcpDialError> {
        let stream = self.dialer.dial(&endpoint.host, endpoint.port).await?;
        match endpoint.scheme {
            Scheme::Http => Ok(Box::new(stream)),
            Scheme::Https => self.dialer.secure(stream, &endpoint.host).await,
        }
    }

    async fn head(
        &self,
        endpoint: &Endpoint,
        request: Request<Full<Bytes>>,
        tasks: &mut JoinSet<()>,
    ) -> Result<Response<Incoming>, Lost> {
        let Endpoint { host, port, .. } = endpoint;
        let stream = match timeout(self.dial_timeout, self.dial(endpoint)).await {
            Ok(dialled) => dialled.map_err(of_dial)?,
            Err(_) => {
                let text = format!("dial tcp {host}:{port}: i/o timeout");
                return Err(Lost { text, is_connection: true });
            }
        };
        let (mut sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| of_hyper(&error))?;
        tasks.spawn(async move {
            // Whoever waits for the answer is told.
            let _ = connection.await;
        });
        sender.send_request(request).await.map_err(|error| of_hyper(&error))
    }
}

fn of_dial(error: TcpDialError) -> Lost {
    match error {
        TcpDialError::Lookup { host, reason } => {
            let reason = match reason.contains("not known") || reason.contains("No address") {
                true => "no such host".to_owned(),
                false => reason,
            };
            Lost { text: format!("dial tcp: lookup {host}: {reason}"), is_connection: true }
        }
        TcpDialError::Connect { address, source } => {
            let text = format!("dial tcp {address}: connect: {}", errno(&source));
            Lost { text, is_connection: true }
        }
        TcpDialError::Tls(text) if text.contains("UnknownIssuer") => {
            Lost::told("x509: certificate signed by unknown authority")
        }
        TcpDialError::Tls(text) => Lost::told(format!("tls: {text}")),
    }
}

/// `connection refused`, as Go writes what the system says.
fn errno(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect()
}

fn of_hyper(error: &hyper::Error) -> Lost {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Lost { text: format!("read tcp: {}", errno(error)), is_connection: true };
        }
        cause = error.source();
    }
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return Lost::told("EOF");
    }
    if error.is_parse() {
        let text = "net/http: HTTP/1.x transport connection broken: malformed HTTP response";
        return Lost::told(text);
    }
    Lost::told(error.to_string())
}

/// A path without `.`, `..` and doubled slashes; one at its end stays.
pub(super) fn canonical(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let end = if path.ends_with('/') && !parts.is_empty() { "/" } else { "" };
    format!("/{}{end}", parts.join("/"))
}

fn escaped(text: &str, is_plain: impl Fn(u8) -> bool) -> String {
    let escape = |byte| match is_plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte)
}

fn escaped_path(path: &str) -> String {
    escaped(path, |byte| is_unreserved(byte) || b"$&+,/:;=@".contains(&byte))
}

/// `a=1&b=x+y`, for queries and forms.
pub(super) fn form<'a>(fields: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let escape = |text: &str| escaped(text, |byte| is_unreserved(byte) || byte == b' ');
    let each =
        |(name, value): (&str, String)| format!("{name}={}", escape(&value).replace(' ', "+"));
    fields.into_iter().map(each).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read() {
        let read = |text: &str| {
            let it = Endpoint::parse(text).unwrap();
            (it.to_string(), it.host, it.port, it.path)
        };
        let own = |text: &str, host: &str, port, path: &str| {
            (text.to_owned(), host.to_owned(), port, path.to_owned())
        };
        assert_eq!(read("http://a:1"), own("http://a:1", "a", 1, "/"));
        assert_eq!(read("a:1"), own("http://a:1", "a", 1, "/"));
        assert_eq!(read("https://[::1]/etcd"), own("https://[::1]/etcd", "::1", 443, "/etcd"));
        assert_eq!(Endpoint::parse("ftp://a").unwrap_err(), "unsupported protocol scheme \"ftp\"");
        assert!(Endpoint::parse("http://a b").is_err());
    }

    #[test]
    fn paths_and_forms_are_escaped() {
        for (path, clean) in
            [("", "/"), ("a//b/./c/", "/a/b/c/"), ("/a/../../b", "/b"), ("/", "/"), ("/./", "/")]
        {
            assert_eq!(canonical(path), clean);
        }
        assert_eq!(escaped_path("/sp ace/ü?x&y"), "/sp%20ace/%C3%BC%3Fx&y");
        let fields = [("value", "a+l &ü".to_owned()), ("ttl", "5".to_owned())];
        assert_eq!(form(fields), "value=a%2Bl+%26%C3%BC&ttl=5");
    }

    #[test]
    fn the_systems_words_are_gos() {
        let error = io::Error::from_raw_os_error(111);
        assert_eq!(errno(&error), "connection refused");
    }
}
