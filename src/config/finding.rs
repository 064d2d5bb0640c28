//! How a member finds its cluster, where that is not written: settings that exclude each other.

use std::path::PathBuf;
use std::time::Duration;

use crate::base::parse_duration;
use crate::discovery::{Credentials, Meeting, Resolver, Srv, Venue};
use crate::tls::ClientFiles;
use crate::transport::Url;

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
    let service = (!service.is_empty()).then(|| service.clone());
    Some(Srv { domain: domain.clone(), service })
}

/// Where the founders are to meet, if they are to.
pub(super) fn meeting(settings: &Settings, mistakes: &mut Mistakes) -> Option<Meeting> {
    let (token, endpoints) = (&settings.discovery_token, &settings.discovery_endpoints.0);
    let (by_url, by_token) =
        (!settings.discovery.is_empty(), !token.is_empty() || !endpoints.is_empty());
    one_way(settings, by_url, by_token, mistakes);
    fallback(settings, mistakes);
    if !by_url && !by_token {
        return None;
    }
    if by_token && (token.is_empty() || endpoints.is_empty()) {
        mistakes.push("discovery-token and discovery-endpoints go together: write both");
        return None;
    }
    let tls = files(settings, mistakes);
    let found = if by_url { by_its_url(settings) } else { by_its_token(settings, &tls) };
    let (place, of_url) = match found {
        Ok(found) => found,
        Err(mistake) => {
            mistakes.push(mistake);
            return None;
        }
    };
    let mut time = |key: &str, text: &str| time(key, text, mistakes);
    let meeting = Meeting {
        dial_timeout: time("discovery-dial-timeout", &settings.discovery_dial_timeout),
        request_timeout: time("discovery-request-timeout", &settings.discovery_request_timeout),
        keep_alive: time("discovery-keepalive-time", &settings.discovery_keepalive_time),
        keep_alive_timeout: time(
            "discovery-keepalive-timeout",
            &settings.discovery_keepalive_timeout,
        ),
        tls,
        credentials: of_url.or_else(|| credentials(settings)),
        proxy: proxy(settings, mistakes),
        place,
    };
    if matches!(meeting.place, Venue::Quic(_)) {
        if meeting.proxy.is_some() {
            mistakes
                .push("discovery-proxy is a proxy of HTTP, and cannot carry quic://: use https://");
        }
        if meeting.credentials.is_some() {
            mistakes.push(
                "discovery-user: quic:// knows members by discovery-cert: use that, or https://",
            );
        }
    }
    Some(meeting)
}

/// Founders are found in one way, and only where a cluster is founded.
fn one_way(settings: &Settings, by_url: bool, by_token: bool, mistakes: &mut Mistakes) {
    let (by_list, by_dns) =
        (!settings.initial_cluster.0.is_empty(), !settings.discovery_srv.is_empty());
    if [by_list, by_url, by_token, by_dns].iter().filter(|way| **way).count() > 1 {
        mistakes.push(
            "multiple discovery or bootstrap flags are set: choose one of initial-cluster, discovery, discovery-endpoints \
             (with discovery-token) and discovery-srv",
        );
    }
    if (by_url || by_token) && settings.initial_cluster_state == "existing" {
        mistakes.push(
            "initial-cluster-state is existing, and a discovery service founds new clusters: write initial-cluster as \
             `member add` printed it",
        );
    }
}

fn by_its_url(settings: &Settings) -> Result<(Venue, Option<Credentials>), String> {
    Venue::parse(&settings.discovery).map_err(|what| {
        format!(
            "discovery is {:?}, and {what}: write http://host:2379/v2/keys/_etcd/registry/TOKEN, https://host/TOKEN or \
             quic://host:2379/TOKEN",
            without_user(&settings.discovery)
        )
    })
}

fn by_its_token(
    settings: &Settings,
    tls: &ClientFiles,
) -> Result<(Venue, Option<Credentials>), String> {
    let is_secure = !settings.discovery_insecure_transport || *tls != ClientFiles::default();
    let place =
        Venue::by_token(&settings.discovery_token, &settings.discovery_endpoints.0, is_secure);
    place.map(|place| (place, None)).map_err(|what| format!("discovery-endpoints: {what}"))
}

/// Who comes when the cluster is full.
fn fallback(settings: &Settings, mistakes: &mut Mistakes) {
    match settings.discovery_fallback.as_str() {
        "proxy" | "exit" => {}
        other => mistakes.push(format!("discovery-fallback is {other:?}; it is proxy or exit")),
    }
}

fn files(settings: &Settings, mistakes: &mut Mistakes) -> ClientFiles {
    let path = |text: &String| (!text.is_empty()).then(|| PathBuf::from(text));
    let files = ClientFiles {
        trusted_ca: path(&settings.discovery_cacert),
        cert: path(&settings.discovery_cert),
        key: path(&settings.discovery_key),
        insecure_skip_verify: settings.discovery_insecure_skip_tls_verify,
        ..ClientFiles::default()
    };
    if files.cert.is_some() != files.key.is_some() {
        mistakes.push("discovery-cert and discovery-key go together: write both, or none");
    }
    files
}

