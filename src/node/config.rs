//! What a node needs to know to start: plain data, checked before it gets here.
//!
//! Paths, addresses and bounds as they are meant, not as they were written; `config` makes it from files, environment
//! and flags, the playground and the tests make it by hand. Knows nothing of where a value came from.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::base::limits;

/// One member's settings.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    pub name: String,
    pub data_dir: PathBuf,
    pub roster: Roster,
    /// One endpoint each; an address occurs once.
    pub listeners: Vec<Listener>,
    /// Where the other members find this one.
    pub advertise_peer_urls: Vec<String>,
    /// Where clients find this one; published to every member.
    pub advertise_client_urls: Vec<String>,
    /// Present when a peer URL is `https://`.
    pub peer_tls: Option<TlsFiles>,
    /// Present when a client URL is `https://`.
    pub client_tls: Option<TlsFiles>,
    pub heartbeat_interval: Duration,
    pub election_timeout: Duration,
    pub pre_vote: bool,
    pub strict_reconfig_check: bool,
    /// Bytes of storage at which the NOSPACE alarm is raised; none = never.
    pub quota_bytes: Option<u64>,
    pub request_bytes_max: usize,
    pub txn_ops_max: usize,
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
    pub peer_urls: Vec<String>,
}

/// Whether the roster founds a cluster or joins one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClusterState {
    New,
    Existing,
}

/// One address that is listened on, and for whom.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Listener {
    pub address: SocketAddr,
    /// The peer protocol is accepted here.
    pub peers: bool,
    /// The URLs of this address say `https://`: certificates are shown and asked for.
    pub secure: bool,
}

/// Certificates of one trust, PEM files.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
    /// Whose certificates are believed.
    pub trusted_ca: Option<PathBuf>,
    /// Who comes without a certificate is refused.
    pub client_cert_auth: bool,
    pub crl: Option<PathBuf>,
    /// Peers only: common names of which a certificate must carry one; empty = any.
    pub allowed_cn: Vec<String>,
    /// Peers only: the same for DNS names and addresses.
    pub allowed_hostname: Vec<String>,
}

impl Config {
    /// A member that founds a cluster of its own, listening nowhere yet.
    pub fn new(name: impl Into<String>, data_dir: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            data_dir: data_dir.into(),
            roster: Roster {
                members: Vec::new(),
                token: "etcd-cluster".to_owned(),
                state: ClusterState::New,
            },
            listeners: Vec::new(),
            advertise_peer_urls: Vec::new(),
            advertise_client_urls: Vec::new(),
            peer_tls: None,
            client_tls: None,
            heartbeat_interval: Duration::from_millis(100),
            election_timeout: Duration::from_millis(1_000),
            pre_vote: true,
            strict_reconfig_check: true,
            quota_bytes: Some(limits::QUOTA_BYTES_DEFAULT),
            request_bytes_max: limits::REQUEST_BYTES_MAX,
            txn_ops_max: limits::TXN_OPS_MAX,
        }
    }
}
