//! Everything a member proves itself with and decides by, behind one switch that a reload turns.
//!
//! Handshakes look at [`Keychain::current`] each time, so that nothing that was built from it has to be built again.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use tokio::sync::watch;

use super::admit::{self, Identity, Refusal};
use super::dialler::{Anybody, dialling, provider, system_roots};
use super::policy::TcpPolicy;
use super::server::{self, Current};
use super::{ALPN_CLIENT, ALPN_PEER, Description, Error, Protocol, Scheme, Stamp, load, make};
use crate::base::limits;

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
    /// Without it callers are never authenticated, and members that are dialled are believed by the system's authorities.
    pub trusted_ca: Option<PathBuf>,
    pub crl: Option<PathBuf>,
    /// Refuse clients without a certificate. Peers are always asked, where there is an authority.
    pub client_cert_auth: bool,
    /// Non-empty: one of these names must be the certificate's.
    pub allowed_cn: Vec<String>,
    pub allowed_hostname: Vec<String>,
    /// Somebody is to make `cert` and `key` before they are loaded, and members that are dialled are believed whoever they
    /// are: nobody could verify such a certificate.
    pub made_here: Option<MadeHere>,
}

/// A certificate that a node makes for itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MadeHere {
    /// DNS names and IP addresses that it is for.
    pub hosts: Vec<String>,
    pub days: u32,
}

impl PlaneFiles {
    /// Makes what a node makes for itself, unless it is there and has not ended.
    fn make(&self, wall_ms: i64) -> Result<(), Error> {
        let Some(MadeHere { hosts, days }) = &self.made_here else { return Ok(()) };
        let is_good = |chain: Vec<CertificateDer<'static>>| {
            let shown = chain.first().and_then(|certificate| Description::of(certificate).ok());
            self.key.exists() && shown.is_some_and(|shown| shown.not_after_ms > wall_ms)
        };
        if self.cert.exists() && load::certificates(&self.cert).is_ok_and(is_good) {
            return Ok(());
        }
        let validity = make::Validity { wall_ms, days: *days };
        make::self_signed(hosts, validity)?.write_to(&self.cert, &self.key)
    }

    fn paths(&self) -> impl Iterator<Item = &Path> {
        let optional = [&self.client_cert, &self.client_key, &self.trusted_ca, &self.crl];
        [&self.cert, &self.key]
            .into_iter()
            .chain(optional.into_iter().flatten())
            .map(PathBuf::as_path)
    }
}

/// Both planes; a plane that is only served over `http://` has none.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct KeychainFiles {
    pub peer: Option<PlaneFiles>,
    pub client: Option<PlaneFiles>,
    /// What TLS over TCP may be.
    pub tcp: TcpPolicy,
}

impl KeychainFiles {
    /// Writes the certificates that the node makes for itself, as `auto-tls` has it.
    pub fn make(&self, wall_ms: i64) -> Result<(), Error> {
        let planes = [&self.peer, &self.client];
        planes.into_iter().flatten().try_for_each(|plane| plane.make(wall_ms))
    }

    /// Without the planes that are still to be made.
    pub fn there(&self) -> Self {
        let is_there = |plane: &PlaneFiles| plane.made_here.is_none() || plane.cert.exists();
        Self {
            peer: self.peer.clone().filter(is_there),
            client: self.client.clone().filter(is_there),
            tcp: self.tcp.clone(),
        }
    }

    fn stamp(&self) -> Stamp {
        let planes = [&self.peer, &self.client];
        Stamp::of(planes.into_iter().flatten().flat_map(PlaneFiles::paths))
    }
}

/// One plane, loaded.
#[derive(Debug)]
pub(super) struct Plane {
    pub(super) shown: Arc<CertifiedKey>,
    pub(super) shown_when_dialling: Arc<CertifiedKey>,
    /// Who may knock; none if there is no CA.
    pub(super) callers: Option<Arc<dyn ClientCertVerifier>>,
    /// Who may answer; none if there is no CA.
    pub(super) servers: Option<Arc<dyn ServerCertVerifier>>,
    pub(super) client_cert_auth: bool,
    pub(super) allowed_cn: Vec<String>,
    pub(super) allowed_hostname: Vec<String>,
}

