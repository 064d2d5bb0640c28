//! The two languages of the QUIC endpoint, told apart by ALPN, and the two promises of a URL.

/// Members among themselves.
pub const ALPN_PEER: &[u8] = b"quorate-peer/1";
/// Clients, the command line, proxies.
pub const ALPN_CLIENT: &[u8] = b"quorate/1";

/// What a connection was opened for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    Peer,
    Client,
}

impl Protocol {
    pub const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Peer => ALPN_PEER,
            Self::Client => ALPN_CLIENT,
        }
    }

    pub fn from_alpn(alpn: &[u8]) -> Option<Self> {
        [Self::Peer, Self::Client].into_iter().find(|protocol| protocol.alpn() == alpn)
    }
}

/// What a URL's first word promises.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Scheme {
    /// Nobody is authenticated; QUIC still encrypts.
    Http,
    /// Mutual TLS with the given files.
    Https,
}
