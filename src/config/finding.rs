//! How a member finds its cluster, where that is not written: settings that exclude each other.

use crate::discovery::{Resolver, Srv};

use super::keys::Settings;
use super::mistakes::Mistakes;

/// Where the roster comes from, if not from initial-cluster.
pub(super) fn srv(settings: &Settings, mistakes: &mut Mistakes) -> Option<Srv> {
    let (domain, service) = (&settings.discovery_srv, &settings.discovery_srv_name);
    if domain.is_empty() {
        if !service.is_empty() {
            mistakes.push("discovery-srv-name is set without discovery-srv: write the domain, too");
        }
        return None;
    }
    if !settings.initial_cluster.0.is_empty() {
        mistakes.push(
            "multiple discovery or bootstrap flags are set: choose one of initial-cluster and discovery-srv",
        );
    }
    let service = (!service.is_empty()).then(|| service.clone());
    Some(Srv { domain: domain.clone(), service })
}

pub(super) fn resolver(settings: &Settings, mistakes: &mut Mistakes) -> Resolver {
    let text = &settings.dns_server;
    if text.is_empty() {
        return Resolver::system();
    }
    Resolver::parse(text).unwrap_or_else(|| {
        mistakes.push(format!(
            "dns-server is {text:?}; it is an address such as 10.0.0.2, or 10.0.0.2:53"
        ));
        Resolver::system()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Initial;

    fn told(change: impl FnOnce(&mut Settings)) -> String {
        let mut settings = Settings::default();
        change(&mut settings);
        let mut mistakes = Mistakes::default();
        let _ = (srv(&settings, &mut mistakes), resolver(&settings, &mut mistakes));
        mistakes.to_string()
    }

    #[test]
    fn a_cluster_is_founded_in_one_way() {
        let settings = Settings { discovery_srv: "example.com".to_owned(), ..Settings::default() };
        let found = srv(&settings, &mut Mistakes::default());
        assert_eq!(found, Some(Srv { domain: "example.com".to_owned(), service: None }));
        let said = told(|it| {
            it.discovery_srv = "example.com".to_owned();
            it.initial_cluster = Initial::parse("default=http://localhost:2380").unwrap();
        });
        assert!(said.starts_with("multiple discovery or bootstrap flags are set"), "{said}");
        assert!(told(|it| it.discovery_srv_name = "x".to_owned()).contains("write the domain"));
        assert!(told(|it| it.dns_server = "dns".to_owned()).contains("such as 10.0.0.2"));
        assert_eq!(told(|it| it.dns_server = "10.0.0.2:5353".to_owned()), "");
    }
}
