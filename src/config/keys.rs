//! The one definition of every setting: its key, type, default and help.
//!
//! Flags, `config/default.toml`, the names of environment variables and the hints for mistyped keys all come from
//! this table. Only what works is in it; etcd's other flags have their answers in `unbuilt`.

use serde::{Deserialize, Serialize};

use super::types::{Initial, List};

/// What a key takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Text,
    List,
    Initial,
    Number,
    Switch,
}

/// Where a key stands in help and sample file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Section {
    Member,
    Clustering,
    Security,
    Logging,
}

#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub name: &'static str,
    pub section: Section,
    pub kind: Kind,
    pub help: &'static str,
}

macro_rules! settings {
    ($( $section:ident { $( #[doc = $help:literal] $field:ident $name:literal : $kind:ident = $default:expr; )* } )*) => {
        /// The settings as they are written; empty texts are unset.
        #[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
        #[serde(deny_unknown_fields)]
        pub struct Settings {
            $($( #[doc = $help] #[serde(rename = $name)] pub $field: settings!(@type $kind), )*)*
        }

        impl Default for Settings {
            fn default() -> Self {
                Self { $($( $field: $default, )*)* }
            }
        }

        /// Every key, in the order a person reads them.
        pub const KEYS: &[Key] = &[
            $($( Key { name: $name, section: Section::$section, kind: Kind::$kind, help: $help }, )*)*
        ];
    };
    (@type Text) => { String };
    (@type List) => { List };
    (@type Initial) => { Initial };
    (@type Number) => { i64 };
    (@type Switch) => { bool };
}

fn list(text: &str) -> List {
    List::parse(text)
}

/// etcd's default.
const ROTATION: &str =
    r#"{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}"#;

settings! {
    Member {
        /// The member's name, unique in its cluster.
        name "name": Text = "default".to_owned();
        /// Where its data lies; empty: <name>.etcd in the working directory.
        data_dir "data-dir": Text = String::new();
        /// Where its log lies, if it is to lie on another disk than its data; empty: in data-dir.
        wal_dir "wal-dir": Text = String::new();
        /// Addresses that members reach it at (UDP), and clients (UDP, TCP) under the promise of the URL. The same address in both lists is one endpoint for everything.
        listen_peer_urls "listen-peer-urls": List = list("http://localhost:2380");
        /// Addresses that clients reach it at: UDP for ours, TCP for etcd's (gRPC).
        listen_client_urls "listen-client-urls": List = list("http://localhost:2379");
        /// Addresses (TCP) for all of clients' HTTP that is no gRPC; empty: listen-client-urls serves both.
        listen_client_http_urls "listen-client-http-urls": List = List::default();
        /// Addresses (TCP) for /metrics, /health, /livez and /readyz alone, beside those of clients.
        listen_metrics_urls "listen-metrics-urls": List = List::default();
        /// Serve etcd's JSON gateway, the paths under /v3/.
        enable_grpc_gateway "enable-grpc-gateway": Switch = true;
        /// Serve etcd's v2 API, the paths under /v2/: a tree of its own, in the same log and snapshots.
        enable_v2 "enable-v2": Switch = true;
        /// Be a discovery service: whoever asks over the network sees and fills the tokens that he knows, and nothing else; `quorate discovery` sets it.
        discovery_service "discovery-service": Switch = false;
        /// Calls and streams of gRPC that one connection over TCP may have open; more wait at the client.
        max_concurrent_streams "max-concurrent-streams": Number = 10_000;
        /// Silence after which a connection over TCP is asked whether it lives; 0: never.
        grpc_keepalive_interval "grpc-keepalive-interval": Text = "1m".to_owned();
        /// Time for its answer; without one it is closed.
        grpc_keepalive_timeout "grpc-keepalive-timeout": Text = "20s".to_owned();
        /// What /metrics tells of calls over TCP: basic, or extensive, which times each method (grpc_server_handling_seconds).
        metrics "metrics": Text = "basic".to_owned();
        /// Time between two notifications of progress to a watch that asked for them.
        watch_progress_notify_interval "watch-progress-notify-interval": Text = "10m".to_owned();
        /// Milliseconds between a leader's heartbeats.
        heartbeat_interval "heartbeat-interval": Number = 100;
        /// Milliseconds without a heartbeat until a follower campaigns; at least 5 heartbeats, at most 50000.
        election_timeout "election-timeout": Number = 1_000;
        /// Bytes of storage at which writes are refused; 0: 2 GiB, negative: never.
        quota_backend_bytes "quota-backend-bytes": Number = 0;
        /// How often members compare their histories, to find one that is corrupt; 0: never.
        corrupt_check_time "corrupt-check-time": Text = "1h".to_owned();
        /// Whether a member compares its history with the others' before it is ready.
        initial_corrupt_check "initial-corrupt-check": Switch = false;
        /// Bytes of the largest request that is taken.
        max_request_bytes "max-request-bytes": Number = 1_572_864;
        /// Operations in one branch of a transaction, and compares; should be equal on all members.
        max_txn_ops "max-txn-ops": Number = 128;
        /// Megabytes of free pages in the database's file from which on a start gives them back to the disk; 0: never.
        bootstrap_defrag_threshold_megabytes "bootstrap-defrag-threshold-megabytes": Number = 0;
        /// etcd's feature gates, as Name=true,Name=false; each is answered with what it means here.
        feature_gates "feature-gates": List = List::default();
    }
    Clustering {
        /// URLs that the other members dial; must be this member's entry of initial-cluster.
        initial_advertise_peer_urls "initial-advertise-peer-urls": List = list("http://localhost:2380");
        /// URLs that clients are told; needed when listen-client-urls is set.
        advertise_client_urls "advertise-client-urls": List = list("http://localhost:2379");
        /// The founding members as name=url,name=url (in a file also a table); empty: this member alone.
        initial_cluster "initial-cluster": Initial = Initial::default();
        /// new: found the cluster; existing: join one that `member add` has told of this member.
        initial_cluster_state "initial-cluster-state": Text = "new".to_owned();
        /// Found the cluster with whoever comes to this URL of a discovery service: http://host:2379/v2/keys/_etcd/registry/TOKEN, or quic://host:2379/TOKEN; in place of initial-cluster.
        discovery "discovery": Text = String::new();
        /// The same by a token of etcd 3.6's protocol; with discovery-endpoints.
        discovery_token "discovery-token": Text = String::new();
        /// The members of the discovery service that has the token (gRPC).
        discovery_endpoints "discovery-endpoints": List = List::default();
        /// What becomes of a member that comes to a discovery service when the cluster is full; proxy: it serves as a proxy of the others; exit: it says so, and ends.
        discovery_fallback "discovery-fallback": Text = "proxy".to_owned();
        /// A proxy of HTTP on the way to the discovery service: http://host:port.
        discovery_proxy "discovery-proxy": Text = String::new();
        /// Time until a connection to the discovery service stands.
        discovery_dial_timeout "discovery-dial-timeout": Text = "2s".to_owned();
        /// Time for one answer of the discovery service.
        discovery_request_timeout "discovery-request-timeout": Text = "5s".to_owned();
        /// Silence after which the connection to discovery-endpoints is asked whether it lives; 10s at the least.
        discovery_keepalive_time "discovery-keepalive-time": Text = "2s".to_owned();
        /// Time for its answer.
        discovery_keepalive_timeout "discovery-keepalive-timeout": Text = "6s".to_owned();
        /// Speak in clear to discovery-endpoints that have no scheme, where no file for TLS is named.
        discovery_insecure_transport "discovery-insecure-transport": Switch = true;
        /// DANGEROUS: believe whoever answers in place of the discovery service.
        discovery_insecure_skip_tls_verify "discovery-insecure-skip-tls-verify": Switch = false;
        /// Certificate shown to the discovery service (PEM).
        discovery_cert "discovery-cert": Text = String::new();
        /// Its private key (PEM).
        discovery_key "discovery-key": Text = String::new();
        /// Whose certificates the discovery service's are believed by (PEM); empty: the system's.
        discovery_cacert "discovery-cacert": Text = String::new();
        /// User of the discovery service, as name or name:password.
        discovery_user "discovery-user": Text = String::new();
        /// Its password, where discovery-user has none.
        discovery_password "discovery-password": Text = String::new();
        /// Found the cluster by the SRV records of this domain: _etcd-server-ssl._tcp, _etcd-server._tcp, _quorate._udp; in place of initial-cluster.
        discovery_srv "discovery-srv": Text = String::new();
        /// Distinguishes clusters of one domain: x asks for _etcd-server-ssl-x._tcp and its like.
        discovery_srv_name "discovery-srv-name": Text = String::new();
        /// The DNS server to ask, as address or address:port; empty: as the system does.
        dns_server "dns-server": Text = String::new();
        /// Learners that there may be when this member adds one; should be equal on all members.
        max_learners "max-learners": Number = 1;
        /// What auto-compaction-retention counts: periodic: time, revision: revisions.
        auto_compaction_mode "auto-compaction-mode": Text = "periodic".to_owned();
        /// What automatic compaction keeps: of time, such as 10m, or hours without a unit; of revisions, a number; 0: it is off.
        auto_compaction_retention "auto-compaction-retention": Text = "0".to_owned();
        /// Distinguishes clusters with equal URLs.
        initial_cluster_token "initial-cluster-token": Text = "etcd-cluster".to_owned();
        /// Refuse membership changes that would cost the quorum; always on.
        strict_reconfig_check "strict-reconfig-check": Switch = true;
        /// DANGEROUS: this member's data becomes a cluster of it alone; for when the majority is lost for ever.
        force_new_cluster "force-new-cluster": Switch = false;
        /// Run no member but a proxy of those that initial-cluster, or discovery, names: on, or readonly, which lets no change through; off: a member.
        proxy "proxy": Text = "off".to_owned();
        /// Milliseconds after which a member that failed is as good as the others to a proxy.
        proxy_failure_wait "proxy-failure-wait": Number = 5_000;
        /// Milliseconds between a proxy's questions who the members are.
        proxy_refresh_interval "proxy-refresh-interval": Number = 30_000;
        /// Milliseconds for a member to answer a proxy the first time.
        proxy_dial_timeout "proxy-dial-timeout": Number = 1_000;
        /// Ask before an election whether it could be won, so that a member that comes back disturbs nobody; always on.
        pre_vote "pre-vote": Switch = true;
    }
    Security {
        /// Certificate shown to clients (PEM).
        cert_file "cert-file": Text = String::new();
        /// Its private key (PEM).
        key_file "key-file": Text = String::new();
        /// Certificate that a proxy shows to members (PEM); empty: the one of members among each other.
        client_cert_file "client-cert-file": Text = String::new();
        /// Its private key (PEM).
        client_key_file "client-key-file": Text = String::new();
        /// Refuse clients without a certificate of trusted-ca-file; that is so, too, where trusted-ca-file is set.
        client_cert_auth "client-cert-auth": Switch = false;
        /// Whose client certificates are believed (PEM); every client needs one of them then.
        trusted_ca_file "trusted-ca-file": Text = String::new();
        /// Client certificates that are revoked (PEM).
        client_crl_file "client-crl-file": Text = String::new();
        /// DNS names or addresses of which a client's certificate must carry one; empty: any.
        client_cert_allowed_hostname "client-cert-allowed-hostname": List = List::default();
        /// Common names of which a client's certificate must carry one; empty: any.
        client_cert_allowed_cn "client-cert-allowed-cn": List = List::default();
        /// Make clients' certificate by itself, in data-dir/fixtures/client, where there is no cert-file; nobody can verify it.
        auto_tls "auto-tls": Switch = false;
        /// How users are known once they have shown a password: simple, or jwt,sign-method=RS256,pub-key=FILE,priv-key=FILE,ttl=5m; equal on all members.
        auth_token "auth-token": Text = "simple".to_owned();
        /// Seconds that a simple token lives after its last use.
        auth_token_ttl "auth-token-ttl": Number = 300;
        /// bcrypt's cost of a password, 4 to 31: each one more doubles the time that it takes.
        bcrypt_cost "bcrypt-cost": Number = 10;
        /// Origins (scheme://host:port) whose pages a browser lets ask over HTTP; *: any.
        cors "cors": List = list("*");
        /// Names by which HTTP without TLS may call this member; *: any.
        host_whitelist "host-whitelist": List = list("*");
        /// Certificate shown to members, good for both ends of a connection (PEM).
        peer_cert_file "peer-cert-file": Text = String::new();
        /// Its private key (PEM).
        peer_key_file "peer-key-file": Text = String::new();
        /// Certificate shown to members that are dialled (PEM); empty: peer-cert-file.
        peer_client_cert_file "peer-client-cert-file": Text = String::new();
        /// Its private key (PEM).
        peer_client_key_file "peer-client-key-file": Text = String::new();
        /// Refuse members without a certificate of peer-trusted-ca-file; that is so, too, where peer-trusted-ca-file is set.
        peer_client_cert_auth "peer-client-cert-auth": Switch = false;
        /// Whose peer certificates are believed (PEM); empty: members that are dialled are believed by the system's, and nobody who calls is asked.
        peer_trusted_ca_file "peer-trusted-ca-file": Text = String::new();
        /// Peer certificates that are revoked (PEM).
        peer_crl_file "peer-crl-file": Text = String::new();
        /// Common names of which a peer certificate must carry one; empty: any.
        peer_cert_allowed_cn "peer-cert-allowed-cn": List = List::default();
        /// DNS names or addresses of which a peer certificate must carry one; empty: any.
        peer_cert_allowed_hostname "peer-cert-allowed-hostname": List = List::default();
        /// DANGEROUS: make members' certificate by itself, in data-dir/fixtures/peer, where there is no peer-cert-file; members encrypt, and believe anybody.
        peer_auto_tls "peer-auto-tls": Switch = false;
        /// Years that a certificate lives which auto-tls or peer-auto-tls makes.
        self_signed_cert_validity "self-signed-cert-validity": Number = 1;
        /// Suites of TLS 1.2 that TCP takes, by Go's names; empty: all that are strong. TLS 1.3 takes its own.
        cipher_suites "cipher-suites": List = List::default();
        /// The oldest TLS that TCP takes: TLS1.2 or TLS1.3. QUIC is TLS 1.3.
        tls_min_version "tls-min-version": Text = "TLS1.2".to_owned();
        /// The newest: TLS1.2, TLS1.3 or empty, which is the newest there is.
        tls_max_version "tls-max-version": Text = String::new();
    }
    Logging {
        /// error, warn, info, debug or trace; or a filter such as info,quorate::engine=debug.
        log_level "log-level": Text = "info".to_owned();
        /// console, json, or auto: console on a terminal, json otherwise.
        log_format "log-format": Text = "auto".to_owned();
        /// Where logs go: stdout, stderr (default, systemd/journal) or files; several with commas.
        log_outputs "log-outputs": List = list("default");
        /// Begin a new file where a file of log-outputs has grown.
        enable_log_rotation "enable-log-rotation": Switch = false;
        /// When, and which old ones are kept: maxsize in MB, maxage in days, maxbackups, localtime.
        log_rotation_config_json "log-rotation-config-json": Text = ROTATION.to_owned();
    }
}

impl Section {
    pub const ALL: [Self; 4] = [Self::Member, Self::Clustering, Self::Security, Self::Logging];

    pub const fn title(self) -> &'static str {
        match self {
            Self::Member => "Member",
            Self::Clustering => "Clustering",
            Self::Security => "Security",
            Self::Logging => "Logging",
        }
    }
}

impl Key {
    pub fn find(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// What a value must be, for a person.
    pub const fn expected(&self) -> &'static str {
        match self.kind {
            Kind::Text => "a text",
            Kind::List => "a list of texts, or one text with commas",
            Kind::Initial => "\"name=url,name=url\", or a table of name = url",
            Kind::Number => "a whole number",
            Kind::Switch => "true or false",
        }
    }
}

/// The text of `config/default.toml`: every key, its help and its default.
pub fn default_toml() -> String {
    let mut text = String::from(
        "# Every setting, with the default it has when nobody sets it (a test keeps this file true).\n\
         # Order: defaults < this file (--config-file) < ETCD_* and QUORATE_* variables < flags.\n",
    );
    let defaults = serde_json::to_value(Settings::default()).unwrap_or_default();
    for section in Section::ALL {
        text.push_str(&format!("\n# ---- {}\n", section.title()));
        for key in KEYS.iter().filter(|key| key.section == section) {
            // JSON's spelling of strings, integers and booleans is TOML's too.
            text.push_str(&format!("\n#{}\n{} = {}\n", key.help, key.name, defaults[key.name]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use figment::providers::Format as _;

    use super::*;

    #[test]
    fn the_sample_file_states_every_key_with_its_default() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/default.toml");
        let written = std::fs::read_to_string(path).unwrap_or_default();
        if std::env::var_os("UPDATE_CONFIG").is_some() {
            std::fs::write(path, default_toml()).unwrap();
        } else {
            assert_eq!(
                written,
                default_toml(),
                "run once with UPDATE_CONFIG=1 and look at the diff"
            );
        }
    }

    #[test]
    fn the_sample_file_reads_back_as_the_defaults() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/default.toml");
        let figment = figment::Figment::from(figment::providers::Toml::file_exact(path));
        assert_eq!(figment.extract::<Settings>().unwrap(), Settings::default());
        let sources =
            super::super::Sources { file: Some(path.into()), ..super::super::Sources::default() };
        assert_eq!(super::super::load(&sources).unwrap().node.name, "default");
    }
}
