//! What TLS over TCP may be: its versions, and the suites of TLS 1.2 by the names that Go's programs write.
//!
//! QUIC is TLS 1.3 with its own suites and has nothing to choose; so is TLS 1.3 on TCP, for which Go chooses nothing either.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::{CipherSuite, SupportedCipherSuite, SupportedProtocolVersion, version};

/// The two that are spoken.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Version {
    Tls12,
    Tls13,
}

/// A suite that a list of suites names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Suite {
    /// Of TLS 1.2, and chosen.
    Chosen(CipherSuite),
    /// Of TLS 1.3: always taken.
    Always,
    /// Known to Go, and too weak to be here: no forward secrecy, or no authenticated encryption.
    Weak,
}

/// See the module.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TcpPolicy {
    pub min: Version,
    pub max: Version,
    /// Of TLS 1.2; empty: all.
    pub suites: Vec<CipherSuite>,
}

impl Default for TcpPolicy {
    fn default() -> Self {
        Self { min: Version::Tls12, max: Version::Tls13, suites: Vec::new() }
    }
}

/// Go's names of the suites of TLS 1.2 that are here; two of them have a shorter one.
const SUITES: &[(&str, CipherSuite)] = &[
    (
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
];

const OF_TLS13: [&str; 3] =
    ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];

const WEAK: &[&str] = &[
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
];

impl Suite {
    /// By Go's name; none for a name that Go does not know.
    pub fn named(name: &str) -> Option<Self> {
        if OF_TLS13.contains(&name) {
            return Some(Self::Always);
        }
        if WEAK.contains(&name) {
            return Some(Self::Weak);
        }
        SUITES.iter().find(|(known, _)| *known == name).map(|(_, suite)| Self::Chosen(*suite))
    }
}

impl Version {
    /// As etcd's flags have it.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "TLS1.2" => Some(Self::Tls12),
            "TLS1.3" => Some(Self::Tls13),
            _ => None,
        }
    }
}

impl TcpPolicy {
    pub(super) fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        let all = [(Version::Tls13, &version::TLS13), (Version::Tls12, &version::TLS12)];
        let of = |(version, it)| (self.min..=self.max).contains(&version).then_some(it);
        all.into_iter().filter_map(of).collect()
    }

    pub(super) fn provider(&self) -> Arc<CryptoProvider> {
        let whole = ring::default_provider();
        let taken = |suite: &SupportedCipherSuite| {
            self.suites.is_empty()
                || suite.tls13().is_some()
                || self.suites.contains(&suite.suite())
        };
        let cipher_suites = whole.cipher_suites.iter().copied().filter(taken).collect();
        Arc::new(CryptoProvider { cipher_suites, ..whole })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_suites_leaves_those_of_tls_13_alone() {
        let policy = TcpPolicy {
            suites: vec![CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256],
            ..TcpPolicy::default()
        };
        let left = policy.provider().cipher_suites.clone();
        assert_eq!(left.iter().filter(|suite| suite.tls13().is_none()).count(), 1);
        assert_eq!(left.iter().filter(|suite| suite.tls13().is_some()).count(), 3);
        assert_eq!(policy.versions().len(), 2);
        let newest = TcpPolicy { min: Version::Tls13, ..TcpPolicy::default() };
        assert_eq!(newest.versions().len(), 1);
    }

    #[test]
    fn every_suite_of_tls_12_has_its_name() {
        for suite in ring::default_provider().cipher_suites {
            let name = format!("{:?}", suite.suite());
            let named = Suite::named(&name.replace("TLS13_", "TLS_"));
            match suite.tls13() {
                Some(_) => assert_eq!(named, Some(Suite::Always), "{name}"),
                None => assert_eq!(named, Some(Suite::Chosen(suite.suite())), "{name}"),
            }
        }
        assert_eq!(Suite::named("TLS_RSA_WITH_AES_128_CBC_SHA"), Some(Suite::Weak));
        assert_eq!(Suite::named("TLS_NO"), None);
    }
}
