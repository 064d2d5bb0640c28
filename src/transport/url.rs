//! Where somebody is: `https://host:port` or `http://host:port`, as etcd writes it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use crate::tls::Scheme;

/// A URL of scheme, host and port; it never has a path. IPv6 addresses stand in `host` without their brackets.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Url {
    pub scheme: Scheme,
    pub host: String,
    pub port: u16,
}

/// A text that is no URL of ours, and why.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text:?}: {what}, as in https://10.0.0.1:2380")]
pub struct ParseUrlError {
    text: String,
    what: &'static str,
}

impl Url {
    /// The address to listen on: the host must be an IP address or `localhost`, since a name can move.
    pub fn bind_address(&self) -> Result<SocketAddr, ParseUrlError> {
        let address = match self.host.as_str() {
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            host => host.parse().map_err(|_| ParseUrlError {
                text: self.to_string(),
                what: "to listen, an IP address is needed in place of a host name",
            })?,
        };
        Ok(SocketAddr::new(address, self.port))
    }
}

impl FromStr for Url {
    type Err = ParseUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |what| ParseUrlError { text: text.to_owned(), what };
        let (scheme, rest) = match text.split_once("://") {
            Some(("http", rest)) => (Scheme::Http, rest),
            Some(("https", rest)) => (Scheme::Https, rest),
            _ => return Err(fail("a URL begins with http:// or https://")),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#', '@']) {
            return Err(fail("only a host and a port may follow the scheme"));
        }
        let Some((host, port)) = authority.rsplit_once(':') else {
            return Err(fail("the port is missing"));
        };
        let port = port.parse().map_err(|_| fail("the port is a number up to 65535"))?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(v6) => v6,
            None if host.contains(':') => return Err(fail("an IPv6 address stands in brackets")),
            None => host,
        };
        if host.is_empty() {
            return Err(fail("the host is missing"));
        }
        Ok(Self { scheme, host: host.to_owned(), port })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_as_they_are_printed() {
        for text in ["http://127.0.0.1:2379", "https://node-1.example.com:2380", "https://[::1]:1"]
        {
            assert_eq!(text.parse::<Url>().unwrap().to_string(), text);
        }
        assert_eq!("http://a:1/".parse::<Url>().unwrap().to_string(), "http://a:1");
    }

    #[test]
    fn anything_else_is_refused_with_its_reason() {
        let reason = |text: &str| text.parse::<Url>().unwrap_err().to_string();
        assert!(reason("127.0.0.1:2379").contains("begins with http://"));
        assert!(reason("unix://x:1").contains("begins with http://"));
        assert!(reason("http://a").contains("port is missing"));
        assert!(reason("http://a:70000").contains("up to 65535"));
        assert!(reason("http://a:1/v2").contains("only a host"));
        assert!(reason("http://::1:1").contains("brackets"));
        assert!(reason("http://:1").contains("host is missing"));
    }

    #[test]
    fn only_addresses_are_listened_on() {
        let bind = |text: &str| text.parse::<Url>().unwrap().bind_address();
        assert_eq!(bind("http://localhost:5").unwrap().to_string(), "127.0.0.1:5");
        assert_eq!(bind("http://[::]:5").unwrap().to_string(), "[::]:5");
        assert!(bind("http://example.com:5").is_err());
    }
}
