//! One member: built bottom-up, joined, and drained in order.
//!
//! ```text
//!   start   data directory -> place -> store, log -> engine -> transport (ports open here) -> chores
//!   drain   leadership handed over -> doors closed -> checkpoint -> engine ended -> transport ended -> directory unlocked
//! ```

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::api::{AuthConfig, Guard, Local, LocalConfig, Recipes, Registry, TokenKeys};
use crate::base::{Clock, ClusterId, MemberId, SystemClock, limits};
use crate::engine::{self, Foundation, Handle, Parts, Status, Threads};
use crate::proto::Service;
use crate::state::Members;
use crate::storage::{DataDir, Identity, Stamp, Store};
use crate::tls::Keychain;
use crate::transport::{self, PeerAddress};
use crate::watch as watch_rules;

use super::bootstrap::{self, Place};
use super::chores::{Chores, addresses, hand_over};
use super::config::{ClusterState, Config, Roster};
use super::doors::{About, Doors};
use super::error::Error;
use super::force;
use super::founding;
use super::inbound::FromPeers;
use super::inquiry::{FOUNDING_PATIENCE, Inquiry};
use super::offline::shrink;
use super::open::{Beginning, Opened, begin, open};
use super::outbox::Wires;
use super::reload::Reloading;
use super::stop::{Stopped, Stopper};
use super::versions::VERSIONS;
use super::wal_place::place_log;

/// A running member. Dropped without [`Node::drain`] it stops as by a crash.
pub struct Node {
    name: String,
    cluster: ClusterId,
    member: MemberId,
    engine: Handle,
    threads: Threads,
    doors: Doors,
    chores: JoinHandle<()>,
    stopper: Stopper,
    ready: Arc<watch::Sender<bool>>,
    election_timeout: Duration,
    reload_asked: Arc<Notify>,
    _dir: DataDir,
}

/// What is settled before anything runs.
struct Standing {
    cluster: ClusterId,
    member: MemberId,
    /// Whom to reach before the members table says so.
    first_peers: Vec<PeerAddress>,
}

