//! The dialling side of a client: whom it believes and what it shows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::{Error, Stamp, load};

/// What `--cacert`, `--cert`, `--key` and their like say.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ClientFiles {
    /// Whom to believe; without it, the system's bundle.
    pub trusted_ca: Option<PathBuf>,
    /// The certificate to show, and its chain (PEM).
    pub cert: Option<PathBuf>,
    /// Its private key (PEM).
    pub key: Option<PathBuf>,
    /// Believe anybody: for tests of a connection, never for use.
    pub insecure_skip_verify: bool,
    /// The name that servers' certificates must be good for, in place of the host that is dialled: where DNS said which
    /// hosts these are, only the domain that was asked for is worth believing.
    pub server_name: Option<String>,
}

impl ClientFiles {
    /// Of the files as they are now; the system's bundle counts as one that never changes.
    pub fn stamp(&self) -> Stamp {
        let files = [&self.trusted_ca, &self.cert, &self.key];
        Stamp::of(files.into_iter().flatten().map(PathBuf::as_path))
    }
}

/// Where systems keep their trust, the first that exists.
const SYSTEM_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
];

/// TLS 1.3 for a client that dials; `None` is an `http://` URL, where the server is not verified and nothing is shown.
/// The ALPN is left to the caller.
pub fn client_config(files: Option<&ClientFiles>) -> Result<ClientConfig, Error> {
    let Some(files) = files else { return dialling(Arc::new(Anybody::new()), None) };
    let shown = match (&files.cert, &files.key) {
        (Some(cert), Some(key)) => Some(load::certified_key(cert, key)?),
        (None, None) => None,
        (Some(cert), None) => {
            return Err(Error::file(cert, "is a certificate without a key: give --key, too"));
        }
        (None, Some(key)) => {
            return Err(Error::file(key, "is a key without a certificate: give --cert, too"));
        }
    };
    if files.insecure_skip_verify {
        return dialling(Arc::new(Anybody::new()), shown);
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(trusted(files)?, provider())
        .build()
        .map_err(|error| Error::Settings(error.to_string()))?;
    match &files.server_name {
        None => dialling(verifier, shown),
        Some(name) => {
            let name = ServerName::try_from(name.clone()).map_err(|_| {
                Error::Settings(format!("{name:?} is no name that a certificate could have"))
            })?;
            dialling(Arc::new(Named { name, verifier }), shown)
        }
    }
}

/// Without tickets, sessions or early data, whoever is believed.
pub(super) fn dialling(
    verifier: Arc<dyn ServerCertVerifier>,
    shown: Option<Arc<CertifiedKey>>,
) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match shown {
        Some(key) => {
            let key = Arc::unwrap_or_clone(key);
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key)))
        }
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    Ok(config)
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn trusted(files: &ClientFiles) -> Result<Arc<RootCertStore>, Error> {
    if let Some(path) = &files.trusted_ca {
        return load::roots(path);
    }
    system_roots()
}

/// Whom this system believes.
pub(super) fn system_roots() -> Result<Arc<RootCertStore>, Error> {
    let Some(bundle) = SYSTEM_BUNDLES.iter().map(Path::new).find(|path| path.exists()) else {
        return Err(Error::Settings(
            "an https:// endpoint needs a CA to believe: give --cacert, or peer-trusted-ca-file of a member (this system has no \
             bundle)"
                .into(),
        ));
    };
    // One odd certificate of the system's hundred must not lock everybody out.
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(load::certificates(bundle)?);
    Ok(Arc::new(store))
}

/// Asks every certificate for one name, whatever was dialled.
#[derive(Debug)]
struct Named {
    name: ServerName<'static>,
    verifier: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _dialled: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verifier.verify_server_cert(end_entity, intermediates, &self.name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Believes every certificate whose key signs: `http://` URLs and `--insecure-skip-tls-verify`.
#[derive(Debug)]
pub(super) struct Anybody {
    algorithms: WebPkiSupportedAlgorithms,
}

impl Anybody {
    pub(super) fn new() -> Self {
        Self { algorithms: ring::default_provider().signature_verification_algorithms }
    }
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
