//! How callers of the tests' own speak TLS.

use std::path::Path;
use std::sync::Arc;

use quorate::tls::certificates;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

/// Believes `authority`, and shows the certificate and key of the stem `shown`, if there is one.
pub(crate) fn tls_config(
    authority: &Path,
    shown: Option<&Path>,
    provider: CryptoProvider,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(authority).unwrap());
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    match shown {
        None => builder.with_no_client_auth(),
        Some(stem) => {
            let chain = certificates(&stem.with_extension("crt")).unwrap();
            let key = PrivateKeyDer::from_pem_file(stem.with_extension("key")).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    }
}
