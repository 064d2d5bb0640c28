//! Reads PEM files; every error names the file and what was expected in it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::ring::sign::any_supported_type;
#[cfg(feature = "server")]
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

#[cfg(feature = "server")]
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Error;

/// Every certificate of a PEM file, in the order of the file; at least one.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Vec<CertificateDer<'static>> = all(path)?;
    if found.is_empty() {
        return Err(Error::file(
            path,
            "holds no certificate (expected -----BEGIN CERTIFICATE-----)",
        ));
    }
    Ok(found)
}

/// The trust anchors of a PEM bundle, and the certificates themselves.
pub(super) fn roots(path: &Path) -> Result<Arc<RootCertStore>, Error> {
    let mut store = RootCertStore::empty();
    for (position, certificate) in certificates(path)?.into_iter().enumerate() {
        store.add(certificate).map_err(|error| {
            Error::file(path, format!("certificate {} cannot be trusted: {error}", position + 1))
        })?;
    }
    Ok(Arc::new(store))
}

/// Two authorities of a bundle that have one name and different keys. Whoever looks for an issuer's revocation list looks
/// for its name.
#[cfg(feature = "server")]
pub(super) fn namesakes(path: &Path) -> Result<Option<String>, Error> {
    let mut known: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for der in certificates(path)? {
        let Ok((_, certificate)) = X509Certificate::from_der(&der) else { continue };
        let name = certificate.subject().as_raw().to_vec();
        let key = certificate.public_key().raw.to_vec();
        if known.iter().any(|(other, other_key)| *other == name && *other_key != key) {
            return Ok(Some(certificate.subject().to_string()));
        }
        known.push((name, key));
    }
    Ok(None)
}

/// The revocation lists of a PEM file (`X509 CRL`), or the single list of a DER file.
#[cfg(feature = "server")]
pub(super) fn revocation_lists(
    path: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, Error> {
    let found: Vec<CertificateRevocationListDer<'static>> = all(path)?;
    if !found.is_empty() {
        return Ok(found);
    }
    let bytes = read(path)?;
    // A DER list is an ASN.1 sequence; text is not.
    if bytes.first() == Some(&0x30) {
        return Ok(vec![bytes.into()]);
    }
    Err(Error::file(path, "holds no revocation list (expected -----BEGIN X509 CRL-----)"))
}

/// A certificate chain with its key, checked to belong together.
pub(super) fn certified_key(cert: &Path, key: &Path) -> Result<Arc<CertifiedKey>, Error> {
    let chain = certificates(cert)?;
    let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            Error::file(key, "holds no private key (expected -----BEGIN PRIVATE KEY-----)")
        }
        other => Error::file(key, format!("is no private key in PEM: {other}")),
    })?;
    let signer = any_supported_type(&private)
        .map_err(|error| Error::file(key, format!("this kind of key is not supported: {error}")))?;
    let certified = CertifiedKey::new(chain, signer);
    match certified.keys_match() {
        // `Unknown` is a key that cannot tell; the handshake would.
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
            Ok(Arc::new(certified))
        }
        Err(rustls::Error::InconsistentKeys(_)) => Err(Error::file(
            key,
            format!("is not the key of the certificate in {}", cert.display()),
        )),
        Err(error) => Err(Error::file(cert, error.to_string())),
    }
}

/// A warning if others on this machine can read the key.
#[cfg(feature = "server")]
pub(super) fn key_warning(key: &Path) -> Option<String> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(key).ok()?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let path = key.display();
            return Some(format!(
                "{path}: this private key can be read by others (mode {mode:04o}): chmod 600 {path}"
            ));
        }
    }
    None
}

fn all<T: PemObject>(path: &Path) -> Result<Vec<T>, Error> {
    let bytes = read(path)?;
    T::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| Error::file(path, format!("is not PEM: {error}")))
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}