/// All that one load found.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) peer: Option<Plane>,
    pub(super) client: Option<Plane>,
    /// Of the files, a moment before they were read.
    stamp: Stamp,
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
    generation: watch::Sender<u64>,
    /// For `http://`: made at start, verified by nobody.
    self_made: Arc<CertifiedKey>,
}

impl Keychain {
    /// Reads every file; the first that is wrong is the error.
    pub fn load(files: KeychainFiles) -> Result<Arc<Self>, Error> {
        let loaded = RwLock::new(Arc::new(read(&files)?));
        let self_made = make::throwaway()?;
        Ok(Arc::new(Self { files, loaded, generation: watch::Sender::new(1), self_made }))
    }

    /// Reads every file again. On an error the old ones stay in force.
    pub fn reload(&self) -> Result<(), Error> {
        let fresh = Arc::new(read(&self.files)?);
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        self.generation.send_modify(|generation| *generation += 1);
        Ok(())
    }

    /// Grows with each reload: a connection admitted under an older one is to be admitted again.
    pub fn generation(&self) -> u64 {
        *self.generation.borrow()
    }

    /// Waits until there is a newer one than `seen`.
    pub async fn reloaded(&self, seen: u64) {
        // The sender is this very keychain: it cannot be gone.
        let _ = self.generation.subscribe().wait_for(|generation| *generation != seen).await;
    }

    /// Of all its files, as they are now: if it is not [`Keychain::in_force`], it is time to [`Keychain::reload`].
    pub fn stamp(&self) -> Stamp {
        self.files.stamp()
    }

    /// Of all its files, as they were when they were read.
    pub fn in_force(&self) -> Stamp {
        self.current().stamp.clone()
    }

