//! Certificates in a temporary folder, and a node that writes down what it is told.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use crate::base::{Clock, ClusterId, MemberId, SystemClock, limits};
use crate::tls::make::{self, Authority, Made, Subject, Validity};
use crate::tls::{ClientFiles, Doors, Keychain, KeychainFiles, PlaneFiles, Scheme};
use crate::transport::{
    AskReply, Bounds, Class, ClientConnection, ClientInbound, CloseCode, Config, IncomingSnapshot,
    Listener, Names, PeerAddress, PeerInbound, Standing, Transport, Url, Versions,
};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn today() -> Validity {
    Validity { wall_ms: SystemClock::new().wall_ms(), days: 10 }
}

/// Ended nine days ago.
pub(super) fn past() -> Validity {
    Validity { wall_ms: today().wall_ms - 10 * 86_400_000, days: 1 }
}

pub(super) struct Folder {
    dir: TempDir,
}

impl Folder {
    pub(super) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn authority(&self, name: &str) -> Authority {
        let authority = make::authority(name, today()).unwrap();
        authority.made.write(self.path(), name, false).unwrap();
        authority
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(super) fn keep(&self, name: &str, made: &Made) {
        made.write(self.path(), name, true).unwrap();
    }

    pub(super) fn revoke(&self, file: &str, authority: &Authority, names: &[&str]) {
        let certificates: Vec<_> = names
            .iter()
            .flat_map(|name| crate::tls::certificates(&self.file(&format!("{name}.crt"))).unwrap())
            .collect();
        let list = make::revocation_list(authority, &certificates, today()).unwrap();
        fs::write(self.file(file), list).unwrap();
    }

    pub(super) fn plane(&self, cert: &str, ca: &str) -> PlaneFiles {
        PlaneFiles {
            cert: self.file(&format!("{cert}.crt")),
            key: self.file(&format!("{cert}.key")),
            trusted_ca: Some(self.file(&format!("{ca}.crt"))),
            client_cert_auth: true,
            ..PlaneFiles::default()
        }
    }

    pub(super) fn dialler(&self, cert: Option<&str>, ca: &str) -> ClientFiles {
        ClientFiles {
            trusted_ca: Some(self.file(&format!("{ca}.crt"))),
            cert: cert.map(|name| self.file(&format!("{name}.crt"))),
            key: cert.map(|name| self.file(&format!("{name}.key"))),
            ..ClientFiles::default()
        }
    }
}

pub(super) fn subject(name: &str) -> Subject {
    let hosts = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    Subject { common_name: name.to_owned(), hosts, member: None }
}

/// What a node was told, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    pub(super) messages: Vec<(MemberId, Class, Bytes)>,
    pub(super) asks: Vec<(Option<MemberId>, u16)>,
    pub(super) snapshots: Vec<(MemberId, Bytes, Result<u64, String>)>,
    pub(super) connected: Vec<MemberId>,
    pub(super) unreachable: Vec<MemberId>,
    pub(super) removed: bool,
    pub(super) held: usize,
}

/// Answers a question of kind 1 with its body, of kind 2 never, refuses kind 3, drops kind 4.
#[derive(Default)]
pub(super) struct Ear {
    told: Mutex<Told>,
    heard: Condvar,
    pub(super) gone: Mutex<BTreeSet<MemberId>>,
    held: Mutex<Vec<AskReply>>,
}

impl Ear {
    fn note(&self, write: impl FnOnce(&mut Told)) {
        write(&mut self.told.lock().unwrap());
        self.heard.notify_all();
    }

    /// Answers every question of kind 2 so far.
    pub(super) fn answer_held(&self, body: &'static [u8]) {
        for reply in self.held.lock().unwrap().drain(..) {
            reply.answer(Bytes::from_static(body));
        }
    }

    /// Waits until `so` holds of what was told, and returns it.
    pub(super) fn wait(self: &Arc<Self>, so: impl Fn(&Told) -> bool) -> Told {
        let told = self.told.lock().unwrap();
        let (told, late) = self.heard.wait_timeout_while(told, PATIENCE, |told| !so(told)).unwrap();
        assert!(!late.timed_out(), "it never came to be; told so far: {told:?}");
        told.clone()
    }
}

pub(super) struct Inbound(pub(super) Arc<Ear>);

impl PeerInbound for Inbound {
    fn standing(&self, member: MemberId) -> Standing {
        match self.0.gone.lock().unwrap().contains(&member) {
            true => Standing::Removed,
            false if member.0 < 100 => Standing::Member,
            false => Standing::Unknown,
        }
    }

