//! Everything a member proves itself with and decides by, behind one switch that a reload turns.
//!
//! Handshakes look at [`Keychain::current`] each time, so that nothing that was built from it has to be built again.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;

use super::admit::{self, Identity, Refusal};
use super::dialler::{Anybody, dialling, provider};
use super::server::{self, Current};
use super::{ALPN_CLIENT, ALPN_PEER, Error, Protocol, Scheme, load, make};

/// What one address lets in, and under which promise; `None` = not here.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Doors {
    pub peers: Option<Scheme>,
    pub clients: Option<Scheme>,
}

impl Doors {
    pub fn scheme(self, protocol: Protocol) -> Option<Scheme> {
        match protocol {
            Protocol::Peer => self.peers,
            Protocol::Client => self.clients,
        }
    }

    /// The QUIC protocols offered there.
    pub fn alpn(self) -> Vec<Vec<u8>> {
        let peers = self.peers.map(|_| ALPN_PEER.to_vec());
        let clients = self.clients.map(|_| ALPN_CLIENT.to_vec());
        peers.into_iter().chain(clients).collect()
    }
}

/// The files of one of the two planes, with etcd's names.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PlaneFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
    /// Shown when dialling other members, if it is not `cert`; both or none.
    pub client_cert: Option<PathBuf>,
    pub client_key: Option<PathBuf>,
    /// Needed by peers; clients without it are never authenticated.
    pub trusted_ca: Option<PathBuf>,
    pub crl: Option<PathBuf>,
    /// Refuse clients without a certificate. Peers are always asked.
    pub client_cert_auth: bool,
    /// Non-empty: one of these names must be the certificate's.
    pub allowed_cn: Vec<String>,
    pub allowed_hostname: Vec<String>,
}

/// Both planes; a plane that is only served over `http://` has none.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct KeychainFiles {
    pub peer: Option<PlaneFiles>,
    pub client: Option<PlaneFiles>,
}

/// One plane, loaded.
#[derive(Debug)]
pub(super) struct Plane {
    pub(super) shown: Arc<CertifiedKey>,
    pub(super) shown_when_dialling: Arc<CertifiedKey>,
    /// Who may knock; none if there is no CA.
    pub(super) callers: Option<Arc<dyn ClientCertVerifier>>,
    /// Who may answer; none if there is no CA.
    pub(super) servers: Option<Arc<WebPkiServerVerifier>>,
    pub(super) client_cert_auth: bool,
    pub(super) allowed_cn: Vec<String>,
    pub(super) allowed_hostname: Vec<String>,
}

/// All that one load found.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) peer: Option<Plane>,
    pub(super) client: Option<Plane>,
}

impl Loaded {
    pub(super) fn plane(&self, protocol: Protocol) -> Option<&Plane> {
        match protocol {
            Protocol::Peer => self.peer.as_ref(),
            Protocol::Client => self.client.as_ref(),
        }
    }
}

/// A member's certificates, keys and trust. Shared by its endpoints; reloadable.
#[derive(Debug)]
pub struct Keychain {
    files: KeychainFiles,
    loaded: RwLock<Arc<Loaded>>,
    generation: AtomicU64,
    /// For `http://`: made at start, verified by nobody.
    self_made: Arc<CertifiedKey>,
}

impl Keychain {
    /// Reads every file; the first that is wrong is the error.
    pub fn load(files: KeychainFiles) -> Result<Arc<Self>, Error> {
        let loaded = RwLock::new(Arc::new(read(&files)?));
        let self_made = make::throwaway()?;
        Ok(Arc::new(Self { files, loaded, generation: AtomicU64::new(1), self_made }))
    }