    /// The chain that a member which is dialled sees; none without files.
    pub fn shown_to_members(&self) -> Vec<CertificateDer<'static>> {
        let current = self.current();
        current
            .peer
            .as_ref()
            .map(|plane| plane.shown_when_dialling.cert.clone())
            .unwrap_or_default()
    }

    /// What is not wrong but unwise, one line each: private keys that others can read, certificates that end soon.
    pub fn warnings(&self, wall_ms: i64) -> Vec<String> {
        let planes = [&self.files.peer, &self.files.client];
        let keys = planes.into_iter().flatten().flat_map(|plane| {
            [Some(plane.key.as_path()), plane.client_key.as_deref()].into_iter().flatten()
        });
        let mut lines: Vec<String> = keys.filter_map(load::key_warning).collect();
        let current = self.current();
        for (files, plane) in
            [(&self.files.peer, &current.peer), (&self.files.client, &current.client)]
        {
            let (Some(files), Some(plane)) = (files, plane) else { continue };
            lines.extend(ending(&files.cert, &plane.shown, wall_ms));
            if let Some(cert) = &files.client_cert {
                lines.extend(ending(cert, &plane.shown_when_dialling, wall_ms));
            }
        }
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

    /// TLS 1.2 and 1.3 for clients on one TCP address.
    pub fn tcp_config(self: &Arc<Self>, doors: Doors) -> Result<rustls::ServerConfig, Error> {
        if self.current().plane(Protocol::Client).is_none() {
            return Err(missing(Protocol::Client));
        }
        server::tcp_config(Current { keychain: Arc::clone(self), doors })
    }

    /// TLS 1.3 for dialling members, of the moment: ask again after a reload.
    pub fn peer_dialler(&self, scheme: Scheme) -> Result<rustls::ClientConfig, Error> {
        let current = self.current();
        let mut config = match (scheme, &current.peer) {
            (Scheme::Http, _) => dialling(Arc::new(Anybody::new()), None)?,
            (Scheme::Https, Some(Plane { servers: Some(servers), shown_when_dialling, .. })) => {
                let verifier = Arc::<dyn ServerCertVerifier>::clone(servers);
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

    pub(super) fn tcp_policy(&self) -> &TcpPolicy {
        &self.files.tcp
    }

    pub(super) fn self_made(&self) -> &Arc<CertifiedKey> {
        &self.self_made
    }
}

/// A warning if the certificate ends within [`limits::CERTIFICATE_ENDS_SOON`]: its connections end with it.
fn ending(path: &Path, shown: &CertifiedKey, wall_ms: i64) -> Option<String> {
    let shown = Description::of(shown.cert.first()?).ok()?;
    let soon = i64::try_from(limits::CERTIFICATE_ENDS_SOON.as_millis()).unwrap_or(i64::MAX);
    let (path, at) = (path.display(), &shown.not_after);
    match shown.not_after_ms.saturating_sub(wall_ms) {
        left if left > soon => None,
        left if left < 0 => Some(format!("{path}: this certificate has ended, on {at}: renew it")),
        _ => Some(format!("{path}: this certificate ends on {at}: renew it, no restart is needed")),
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
        && peer.client_cert_auth
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
        stamp: files.stamp(),
        peer: files.peer.as_ref().map(|files| plane(files, Protocol::Peer)).transpose()?,
        client: files.client.as_ref().map(|files| plane(files, Protocol::Client)).transpose()?,
    })
}

fn plane(files: &PlaneFiles, protocol: Protocol) -> Result<Plane, Error> {
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
            (Some(callers), Some(servers as Arc<dyn ServerCertVerifier>))
        }
        None if files.made_here.is_some() => (None, Some(Arc::new(Anybody::new()) as _)),
        // Only members are dialled.
        None if protocol == Protocol::Peer => (None, Some(of_the_system()? as _)),
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

fn of_the_system() -> Result<Arc<WebPkiServerVerifier>, Error> {
    WebPkiServerVerifier::builder_with_provider(system_roots()?, provider())
        .build()
        .map_err(|error| Error::Settings(error.to_string()))
}

type Verifiers = (Arc<dyn ClientCertVerifier>, Arc<WebPkiServerVerifier>);

/// Revocation, where there is a list, is strict: an issuer without a list and a list that is out of date refuse.
fn verifiers(ca: &Path, crl: Option<&Path>) -> Result<Verifiers, Error> {
    let roots = load::roots(ca)?;
    let lists = crl.map(load::revocation_lists).transpose()?.unwrap_or_default();
    if let (Some(crl), Some(name)) = (crl, load::namesakes(ca)?) {
        return Err(Error::file(
            ca,
            format!(
                "holds two authorities named {name:?}, and the lists in {} are told apart by the name: give one of them \
                 another (quorate cert ca --name)",
                crl.display()
            ),
        ));
    }
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::tls::make::{Authority, Subject, Validity};

    fn made(dir: &Path) -> (Authority, PlaneFiles) {
        let validity = Validity { wall_ms: 1_800_000_000_000, days: 1 };
        let authority = make::authority("ca", validity).unwrap();
        authority.made.write(dir, "ca", false).unwrap();
        let subject = Subject { common_name: "n1".into(), ..Subject::default() };
        let peer = make::peer(&authority, &subject, validity).unwrap();
        let (cert, key) = peer.write(dir, "peer", false).unwrap();
        let trusted_ca = Some(dir.join("ca.crt"));
        (authority, PlaneFiles { cert, key, trusted_ca, ..PlaneFiles::default() })
    }

    fn error(peer: &PlaneFiles) -> String {
        let files = KeychainFiles { peer: Some(peer.clone()), ..KeychainFiles::default() };
        Keychain::load(files).unwrap_err().to_string()
    }

    #[test]
    fn every_wrong_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (_, good) = made(dir.path());
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let missing = PlaneFiles { cert: dir.path().join("nowhere.crt"), ..good.clone() };
        assert!(error(&missing).contains("nowhere.crt: No such file"));
        let empty = PlaneFiles { trusted_ca: Some(write("empty.crt", "")), ..good.clone() };
        assert!(error(&empty).contains("empty.crt: holds no certificate"));
        let swapped = PlaneFiles { key: good.cert.clone(), ..good.clone() };
        assert!(error(&swapped).contains("peer.crt: holds no private key"));
        let foreign = PlaneFiles { key: dir.path().join("ca.key"), ..good.clone() };
        assert!(error(&foreign).contains("ca.key: is not the key of the certificate in"));
        let crl = PlaneFiles { crl: Some(write("no.crl", "?")), ..good.clone() };
        assert!(error(&crl).contains("no.crl: holds no revocation list"));
        let half = PlaneFiles { client_cert: Some(good.cert.clone()), ..good.clone() };
        assert!(error(&half).contains("go together"));
        let trustless = PlaneFiles { trusted_ca: None, client_cert_auth: true, ..good };
        assert!(error(&trustless).contains("peer-trusted-ca-file"));
    }

    #[test]
    fn authorities_with_revocation_lists_have_names_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let (authority, good) = made(dir.path());
        let validity = Validity { wall_ms: 1_800_000_000_000, days: 1 };
        let bundle = dir.path().join("bundle.crt");
        let lists = dir.path().join("lists.crl");
        let list = |authority: &Authority| make::revocation_list(authority, &[], validity).unwrap();
        let with = |name: &str| {
            let other = make::authority(name, validity).unwrap();
            let (one, two) = (&authority.made.cert_pem, &other.made.cert_pem);
            fs::write(&bundle, format!("{one}{two}")).unwrap();
            fs::write(&lists, list(&authority) + &list(&other)).unwrap();
            let trusted_ca = Some(bundle.clone());
            PlaneFiles { trusted_ca, crl: Some(lists.clone()), ..good.clone() }
        };
        let told = error(&with("ca"));
        assert!(told.contains("bundle.crt: holds two authorities named \"CN=ca\""), "{told}");
        let other = KeychainFiles { peer: Some(with("another ca")), ..KeychainFiles::default() };
        Keychain::load(other).unwrap();
        let without_lists = PlaneFiles { crl: None, ..with("ca") };
        Keychain::load(KeychainFiles { peer: Some(without_lists), ..KeychainFiles::default() })
            .unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn keys_that_others_can_read_and_certificates_that_end_are_warned_of() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (_, peer) = made(dir.path());
        let keychain =
            Keychain::load(KeychainFiles { peer: Some(peer.clone()), ..KeychainFiles::default() })
                .unwrap();
        let day_ms = 86_400_000;
        let long_before = 1_800_000_000_000 - 60 * day_ms;
        assert!(keychain.warnings(long_before).is_empty());
        fs::set_permissions(&peer.key, fs::Permissions::from_mode(0o640)).unwrap();
        let warnings = keychain.warnings(long_before);
        assert!(warnings.len() == 1 && warnings[0].contains("chmod 600"), "{warnings:?}");
        let told = keychain.warnings(1_800_000_000_000);
        assert!(
            told.len() == 2 && told[1].contains("peer.crt: this certificate ends on"),
            "{told:?}"
        );
        let told = keychain.warnings(1_800_000_000_000 + 2 * day_ms);
        assert!(told[1].contains("has ended"), "{told:?}");
    }

    #[test]
    fn an_https_door_without_files_is_an_error_before_anybody_knocks() {
        let keychain = Keychain::load(KeychainFiles::default()).unwrap();
        let doors = Doors { peers: Some(Scheme::Https), clients: None };
        let error = keychain.server_config(doors).unwrap_err().to_string();
        assert!(error.contains("peer-cert-file"), "{error}");
        let doors = Doors { peers: Some(Scheme::Http), clients: Some(Scheme::Http) };
        assert!(keychain.server_config(doors).is_ok());
    }

    #[test]
    fn a_certificate_that_has_ended_is_not_admitted_again() {
        let dir = tempfile::tempdir().unwrap();
        let (_, peer) = made(dir.path());
        let chain = load::certificates(&peer.cert).unwrap();
        let keychain =
            Keychain::load(KeychainFiles { peer: Some(peer), ..KeychainFiles::default() }).unwrap();
        let doors = Doors { peers: Some(Scheme::Https), clients: None };
        let admit = |wall_ms| keychain.admit(Protocol::Peer, doors, &chain, wall_ms);
        let identity = admit(1_800_000_000_000).unwrap().unwrap();
        assert_eq!(identity.not_after_ms, 1_800_000_000_000 + 86_400_000);
        let refusal = admit(identity.not_after_ms + 1_000).unwrap_err().to_string();
        assert!(refusal.contains("expired") && refusal.contains("CN=n1"), "{refusal}");
    }
}
