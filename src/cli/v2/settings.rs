//! From flags, ETCDCTL_* variables and the folder's profile to a cluster that can be asked.

use std::env::current_dir;
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::called::Called;
use super::super::profile;
use super::super::srv::{self, Asking};
use super::cluster::{Cluster, Error};
use super::failure::{BAD_CONNECTION, Failure, SERVER_ERROR};
use super::flags::Words;
use super::http::{Endpoint, Site};
use crate::cli::password;
use crate::discovery::Resolver;
use crate::tls::ClientFiles;
use crate::transport::{Names, TcpDialer};

const ENDPOINTS_DEFAULT: &str = "http://127.0.0.1:2379,http://127.0.0.1:4001";
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(2);
const TOTAL_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// What was said in front of the verb, and around it.
#[derive(Debug)]
pub(super) struct Settings {
    pub called: Called,
    pub globals: Words,
    pub environment: Vec<(String, String)>,
}

impl Settings {
    /// Empty as good as unset.
    fn variable(&self, name: &str) -> &str {
        let found = self.environment.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    /// The flag, else the variable; empty if neither says anything.
    fn said(&self, flag: &str, variable: &str) -> &str {
        match self.globals.text(flag) {
            "" => self.variable(variable),
            said => said,
        }
    }

    pub(super) fn format(&self) -> &str {
        match self.globals.text("output") {
            "" => "simple",
            format => format,
        }
    }

    fn debug(&self) -> bool {
        self.globals.switch("debug")
    }

    /// What a command may take, but for those that wait.
    pub(super) fn total_timeout(&self) -> Duration {
        self.globals.time("total-timeout").unwrap_or(TOTAL_TIMEOUT_DEFAULT)
    }

    /// The cluster as the members publish it, unless `--no-sync`. Blocks where a password must be asked for.
    pub(super) async fn cluster(&self) -> Result<Cluster, Failure> {
        let mut cluster = self.cluster_as_said().await?;
        if !self.globals.switch("no-sync") {
            if self.debug() {
                eprintln!("start to sync cluster using endpoints({})", cluster.listed(","));
            }
            let total = self.total_timeout();
            match super::cluster::within(total, cluster.sync()).await {
                Err(error @ Error::NoEndpoints) => {
                    let mut failure = Failure::error(SERVER_ERROR, &error);
                    let said = cluster.listed(",");
                    failure.text = format!(
                        "etcd cluster has no published client endpoints.\n\
                         Try '--no-sync' if you want to access non-published client endpoints({said}).\n{}",
                        failure.text
                    );
                    return Err(failure);
                }
                Err(error) if error.is_connection() => {
                    return Err(Failure::error(BAD_CONNECTION, &error));
                }
                // Who answers strangely does so again, and is told then.
                _ => {}
            }
            if self.debug() {
                eprintln!("got endpoints({}) after sync", cluster.listed(","));
            }
        }
        if self.debug() {
            eprintln!("Cluster-Endpoints: {}", cluster.listed(", "));
        }
        Ok(cluster)
    }

    /// The cluster by the endpoints that were said.
    pub(super) async fn cluster_as_said(&self) -> Result<Cluster, Failure> {
        let mut files = ClientFiles {
            trusted_ca: path(self.said("ca-file", "ETCDCTL_CA_FILE")),
            cert: path(self.said("cert-file", "ETCDCTL_CERT_FILE")),
            key: path(self.said("key-file", "ETCDCTL_KEY_FILE")),
            ..ClientFiles::default()
        };
        let texts = self.endpoints(&mut files).await?;
        let parsed: Result<Vec<_>, _> = texts.iter().map(|text| Endpoint::parse(text)).collect();
        let endpoints = parsed.map_err(Failure::told)?;
        let total = self.total_timeout();
        let dial_timeout = match total.is_zero() {
            true => Duration::from_secs(30),
            false => total.min(Duration::from_secs(30)),
        };
        let site = Site {
            dialer: dialer(&files, &endpoints, &self.names()?)?,
            timeout: self.globals.time("timeout").unwrap_or(TIMEOUT_DEFAULT),
            dial_timeout,
            credentials: self.credentials()?,
            debug: self.debug(),
        };
        Ok(Cluster::new(site, endpoints))
    }

    async fn endpoints(&self, files: &mut ClientFiles) -> Result<Vec<String>, Failure> {
        let found = self.discovered(files).await?;
        if !found.is_empty() {
            return Ok(found);
        }
        let said = [
            self.said("endpoints", "ETCDCTL_ENDPOINTS"),
            self.said("endpoint", "ETCDCTL_ENDPOINT"),
            self.said("peers", "ETCDCTL_PEERS"),
        ];
        if let Some(said) = said.into_iter().find(|said| !said.is_empty()) {
            return Ok(said.split(',').map(|text| text.trim().to_owned()).collect());
        }
        // etcdctl knows no folder.
        if self.called == Called::Quorate && *files == ClientFiles::default() {
            let profile = profile::find(&current_dir()?)?;
            if let Some(profile) = profile {
                files.trusted_ca = Some(profile.cacert);
                files.cert = Some(profile.cert);
                files.key = Some(profile.key);
                return Ok(profile.endpoints);
            }
        }
        Ok(ENDPOINTS_DEFAULT.split(',').map(str::to_owned).collect())
    }

    /// By the SRV records of a domain; none if no domain was said.
    async fn discovered(&self, files: &mut ClientFiles) -> Result<Vec<String>, Failure> {
        let domain = self.said("discovery-srv", "ETCDCTL_DISCOVERY_SRV");
        if domain.is_empty() {
            return Ok(Vec::new());
        }
        let is_insecure = self.globals.switch("insecure-discovery")
            || !self.variable("ETCDCTL_INSECURE_DISCOVERY").is_empty();
        let service = self.variable("ETCDCTL_DISCOVERY_SRV_NAME");
        let asking = Asking {
            domain: domain.to_owned(),
            service: (!service.is_empty()).then(|| service.to_owned()),
            dns_server: self.dns_server()?,
            insecure: true,
        };
        let mut found = srv::ask(&asking).await?;
        if !is_insecure {
            files.server_name = Some(domain.trim_end_matches('.').to_owned());
            found.retain(|endpoint| {
                let is_secure = !endpoint.starts_with("http://");
                if !is_secure {
                    eprintln!("ignoring discovered insecure endpoint {endpoint:?}");
                }
                is_secure
            });
        }
        Ok(found)
    }

    /// Who is asked for records and for hosts; etcdctl has no such setting.
    fn dns_server(&self) -> Result<Option<SocketAddr>, Failure> {
        match self.variable("ETCDCTL_DNS_SERVER") {
            "" => Ok(None),
            text => srv::server(text).map(Some).map_err(Failure::told),
        }
    }

    fn names(&self) -> Result<Names, Failure> {
        Ok(self.dns_server()?.map_or_else(Resolver::system, Resolver::at).names())
    }

    /// The header of `--username`.
    fn credentials(&self) -> Result<Option<String>, Failure> {
        let said = self.said("username", "ETCDCTL_USERNAME");
        if said.is_empty() {
            return Ok(None);
        }
        let (name, password) = password::split_or_ask("Password: ", said).map_err(Failure::told)?;
        let plain = format!("{name}:{password}");
        Ok((!name.is_empty()).then(|| format!("Basic {}", STANDARD.encode(plain))))
    }
}

/// What the files are is told before anybody is asked; that there are none matters only to those who need them.
fn dialer(
    files: &ClientFiles,
    endpoints: &[Endpoint],
    names: &Names,
) -> Result<TcpDialer, Failure> {
    let made = TcpDialer::new(names.clone(), Some(files), b"http/1.1");
    let is_needed = *files != ClientFiles::default() || endpoints.iter().any(Endpoint::is_secure);
    match made {
        Err(_) if !is_needed => TcpDialer::new(names.clone(), None, b"http/1.1"),
        made => made,
    }
    .map_err(|error| Failure::told(in_our_flags(&error)))
}

fn path(said: &str) -> Option<std::path::PathBuf> {
    (!said.is_empty()).then(|| said.into())
}

/// The flags have other names here.
fn in_our_flags(error: &crate::tls::Error) -> String {
    let text = error.to_string();
    [("--cacert", "--ca-file"), ("--cert", "--cert-file"), ("--key", "--key-file")]
        .into_iter()
        .fold(text, |text, (theirs, ours)| text.replace(theirs, ours))
}
