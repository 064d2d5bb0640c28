//! Who founds a cluster, and which of them is this member.
//!
//! Every member must come to the same list, so nothing here depends on who asks but the mark on the own entry: a record
//! whose scheme is not this member's is passed over by all, and a member that two records name is refused, because only
//! itself could know that they are one.

use std::net::{IpAddr, SocketAddr};

use super::error::{LookupError, SrvError};
use super::records::{SERVERS, Srv};
use super::resolver::Resolver;
use crate::transport::Url;

/// One member of the cluster to be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Founder {
    /// This member's own name; nobody knows the others' from DNS.
    pub name: Option<String>,
    pub url: Url,
}

/// A URL and the addresses it stands for.
type Located = (Url, Vec<SocketAddr>);

/// The members that the domain's records name, in the order of their URLs; one of them is `name`, who is found by the
/// addresses of the URLs that it advertises.
pub async fn founders(
    srv: &Srv,
    name: &str,
    advertised: &[Url],
    resolver: Resolver,
) -> Result<Vec<Founder>, SrvError> {
    let records = srv.records(SERVERS, resolver).await?;
    let unsure: Vec<LookupError> =
        records.failed.into_iter().filter(|error| !error.is_answer()).collect();
    if !unsure.is_empty() {
        return Err(SrvError::Unsure { domain: srv.domain.clone(), tried: unsure });
    }
    let located = |url: Url, found: Vec<IpAddr>| -> Located {
        let addresses = found.into_iter().map(|ip| SocketAddr::new(ip, url.port)).collect();
        (url, addresses)
    };
    let mut own = Vec::new();
    for url in advertised {
        let found = resolver.addresses(&url.host).await;
        let found = found.map_err(|error| SrvError::Own { url: url.to_string(), error })?;
        own.push(located(url.clone(), found));
    }
    let mut named = Vec::new();
    for url in records.urls {
        if !advertised.iter().any(|own| own.scheme == url.scheme) {
            tracing::warn!(
                record = %url,
                "bootstrap from DNS has a scheme mismatch with initial-advertise-peer-urls: the record is passed over"
            );
            continue;
        }
        let found = resolver.addresses(&url.host).await;
        let found = found.map_err(|error| SrvError::Host { url: url.to_string(), error })?;
        named.push(located(url, found));
    }
    marked(named, name, &own)
}

/// The peer URLs that the domain's records name, for somebody who is no member: what is there is enough for him.
pub async fn peer_urls(srv: &Srv, resolver: Resolver) -> Result<Vec<Url>, SrvError> {
    Ok(srv.records(SERVERS, resolver).await?.urls)
}

fn marked(mut named: Vec<Located>, name: &str, own: &[Located]) -> Result<Vec<Founder>, SrvError> {
    named.sort();
    let texts = |urls: &[&Located]| -> Vec<String> {
        urls.iter().map(|(url, _)| url.to_string()).collect()
    };
    let is_own = |(url, addresses): &Located| {
        own.iter().any(|(advertised, mine)| {
            advertised.scheme == url.scheme && addresses.iter().any(|one| mine.contains(one))
        })
    };
    let mine: Vec<&Located> = named.iter().filter(|it| is_own(it)).collect();
    match mine.as_slice() {
        [_] => {}
        [] => {
            let found = texts(&named.iter().collect::<Vec<_>>()).join(", ");
            let advertised = texts(&own.iter().collect::<Vec<_>>()).join(", ");
            return Err(SrvError::NotThere { name: name.to_owned(), found, advertised });
        }
        twice => {
            return Err(SrvError::Twice { name: name.to_owned(), urls: texts(twice) });
        }
    }
    let founder =
        |it: &Located| Founder { name: is_own(it).then(|| name.to_owned()), url: it.0.clone() };
    Ok(named.iter().map(founder).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(url: &str, addresses: &[&str]) -> Located {
        (url.parse().unwrap(), addresses.iter().map(|it| it.parse().unwrap()).collect())
    }

    #[test]
    fn the_own_record_is_found_by_its_address() {
        let named = vec![
            at("https://n2.x:2380", &["10.0.0.2:2380"]),
            at("https://n1.x:2380", &["10.0.0.1:2380", "[fd00::1]:2380"]),
        ];
        let own = [at("https://[fd00::1]:2380", &["[fd00::1]:2380"])];
        let founders = marked(named, "n1", &own).unwrap();
        let seen: Vec<(Option<&str>, String)> =
            founders.iter().map(|it| (it.name.as_deref(), it.url.to_string())).collect();
        assert_eq!(
            seen,
            [(Some("n1"), "https://n1.x:2380".to_owned()), (None, "https://n2.x:2380".to_owned())]
        );
    }

    #[test]
    fn who_is_not_named_or_named_twice_is_told() {
        let named = || {
            vec![
                at("https://n1.x:2380", &["10.0.0.1:2380"]),
                at("https://one.x:2380", &["10.0.0.1:2380"]),
            ]
        };
        let told = |url: &str, address: &str| {
            marked(named(), "n1", &[at(url, &[address])]).unwrap_err().to_string()
        };
        let said = told("https://10.0.0.1:2381", "10.0.0.1:2381");
        assert!(said.starts_with("cannot find local etcd member \"n1\" in SRV records"), "{said}");
        assert!(said.contains("(https://10.0.0.1:2381)"), "{said}");
        let said = told("https://10.0.0.1:2380", "10.0.0.1:2380");
        assert!(said.contains("named by 2 SRV records"), "{said}");
        assert!(marked(named(), "n1", &[at("http://h:2380", &["10.0.0.1:2380"])]).is_err());
    }
}