fn credentials(settings: &Settings) -> Option<Credentials> {
    let user = &settings.discovery_user;
    let (user, password) = match user.split_once(':') {
        Some((user, password)) if settings.discovery_password.is_empty() => (user, password),
        _ => (user.as_str(), settings.discovery_password.as_str()),
    };
    let credentials = Credentials { user: user.to_owned(), password: password.to_owned() };
    (!user.is_empty()).then_some(credentials)
}

fn proxy(settings: &Settings, mistakes: &mut Mistakes) -> Option<(Url, Option<Credentials>)> {
    let text = &settings.discovery_proxy;
    if text.is_empty() {
        return None;
    }
    let read = Venue::proxy(text);
    if let Err(what) = &read {
        let shown = without_user(text);
        mistakes.push(format!("discovery-proxy is {shown:?}, and {what}: write http://host:port"));
    }
    read.ok()
}

fn time(key: &str, text: &str, mistakes: &mut Mistakes) -> Duration {
    match parse_duration(text) {
        Ok(time) if !time.is_zero() => return time,
        Ok(_) => mistakes.push(format!("{key} is {text}: nothing answers in no time")),
        Err(error) => mistakes.push(format!("{key}: {error}")),
    }
    Duration::ZERO
}

/// A URL as it may be shown.
fn without_user(text: &str) -> String {
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{rest}"),
        _ => text.to_owned(),
    }
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
        let _ = meeting(&settings, &mut mistakes);
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
        let said = told(|it| {
            it.discovery = "http://h:1/v2/keys/_etcd/registry/t".to_owned();
            it.initial_cluster_state = "existing".to_owned();
        });
        assert!(said.contains("`member add` printed it"), "{said}");
        let said = told(|it| {
            it.discovery = "http://h:1/t".to_owned();
            it.discovery_token = "t".to_owned();
        });
        assert!(said.starts_with("multiple discovery or bootstrap flags are set"), "{said}");
        assert!(told(|it| it.discovery_srv_name = "x".to_owned()).contains("write the domain"));
        assert!(told(|it| it.dns_server = "dns".to_owned()).contains("such as 10.0.0.2"));
        assert_eq!(told(|it| it.dns_server = "10.0.0.2:5353".to_owned()), "");
    }

    fn met(change: impl FnOnce(&mut Settings)) -> Meeting {
        let mut settings = Settings::default();
        change(&mut settings);
        let mut mistakes = Mistakes::default();
        let meeting = meeting(&settings, &mut mistakes);
        assert_eq!(mistakes.to_string(), "");
        meeting.unwrap()
    }

    #[test]
    fn a_meeting_is_what_is_written() {
        let of_url = met(|it| it.discovery = "http://a:b@h:1/v2/keys/t".to_owned());
        assert_eq!(of_url.place.cluster_token(), "http://h:1/v2/keys/t");
        assert_eq!(of_url.credentials.unwrap().password, "b");
        let by_token = |change: fn(&mut Settings)| {
            met(|it| {
                it.discovery_token = "t".to_owned();
                it.discovery_endpoints = crate::config::List::parse("h1,h2:3");
                change(it);
            })
        };
        let plain = by_token(|it| it.discovery_user = "u:p".to_owned());
        let Venue::Token(found) = &plain.place else { panic!("a token") };
        let servers: Vec<String> = found.servers.iter().map(Url::to_string).collect();
        assert_eq!(servers, ["http://h1:2379", "http://h2:3"]);
        assert_eq!(plain.credentials.unwrap().user, "u");
        assert_eq!(plain.request_timeout, Duration::from_secs(5));
        let secure = by_token(|it| it.discovery_cacert = "ca.crt".to_owned());
        assert!(secure.place.is_secure());
        let secure = by_token(|it| it.discovery_insecure_transport = false);
        assert!(secure.place.is_secure());
    }

    #[test]
    fn what_cannot_be_meant_is_told() {
        let of = |url: &str| told(|it| it.discovery = url.to_owned());
        assert!(of("h:1/t").contains("it has no scheme: write http://host:2379/v2/keys"));
        let secret = of("ftp://a:secret@h/t");
        assert!(secret.contains("neither http, https nor quic"), "{secret}");
        assert!(!secret.contains("secret"), "{secret}");
        assert!(told(|it| it.discovery_token = "t".to_owned()).contains("write both"));
        assert!(told(|it| it.discovery_fallback = "wait".to_owned()).contains("proxy or exit"));
        let with = |change: fn(&mut Settings)| {
            told(|it| {
                it.discovery = "quic://h/t".to_owned();
                change(it);
            })
        };
        assert_eq!(with(|_| {}), "");
        let said = with(|it| it.discovery_proxy = "http://p:3128".to_owned());
        assert!(said.contains("cannot carry quic://"), "{said}");
        assert!(with(|it| it.discovery_proxy = "p".to_owned()).contains("write http://host:port"));
        assert!(with(|it| it.discovery_user = "u".to_owned()).contains("discovery-cert"));
        assert!(with(|it| it.discovery_cert = "c".to_owned()).contains("go together"));
        assert!(with(|it| it.discovery_dial_timeout = "0s".to_owned()).contains("in no time"));
        assert!(with(|it| it.discovery_keepalive_time = "2".to_owned()).contains("keepalive-time"));
    }
}
