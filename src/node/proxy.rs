//! A node that is no member: the doors of one, and behind them the members of a cluster.
//!
//! ```text
//!   Config, Whom ──► proxy::Proxy ──► (Readonly) ──► Doors: QUIC and TCP of listen-client-urls
//!                        └── Remembered: peer URLs in <data-dir>/proxy/cluster, asked as a joiner asks
//! ```
//!
//! Where nobody has forbidden it, a founder that finds its cluster full becomes one: [`Proxy::start`] with the peer URLs
//! that it was told. From then on its data directory says so, and so does its next start.

use std::fmt::Display;
use std::fs;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, watch};

use crate::api::{Elsewhere, Opening};
use crate::base::{Clock, ClusterId, MemberId, SystemClock, limits};
use crate::client;
use crate::proto::Service;
use crate::proto::etcdserverpb as pb;
use crate::proto::hello::PROXY_CLIENT;
use crate::proxy::{self, Finder, Readonly};
use crate::tls::{ClientFiles, Keychain};
use crate::transport::{self, AskReply, Class, IncomingSnapshot, PeerInbound, Standing, Url};

use super::config::{Config, ProxyMode};
use super::doors::{About, Doors};
use super::error::Error;
use super::inquiry::Inquiry;
use super::member::draw;
use super::reload::Reloading;
use super::versions::VERSIONS;

/// What clients get to have their answers when it stops.
const DRAIN_GRACE: Duration = Duration::from_secs(2);

/// The folder inside the data directory, and the file in it: etcd's.
const FOLDER: &str = "proxy";
const REMEMBERED: &str = "cluster";
const REMEMBERED_PART: &str = "cluster.part";

/// For one answer of a member.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);

/// Whom to ask first who the members are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Whom {
    /// Members as clients find them, what to show them, and who asks them who the members are.
    Clients(Vec<String>, Option<ClientFiles>, Option<client::Login>),
    /// Members as members find them. Who they are is remembered in the data directory, which counts more.
    Peers(Vec<Url>),
}

/// A running proxy.
pub struct Proxy {
    name: String,
    proxy: Arc<proxy::Proxy>,
    doors: Doors,
    reload_asked: Arc<Notify>,
    stop: watch::Sender<bool>,
    chores: JoinHandle<()>,
}

impl Proxy {
    /// Whether the data directory at `path` is a proxy's.
    pub fn lives_in(path: &Path) -> bool {
        path.join(FOLDER).is_dir()
    }

    /// Whether the one at `path` knows members from before.
    pub fn remembers(path: &Path) -> Result<bool, Error> {
        Ok(remembered(&path.join(FOLDER))?.is_some())
    }

    /// From now on the data directory at `path` is a proxy's, of these members.
    pub fn remember(path: &Path, peers: &[Url]) -> Result<(), Error> {
        let folder = path.join(FOLDER);
        let kept = made(&folder).and_then(|()| remember(&folder, peers));
        kept.map_err(|error| unusable(&folder, &error))
    }

    /// Starts one on the client addresses of `config`. When it returns, the ports are open; whether a member was found
    /// tells [`Proxy::ready`].
    pub fn start(mut config: Config, whom: Whom) -> Result<Self, Error> {
        if !config.proxy.listeners.is_empty() {
            config.listeners.clone_from(&config.proxy.listeners);
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        config.keychain.make(clock.wall_ms())?;
        let keychain = Keychain::load(config.keychain.clone())?;
        let proxy = Arc::new(proxy::Proxy::start(behind(&config, whom, &keychain, &clock)?)?);
        let is_readonly = config.proxy.mode == ProxyMode::Readonly;
        let service: Arc<dyn Service> = match is_readonly {
            true => Arc::new(Readonly::new(Arc::clone(&proxy) as _)),
            false => Arc::clone(&proxy) as _,
        };
        let elsewhere = Arc::new(Behind { proxy: Arc::clone(&proxy), is_readonly });
        let about = About { engine: None, elsewhere: Some(elsewhere), ..About::new(&config) };
        let reloading = Reloading::new(&keychain, &Arc::default(), &clock);
        let reload_asked = Arc::clone(&reloading.asked);
        let transport = transport_config(&config, keychain, clock)?;
        let doors = Doors::open(transport, about, service, Arc::new(Nobody))?;
        let (stop, mut stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(Error::Thread)?;
        let chores = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = reloading.run() => {}
                    // The sender lives as long as this thread is wanted.
                    _ = stopped.wait_for(|stop| *stop) => {}
                }
            });
        };
        let chores = thread::Builder::new()
            .name("chores".to_owned())
            .spawn(chores)
            .map_err(Error::Thread)?;
        let listen = doors.transport.addresses();
        tracing::info!(name = config.name, ?listen, readonly = is_readonly, "started as a proxy");
        Ok(Self { name: config.name, proxy, doors, reload_asked, stop, chores })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Resolves when it knows the members.
    pub async fn ready(&self) {
        self.proxy.ready().await;
    }

    /// Reads certificates, keys, trust and revocation lists again now.
    pub fn reload(&self) {
        self.reload_asked.notify_one();
    }

    /// Stops in order; blocks for a few seconds at most.
    pub fn drain(self) {
        match tokio::runtime::Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime.block_on(self.doors.drain(DRAIN_GRACE)),
            Err(error) => tracing::warn!(%error, "cannot wind down; stopping at once"),
        }
        self.doors.shut();
        self.proxy.stop();
        self.stop.send_replace(true);
        if self.chores.join().is_err() {
            tracing::warn!("the chores panicked");
        }
        tracing::info!(name = self.name, "stopped");
    }
}

