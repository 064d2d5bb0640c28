//! From settings as written to a node's configuration as meant, with etcd's start-up checks.
//!
//! What depends on the roster (is this member in it, and with these URLs?) is decided by the node, because it counts
//! only while the data directory is empty.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::{limits, parse_duration};
use crate::node::{ClusterState, Config, Roster, RosterMember, TcpUrl};
use crate::tls::{KeychainFiles, Scheme};
use crate::transport::{Listener, Url};

use super::certificates::{self, Planes};
use super::finding::{meeting, resolver, srv};
use super::keys::Settings;
use super::mistakes::Mistakes;
use super::outputs::{self, Outputs};
use super::types::{Initial, List};
use super::{compaction, comparisons, gates, proxy};

/// Everything a server starts with.
#[derive(Clone, Debug)]
pub struct Start {
    pub node: Config,
    pub logging: Logging,
    /// What was set and does nothing here, each with its reason: for the log, once there is one.
    pub ignored: Vec<String>,
    /// What is not wrong but unwise about these settings: the same.
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Logging {
    /// A level, or directives such as `info,quorate::engine=debug`.
    pub filter: String,
    pub format: LogFormat,
    pub outputs: Outputs,
}

impl Logging {
    /// To stderr.
    pub fn new(filter: impl Into<String>, format: LogFormat) -> Self {
        Self { filter: filter.into(), format, outputs: Outputs::default() }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogFormat {
    /// Console on a terminal, JSON otherwise.
    Auto,
    Console,
    Json,
}

/// The four lists of URLs, parsed.
pub(super) struct Urls {
    pub(super) listen_peers: Vec<Url>,
    pub(super) listen_clients: Vec<Url>,
    pub(super) advertise_peers: Vec<Url>,
    pub(super) advertise_clients: Vec<Url>,
}

/// `is_written` tells whether a key was set by anybody.
pub(super) fn check(
    settings: &Settings,
    is_written: &dyn Fn(&str) -> bool,
) -> Result<Start, Mistakes> {
    let mut mistakes = Mistakes::default();
    let mut warnings = Vec::new();
    if settings.name.is_empty() {
        mistakes.push("name is empty: every member has a name of its own");
    }
    let members = roster(&settings.initial_cluster, &mut mistakes);
    let srv = srv(settings, &mut mistakes);
    let meeting = meeting(settings, &mut mistakes);
    let resolver = resolver(settings, &mut mistakes);
    let urls = urls(settings, is_written, &members, &mut mistakes);
    let listeners = listeners(&urls, &mut mistakes);
    let tcp = tcp_only(settings, &listeners, &mut mistakes);
    let state = cluster_state(settings, &mut mistakes);
    let (heartbeat_interval, election_timeout) = timing(settings, &mut mistakes);
    let data_dir = data_dir(settings);
    let keychain = keychain(settings, &urls, &data_dir, &mut mistakes, &mut warnings);
    let bounds = bounds(settings, &mut mistakes);
    let tcp_rules = super::tcp::rules(settings, &mut mistakes);
    let auth = super::auth::rules(settings, &mut mistakes, &mut warnings);
    always_on("strict-reconfig-check", settings.strict_reconfig_check, &mut warnings);
    always_on("pre-vote", settings.pre_vote, &mut warnings);
    let mut proxy = proxy::rules(settings, &mut mistakes);
    // What is wrong with these is told already.
    proxy.listeners = Listener::of(&[], &urls.listen_clients).unwrap_or_default();
    let logging = logging(settings, &mut mistakes, &mut warnings);
    let auto_compaction = compaction::rules(settings, &mut mistakes);
    let comparisons = comparisons::rules(settings, &mut mistakes);
    let watch_progress_interval = progress(settings, &mut mistakes);
    gates::check(&settings.feature_gates, &mut mistakes, &mut warnings);
    advise(settings, &urls, &mut warnings);
    let node = Config {
        name: settings.name.clone(),
        wal_dir: (!settings.wal_dir.is_empty()).then(|| PathBuf::from(&settings.wal_dir)),
        data_dir,
        roster: Roster { members, token: settings.initial_cluster_token.clone(), state },
        srv,
        meeting,
        resolver,
        listeners,
        http_listens: tcp.http,
        metrics_listens: tcp.metrics,
        gateway: settings.enable_grpc_gateway,
        v2: settings.enable_v2,
        discovery_service: settings.discovery_service,
        tcp: tcp_rules,
        advertise_peer_urls: urls.advertise_peers,
        advertise_client_urls: urls.advertise_clients,
        keychain,
        heartbeat_interval,
        election_timeout,
        quota_bytes: quota(settings.quota_backend_bytes),
        request_bytes_max: bounds.request_bytes,
        force_new_cluster: settings.force_new_cluster,
        txn_ops_max: bounds.txn_ops,
        learners_max: bounds.learners,
        shrink_from_bytes: shrink_from(settings, &mut mistakes),
        auto_compaction,
        comparisons,
        watch_progress_interval,
        auth,
        proxy,
    };
    mistakes.unless_any(Start { node, logging, ignored: Vec::new(), warnings })
}

pub(super) fn is_proxy(settings: &Settings) -> bool {
    settings.proxy != "off"
}

/// Known to etcd's users, and never off here.
fn always_on(key: &str, value: bool, warnings: &mut Vec<String>) {
    if !value {
        warnings.push(format!("{key} is false, and it is always on here"));
    }
}

fn keychain(
    settings: &Settings,
    urls: &Urls,
    data_dir: &Path,
    mistakes: &mut Mistakes,
    warnings: &mut Vec<String>,
) -> KeychainFiles {
    let planes = Planes { settings, urls, fixtures: &data_dir.join("fixtures") };
    KeychainFiles {
        peer: planes.peer(mistakes, warnings),
        client: planes.client(mistakes, warnings),
        tcp: certificates::tcp_policy(settings, mistakes, warnings),
    }
}

fn data_dir(settings: &Settings) -> PathBuf {
    match settings.data_dir.as_str() {
        "" => PathBuf::from(format!("{}.etcd", settings.name)),
        data_dir => PathBuf::from(data_dir),
    }
}

fn shrink_from(settings: &Settings, mistakes: &mut Mistakes) -> Option<u64> {
    let megabytes = settings.bootstrap_defrag_threshold_megabytes;
    let Ok(bytes) = u64::try_from(megabytes).map(|megabytes| megabytes.saturating_mul(1 << 20))
    else {
        mistakes.push(format!(
            "bootstrap-defrag-threshold-megabytes is {megabytes}; it must be at least 0"
        ));
        return None;
    };
    (bytes > 0).then_some(bytes)
}

fn progress(settings: &Settings, mistakes: &mut Mistakes) -> Duration {
    match parse_duration(&settings.watch_progress_notify_interval) {
        Ok(time) if time >= limits::WATCH_PROGRESS_INTERVAL_MIN => time,
        Ok(_) => {
            let least = limits::WATCH_PROGRESS_INTERVAL_MIN;
            mistakes.push(format!("watch-progress-notify-interval must be at least {least:?}"));
            limits::WATCH_PROGRESS_INTERVAL
        }
        Err(error) => {
            mistakes.push(format!("watch-progress-notify-interval: {error}"));
            limits::WATCH_PROGRESS_INTERVAL
        }
    }
}

/// What one request, and one cluster, may have at the most.
struct Bounds {
    request_bytes: usize,
    txn_ops: usize,
    learners: u32,
}

fn bounds(settings: &Settings, mistakes: &mut Mistakes) -> Bounds {
    let mut read = |key, value, max| bound(key, value, max, mistakes);
    let learners = read("max-learners", settings.max_learners, limits::MEMBERS_MAX);
    Bounds {
        request_bytes: read(
            "max-request-bytes",
            settings.max_request_bytes,
            limits::REQUEST_BYTES_MAX,
        ),
        txn_ops: read("max-txn-ops", settings.max_txn_ops, limits::TXN_OPS_MAX_MAX),
        learners: u32::try_from(learners).unwrap_or(u32::MAX),
    }
}

fn bound(key: &str, value: i64, max: usize, mistakes: &mut Mistakes) -> usize {
    match usize::try_from(value) {
        Ok(value) if (1..=max).contains(&value) => value,
        _ => {
            mistakes.push(format!("{key} is {value}; it must be from 1 to {max}"));
            max
        }
    }
}

fn quota(setting: i64) -> Option<u64> {
    match u64::try_from(setting) {
        Ok(0) => Some(limits::QUOTA_BYTES_DEFAULT),
        Ok(bytes) => Some(bytes),
        Err(_) => None,
    }
}

fn cluster_state(settings: &Settings, mistakes: &mut Mistakes) -> ClusterState {
    match settings.initial_cluster_state.as_str() {
        "new" => ClusterState::New,
        "existing" => ClusterState::Existing,
        other => {
            mistakes.push(format!("initial-cluster-state is {other:?}; it is new or existing"));
            ClusterState::New
        }
    }
}

fn timing(settings: &Settings, mistakes: &mut Mistakes) -> (Duration, Duration) {
    let (heartbeat, election) = (settings.heartbeat_interval, settings.election_timeout);
    if !(1..=10_000).contains(&heartbeat) {
        mistakes.push(format!("heartbeat-interval is {heartbeat}; it must be from 1 to 10000 ms"));
    } else if election < 5 * heartbeat {
        mistakes.push(format!(
            "election-timeout is {election} ms and heartbeat-interval {heartbeat} ms: it must be at least 5 heartbeats, \
             so that one lost packet starts no election"
        ));
    } else if election > 50_000 {
        mistakes.push(format!("election-timeout is {election} ms; it must be at most 50000 ms"));
    }
    let millis = |value: i64| Duration::from_millis(u64::try_from(value).unwrap_or_default());
    (millis(heartbeat), millis(election))
}

fn logging(settings: &Settings, mistakes: &mut Mistakes, warnings: &mut Vec<String>) -> Logging {
    let format = match settings.log_format.as_str() {
        "auto" => LogFormat::Auto,
        "console" => LogFormat::Console,
        "json" => LogFormat::Json,
        other => {
            mistakes.push(format!("log-format is {other:?}; it is auto, console or json"));
            LogFormat::Auto
        }
    };
    // zap knows two levels above error: nothing is logged at them here.
    let filter = match settings.log_level.as_str() {
        "dpanic" | "panic" | "fatal" => "error".to_owned(),
        filter => filter.to_owned(),
    };
    if !filter.split(',').all(is_directive) {
        mistakes.push(format!(
            "log-level is {filter:?}; it is error, warn, info, debug or trace, or a filter such as info,quorate::engine=debug"
        ));
    }
    Logging { filter, format, outputs: outputs::outputs(settings, mistakes, warnings) }
}

/// `info`, or `quorate::engine=debug`.
fn is_directive(part: &str) -> bool {
    let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
    ["off", "error", "warn", "info", "debug", "trace"]
        .contains(&level.to_ascii_lowercase().as_str())
}

/// Those who found a cluster, from etcd's syntax of initial-cluster.
pub fn founders(initial_cluster: &str, token: &str) -> Result<Roster, Mistakes> {
    let mut mistakes = Mistakes::default();
    let initial = Initial::parse(initial_cluster).unwrap_or_else(|error| {
        mistakes.push(format!("initial-cluster: {error}"));
        Initial::default()
    });
    let members = roster(&initial, &mut mistakes);
    mistakes.unless_any(Roster { members, token: token.to_owned(), state: ClusterState::New })
}

/// The members of initial-cluster in their order, each with its URLs sorted.
fn roster(initial: &Initial, mistakes: &mut Mistakes) -> Vec<RosterMember> {
    let mut members: Vec<RosterMember> = Vec::new();
    let mut owners: BTreeMap<Url, String> = BTreeMap::new();
    for (name, text) in &initial.0 {
        let url = match text.parse::<Url>() {
            Ok(url) => url,
            Err(error) => {
                mistakes.push(format!("initial-cluster, member {name}: {error}"));
                continue;
            }
        };
        if let Some(owner) = owners.insert(url.clone(), name.clone()) {
            mistakes.push(format!("initial-cluster gives {url} to {owner} and to {name}: each URL belongs to one member"));
            continue;
        }
        match members.iter_mut().find(|member| member.name == *name) {
            Some(member) => member.peer_urls.push(url),
            None => members.push(RosterMember { name: name.clone(), peer_urls: vec![url] }),
        }
    }
    for member in &mut members {
        member.peer_urls.sort_unstable();
    }
    if members.len() > limits::MEMBERS_MAX {
        mistakes.push(format!(
            "initial-cluster has {} members; {} are the most, and 3 or 5 are what you want",
            members.len(),
            limits::MEMBERS_MAX
        ));
    }
    members
}

fn urls(
    settings: &Settings,
    is_written: &dyn Fn(&str) -> bool,
    members: &[RosterMember],
    mistakes: &mut Mistakes,
) -> Urls {
    let is_unsaid = is_written("listen-client-urls") && !is_written("advertise-client-urls");
    // A proxy tells nobody where it is.
    if is_unsaid && !is_proxy(settings) {
        mistakes.push(
            "advertise-client-urls is required when listen-client-urls is set explicitly: \
             write the URLs that clients reach this member at",
        );
    }
    let mut read = |key: &str, list: &List| {
        let urls = parse_all(key, list, mistakes);
        if list.0.is_empty() {
            mistakes.push(format!("{key} is empty: write at least one URL"));
        }
        urls
    };
    let listen_peers = read("listen-peer-urls", &settings.listen_peer_urls);
    let listen_clients = read("listen-client-urls", &settings.listen_client_urls);
    let advertise_clients = read("advertise-client-urls", &settings.advertise_client_urls);
    let mut advertise_peers =
        read("initial-advertise-peer-urls", &settings.initial_advertise_peer_urls);
    if !is_written("initial-advertise-peer-urls") {
        let own = members.iter().find(|member| member.name == settings.name);
        if let Some(own) = own {
            advertise_peers = own.peer_urls.clone();
        } else if is_written("listen-peer-urls") && !listen_peers.iter().any(is_wildcard) {
            advertise_peers.clone_from(&listen_peers);
        }
    }
    Urls { listen_peers, listen_clients, advertise_peers, advertise_clients }
}

fn parse_all(key: &str, list: &List, mistakes: &mut Mistakes) -> Vec<Url> {
    let mut urls = Vec::new();
    for text in &list.0 {
        match text.parse::<Url>() {
            Ok(url) if urls.contains(&url) => {
                mistakes.push(format!("{key} names {url} twice: remove one"));
            }
            Ok(url) => urls.push(url),
            Err(error) => mistakes.push(format!("{key}: {error}")),
        }
    }
    urls.sort();
    urls
}

/// One endpoint per address: an address in both lists serves members and clients.
fn listeners(urls: &Urls, mistakes: &mut Mistakes) -> Vec<Listener> {
    Listener::of(&urls.listen_peers, &urls.listen_clients).unwrap_or_else(|error| {
        mistakes.push(format!("listen-peer-urls and listen-client-urls: {error}"));
        Vec::new()
    })
}

/// Addresses of TCP beside those of members and clients.
struct TcpOnly {
    http: Vec<TcpUrl>,
    metrics: Vec<TcpUrl>,
}

fn tcp_only(settings: &Settings, listeners: &[Listener], mistakes: &mut Mistakes) -> TcpOnly {
    let mut taken: Vec<SocketAddr> = listeners.iter().map(|listener| listener.address).collect();
    let secure = settings.listen_client_urls.0.iter().any(|url| url.starts_with("https:"));
    let mut read = |key: &str, list: &List| -> Vec<TcpUrl> {
        let mut found = Vec::new();
        for url in parse_all(key, list, mistakes) {
            match url.bind_address() {
                Ok(address) if address.port() != 0 && taken.contains(&address) => mistakes.push(
                    format!("{key}: {url} is listened on already: give it a port of its own"),
                ),
                Ok(_) if url.scheme == Scheme::Https && !secure => mistakes.push(format!(
                    "{key}: {url} needs the certificate of clients' addresses, and listen-client-urls says http://"
                )),
                Ok(address) => {
                    taken.push(address);
                    found.push((address, url.scheme));
                }
                Err(error) => mistakes.push(format!("{key}: {error}")),
            }
        }
        found
    };
    let http = read("listen-client-http-urls", &settings.listen_client_http_urls);
    let metrics = read("listen-metrics-urls", &settings.listen_metrics_urls);
    TcpOnly { http, metrics }
}

/// What is allowed and probably not meant.
fn advise(settings: &Settings, urls: &Urls, warnings: &mut Vec<String>) {
    if !is_proxy(settings) && urls.listen_peers.iter().any(|url| url.scheme == Scheme::Http) {
        warnings.push(
            "peer URLs say http://: members do not verify each other, and whoever reaches the port may join the \
             consensus; use https:// with peer-cert-file, peer-key-file and peer-trusted-ca-file"
                .to_owned(),
        );
    }
    if settings.quota_backend_bytes > 8 << 30 {
        warnings.push("quota-backend-bytes is above 8 GiB: expect slow snapshots".to_owned());
    }
    for url in urls.advertise_clients.iter().chain(&urls.advertise_peers) {
        if is_wildcard(url) {
            warnings.push(format!(
                "{url} is advertised, and nobody can dial it: write this machine's address"
            ));
        }
    }
}

/// Whether the host stands for every address of the machine.
fn is_wildcard(url: &Url) -> bool {
    url.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_all(change: impl FnOnce(&mut Settings)) -> Result<Start, Mistakes> {
        let mut settings = Settings::default();
        change(&mut settings);
        let before = serde_json::to_value(Settings::default()).unwrap();
        let after = serde_json::to_value(&settings).unwrap();
        check(&settings, &|key| before[key] != after[key])
    }

    fn told(change: impl FnOnce(&mut Settings)) -> String {
        check_all(change).unwrap_err().to_string()
    }

    #[test]
    fn without_settings_it_is_etcds_single_member_in_clear() {
        let start = check_all(|_| ()).unwrap();
        assert_eq!(start.node.data_dir, PathBuf::from("default.etcd"));
        assert_eq!(start.node.listeners.len(), 2);
        assert_eq!(start.node.quota_bytes, Some(2 << 30));
        assert!(start.warnings.iter().any(|it| it.contains("may join the consensus")));
    }

    #[test]
    fn one_address_in_both_lists_is_one_endpoint() {
        let start = check_all(|it| {
            it.listen_peer_urls = List::parse("http://127.0.0.1:2379");
            it.listen_client_urls = List::parse("http://127.0.0.1:2379,http://127.0.0.1:9");
            it.advertise_client_urls = List::parse("http://127.0.0.1:2379 ");
            it.advertise_client_urls.0.push("http://localhost:9".to_owned());
        });
        let node = start.unwrap().node;
        let seen: Vec<(u16, bool)> =
            node.listeners.iter().map(|it| (it.address.port(), it.doors.peers.is_some())).collect();
        assert_eq!(seen, [(9, false), (2379, true)]);
        assert_eq!(node.advertise_peer_urls[0].to_string(), "http://127.0.0.1:2379");
    }

    #[test]
    fn etcds_start_up_checks_say_what_to_mend() {
        let said = told(|it| it.listen_client_urls = List::parse("http://127.0.0.1:1"));
        assert!(
            said.starts_with("advertise-client-urls is required when listen-client-urls"),
            "{said}"
        );
        let said = told(|it| it.election_timeout = 499);
        assert!(said.contains("at least 5 heartbeats"), "{said}");
        let said = told(|it| it.election_timeout = 50_001);
        assert!(said.contains("at most 50000 ms"), "{said}");
        let said = told(|it| it.listen_peer_urls = List::parse("http://node-1:2380"));
        assert!(said.contains("an IP address is needed"), "{said}");
        let said = told(|it| it.initial_cluster_state = "old".to_owned());
        assert_eq!(said, "initial-cluster-state is \"old\"; it is new or existing");
        let said =
            told(|it| it.initial_cluster = Initial::parse("a=http://h:1,b=http://h:1").unwrap());
        assert!(said.contains("to a and to b"), "{said}");
        let said = told(|it| it.log_level = "loud".to_owned());
        assert!(said.contains("log-level"), "{said}");
        check_all(|it| it.log_level = "info,quorate::engine=debug".to_owned()).unwrap();
    }

    #[test]
    fn https_without_files_is_refused_with_the_way_out() {
        let said = told(|it| {
            it.listen_peer_urls = List::parse("https://127.0.0.1:1");
            it.listen_client_urls = List::parse("https://127.0.0.1:1");
            it.advertise_client_urls = List::parse("https://127.0.0.1:1");
            it.cert_file = "/nowhere.crt".to_owned();
            it.client_cert_auth = true;
        });
        for part in [
            "peer-cert-file is not set, and the peer URLs say https://: make certificates with `quorate cert`",
            "cert-file: cannot read /nowhere.crt",
            "trusted-ca-file is not set, and client-cert-auth is true",
        ] {
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn pages_may_have_addresses_of_their_own() {
        let start = check_all(|it| {
            it.listen_metrics_urls = List::parse("http://127.0.0.1:9");
            it.listen_client_http_urls = List::parse("http://127.0.0.1:8");
        });
        let node = start.unwrap().node;
        assert_eq!(node.metrics_listens, [("127.0.0.1:9".parse().unwrap(), Scheme::Http)]);
        assert_eq!(node.http_listens, [("127.0.0.1:8".parse().unwrap(), Scheme::Http)]);
        let said = told(|it| it.listen_metrics_urls = List::parse("http://127.0.0.1:2379"));
        assert!(said.contains("is listened on already"), "{said}");
        let said = told(|it| it.listen_metrics_urls = List::parse("https://127.0.0.1:9"));
        assert!(said.contains("listen-client-urls says http://"), "{said}");
    }

    #[test]
    fn one_door_has_one_scheme() {
        let said =
            told(|it| it.listen_peer_urls = List::parse("http://127.0.0.1:1,https://127.0.0.1:1"));
        assert!(said.contains("listed with http and https"), "{said}");
    }
}
