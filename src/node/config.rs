//! What a node needs to know to start: plain data, checked before it gets here.
//!
//! Paths, addresses and bounds as they are meant, not as they were written; `config` makes it from files, environment
//! and flags, the playground and the tests make it by hand. Knows nothing of where a value came from.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::api::TokenKind;
use crate::base::limits;
use crate::discovery::{Meeting, Resolver, Srv};
use crate::tls::{KeychainFiles, Scheme};
use crate::transport::{Listener, Url};

/// One member's settings.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    pub name: String,
    pub data_dir: PathBuf,
    /// Where the log of a new member is put, if not into `data_dir`.
    pub wal_dir: Option<PathBuf>,
    pub roster: Roster,
    /// Whose SRV records name the founders, in place of the roster's members.
    pub srv: Option<Srv>,
    /// Where the founders tell each other who they are, in place of the roster's members.
    pub meeting: Option<Meeting>,
    /// Who knows the addresses of members.
    pub resolver: Resolver,
    /// One endpoint each; an address occurs once.
    pub listeners: Vec<Listener>,
    /// Addresses of TCP for all that is no gRPC; where there are some, the listeners' TCP is for gRPC alone.
    pub http_listens: Vec<TcpUrl>,
    /// Whether the JSON gateway is served.
    pub gateway: bool,
    /// Whether etcd's v2 API is served.
    pub v2: bool,
    /// Whether it serves strangers, who get a discovery service and nothing else.
    pub discovery_service: bool,
    pub tcp: TcpRules,
    /// Addresses of TCP for metrics and health alone.
    pub metrics_listens: Vec<TcpUrl>,
    /// Where the other members find this one.
    pub advertise_peer_urls: Vec<Url>,
    /// Where clients find this one; published to every member.
    pub advertise_client_urls: Vec<Url>,
    pub keychain: KeychainFiles,
    pub heartbeat_interval: Duration,
    pub election_timeout: Duration,
    /// Bytes of storage at which the NOSPACE alarm is raised; none = never.
    pub quota_bytes: Option<u64>,
    pub request_bytes_max: usize,
    /// What the data directory holds becomes a cluster of this member alone.
    pub force_new_cluster: bool,
    /// Operations in one branch, or compares, of a transaction.
    pub txn_ops_max: usize,
    /// Learners that the cluster may have when this member adds one.
    pub learners_max: u32,
    /// Free bytes in the database's file from which on a start gives them back to the disk; none: never.
    pub shrink_from_bytes: Option<u64>,
    /// What a leader compacts by itself; none: nothing.
    pub auto_compaction: Option<AutoCompaction>,
    pub comparisons: Comparisons,
    /// Between two notifications of a quiet watch that asked for them.
    pub watch_progress_interval: Duration,
    pub auth: AuthRules,
    pub proxy: ProxyRules,
}

/// What automatic compaction keeps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AutoCompaction {
    /// What was so long ago, and all since.
    Time(Duration),
    /// So many revisions.
    Revisions(i64),
}

/// When members compare their histories.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Comparisons {
    /// So often the leader has all of them compared; none: never.
    pub interval: Option<Duration>,
    /// This member compares its own before it is ready.
    pub at_start: bool,
}

impl Default for Comparisons {
    fn default() -> Self {
        Self { interval: Some(Duration::from_secs(3_600)), at_start: false }
    }
}

/// Whether a node is a proxy, and how one asks members.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProxyRules {
    pub mode: ProxyMode,
    /// Between two looks who the members are.
    pub refresh: Duration,
    /// How long a member that failed is asked after the others only.
    pub failure_wait: Duration,
    /// For a member to answer the first time.
    pub dial_timeout: Duration,
    /// Its addresses, where they differ from those of a member: it listens to clients alone.
    pub listeners: Vec<Listener>,
    /// Whether a founder that comes when the cluster is full becomes one.
    pub is_fallback: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProxyMode {
    /// It is a member.
    Off,
    On,
    /// It lets no change through.
    Readonly,
}