impl Node {
    /// Starts a member. When it returns, the ports are open; whether a leader is known tells [`Node::ready`]. Blocks
    /// for seconds only where others must be asked: a founding member asks whether it is known already, a joining one
    /// who belongs to the cluster; but one that meets the others at a discovery service blocks until all have come.
    pub fn start(config: Config) -> Result<Self, Error> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let keychain = keychain(&config, clock.as_ref())?;
        let tokens = Arc::new(TokenKeys::load(config.auth.tokens.clone())?);
        let mut dir = data_dir(&config)?;
        let asking = |roster: &Roster| {
            Inquiry::new(&config.name, roster, &keychain, &clock, config.resolver.names())
        };
        let mut standing = settle(&config, &mut dir, &asking, clock.as_ref())?;
        let opened = open_data(&config, &standing, &dir)?;
        let members = Members::load(&opened.store.view()?)?;
        bootstrap::check_directory(&dir, &members, &config.roster, &config.name)?;
        if opened.store.stamp() == Stamp::EMPTY && standing.first_peers.is_empty() {
            // A joiner that stopped before its first snapshot has no members table yet: it asks again.
            let roster = founding::roster(&config, clock.as_ref())?;
            standing.first_peers = known_peers(&asking(&roster), standing.member);
        }
        let drawn = Drawn::new(&dir)?;
        let wires = Arc::new(Wires::default());
        let (engine, threads) =
            start_engine(&config, &standing, opened, drawn.boot_nonce, &wires, &clock)?;
        let stopper = Stopper::new();
        let reloading = Reloading::new(&keychain, &tokens, &clock);
        let reload_asked = Arc::clone(&reloading.asked);
        let (about, service) = served(&config, &standing, &engine, tokens);
        let peers = FromPeers { engine: engine.clone(), stopper: stopper.clone() };
        let transport = transport_config(&config, &standing, drawn, keychain, clock);
        let doors = match Doors::open(transport, about, service, Arc::new(peers)) {
            Ok(doors) => doors,
            Err(error) => {
                engine.stop();
                threads.join();
                return Err(error.into());
            }
        };
        wires.join(Arc::clone(&doors.transport), engine.clone());
        let ready = Arc::new(watch::Sender::new(false));
        let chores = spawn_chores(Chores {
            config: config.clone(),
            engine: engine.clone(),
            transport: Arc::clone(&doors.transport),
            http: Arc::clone(&doors.http),
            stopper: stopper.clone(),
            client_urls: bootstrap::texts(&config.advertise_client_urls),
            first_peers: standing.first_peers,
            ready: Arc::clone(&ready),
            reloading,
        })?;
        tracing::info!(
            name = config.name,
            member = %standing.member,
            cluster = %standing.cluster,
            listen = ?doors.transport.addresses(),
            "started"
        );
        Ok(Self {
            name: config.name,
            cluster: standing.cluster,
            member: standing.member,
            engine,
            threads,
            doors,
            chores,
            stopper,
            ready,
            election_timeout: config.election_timeout,
            reload_asked,
            _dir: dir,
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn member(&self) -> MemberId {
        self.member
    }

    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// What the engine says of itself; none once it has met a fault.
    pub fn status(&self) -> Option<Status> {
        self.engine.status().ok()
    }

    /// Resolves when this member is published to the cluster and knows a leader: from then on it serves.
    pub async fn ready(&self) {
        let mut ready = self.ready.subscribe();
        // The sender lives in `self`.
        let _ = ready.wait_for(|ready| *ready).await;
    }

    /// Reads certificates, keys, trust and revocation lists again now; the log tells whether they could be used. By
    /// itself a member does so when their files change.
    pub fn reload(&self) {
        self.reload_asked.notify_one();
    }

    /// Resolves when this member stops by itself.
    pub async fn stopped(&self) -> Stopped {
        self.stopper.stopped().await
    }

    /// Stops in order; blocks for a few seconds at most. What was acknowledged is on the disk anyway: the checkpoint
    /// only makes the next start quick.
    pub fn drain(self) {
        match tokio::runtime::Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime.block_on(self.wind_down()),
            Err(error) => tracing::warn!(%error, "cannot wind down; stopping at once"),
        }
        self.engine.stop();
        self.threads.join();
        self.doors.shut();
        if self.chores.join().is_err() {
            tracing::warn!("the chores panicked");
        }
        tracing::info!(name = self.name, "stopped");
    }

    async fn wind_down(&self) {
        if self.stopper.is_stopped() || self.engine.is_stopped() {
            return;
        }
        // Nobody is to wait for an election.
        if self.engine.raft().is_leader {
            hand_over(&self.engine, &self.doors.transport, self.election_timeout).await;
        }
        self.doors.drain(DRAIN_GRACE).await;
        match tokio::time::timeout(CHECKPOINT_PATIENCE, self.engine.checkpoint()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "no last checkpoint; the log has everything"),
            Err(_) => tracing::warn!("the last checkpoint takes too long; the log has everything"),
        }
    }
}

/// What clients get to have their answers when a member stops.
const DRAIN_GRACE: Duration = Duration::from_secs(2);
const CHECKPOINT_PATIENCE: Duration = Duration::from_secs(20);

/// Opened, with a new member's log where it is to lie.
fn data_dir(config: &Config) -> Result<DataDir, Error> {
    if let Some(wal_dir) = &config.wal_dir {
        let placed = place_log(&config.data_dir, wal_dir);
        let wrong = |source| Error::WalDir { path: wal_dir.clone(), source };
        if let Some(told) = placed.map_err(wrong)? {
            tracing::warn!("{told}");
        }
    }
    Ok(DataDir::open(&config.data_dir)?)
}

fn keychain(config: &Config, clock: &dyn Clock) -> Result<Arc<Keychain>, Error> {
    config.keychain.make(clock.wall_ms())?;
    let keychain = Keychain::load(config.keychain.clone())?;
    for warning in keychain.warnings(clock.wall_ms()) {
        tracing::warn!("{warning}");
    }
    Ok(keychain)
}

