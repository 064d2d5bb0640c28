//! `etcd grpc-proxy start`: our proxy, by the flags of etcd's. Its own address is set as a server's settings set one, so the
//! same checks are made, with the same texts.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::config::{self, Rules, Sources, Start};
use crate::node::{Proxy, Running, Whom};

use super::super::args::{Globals, path_parser};
use super::super::connect::Session;
use super::super::duration::parse_duration;
use super::super::exit::Exit;
use super::super::{logging, notify, serve};

// No doc comments on those that are etcd's word for word: its own documentation has them.
#[derive(Args, Debug)]
pub(super) struct GrpcProxy {
    /// Where clients find it
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:23790")]
    listen_addr: String,
    /// The members, with commas
    #[arg(long, value_name = "ADDRESSES")]
    endpoints: Vec<String>,
    /// Between two questions who the members are [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    endpoints_auto_sync_interval: Option<Duration>,
    /// An address of its own for /metrics and /health
    #[arg(long, value_name = "URLS")]
    metrics_addr: Option<String>,
    #[arg(long, value_name = "DOMAIN")]
    discovery_srv: Option<String>,
    #[arg(long, value_name = "NAME")]
    discovery_srv_name: Option<String>,
    #[arg(long)]
    insecure_discovery: bool,
    /// Certificate to show to members (PEM)
    #[arg(long, value_name = "FILE", value_parser = path_parser())]
    cert: Option<PathBuf>,
    #[arg(long, value_name = "FILE", value_parser = path_parser())]
    key: Option<PathBuf>,
    /// Whose members are believed (PEM)
    #[arg(long, value_name = "FILE", value_parser = path_parser())]
    cacert: Option<PathBuf>,
    #[arg(long)]
    insecure_skip_tls_verify: bool,
    /// Log more
    #[arg(long)]
    debug: bool,
    #[command(flatten)]
    served: Served,
    #[command(flatten)]
    without_effect: WithoutEffect,
    /// Refused: keys are passed on as they are
    #[arg(long, value_name = "PREFIX")]
    namespace: Option<String>,
    /// Refused: a proxy does not register itself
    #[arg(long, value_name = "PREFIX")]
    resolver_prefix: Option<String>,
}

/// How its own clients are served: settings of the same names, but for the suites.
#[derive(Args, Debug)]
struct Served {
    /// Certificate to show to its clients (PEM)
    #[arg(long, value_name = "FILE")]
    cert_file: Option<String>,
    #[arg(long, value_name = "FILE")]
    key_file: Option<String>,
    /// Refuse its clients without a certificate of this CA (PEM)
    #[arg(long, value_name = "FILE")]
    trusted_ca_file: Option<String>,
    #[arg(long, value_name = "FILE")]
    client_crl_file: Option<String>,
    #[arg(long)]
    auto_tls: bool,
    #[arg(long, value_name = "YEARS")]
    self_signed_cert_validity: Option<String>,
    #[arg(long, value_name = "NAMES")]
    listen_cipher_suites: Option<String>,
    #[arg(long, value_name = "VERSION")]
    tls_min_version: Option<String>,
    #[arg(long, value_name = "VERSION")]
    tls_max_version: Option<String>,
    #[arg(long, value_name = "N")]
    max_concurrent_streams: Option<String>,
    #[arg(long, value_name = "TIME")]
    grpc_keepalive_interval: Option<String>,
    #[arg(long, value_name = "TIME")]
    grpc_keepalive_timeout: Option<String>,
    /// Where a certificate lies that --auto-tls makes
    #[arg(long, value_name = "DIR", default_value = "default.proxy")]
    data_dir: String,
}

/// Taken, and told.
#[derive(Args, Debug)]
struct WithoutEffect {
    #[arg(long, value_name = "ADDRESS", hide = true)]
    advertise_client_url: Option<String>,
    #[arg(long, value_name = "SECONDS", hide = true)]
    resolver_ttl: Option<String>,
    #[arg(long, value_name = "TIME", hide = true)]
    grpc_keepalive_min_time: Option<String>,
    #[arg(long, value_name = "BYTES", hide = true)]
    max_send_bytes: Option<String>,
    #[arg(long, value_name = "BYTES", hide = true)]
    max_recv_bytes: Option<String>,
    #[arg(long, value_name = "TIME", hide = true)]
    dial_keepalive_time: Option<String>,
    #[arg(long, value_name = "TIME", hide = true)]
    dial_keepalive_timeout: Option<String>,
    #[arg(long, value_name = "PREFIX", hide = true)]
    experimental_leasing_prefix: Option<String>,
    #[arg(long, hide = true)]
    experimental_serializable_ordering: bool,
    #[arg(long, hide = true)]
    experimental_enable_grpc_logging: bool,
    #[arg(long, hide = true)]
    permit_without_stream: bool,
    #[arg(long, hide = true)]
    enable_pprof: bool,
}

