//! `proxy`: one endpoint on this machine, and the cluster behind it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::config::{LogFormat, Logging};
use crate::node::{Config, Proxy as Node, ProxyMode, Running, Whom};
use crate::tls::{KeychainFiles, PlaneFiles, Scheme};
use crate::transport::{Listener, Url};

use super::connect::Session;
use super::duration::parse_duration;
use super::exit::{Code, Exit};
use super::{logging, serve};

/// Where it listens if nobody says where: where etcd's proxies do.
const LISTEN_DEFAULT: &str = "http://127.0.0.1:23790";

#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Programs on this machine ask the proxy as they would ask a member: gRPC, JSON, the v2 API and health over TCP,\n\
                  the native protocol over QUIC. It asks the members over QUIC with the certificate of --cert, follows changes of\n\
                  the membership by itself, and goes around members that fail. Its certificate is no user's: where users are asked for,\n\
                  its clients show their own; it shows --user, or its certificate's name, to learn who the members are.\n\n\
                  Example:\n  quorate proxy --endpoints https://10.0.0.1:2379,https://10.0.0.2:2379 \\\n    \
                  --cacert certs/ca.crt --cert certs/client-root.crt --key certs/client-root.key"
)]
pub(super) struct Proxy {
    /// Addresses to listen on, TCP and UDP
    #[arg(long, value_name = "URLS", value_delimiter = ',', default_value = LISTEN_DEFAULT)]
    listen: Vec<String>,
    /// Let no change through
    #[arg(long)]
    readonly: bool,
    /// Between two questions who the members are
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "30s")]
    refresh: Duration,
    /// Certificate to show to its clients at https:// addresses (PEM)
    #[arg(id = "listen-cert", long = "cert-file", value_name = "FILE")]
    cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(id = "listen-key", long = "key-file", value_name = "FILE")]
    key: Option<PathBuf>,
    /// Refuse its clients without a certificate of this CA (PEM)
    #[arg(id = "listen-ca", long = "trusted-ca-file", value_name = "FILE")]
    trusted_ca: Option<PathBuf>,
}

impl Proxy {
    pub(super) fn run(self, session: &Session, is_debug: bool) -> Result<(), Exit> {
        let filter = if is_debug { "quorate=debug" } else { "info" };
        logging::start(&Logging::new(filter, LogFormat::Auto))?;
        let config = self.config(session)?;
        let whom =
            Whom::Clients(session.endpoints.clone(), session.tls.clone(), session.login.clone());
        let node = Node::start(config, whom).map_err(|error| Exit::error(error.to_string()))?;
        let node = Running::Proxy(node);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(serve::serving(&node));
        node.drain();
        Ok(())
    }

    fn config(self, session: &Session) -> Result<Config, Exit> {
        let wrong = |text: String| Exit::new(Code::InvalidInput, text);
        let urls: Result<Vec<Url>, _> = self.listen.iter().map(|text| text.parse()).collect();
        let urls = urls.map_err(|error| wrong(format!("--listen: {error}")))?;
        let mut config = Config::new("proxy", "");
        config.listeners =
            Listener::of(&[], &urls).map_err(|error| wrong(format!("--listen: {error}")))?;
        if urls.iter().any(|url| url.scheme == Scheme::Https) {
            let (Some(cert), Some(key)) = (self.cert, self.key) else {
                return Err(wrong(
                    "--listen says https://: give --cert-file and --key-file (`quorate cert server` makes them), or write \
                     http:// for this machine alone"
                        .to_owned(),
                ));
            };
            let client_cert_auth = self.trusted_ca.is_some();
            let trusted_ca = self.trusted_ca;
            let client =
                PlaneFiles { cert, key, trusted_ca, client_cert_auth, ..PlaneFiles::default() };
            config.keychain = KeychainFiles { client: Some(client), ..KeychainFiles::default() };
        }
        for url in urls.iter().filter(|url| url.scheme == Scheme::Http) {
            let is_local = url.bind_address().is_ok_and(|address| address.ip().is_loopback());
            if !is_local {
                tracing::warn!(
                    "{url} lets everybody in who reaches it, with this proxy's certificate: use https:// with --cert-file, \
                     --key-file and --trusted-ca-file"
                );
            }
        }
        config.proxy.mode = if self.readonly { ProxyMode::Readonly } else { ProxyMode::On };
        config.proxy.refresh = self.refresh;
        config.proxy.dial_timeout = session.dial_timeout;
        if let Some(server) = session.dns_server {
            config.resolver = crate::discovery::Resolver::at(server);
        }
        Ok(config)
    }
}
