//! From which pages and under which names the HTTP paths may be asked, as etcd has it: `cors` and `host-whitelist`.

use std::collections::BTreeSet;

use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use hyper::{Method, Request, Response, StatusCode};

use super::body::Answer;
use super::pages::{PLAIN, page};

const METHODS: (&str, &str) = ("access-control-allow-methods", "POST, GET, OPTIONS, PUT, DELETE");
const HEADERS: (&str, &str) =
    ("access-control-allow-headers", "accept, content-type, authorization");
const ALLOWED: HeaderName = HeaderName::from_static("access-control-allow-origin");
const ANY: &str = "*";

/// Sets of exact texts; an empty one, and one with `*`, lets everybody in.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Access {
    /// Origins whose pages a browser may let ask.
    pub origins: BTreeSet<String>,
    /// Names by which this member may be called without TLS: what a page asks that has bound its own name to our
    /// address (DNS rebinding, CVE-2018-5702) is refused.
    pub hosts: BTreeSet<String>,
}

impl Access {
    /// An answer to who calls us by a name that is none of ours.
    pub(super) fn refusal<B>(
        &self,
        is_secure: bool,
        request: &Request<B>,
    ) -> Option<Response<Answer>> {
        if is_secure || lets_everybody(&self.hosts) {
            return None;
        }
        let named = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let host = named.or_else(|| request.uri().authority().map(|it| it.as_str()));
        let host = without_port(host.unwrap_or_default());
        if self.hosts.contains(host) {
            return None;
        }
        let text = format!(
            "\netcd received your request, but the Host header was unrecognized.\n\n\
             To fix this, choose one of the following options:\n\
             - Enable TLS, then any HTTPS request will be allowed.\n\
             - Add the hostname you want to use to the whitelist in settings.\n  \
             - e.g. etcd --host-whitelist {host:?}\n\n\
             This requirement has been added to help prevent \"DNS Rebinding\" attacks (CVE-2018-5702).\n\n"
        );
        Some(page(StatusCode::MISDIRECTED_REQUEST, PLAIN, text))
    }

    /// What a browser is told about a request of such headers.
    pub(super) fn grant(&self, request: &HeaderMap, response: &mut HeaderMap) {
        let origin = match request.get(ORIGIN) {
            _ if lets_everybody(&self.origins) => HeaderValue::from_static(ANY),
            Some(origin) if origin.to_str().is_ok_and(|it| self.origins.contains(it)) => {
                origin.clone()
            }
            _ => return,
        };
        for (name, value) in [METHODS, HEADERS] {
            response.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        response.insert(ALLOWED, origin);
    }
}

/// A browser's question before the request itself.
pub(super) fn is_preflight<B>(request: &Request<B>) -> bool {
    request.method() == Method::OPTIONS
}

fn lets_everybody(set: &BTreeSet<String>) -> bool {
    set.is_empty() || set.contains(ANY)
}

/// `name:port`, `[::1]:port` and both without a port.
fn without_port(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(texts: &[&str]) -> BTreeSet<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn without_tls_a_member_is_called_by_the_names_it_knows() {
        let asks = |hosts: &[&str], is_secure, host: &str| {
            let access = Access { hosts: set(hosts), ..Access::default() };
            let request = Request::builder().header(HOST, host).body(()).unwrap();
            access.refusal(is_secure, &request).map(|refused| refused.status())
        };
        let hosts = ["one.example", "::1"];
        assert_eq!(asks(&hosts, false, "one.example"), None);
        assert_eq!(asks(&hosts, false, "one.example:2379"), None);
        assert_eq!(asks(&hosts, false, "[::1]:2379"), None);
        assert_eq!(asks(&hosts, false, "two.example"), Some(StatusCode::MISDIRECTED_REQUEST));
        assert_eq!(asks(&hosts, true, "two.example"), None);
        assert_eq!(asks(&["*"], false, "two.example"), None);
        assert_eq!(asks(&[], false, "two.example"), None);
    }

    #[test]
    fn a_browser_is_told_which_origins_may_ask() {
        let told = |origins: &[&str], origin: Option<&'static str>| {
            let access = Access { origins: set(origins), ..Access::default() };
            let (mut request, mut response) = (HeaderMap::new(), HeaderMap::new());
            if let Some(origin) = origin {
                request.insert(ORIGIN, HeaderValue::from_static(origin));
            }
            access.grant(&request, &mut response);
            let allowed = response.get(ALLOWED).map(|it| it.to_str().unwrap().to_owned());
            assert_eq!(response.len(), if allowed.is_some() { 3 } else { 0 });
            allowed
        };
        assert_eq!(told(&["*"], None).unwrap(), "*");
        assert_eq!(told(&["http://a.b:80"], Some("http://a.b:80")).unwrap(), "http://a.b:80");
        assert_eq!(told(&["http://a.b:80"], Some("http://x.b:80")), None);
        assert_eq!(told(&["http://a.b:80"], None), None);
    }
}
