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
use super::keychain::Loaded;
use super::{ALPN_PEER, Description, Doors, Error, Keychain, Protocol, Scheme, admit};

/// The keychain as one address sees it.
#[derive(Clone, Debug)]
pub(super) struct Current {
    pub(super) keychain: Arc<Keychain>,
    pub(super) doors: Doors,
}

/// For QUIC, which has no older version.
pub(super) fn config(current: Current) -> Result<ServerConfig, Error> {
    // Who shows nothing is told why by a close with a reason, which says more than an alert.
    of_versions(current, Demand::Afterwards, provider(), &[&rustls::version::TLS13])
}

/// For HTTP over TCP: etcd's clients of ten years.
pub(super) fn tcp_config(current: Current) -> Result<ServerConfig, Error> {
    let policy = current.keychain.tcp_policy();
    let (provider, versions) = (policy.provider(), policy.versions());
    let mut config = of_versions(current, Demand::InTheHandshake, provider, &versions)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// When a caller hears that what he shows is not enough.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Demand {
    /// By an alert of TLS, as etcd says it: after the handshake TCP has no word for it.
    InTheHandshake,
    Afterwards,
}

fn of_versions(
    current: Current,
    demand: Demand,
    provider: Arc<CryptoProvider>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Result<ServerConfig, Error> {
    let verifier = Callers {
        current: current.clone(),
        demand,
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

/// Asks for a certificate, names no root, and lets a chain pass that any door would take.
#[derive(Debug)]
struct Callers {
    current: Current,
    demand: Demand,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Callers {
    /// The names that are allowed count in the handshake, too, where it has the last word that is heard.
    fn named(
        &self,
        loaded: &Loaded,
        protocol: Protocol,
        end_entity: &CertificateDer<'_>,
        verified: ClientCertVerified,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let plane = loaded.plane(protocol).filter(|_| self.demand == Demand::InTheHandshake);
        let allowed =
            plane.zip(Description::of(end_entity).ok()).map_or(Ok(()), |(plane, shown)| {
                admit::names_allowed(plane, std::slice::from_ref(end_entity), &shown)
            });
        allowed.map(|()| verified).map_err(|refusal| {
            tracing::debug!(reason = %refusal, "refused a certificate");
            CertificateError::NotValidForName.into()
        })
    }
}

impl ClientCertVerifier for Callers {
    fn client_auth_mandatory(&self) -> bool {
        let client = self.current.doors.scheme(Protocol::Client);
        self.demand == Demand::InTheHandshake
            && client == Some(Scheme::Https)
            && self
                .current
                .keychain
                .current()
                .plane(Protocol::Client)
                .is_some_and(|plane| plane.client_cert_auth)
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
                Ok(verified) => return self.named(&loaded, protocol, end_entity, verified),
                // An authority that has the name of ours and another key did not sign for us: it is not known here. For Go,
                // too, which etcd's callers hear it from.
                Err(rustls::Error::InvalidCertificate(
                    CertificateError::UnknownIssuer | CertificateError::BadSignature,
                )) => {}
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