/// What the proxy is built from.
fn behind(
    config: &Config,
    whom: Whom,
    keychain: &Arc<Keychain>,
    clock: &Arc<dyn Clock>,
) -> Result<proxy::Config, Error> {
    let (endpoints, tls, login, finder): (_, _, _, Option<Arc<dyn Finder>>) = match whom {
        Whom::Clients(endpoints, files, login) => (endpoints, files, login, None),
        Whom::Peers(urls) => {
            let folder = config.data_dir.join(FOLDER);
            made(&folder).map_err(|error| unusable(&folder, &error))?;
            let urls = remembered(&folder)?.unwrap_or(urls);
            let inquiry = Inquiry {
                name: config.name.clone(),
                keychain: Arc::clone(keychain),
                clock: Arc::clone(clock),
                names: config.resolver.names(),
                urls,
            };
            let finder = Remembered { folder, inquiry: Mutex::new(inquiry) };
            (Vec::new(), shown_to_members(config), None, Some(Arc::new(finder)))
        }
    };
    let rules = &config.proxy;
    Ok(proxy::Config {
        client: client::Config {
            tls,
            login,
            name: format!("{PROXY_CLIENT}{}", env!("CARGO_PKG_VERSION")),
            dial_timeout: rules.dial_timeout,
            dns_server: config.resolver.server_address(),
            writes_to_leader: false,
            ..client::Config::new(endpoints)
        },
        finder,
        refresh: rules.refresh,
        rest: rules.failure_wait,
    })
}

/// A client's certificate, or a member's, which is good for both ends of a connection; and whom it believes.
fn shown_to_members(config: &Config) -> Option<ClientFiles> {
    let (peer, client) = (config.keychain.peer.as_ref(), config.keychain.client.as_ref());
    let own = |plane: &crate::tls::PlaneFiles| {
        Some((plane.client_cert.clone()?, plane.client_key.clone()?))
    };
    let (cert, key) = client
        .and_then(own)
        .or_else(|| peer.and_then(own))
        .or_else(|| peer.map(|plane| (plane.cert.clone(), plane.key.clone())))
        .unzip();
    let trusted_ca = [client, peer].into_iter().flatten().find_map(|it| it.trusted_ca.clone());
    let files = ClientFiles { trusted_ca, cert, key, ..ClientFiles::default() };
    (files != ClientFiles::default()).then_some(files)
}

fn transport_config(
    config: &Config,
    keychain: Arc<Keychain>,
    clock: Arc<dyn Clock>,
) -> Result<transport::Config, Error> {
    Ok(transport::Config {
        // No member has these: so whoever dials knows that this is none.
        cluster: ClusterId(0),
        member: MemberId(0),
        name: config.name.clone(),
        boot_nonce: u64::from_be_bytes(draw()?),
        reset_secret: draw()?,
        versions: VERSIONS,
        advertise_peer_urls: Vec::new(),
        listeners: config.listeners.clone(),
        keychain,
        clock,
        names: config.resolver.names(),
        guest_asks: Vec::new(),
        bounds: transport::Bounds::new(),
        outbox_bytes_max: limits::OUTBOX_BYTES_MAX,
    })
}

/// The members, as the HTTP door sees them.
struct Behind {
    proxy: Arc<proxy::Proxy>,
    is_readonly: bool,
}

impl Elsewhere for Behind {
    fn open(&self) -> Opening<'_> {
        Box::pin(self.proxy.http())
    }

    fn endpoints(&self) -> Vec<String> {
        self.proxy.endpoints()
    }

    fn is_readonly(&self) -> bool {
        self.is_readonly
    }
}