    fn messages(&self, from: MemberId, class: Class, batch: Vec<Bytes>) {
        self.0.note(|told| told.messages.extend(batch.into_iter().map(|it| (from, class, it))));
    }

    fn ask(&self, from: Option<MemberId>, kind: u16, body: Bytes, reply: AskReply) {
        self.0.note(|told| told.asks.push((from, kind)));
        match kind {
            1 => reply.answer(body),
            2 => self.0.held.lock().unwrap().push(reply),
            3 => reply.refuse("not today"),
            _ => drop(reply),
        }
        let held = self.0.held.lock().unwrap().len();
        self.0.note(|told| told.held = held);
    }

    fn snapshot(&self, mut incoming: IncomingSnapshot) {
        let ear = Arc::clone(&self.0);
        std::thread::spawn(move || {
            let mut bytes = 0;
            let mut outcome = Ok(());
            while let Some(chunk) = incoming.blocking_next() {
                match chunk {
                    Ok(chunk) => bytes += chunk.len() as u64,
                    Err(error) => outcome = Err(error.to_string()),
                }
                if incoming.header == "unwanted" {
                    return;
                }
            }
            let (from, header) = (incoming.from, incoming.header.clone());
            if header == "not taken" {
                return;
            }
            incoming.taken();
            ear.note(|told| told.snapshots.push((from, header, outcome.map(|()| bytes))));
        });
    }

    fn connected(&self, member: MemberId) {
        self.0.note(|told| told.connected.push(member));
    }

    fn unreachable(&self, member: MemberId) {
        self.0.note(|told| told.unreachable.push(member));
    }

    fn removed(&self) {
        self.0.note(|told| told.removed = true);
    }
}

/// Greets each client on its first stream, then returns every frame.
pub(super) struct Echo;

impl ClientInbound for Echo {
    fn connection(&self, client: ClientConnection) {
        let (connection, mut refused) = (client.connection.clone(), client.refused);
        tokio::spawn(async move {
            let reason = refused.wait_for(Option::is_some).await.ok().and_then(|it| it.clone());
            connection.close(CloseCode::NotAdmitted, &reason.unwrap_or_default());
        });
        tokio::spawn(async move {
            while let Ok((mut send, mut recv)) = client.connection.accept_bi().await {
                tokio::spawn(async move {
                    while let Ok(Some(frame)) = recv.frame(limits::FRAME_BYTES_MAX).await {
                        if send.frame(frame).await.is_err() {
                            break;
                        }
                    }
                    send.finish();
                });
            }
        });
    }
}

pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

pub(super) fn keychain(peer: Option<PlaneFiles>, client: Option<PlaneFiles>) -> Arc<Keychain> {
    Keychain::load(KeychainFiles { peer, client, ..KeychainFiles::default() }).unwrap()
}

pub(super) fn loopback(peers: Option<Scheme>, clients: Option<Scheme>, port: u16) -> Listener {
    Listener { address: ([127, 0, 0, 1], port).into(), doors: Doors { peers, clients } }
}

pub(super) fn config(member: u64, keychain: Arc<Keychain>, listener: Listener) -> Config {
    Config {
        cluster: ClusterId(0xc1),
        member: MemberId(member),
        name: format!("n{member}"),
        boot_nonce: 7,
        reset_secret: [7; 32],
        versions: Versions { min: (3, 6), max: (3, 6) },
        advertise_peer_urls: Vec::new(),
        listeners: vec![listener],
        keychain,
        clock: Arc::new(SystemClock::new()),
        names: Names::default(),
        guest_asks: vec![1],
        bounds: Bounds::new(),
        outbox_bytes_max: limits::OUTBOX_BYTES_MAX,
    }
}

pub(super) struct Node {
    pub(super) transport: Transport,
    pub(super) ear: Arc<Ear>,
    pub(super) scheme: Scheme,
}

impl Node {
    pub(super) fn start(config: Config) -> Self {
        let doors = config.listeners[0].doors;
        let scheme = doors.peers.or(doors.clients).unwrap();
        let ear = Arc::new(Ear::default());
        let inbound = Arc::new(Inbound(Arc::clone(&ear)));
        let transport = Transport::start(config, inbound, Arc::new(Echo)).unwrap();
        Self { transport, ear, scheme }
    }

    pub(super) fn url(&self) -> Url {
        let port = self.transport.addresses()[0].port();
        Url { scheme: self.scheme, host: "127.0.0.1".into(), port }
    }

    pub(super) fn knows(&self, member: u64, url: Url) {
        self.transport.set_peers(&[PeerAddress { member: MemberId(member), urls: vec![url] }]);
    }
}

/// A port that nobody has; somebody may take it before it is used, but no test here does.
pub(super) fn free_port() -> u16 {
    std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
