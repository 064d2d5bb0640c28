//! One look-up at a time: by the system's settings, or at a server that was named.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData};
use hickory_resolver::system_conf::read_system_conf;
use tokio::time::timeout;

use super::error::{Absent, LookupError};
use crate::base::limits;
use crate::transport::{Lookup, Names};

/// Whom to ask. It is made anew for each look-up, so it lives on no runtime and remembers nothing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Resolver {
    server: Option<SocketAddr>,
}

/// One SRV record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Target {
    pub priority: u16,
    pub weight: u16,
    pub host: String,
    pub port: u16,
}

impl Resolver {
    /// As `/etc/resolv.conf` says; hosts as the system finds them.
    pub const fn system() -> Self {
        Self { server: None }
    }

    /// This server for everything, with the system's search domains and hosts file.
    pub const fn at(server: SocketAddr) -> Self {
        Self { server: Some(server) }
    }

    /// `10.0.0.2` or `10.0.0.2:53`; IPv6 with a port in brackets.
    pub fn parse(text: &str) -> Option<Self> {
        let server: Result<SocketAddr, _> = text.parse();
        let server = server.ok().or_else(|| Some(SocketAddr::new(text.parse().ok()?, 53)));
        server.filter(|server| server.port() != 0).map(Self::at)
    }

    /// The server that was named.
    pub const fn server_address(self) -> Option<SocketAddr> {
        self.server
    }

    /// For everything that dials.
    pub fn names(self) -> Names {
        match self.server {
            None => Names::default(),
            Some(_) => Names::by(Arc::new(self)),
        }
    }

    /// Every address of a host; from a named server, IPv4 first.
    pub async fn addresses(self, host: &str) -> Result<Vec<IpAddr>, LookupError> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let failed = |what| LookupError { name: host.to_owned(), what };
        if self.server.is_none() {
            // The system's own waits are shorter, and it may ask several servers.
            let found = timeout(limits::DNS_PATIENCE, Names::default().find(host, 0)).await;
            let silent = || format!("no answer within {:?}", limits::DNS_PATIENCE);
            let found = found.unwrap_or_else(|_| Err(silent()));
            let found = found.map_err(|what| failed(Absent::Other(what)))?;
            let addresses = found.into_iter().map(|address| address.ip());
            return Ok(addresses.take(limits::SRV_TARGETS_MAX).collect());
        }
        let found = self.within(host, async |resolver| resolver.lookup_ip(host).await).await?;
        let addresses: Vec<IpAddr> = found.iter().take(limits::SRV_TARGETS_MAX).collect();
        match addresses.is_empty() {
            true => Err(failed(Absent::NoRecords)),
            false => Ok(addresses),
        }
    }

    /// The SRV records of a name, but those that say that there is no such service (RFC 2782: a target of ".").
    pub(super) async fn srv(self, name: &str) -> Result<Vec<Target>, LookupError> {
        let found = self.within(name, async |resolver| resolver.srv_lookup(name).await).await?;
        let mut targets = Vec::new();
        for record in found.answers().iter().take(limits::SRV_TARGETS_MAX + 1) {
            let RData::SRV(srv) = &record.data else { continue };
            if srv.target.is_root() {
                continue;
            }
            let host = srv.target.to_utf8().trim_end_matches('.').to_ascii_lowercase();
            if !is_host(&host) || srv.port == 0 {
                let what = Absent::Other(format!("its target {host:?}:{} is none", srv.port));
                return Err(LookupError { name: name.to_owned(), what });
            }
            let (priority, weight, port) = (srv.priority, srv.weight, srv.port);
            targets.push(Target { priority, weight, host, port });
        }
        match targets.is_empty() {
            true => Err(LookupError { name: name.to_owned(), what: Absent::NoRecords }),
            false => Ok(targets),
        }
    }

    async fn within<T>(
        self,
        name: &str,
        lookup: impl AsyncFnOnce(TokioResolver) -> Result<T, NetError>,
    ) -> Result<T, LookupError> {
        let failed = |what| LookupError { name: name.to_owned(), what };
        let resolver = self.build().map_err(|text| failed(Absent::Other(text)))?;
        match timeout(limits::DNS_DEADLINE, lookup(resolver)).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(failed(self.explain(error))),
            Err(_) => Err(failed(self.silent())),
        }
    }

    fn build(self) -> Result<TokioResolver, String> {
        let system = read_system_conf();
        let (config, mut options) = match (self.server, system) {
            (None, Ok(read)) => read,
            (None, Err(error)) => {
                return Err(format!(
                    "cannot use /etc/resolv.conf: {error}; name a server with dns-server"
                ));
            }
            (Some(server), system) => {
                let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|it| {
                    let mut connection = it;
                    connection.port = server.port();
                    connection
                });
                let server = NameServerConfig::new(server.ip(), true, connections.to_vec());
                let (domain, search) = match &system {
                    Ok((config, _)) => (config.domain().cloned(), config.search().to_vec()),
                    Err(_) => (None, Vec::<Name>::new()),
                };
                let config = ResolverConfig::from_parts(domain, search, vec![server]);
                (config, system.map(|(_, options)| options).unwrap_or_default())
            }
        };
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.timeout = limits::DNS_DEADLINE / 3;
        options.attempts = 2;
        options.cache_size = 0;
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        builder.build().map_err(|error| error.to_string())
    }

    fn server(self) -> String {
        match self.server {
            Some(server) => format!("DNS server {server}"),
            None => "the DNS servers of /etc/resolv.conf".to_owned(),
        }
    }

    fn silent(self) -> Absent {
        Absent::Silent { server: self.server(), seconds: limits::DNS_DEADLINE.as_secs() }
    }

    fn explain(self, error: NetError) -> Absent {
        let refused =
            |code: ResponseCode| Absent::Refused { server: self.server(), code: code.to_string() };
        match error {
            NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
                ResponseCode::NXDomain => Absent::NoName,
                ResponseCode::NoError => Absent::NoRecords,
                code => refused(code),
            },
            NetError::Dns(DnsError::ResponseCode(code)) => refused(code),
            NetError::Timeout | NetError::NoConnections => self.silent(),
            NetError::Truncated => Absent::Other(format!(
                "{} cut its answer over UDP short, and gave none over TCP: may TCP reach it?",
                self.server()
            )),
            other => Absent::Other(format!("{} cannot be asked: {other}", self.server())),
        }
    }
}

impl Lookup for Resolver {
    fn addresses<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, String>> + Send + 'a>> {
        Box::pin(async {
            Self::addresses(*self, host).await.map_err(|error| error.what.to_string())
        })
    }
}

/// What may stand in a URL: names come from strangers.
fn is_host(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_an_address_with_or_without_a_port() {
        let at = |text: &str| Some(Resolver::at(text.parse().unwrap()));
        assert_eq!(Resolver::parse("10.0.0.2"), at("10.0.0.2:53"));
        assert_eq!(Resolver::parse("10.0.0.2:5353"), at("10.0.0.2:5353"));
        assert_eq!(Resolver::parse("::1"), at("[::1]:53"));
        assert_eq!(Resolver::parse("[::1]:5353"), at("[::1]:5353"));
        for wrong in ["", "dns.example.com", "10.0.0.2:0", "10.0.0.2:x", "10.0.0.2/53"] {
            assert_eq!(Resolver::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_host_of_a_stranger_is_looked_at() {
        assert!(is_host("n1.example.com") && is_host("n_1"));
        for wrong in ["", "a b", "a/b", "a@b", "a:1", "[::1]", "é", &"a".repeat(254)] {
            assert!(!is_host(wrong), "{wrong}");
        }
    }
}
