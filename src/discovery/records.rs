//! Which names are looked up for a domain, and what their records say together.

use super::error::{LookupError, SrvError};
use super::resolver::{Resolver, Target};
use crate::base::limits;
use crate::tls::Scheme;
use crate::transport::Url;

/// A domain whose SRV records tell where a cluster is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Srv {
    pub domain: String,
    /// Distinguishes clusters of one domain: `x` asks for `_etcd-server-x._tcp` and its like.
    pub service: Option<String>,
}

/// A name of RFC 2782 and what it promises.
#[derive(Clone, Copy, Debug)]
pub(super) struct Service {
    name: &'static str,
    protocol: &'static str,
    scheme: Scheme,
}

const fn service(name: &'static str, protocol: &'static str, scheme: Scheme) -> Service {
    Service { name, protocol, scheme }
}

/// Where members reach each other: etcd's names, and ours for QUIC, which is with mutual TLS.
#[cfg(feature = "server")]
pub(super) const SERVERS: [Service; 3] = [
    service("quorate", "udp", Scheme::Https),
    service("etcd-server-ssl", "tcp", Scheme::Https),
    service("etcd-server", "tcp", Scheme::Http),
];

/// Where clients reach them.
pub(super) const CLIENTS: [Service; 3] = [
    service("quorate-client", "udp", Scheme::Https),
    service("etcd-client-ssl", "tcp", Scheme::Https),
    service("etcd-client", "tcp", Scheme::Http),
];

/// What all names together tell.
#[derive(Clone, Debug, Default)]
pub(super) struct Records {
    /// By priority, those of greater weight first; none twice.
    pub urls: Vec<Url>,
    /// Names that gave nothing.
    pub failed: Vec<LookupError>,
}

impl Srv {
    /// `_etcd-server-ssl._tcp.example.com`, with the service's name as etcd puts it in.
    fn name(&self, service: Service) -> String {
        let suffix = self.service.as_ref().map(|name| format!("-{name}")).unwrap_or_default();
        format!("_{}{suffix}._{}.{}", service.name, service.protocol, self.domain)
    }

    /// Asks for all of these, side by side.
    pub(super) async fn records(
        &self,
        services: [Service; 3],
        resolver: Resolver,
    ) -> Result<Records, SrvError> {
        if self.domain.trim_matches('.').is_empty() || self.domain.contains([' ', '/', ':', '@']) {
            return Err(SrvError::Domain(self.domain.clone()));
        }
        let names = services.map(|service| self.name(service));
        let (first, second, third) = tokio::join!(
            resolver.srv(&names[0]),
            resolver.srv(&names[1]),
            resolver.srv(&names[2]),
        );
        let found = services.into_iter().zip([first, second, third]);
        let records = merged(found.map(|(service, found)| (service.scheme, found)));
        if records.urls.is_empty() {
            return Err(SrvError::Nothing { domain: self.domain.clone(), tried: records.failed });
        }
        if records.urls.len() > limits::SRV_TARGETS_MAX {
            return Err(SrvError::TooMany {
                domain: self.domain.clone(),
                max: limits::SRV_TARGETS_MAX,
            });
        }
        Ok(records)
    }
}

fn merged(answers: impl Iterator<Item = (Scheme, Result<Vec<Target>, LookupError>)>) -> Records {
    let mut records = Records::default();
    let mut targets = Vec::new();
    for (scheme, answer) in answers {
        match answer {
            Ok(found) => targets.extend(found.into_iter().map(|target| (scheme, target))),
            Err(error) => records.failed.push(error),
        }
    }
    targets.sort_by_key(|(_, target)| (target.priority, u16::MAX - target.weight));
    for (scheme, Target { host, port, .. }) in targets {
        let url = Url { scheme, host, port };
        if !records.urls.contains(&url) {
            records.urls.push(url);
        }
    }
    records
}

#[cfg(test)]
mod tests {
    use super::super::error::Absent;
    use super::*;

    fn target(priority: u16, weight: u16, host: &str) -> Target {
        Target { priority, weight, host: host.to_owned(), port: 2380 }
    }

    #[test]
    fn names_are_etcds_and_ours() {
        let srv = |service: Option<&str>| Srv {
            domain: "example.com".to_owned(),
            service: service.map(str::to_owned),
        };
        assert_eq!(srv(None).name(CLIENTS[1]), "_etcd-client-ssl._tcp.example.com");
        assert_eq!(srv(None).name(CLIENTS[0]), "_quorate-client._udp.example.com");
        assert_eq!(srv(Some("x")).name(CLIENTS[2]), "_etcd-client-x._tcp.example.com");
    }

    #[test]
    fn answers_are_one_list_by_priority_without_doubles() {
        let none = LookupError { name: "_etcd-server._tcp.x".to_owned(), what: Absent::NoName };
        let answers = [
            (Scheme::Https, Ok(vec![target(10, 0, "b"), target(5, 1, "a")])),
            (Scheme::Https, Ok(vec![target(1, 0, "b"), target(5, 9, "c")])),
            (Scheme::Http, Err(none.clone())),
        ];
        let records = merged(answers.into_iter());
        let hosts: Vec<&str> = records.urls.iter().map(|url| url.host.as_str()).collect();
        assert_eq!(hosts, ["b", "c", "a"]);
        assert_eq!(records.failed, [none]);
    }
}
