//! The accepting side: which certificate is shown, and which chains may finish a handshake.
//!
//! Both look at the keychain of the moment. Finishing a handshake is not being admitted: one configuration serves two
//! trusts, and only [`Keychain::admit`](super::Keychain::admit) knows which of them was asked for.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
};

use super::dialler::provider;
use super::{ALPN_PEER, Description, Doors, Error, Keychain, Protocol, Scheme};

/// The keychain as one address sees it.
#[derive(Clone, Debug)]
pub(super) struct Current {
    pub(super) keychain: Arc<Keychain>,
    pub(super) doors: Doors,
}

/// For QUIC, which has no older version.
pub(super) fn config(current: Current) -> Result<ServerConfig, Error> {
    of_versions(current, provider(), &[&rustls::version::TLS13])
}

/// For HTTP over TCP: etcd's clients of ten years.
pub(super) fn tcp_config(current: Current) -> Result<ServerConfig, Error> {
    let policy = current.keychain.tcp_policy();
    let (provider, versions) = (policy.provider(), policy.versions());
    let mut config = of_versions(current, provider, &versions)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn of_versions(
    current: Current,
    provider: Arc<CryptoProvider>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Result<ServerConfig, Error> {
    let verifier = Callers {
        current: current.clone(),
        algorithms: ring::default_provider().signature_verification_algorithms,
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(current));
    // rustls never verifies a client again when it resumes: so nobody resumes.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Ok(config)
}

impl ResolvesServerCert for Current {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut offers = hello.alpn().into_iter().flatten();
        let protocol = match offers.any(|offer| offer == ALPN_PEER) {
            true => Protocol::Peer,
            false => Protocol::Client,
        };
        // A protocol that is not served here is refused by its name, a step later: any certificate will do for that.
        let either = self.doors.scheme(protocol).map(|scheme| (protocol, scheme)).or_else(|| {
            let other = [Protocol::Peer, Protocol::Client];
            other.into_iter().find_map(|it| Some((it, self.doors.scheme(it)?)))
        });
        let (protocol, scheme) = either?;
        match scheme {
            Scheme::Http => Some(Arc::clone(self.keychain.self_made())),
            Scheme::Https => {
                self.keychain.current().plane(protocol).map(|plane| Arc::clone(&plane.shown))
            }
        }
    }
}

/// Offers client authentication, does not demand it, names no root, and lets a chain pass that any door would take.
#[derive(Debug)]
struct Callers {
    current: Current,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for Callers {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let loaded = self.current.keychain.current();
        let mut verdict = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        for protocol in [Protocol::Peer, Protocol::Client] {
            let Some(scheme) = self.current.doors.scheme(protocol) else { continue };
            let verifier = match scheme {
                Scheme::Http => None,
                Scheme::Https => loaded.plane(protocol).and_then(|plane| plane.callers.as_ref()),
            };
            // A door that believes nobody ignores certificates; `admit` does, too.
            let Some(verifier) = verifier else { return Ok(ClientCertVerified::assertion()) };
            match verifier.verify_client_cert(end_entity, intermediates, now) {
                Ok(verified) => return Ok(verified),
                Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {}
                // "Expired" under the one trust says more than "unknown" under the other.
                Err(error) => verdict = error,
            }
        }
        if let Ok(shown) = Description::of(end_entity) {
            let (subject, serial) = (shown.subject, shown.serial);
            tracing::debug!(subject, serial, reason = %verdict, "refused a certificate");
        }
        Err(verdict)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