/// What the data directory holds; alone, if that is asked for.
fn open_data(config: &Config, standing: &Standing, dir: &DataDir) -> Result<Opened, Error> {
    let member = standing.member;
    let mut opened = open(dir, standing.cluster, member, config.quota_bytes)?;
    if let Some(least) = config.shrink_from_bytes {
        shrink(&opened, least)?;
    }
    if !config.force_new_cluster {
        return Ok(opened);
    }
    let (others, taken_over) = force::found_alone(&mut opened, member)?;
    let others: Vec<String> = others.iter().map(ToString::to_string).collect();
    tracing::warn!(
        %member,
        removed = others.join(", "),
        entries_not_known_as_committed = taken_over,
        "force-new-cluster: this member alone is the cluster now; remove the setting, or the next start removes whoever \
         has joined since"
    );
    Ok(opened)
}

/// This member's place as its data directory says it.
fn settled(dir: &DataDir) -> Option<Standing> {
    let Identity { cluster, member, .. } = dir.identity().cloned()?;
    if !Store::exists(&dir.db_dir()) {
        return None;
    }
    tracing::info!(
        "the data directory is initialized: initial-cluster, discovery and their like are ignored"
    );
    Some(Standing { cluster, member, first_peers: Vec::new() })
}

/// Finds this member's place: in its data directory, or by the roster.
fn settle(
    config: &Config,
    dir: &mut DataDir,
    asking: &dyn Fn(&Roster) -> Inquiry,
    clock: &dyn Clock,
) -> Result<Standing, Error> {
    if let Some(standing) = settled(dir) {
        return Ok(standing);
    }
    if config.force_new_cluster {
        return Err(Error::NoSurvivor { data_dir: config.data_dir.display().to_string() });
    }
    let roster = &founding::roster(config, clock)?;
    let inquiry = asking(roster);
    let own = founding::own_entry(config, roster, clock)?;
    let place = match roster.state {
        ClusterState::New => {
            let place = bootstrap::found(roster, own);
            for told in inquiry.once(FOUNDING_PATIENCE).iter().flatten() {
                bootstrap::check_not_bootstrapped(&place, told)?;
            }
            place
        }
        ClusterState::Existing => {
            let resolve = founding::resolve(config.resolver);
            bootstrap::join(roster, own, &inquiry.until_answered()?, &resolve)?
        }
    };
    let Place { cluster, member, members } = place;
    let identity = Identity { cluster, member, name: config.name.clone() };
    let beginning = match roster.state {
        ClusterState::New => Beginning::Genesis(&members),
        ClusterState::Existing => Beginning::Empty,
    };
    begin(dir, &identity, &beginning)?;
    Ok(Standing { cluster, member, first_peers: addresses(&members, member) })
}

fn known_peers(inquiry: &Inquiry, member: MemberId) -> Vec<PeerAddress> {
    let answers = inquiry.once(FOUNDING_PATIENCE);
    let told = answers.into_iter().flatten().find(|told| !told.members.is_empty());
    told.map(|told| addresses(&told.members, member)).unwrap_or_default()
}

fn start_engine(
    config: &Config,
    standing: &Standing,
    opened: Opened,
    boot_nonce: u64,
    wires: &Arc<Wires>,
    clock: &Arc<dyn Clock>,
) -> Result<(Handle, Threads), Error> {
    let ticks = config.election_timeout.as_millis() / config.heartbeat_interval.as_millis().max(1);
    let engine = engine::Config {
        tick: config.heartbeat_interval,
        election_ticks: u32::try_from(ticks).unwrap_or(u32::MAX),
        seed: standing.member.0 ^ boot_nonce,
        request_bytes_max: config.request_bytes_max,
        lease_ttl_s_min: lease_ttl_s_min(config),
        token_ttl: config.auth.token_ttl,
        ..engine::Config::new(standing.cluster, standing.member, boot_nonce)
    };
    let foundation = Foundation {
        store: opened.store,
        wal: opened.wal,
        log: opened.log,
        hard_state: opened.hard_state,
        outbox: Arc::clone(wires) as _,
        clock: Arc::clone(clock),
    };
    let mut parts = Parts::build(engine, foundation)?;
    parts.hub.configure(watch_rules::Config {
        progress_interval: config.watch_progress_interval,
        ..watch_rules::Config::default()
    });
    let (handle, threads) = Threads::spawn(parts).map_err(Error::Thread)?;
    let is_alone = handle.query()?.members().voters() == [standing.member];
    if is_alone {
        // Nobody else could win: no election timeout is waited for.
        handle.campaign();
    }
    Ok((handle, threads))
}