impl WithoutEffect {
    /// Flag and reason of each that somebody gave.
    fn told(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let has = |value: &Option<String>| value.as_ref().is_some_and(|value| !value.is_empty());
        let asked = "a connection of QUIC is asked every two seconds whether it lives";
        let bounds = "a message has the members' bounds";
        [
            (has(&self.advertise_client_url), "advertise-client-url", "it registers nowhere"),
            (has(&self.resolver_ttl), "resolver-ttl", "it registers nowhere"),
            (
                has(&self.grpc_keepalive_min_time),
                "grpc-keepalive-min-time",
                "pings are answered however often they come",
            ),
            (has(&self.max_send_bytes), "max-send-bytes", bounds),
            (has(&self.max_recv_bytes), "max-recv-bytes", bounds),
            (has(&self.dial_keepalive_time), "dial-keepalive-time", asked),
            (has(&self.dial_keepalive_timeout), "dial-keepalive-timeout", asked),
            (self.permit_without_stream, "permit-without-stream", asked),
            (
                has(&self.experimental_leasing_prefix),
                "experimental-leasing-prefix",
                "nothing is cached: members answer",
            ),
            (
                self.experimental_serializable_ordering,
                "experimental-serializable-ordering",
                "a client is led to one member as long as it answers",
            ),
            (
                self.experimental_enable_grpc_logging,
                "experimental-enable-grpc-logging",
                "--debug logs what it does",
            ),
            (self.enable_pprof, "enable-pprof", "there is nothing of Go's to profile"),
        ]
        .into_iter()
        .filter_map(|(is_given, flag, why)| is_given.then_some((flag, why)))
    }
}

impl GrpcProxy {
    /// Until a signal, which is returned.
    pub(super) fn run(self) -> Result<serve::Asked, Exit> {
        let refusals = [
            (&self.namespace, "namespace", "keys are passed on as they are, unread"),
            (
                &self.resolver_prefix,
                "resolver-prefix",
                "it does not register itself in the cluster",
            ),
        ];
        for (value, flag, why) in refusals {
            if value.as_ref().is_some_and(|value| !value.is_empty()) {
                return Err(Exit::error(format!("--{flag} cannot be had here: {why}; remove it")));
            }
        }
        let session = Session::new(&self.globals(), &[], &std::env::temp_dir())?;
        let mut start = self.settings().map_err(|mistakes| Exit::error(mistakes.to_string()))?;
        logging::start_as_etcd(&start.logging)?;
        for (flag, why) in self.without_effect.told() {
            tracing::warn!("--{flag} does nothing here: {why}");
        }
        for warning in &start.warnings {
            tracing::warn!("{warning}");
        }
        if let Some(interval) = self.endpoints_auto_sync_interval.filter(|it| !it.is_zero()) {
            start.node.proxy.refresh = interval;
        }
        start.node.proxy.dial_timeout = session.dial_timeout;
        let whom = Whom::Clients(session.endpoints.clone(), session.tls, session.login);
        let node =
            Proxy::start(start.node, whom).map_err(|error| Exit::error(error.to_string()))?;
        let node = Running::Proxy(node);
        // As etcd's: who waits for it waits for the port, and not for the members.
        notify::tell("READY=1");
        tracing::info!(endpoints = ?session.endpoints, "ready to proxy client requests");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let end = runtime.block_on(serve::serving(&node));
        node.drain();
        match end {
            serve::End::Asked(asked) => Ok(asked),
            serve::End::Stopped(_) => Err(Exit::error("the proxy has stopped by itself")),
        }
    }

    /// Whom it asks.
    fn globals(&self) -> Globals {
        Globals {
            endpoints: self.endpoints.clone(),
            cert: self.cert.clone(),
            key: self.key.clone(),
            cacert: self.cacert.clone(),
            insecure_skip_tls_verify: self.insecure_skip_tls_verify,
            discovery_srv: self.discovery_srv.clone(),
            discovery_srv_name: self.discovery_srv_name.clone(),
            insecure_discovery: Some(self.insecure_discovery),
            ..Globals::default()
        }
    }

    /// Where it listens, as a server's settings. They are told of a mistake by their own names.
    fn settings(&self) -> Result<Start, config::Mistakes> {
        let served = &self.served;
        let is_secure = served.auto_tls || served.cert_file.is_some();
        let scheme = if is_secure { "https" } else { "http" };
        let given = [
            ("cert-file", &served.cert_file),
            ("key-file", &served.key_file),
            ("trusted-ca-file", &served.trusted_ca_file),
            ("client-crl-file", &served.client_crl_file),
            ("self-signed-cert-validity", &served.self_signed_cert_validity),
            ("cipher-suites", &served.listen_cipher_suites),
            ("tls-min-version", &served.tls_min_version),
            ("tls-max-version", &served.tls_max_version),
            ("max-concurrent-streams", &served.max_concurrent_streams),
            ("grpc-keepalive-interval", &served.grpc_keepalive_interval),
            ("grpc-keepalive-timeout", &served.grpc_keepalive_timeout),
            ("listen-metrics-urls", &self.metrics_addr),
        ];
        let flag = |name: &str, value: String| (name.to_owned(), value);
        let mut flags: Vec<(String, String)> = given
            .into_iter()
            .filter_map(|(name, value)| value.clone().map(|value| flag(name, value)))
            .collect();
        flags.push(flag("listen-client-urls", format!("{scheme}://{}", self.listen_addr)));
        flags.push(flag("auto-tls", served.auto_tls.to_string()));
        flags.push(flag("data-dir", served.data_dir.clone()));
        flags.push(flag("name", "proxy".to_owned()));
        flags.push(flag("initial-cluster", "proxy=http://localhost:2380".to_owned()));
        flags.push(flag("proxy", "on".to_owned()));
        if self.debug {
            flags.push(flag("log-level", "debug".to_owned()));
        }
        config::load(&Sources { flags, rules: Rules::Etcd, ..Sources::default() })
    }
}
