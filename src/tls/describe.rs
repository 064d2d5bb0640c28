//! What a certificate says, for people and for the checks that come after rustls' own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ring::digest;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The parts of one certificate that Quorate looks at or prints. Nothing in it is verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Description {
    pub subject: String,
    pub issuer: String,
    pub common_name: Option<String>,
    /// Hexadecimal, colons between the bytes.
    pub serial: String,
    pub dns_names: Vec<String>,
    pub addresses: Vec<IpAddr>,
    pub uris: Vec<String>,
    /// A CA by its basic constraints.
    pub authority: bool,
    /// Whether there is an extended key usage at all; without one, a certificate is good for any.
    pub usage_stated: bool,
    pub server_auth: bool,
    pub client_auth: bool,
    /// Milliseconds since 1970.
    pub not_before_ms: i64,
    pub not_after_ms: i64,
    /// The same two as people write them.
    pub not_before: String,
    pub not_after: String,
    /// SHA-256 of the certificate, hexadecimal, colons between the bytes.
    pub fingerprint: String,
}

impl Description {
    /// Reads DER; the error says what is wrong with it.
    pub fn of(der: &[u8]) -> Result<Self, String> {
        let (_, certificate) = X509Certificate::from_der(der)
            .map_err(|error| format!("is no X.509 certificate: {error}"))?;
        let (dns_names, addresses, uris) = alternative_names(&certificate);
        let usage = certificate.extended_key_usage().ok().flatten().map(|usage| usage.value);
        let validity = certificate.validity();
        Ok(Self {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            common_name: certificate
                .subject()
                .iter_common_name()
                .next()
                .and_then(|name| name.as_str().ok())
                .map(str::to_owned),
            serial: certificate.raw_serial_as_string(),
            dns_names,
            addresses,
            uris,
            authority: certificate.is_ca(),
            usage_stated: usage.is_some(),
            server_auth: usage.is_some_and(|usage| usage.server_auth || usage.any),
            client_auth: usage.is_some_and(|usage| usage.client_auth || usage.any),
            not_before_ms: validity.not_before.timestamp().saturating_mul(1_000),
            not_after_ms: validity.not_after.timestamp().saturating_mul(1_000),
            not_before: validity.not_before.to_string(),
            not_after: validity.not_after.to_string(),
            fingerprint: hex(digest::digest(&digest::SHA256, der).as_ref()),
        })
    }
}

fn alternative_names(certificate: &X509Certificate<'_>) -> (Vec<String>, Vec<IpAddr>, Vec<String>) {
    let (mut names, mut addresses, mut uris) = (Vec::new(), Vec::new(), Vec::new());
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return (names, addresses, uris);
    };
    for name in &extension.value.general_names {
        match name {
            GeneralName::DNSName(name) => names.push((*name).to_owned()),
            GeneralName::URI(uri) => uris.push((*uri).to_owned()),
            GeneralName::IPAddress(bytes) => {
                if let Ok(v4) = <[u8; 4]>::try_from(*bytes) {
                    addresses.push(Ipv4Addr::from(v4).into());
                } else if let Ok(v6) = <[u8; 16]>::try_from(*bytes) {
                    addresses.push(Ipv6Addr::from(v6).into());
                }
            }
            _ => {}
        }
    }
    (names, addresses, uris)
}

fn hex(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.join(":")
}