impl Default for ProxyRules {
    /// A member; etcd's times.
    fn default() -> Self {
        Self {
            mode: ProxyMode::Off,
            refresh: Duration::from_secs(30),
            failure_wait: Duration::from_secs(5),
            dial_timeout: Duration::from_secs(1),
            listeners: Vec::new(),
            is_fallback: true,
        }
    }
}

/// How users of the v3 API are known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuthRules {
    pub(super) tokens: TokenKind,
    /// A simple token's life after its last use.
    pub(super) token_ttl: Duration,
    /// What a password costs who guesses it: each one more doubles it.
    pub(super) bcrypt_cost: u32,
}

impl AuthRules {
    /// `token` as in etcd's auth-token; what is wrong with it otherwise.
    pub fn new(token: &str, token_ttl: Duration, bcrypt_cost: u32) -> Result<Self, String> {
        let tokens = TokenKind::parse(token).map_err(|error| error.to_string())?;
        Ok(Self { tokens, token_ttl, bcrypt_cost })
    }
}

impl Default for AuthRules {
    /// etcd's.
    fn default() -> Self {
        let token_ttl = Duration::from_secs(300);
        Self { tokens: TokenKind::Simple, token_ttl, bcrypt_cost: 10 }
    }
}

/// Where TCP is listened on, and how it is spoken to.
pub type TcpUrl = (SocketAddr, Scheme);

/// What one connection over TCP may do, and who may ask without gRPC.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TcpRules {
    /// Calls and streams of gRPC that it may have open.
    pub streams_max: u32,
    /// Silence after which it is asked whether it lives; none: never.
    pub keep_alive: Option<Duration>,
    /// Time for its answer.
    pub keep_alive_timeout: Duration,
    /// Origins whose pages may ask; empty: any.
    pub origins: BTreeSet<String>,
    /// Names by which the member may be called without TLS; empty: any.
    pub hosts: BTreeSet<String>,
    /// Whether `/metrics` tells how long calls take.
    pub times_calls: bool,
}

impl Default for TcpRules {
    fn default() -> Self {
        Self {
            streams_max: limits::HTTP2_STREAMS_MAX,
            keep_alive: Some(limits::HTTP2_KEEP_ALIVE),
            keep_alive_timeout: limits::HTTP2_KEEP_ALIVE_TIMEOUT,
            origins: BTreeSet::new(),
            hosts: BTreeSet::new(),
            times_calls: false,
        }
    }
}

/// Who founds the cluster, or whom a joining member asks. Read only while the data directory is empty.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Roster {
    pub members: Vec<RosterMember>,
    pub token: String,
    pub state: ClusterState,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RosterMember {
    pub name: String,
    /// Sorted, without duplicates.
    pub peer_urls: Vec<Url>,
}

/// Whether the roster founds a cluster or joins one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClusterState {
    New,
    Existing,
}

impl Config {
    /// A member that founds a cluster of its own, listening nowhere yet.
    pub fn new(name: impl Into<String>, data_dir: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            data_dir: data_dir.into(),
            wal_dir: None,
            roster: Roster {
                members: Vec::new(),
                token: "etcd-cluster".to_owned(),
                state: ClusterState::New,
            },
            srv: None,
            meeting: None,
            resolver: Resolver::system(),
            listeners: Vec::new(),
            http_listens: Vec::new(),
            metrics_listens: Vec::new(),
            gateway: true,
            v2: true,
            discovery_service: false,
            tcp: TcpRules::default(),
            advertise_peer_urls: Vec::new(),
            advertise_client_urls: Vec::new(),
            keychain: KeychainFiles::default(),
            heartbeat_interval: Duration::from_millis(100),
            election_timeout: Duration::from_millis(1_000),
            quota_bytes: Some(limits::QUOTA_BYTES_DEFAULT),
            request_bytes_max: limits::REQUEST_BYTES_MAX,
            force_new_cluster: false,
            txn_ops_max: limits::TXN_OPS_MAX,
            learners_max: 1,
            shrink_from_bytes: None,
            auto_compaction: None,
            comparisons: Comparisons::default(),
            watch_progress_interval: limits::WATCH_PROGRESS_INTERVAL,
            auth: AuthRules::default(),
            proxy: ProxyRules::default(),
        }
    }
}