/// No address of a proxy lets members in.
struct Nobody;

impl PeerInbound for Nobody {
    fn standing(&self, _: MemberId) -> Standing {
        Standing::Unknown
    }

    fn messages(&self, _: MemberId, _: Class, _: Vec<Bytes>) {}

    fn ask(&self, _: Option<MemberId>, _: u16, _: Bytes, reply: AskReply) {
        reply.refuse("this is a proxy, and no member");
    }

    fn snapshot(&self, _: IncomingSnapshot) {}

    fn connected(&self, _: MemberId) {}

    fn unreachable(&self, _: MemberId) {}

    fn removed(&self) {}
}

/// Members by their peer URLs, which are kept in a file: those of the settings may all be gone one day.
struct Remembered {
    folder: PathBuf,
    inquiry: Mutex<Inquiry>,
}

impl Finder for Remembered {
    fn find(&self) -> Result<Vec<pb::Member>, String> {
        let inquiry = self.inquiry.lock().unwrap_or_else(PoisonError::into_inner);
        let mut why = Vec::new();
        for answer in inquiry.once(ANSWER_PATIENCE) {
            match answer {
                Ok(told) if !told.members.is_empty() => return Ok(told.members),
                Ok(_) => {}
                Err(error) => why.push(error),
            }
        }
        if why.is_empty() {
            why.push("nobody is named in initial-cluster who knows the members".to_owned());
        }
        Err(why.join("; "))
    }

    fn found(&self, members: &[pb::Member]) {
        let texts = members.iter().flat_map(|member| &member.peer_ur_ls);
        let urls: Vec<Url> = texts.filter_map(|url| url.parse().ok()).collect();
        let mut inquiry = self.inquiry.lock().unwrap_or_else(PoisonError::into_inner);
        let is_written = inquiry.urls == urls && self.folder.join(REMEMBERED).exists();
        if urls.is_empty() || is_written {
            return;
        }
        inquiry.urls = urls;
        if let Err(error) = remember(&self.folder, &inquiry.urls) {
            let folder = self.folder.display();
            tracing::warn!(%error, "cannot write into {folder}: the next start asks the members of its settings");
        }
    }
}

fn unusable(folder: &Path, what: &dyn Display) -> Error {
    Error::ProxyDir { path: folder.join(REMEMBERED), what: what.to_string() }
}

/// The folder is there when this returns, and nobody else's business: as a member's.
fn made(folder: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// What was written there; none if nothing was.
fn remembered(folder: &Path) -> Result<Option<Vec<Url>>, Error> {
    let text = match fs::read_to_string(folder.join(REMEMBERED)) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(folder, &error)),
    };
    let object: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| unusable(folder, &error))?;
    let listed = object.get("PeerURLs").and_then(serde_json::Value::as_array);
    let urls = listed.into_iter().flatten().filter_map(|url| url.as_str()?.parse().ok());
    let urls: Vec<Url> = urls.collect();
    Ok(Some(urls).filter(|urls| !urls.is_empty()))
}

/// As etcd writes it, whole or not at all.
fn remember(folder: &Path, urls: &[Url]) -> std::io::Result<()> {
    let texts: Vec<String> = urls.iter().map(ToString::to_string).collect();
    let part = folder.join(REMEMBERED_PART);
    let mut file = fs::File::create(&part)?;
    file.write_all(serde_json::json!({ "PeerURLs": texts }).to_string().as_bytes())?;
    file.sync_all()?;
    fs::rename(part, folder.join(REMEMBERED))?;
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_urls_are_remembered_as_etcd_does() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("data").join(FOLDER);
        let data = dir.path().join("data");
        assert!(!Proxy::remembers(&data).unwrap() && !Proxy::lives_in(&data));
        let urls = vec!["https://a:1".parse().unwrap(), "http://b:2".parse().unwrap()];
        Proxy::remember(&data, &urls).unwrap();
        assert!(Proxy::remembers(&data).unwrap() && Proxy::lives_in(&data));
        let text = fs::read_to_string(folder.join(REMEMBERED)).unwrap();
        assert_eq!(text, r#"{"PeerURLs":["https://a:1","http://b:2"]}"#);
        assert_eq!(remembered(&folder).unwrap(), Some(urls));
        fs::write(folder.join(REMEMBERED), "{").unwrap();
        let said = remembered(&folder).unwrap_err().to_string();
        assert!(said.contains("proxy/cluster") && said.contains("remove it"), "{said}");
    }
}
