//! Where a registry is: a URL as etcd 2 has it, or a token and endpoints as etcd 3.6 has them.

use super::meeting::Credentials;
use crate::tls::Scheme;
use crate::transport::Url;

/// A token of a discovery service, by one of its protocols.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Venue {
    /// A directory of the v2 tree.
    Directory(Directory),
    /// Keys of v3, over gRPC.
    Token(Tokened),
    /// Keys of v3, over QUIC.
    Quic(Tokened),
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Directory {
    pub server: Url,
    /// `/v2/keys/_etcd/registry/TOKEN`: with its first slash, without a last one.
    pub path: String,
    /// All of it without a user: part of the members' ids, so that it must be the same text everywhere.
    pub text: String,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tokened {
    pub token: String,
    /// At least one.
    pub servers: Vec<Url>,
}

/// The port of etcd's clients, for an endpoint that names none.
const PORT_DEFAULT: u16 = 2379;

impl Venue {
    /// `http://host/path/TOKEN` or `quic://host:port/TOKEN`, and whom a URL says to be there as; or what is wrong.
    pub fn parse(text: &str) -> Result<(Self, Option<Credentials>), String> {
        let (scheme, rest) = text.split_once("://").ok_or("it has no scheme")?;
        if rest.contains(['?', '#', ' ']) {
            return Err("nothing may follow the path of a token".to_owned());
        }
        let (authority, path) = rest.split_once('/').ok_or("the token is missing")?;
        let path = path.trim_end_matches('/');
        if path.is_empty() {
            return Err("the token is missing".to_owned());
        }
        let (credentials, host) = user_of(authority);
        let server = |scheme, port| -> Result<Url, String> { url(scheme, host, port) };
        let place = match scheme {
            "http" | "https" => {
                let text = format!("{scheme}://{host}/{path}");
                let (scheme, port) = match scheme {
                    "http" => (Scheme::Http, 80),
                    _ => (Scheme::Https, 443),
                };
                let path = format!("/{path}");
                Self::Directory(Directory { server: server(scheme, port)?, path, text })
            }
            "quic" => {
                let servers = vec![server(Scheme::Https, PORT_DEFAULT)?];
                Self::Quic(Tokened { token: token(path)?, servers })
            }
            _ => return Err(format!("its scheme is {scheme}, and neither http, https nor quic")),
        };
        Ok((place, credentials))
    }

    /// A token at these endpoints, of which those without a scheme are `https` if `is_secure`.
    pub fn by_token(text: &str, endpoints: &[String], is_secure: bool) -> Result<Self, String> {
        let scheme = if is_secure { Scheme::Https } else { Scheme::Http };
        let read = |endpoint: &String| {
            let (scheme, rest) = match endpoint.split_once("://") {
                Some(("http", rest)) => (Scheme::Http, rest),
                Some(("https", rest)) => (Scheme::Https, rest),
                Some((other, _)) => {
                    return Err(format!(
                        "{endpoint:?} is no endpoint: its scheme is {other}, and neither http nor https"
                    ));
                }
                None => (scheme, endpoint.as_str()),
            };
            let host = rest.strip_suffix('/').unwrap_or(rest);
            url(scheme, host, PORT_DEFAULT).map_err(|what| format!("{endpoint:?}: {what}"))
        };
        let servers: Result<Vec<Url>, String> = endpoints.iter().map(read).collect();
        Ok(Self::Token(Tokened { token: token(text)?, servers: servers? }))
    }

    /// A proxy of HTTP, `http://user:password@host:port`, and who we are to it.
    pub fn proxy(text: &str) -> Result<(Url, Option<Credentials>), String> {
        let rest = match text.split_once("://") {
            Some(("http", rest)) => rest,
            None => text,
            Some((other, _)) => return Err(format!("its scheme is {other}, and not http")),
        };
        let (credentials, host) = user_of(rest.strip_suffix('/').unwrap_or(rest));
        match host.rsplit_once(':') {
            Some((_, port)) if !port.ends_with(']') => {
                Ok((url(Scheme::Http, host, 0)?, credentials))
            }
            _ => Err("its port is missing".to_owned()),
        }
    }

    /// What distinguishes the cluster in the ids of its members.
    pub fn cluster_token(&self) -> &str {
        match self {
            Self::Directory(directory) => &directory.text,
            Self::Token(tokened) | Self::Quic(tokened) => &tokened.token,
        }
    }

    /// Whether TLS is spoken there, with one server at the least.
    pub fn is_secure(&self) -> bool {
        match self {
            Self::Directory(directory) => directory.server.scheme == Scheme::Https,
            Self::Token(tokened) => tokened.servers.iter().any(|it| it.scheme == Scheme::Https),
            Self::Quic(_) => true,
        }
    }
}

impl Tokened {
    /// Where its size stands.
    pub fn size_key(&self) -> String {
        format!("/_etcd/registry/{}/_config/size", self.token)
    }

    /// What the keys of its members begin with.
    pub fn members(&self) -> String {
        format!("/_etcd/registry/{}/members/", self.token)
    }

    /// For people.
    pub fn described(&self) -> String {
        let servers: Vec<String> = self.servers.iter().map(Url::to_string).collect();
        format!("token {} at {}", self.token, servers.join(", "))
    }
}

/// `user:password@host` apart; the host is as it stands.
fn user_of(authority: &str) -> (Option<Credentials>, &str) {
    let Some((user, host)) = authority.rsplit_once('@') else { return (None, authority) };
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    let (user, password) = (percent_decoded(user), percent_decoded(password));
    (Some(Credentials { user, password }), host)
}

/// Host, and port if it has one.
fn url(scheme: Scheme, host: &str, port: u16) -> Result<Url, String> {
    let has_port = host.rsplit_once(':').is_some_and(|(before, port)| {
        !before.is_empty()
            && !port.ends_with(']')
            && (!before.contains(':') || host.starts_with('['))
    });
    let port = if has_port { String::new() } else { format!(":{port}") };
    let scheme = if scheme == Scheme::Https { "https" } else { "http" };
    let url: Url =
        format!("{scheme}://{host}{port}").parse().map_err(|error| format!("{error}"))?;
    match url.port {
        0 => Err("its port is 0".to_owned()),
        _ => Ok(url),
    }
}

fn token(text: &str) -> Result<String, String> {
    let is_clean = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
    match is_clean && (1..=128).contains(&text.len()) {
        true => Ok(text.to_owned()),
        false => {
            Err(format!("{text:?} is no token: it has 1 to 128 letters, digits and signs, no /"))
        }
    }
}

/// What URLs write as `%40`; other texts stay.
pub(super) fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.filter(|_| *first == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_people_write_them() {
        let directory = |text: &str| match Venue::parse(text).unwrap().0 {
            Venue::Directory(it) => (it.server.to_string(), it.path, it.text),
            other => panic!("{other:?}"),
        };
        let long = "http://localhost:2379/v2/keys/_etcd/registry/test";
        let (server, path, text) = directory(long);
        assert_eq!((server.as_str(), text.as_str()), ("http://localhost:2379", long));
        assert_eq!(path, "/v2/keys/_etcd/registry/test");
        let (server, path, text) = directory("https://d.example.com/abc/");
        assert_eq!(server, "https://d.example.com:443");
        assert_eq!((path.as_str(), text.as_str()), ("/abc", "https://d.example.com/abc"));
        let (place, who) = Venue::parse("http://a:b%40c@[::1]/t").unwrap();
        assert_eq!(place.cluster_token(), "http://[::1]/t");
        let who = who.unwrap();
        assert_eq!((who.user.as_str(), who.password.as_str()), ("a", "b@c"));
        let quic = |text: &str| match Venue::parse(text).unwrap().0 {
            Venue::Quic(it) => (it.servers[0].to_string(), it.token),
            other => panic!("{other:?}"),
        };
        assert_eq!(quic("quic://[::1]/abc"), ("https://[::1]:2379".to_owned(), "abc".to_owned()));
        assert_eq!(quic("quic://h:5/abc/"), ("https://h:5".to_owned(), "abc".to_owned()));
        for wrong in [
            "http://h:1",
            "http:///t",
            "ftp://h/t",
            "t",
            "http://h:1/",
            "http://h/t?x",
            "quic://h/a/b",
        ] {
            assert!(Venue::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn endpoints_may_lack_what_is_usual() {
        let read = |endpoint: &str, is_secure| {
            let place = Venue::by_token("t", &[endpoint.to_owned()], is_secure)?;
            let Venue::Token(it) = place else { return Err("no token".to_owned()) };
            Ok(it.servers[0].to_string())
        };
        let is = |text: &str| Ok(text.to_owned());
        assert_eq!(read("h", false), is("http://h:2379"));
        assert_eq!(read("h:1", true), is("https://h:1"));
        assert_eq!(read("https://[::1]:1/", false), is("https://[::1]:1"));
        assert_eq!(read("[::1]", false), is("http://[::1]:2379"));
        for wrong in ["", "unix://x", "h:x", "h:0", "http://h/x"] {
            assert!(read(wrong, false).is_err(), "{wrong}");
        }
        assert!(Venue::by_token("a/b", &["h".to_owned()], false).is_err());
    }
}