    /// Reads every file again. On an error the old ones stay in force.
    pub fn reload(&self) -> Result<(), Error> {
        let fresh = Arc::new(read(&self.files)?);
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        self.generation.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Grows with each reload: a connection admitted under an older one is to be admitted again.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// What is not wrong but unwise, one line each: private keys that others can read.
    pub fn warnings(&self) -> Vec<String> {
        let planes = [&self.files.peer, &self.files.client];
        let keys = planes.into_iter().flatten().flat_map(|plane| {
            [Some(plane.key.as_path()), plane.client_key.as_deref()].into_iter().flatten()
        });
        let mut lines: Vec<String> = keys.filter_map(load::key_warning).collect();
        lines.dedup();
        lines
    }

    /// TLS 1.3 for one QUIC address. An `https://` door without its files is an error.
    pub fn server_config(self: &Arc<Self>, doors: Doors) -> Result<rustls::ServerConfig, Error> {
        let current = self.current();
        for protocol in [Protocol::Peer, Protocol::Client] {
            if doors.scheme(protocol) == Some(Scheme::Https) && current.plane(protocol).is_none() {
                return Err(missing(protocol));
            }
        }
        let mut config = server::config(Current { keychain: Arc::clone(self), doors })?;
        config.alpn_protocols = doors.alpn();
        Ok(config)
    }

    /// TLS 1.3 for dialling members, of the moment: ask again after a reload.
    pub fn peer_dialler(&self, scheme: Scheme) -> Result<rustls::ClientConfig, Error> {
        let current = self.current();
        let mut config = match (scheme, &current.peer) {
            (Scheme::Http, _) => dialling(Arc::new(Anybody::new()), None)?,
            (Scheme::Https, Some(Plane { servers: Some(servers), shown_when_dialling, .. })) => {
                let verifier = Arc::<WebPkiServerVerifier>::clone(servers);
                dialling(verifier, Some(Arc::clone(shown_when_dialling)))?
            }
            (Scheme::Https, _) => return Err(missing(Protocol::Peer)),
        };
        config.alpn_protocols = vec![ALPN_PEER.to_vec()];
        Ok(config)
    }

    /// The last word on a caller: verifies its chain again, for the one protocol it asked for. `None` is a caller
    /// that is allowed to be nobody. To be asked before a stream byte is read, and again after a reload.
    pub fn admit(
        &self,
        protocol: Protocol,
        doors: Doors,
        chain: &[CertificateDer<'_>],
        wall_ms: i64,
    ) -> Result<Option<Identity>, Refusal> {
        admit::caller(&self.current(), protocol, doors, chain, wall_ms)
    }

    /// The same for a member that was dialled: its certificate must be good for both ends, too.
    pub fn admit_dialled(
        &self,
        scheme: Scheme,
        chain: &[CertificateDer<'_>],
        wall_ms: i64,
    ) -> Result<Option<Identity>, Refusal> {
        admit::dialled(&self.current(), scheme, chain, wall_ms)
    }

    pub(super) fn current(&self) -> Arc<Loaded> {
        Arc::clone(&self.loaded.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn self_made(&self) -> &Arc<CertifiedKey> {
        &self.self_made
    }
}

fn missing(protocol: Protocol) -> Error {
    let prefix = match protocol {
        Protocol::Peer => "peer-",
        Protocol::Client => "",
    };
    Error::Settings(format!(
        "an https:// URL needs {prefix}cert-file, {prefix}key-file and {prefix}trusted-ca-file \
         (`quorate cert` makes them); http:// authenticates nobody"
    ))
}

fn read(files: &KeychainFiles) -> Result<Loaded, Error> {
    if let Some(peer) = &files.peer
        && peer.trusted_ca.is_none()
    {
        return Err(missing(Protocol::Peer));
    }
    if let Some(client) = &files.client
        && client.client_cert_auth
        && client.trusted_ca.is_none()
    {
        return Err(Error::Settings("client-cert-auth needs trusted-ca-file".into()));
    }
    Ok(Loaded {
        peer: files.peer.as_ref().map(plane).transpose()?,
        client: files.client.as_ref().map(plane).transpose()?,
    })
}

fn plane(files: &PlaneFiles) -> Result<Plane, Error> {
    let shown = load::certified_key(&files.cert, &files.key)?;
    let shown_when_dialling = match (&files.client_cert, &files.client_key) {
        (Some(cert), Some(key)) => load::certified_key(cert, key)?,
        (None, None) => Arc::clone(&shown),
        (Some(path), None) | (None, Some(path)) => {
            return Err(Error::file(path, "is one half: client certificate and key go together"));
        }
    };
    let (callers, servers) = match &files.trusted_ca {
        Some(ca) => {
            let (callers, servers) = verifiers(ca, files.crl.as_deref())?;
            (Some(callers), Some(servers))
        }
        None => (None, None),
    };
    Ok(Plane {
        shown,
        shown_when_dialling,
        callers,
        servers,
        client_cert_auth: files.client_cert_auth,
        allowed_cn: files.allowed_cn.clone(),
        allowed_hostname: files.allowed_hostname.clone(),
    })
}

type Verifiers = (Arc<dyn ClientCertVerifier>, Arc<WebPkiServerVerifier>);

/// Revocation, where there is a list, is strict: an issuer without a list and a list that is out of date refuse.
fn verifiers(ca: &Path, crl: Option<&Path>) -> Result<Verifiers, Error> {
    let roots = load::roots(ca)?;
    let lists = crl.map(load::revocation_lists).transpose()?.unwrap_or_default();
    let blame = |error: String| Error::file(crl.unwrap_or(ca), error);
    let callers = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider())
        .with_crls(lists.clone())
        .enforce_revocation_expiration()
        .clear_root_hint_subjects()
        .build()
        .map_err(|error| blame(error.to_string()))?;
    let servers = WebPkiServerVerifier::builder_with_provider(roots, provider())
        .with_crls(lists)
        .enforce_revocation_expiration()
        .build()
        .map_err(|error| blame(error.to_string()))?;
    Ok((callers, servers))
}