/// What the doors lead to, and what may still be written.
fn served(
    config: &Config,
    standing: &Standing,
    engine: &Handle,
    keys: Arc<TokenKeys>,
) -> (About, Arc<dyn Service>) {
    // etcd's: 5 s for the request, and two elections that may come between.
    let request_timeout = Duration::from_secs(5) + config.election_timeout * 2;
    let local = LocalConfig {
        request_timeout,
        election_timeout: config.election_timeout,
        quota_bytes: config.quota_bytes.unwrap_or_default(),
        txn_ops_max: config.txn_ops_max,
        learners_max: config.learners_max,
        lease_ttl_s_min: lease_ttl_s_min(config),
        ..LocalConfig::new(standing.cluster, standing.member)
    };
    let local = Local::new(engine.clone(), local);
    let quota = local.quota();
    let guarded = AuthConfig {
        cluster: standing.cluster,
        member: standing.member,
        request_timeout,
        bcrypt_cost: config.auth.bcrypt_cost,
        keys,
    };
    let guard = Guard::new(Arc::new(local), engine.clone(), Arc::clone(&quota), guarded);
    let recipes = Recipes::new(Arc::new(guard));
    let registry = Registry::new(Arc::new(recipes), engine.clone(), config.discovery_service);
    let service = Arc::new(registry.clone());
    let member = Some((engine.clone(), quota));
    (About { engine: member, registry: Some(registry), ..About::new(config) }, service)
}

/// etcd's: one and a half election timeouts, in whole seconds, so that no lease ends during an election.
fn lease_ttl_s_min(config: &Config) -> i64 {
    let millis = config.election_timeout.as_millis() * 3 / 2;
    i64::try_from(millis.div_ceil(1_000)).unwrap_or(i64::MAX)
}

fn transport_config(
    config: &Config,
    standing: &Standing,
    drawn: Drawn,
    keychain: Arc<Keychain>,
    clock: Arc<dyn Clock>,
) -> transport::Config {
    transport::Config {
        cluster: standing.cluster,
        member: standing.member,
        name: config.name.clone(),
        boot_nonce: drawn.boot_nonce,
        reset_secret: drawn.reset_secret,
        versions: VERSIONS,
        advertise_peer_urls: config.advertise_peer_urls.clone(),
        listeners: config.listeners.clone(),
        keychain,
        clock,
        names: config.resolver.names(),
        guest_asks: vec![engine::AskKind::Members as u16],
        bounds: transport::Bounds::new(),
        outbox_bytes_max: limits::OUTBOX_BYTES_MAX,
    }
}

fn spawn_chores(chores: Chores) -> Result<JoinHandle<()>, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(Error::Thread)?;
    thread::Builder::new()
        .name("chores".to_owned())
        .spawn(move || runtime.block_on(chores.run()))
        .map_err(Error::Thread)
}

/// See [`transport::Config`].
struct Drawn {
    boot_nonce: u64,
    reset_secret: [u8; 32],
}

impl Drawn {
    fn new(dir: &DataDir) -> Result<Self, Error> {
        let boot_nonce = u64::from_be_bytes(draw()?);
        Ok(Self { boot_nonce, reset_secret: dir.reset_secret(draw()?)? })
    }
}

pub(super) fn draw<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(Error::Dice)?;
    Ok(bytes)
}
