//! The URLs of settings: scheme, host and port, and nothing else.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// `https://host:port` or `http://host:port`.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Url {
    pub secure: bool,
    /// As written, lower case; an IPv6 address without its brackets.
    pub host: String,
    pub port: u16,
}

/// A text that is no URL for a member; says what to write.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error("{url:?} {what}")]
pub struct ParseUrlError {
    url: String,
    what: &'static str,
}

impl Url {
    pub fn parse(text: &str) -> Result<Self, ParseUrlError> {
        let wrong = |what| ParseUrlError { url: text.to_owned(), what };
        let (secure, rest) = if let Some(rest) = text.strip_prefix("https://") {
            (true, rest)
        } else if let Some(rest) = text.strip_prefix("http://") {
            (false, rest)
        } else if text.starts_with("unix://") || text.starts_with("unixs://") {
            return Err(wrong("is a unix socket, and QUIC needs UDP: write https://host:port"));
        } else {
            return Err(wrong("has no scheme: write https://host:port or http://host:port"));
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@']) {
            return Err(wrong("has more than host and port: write https://host:port"));
        }
        let (host, port) = rest
            .rsplit_once(':')
            .filter(|(_, port)| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
            .ok_or_else(|| wrong("has no port: write https://host:port, such as :2379"))?;
        let port: u16 = port.parse().map_err(|_| wrong("has a port above 65535"))?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bare {
            Some(host) => host,
            None if host.contains(':') => {
                return Err(wrong(
                    "has an IPv6 address without brackets: write https://[::1]:2379",
                ));
            }
            None => host,
        };
        if host.is_empty() {
            return Err(wrong("has no host: write https://0.0.0.0:2379 for every address"));
        }
        Ok(Self { secure, host: host.to_ascii_lowercase(), port })
    }

    /// The address to bind: an IP address or `localhost`, as etcd demands.
    pub fn bind_address(&self) -> Result<SocketAddr, ParseUrlError> {
        let ip = if self.host == "localhost" {
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        } else {
            self.host.parse().map_err(|_| ParseUrlError {
                url: self.to_string(),
                what: "names a host: expected IP in URL for binding, such as https://0.0.0.0:2379",
            })?
        };
        Ok(SocketAddr::new(ip, self.port))
    }

    /// Whether the host stands for every address of the machine.
    pub fn is_wildcard(&self) -> bool {
        self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified())
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
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
    fn a_url_is_scheme_host_and_port() {
        for text in ["https://127.0.0.1:2379", "http://localhost:2380", "https://[::1]:1"] {
            assert_eq!(Url::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Url::parse("https://Node-1:1/").unwrap().to_string(), "https://node-1:1");
        assert!(Url::parse("http://0.0.0.0:1").unwrap().is_wildcard());
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said() {
        for (text, told) in [
            ("127.0.0.1:2379", "has no scheme"),
            ("https://127.0.0.1", "has no port"),
            ("https://h:99999", "above 65535"),
            ("https://h:1/v2", "more than host and port"),
            ("https://::1:1", "without brackets"),
            ("https://:1", "has no host"),
            ("unix://s", "unix socket"),
        ] {
            let error = Url::parse(text).unwrap_err().to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
        let named = Url::parse("https://node-1:2379").unwrap();
        assert!(named.bind_address().unwrap_err().to_string().contains("expected IP in URL"));
    }
}
