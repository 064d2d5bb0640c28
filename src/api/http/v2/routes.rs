//! Which page a path is.

use std::fmt::Display;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use hyper::{Method, Request, Response, StatusCode};

use super::{auth, form, json, keys, members, stats};
use crate::api::http::body::Answer;
use crate::api::http::pages::{nothing, page};
use crate::api::http::session::Session;
use crate::api::quota::Quota;
use crate::api::status;
use crate::engine::Handle;

pub(super) const PLAIN: &str = "text/plain; charset=utf-8";
const KEYS: &[u8] = b"/v2/keys";

/// What a page of this API is given.
pub(super) struct Asked<'a> {
    pub(super) session: &'a Arc<Session>,
    pub(super) handle: &'a Handle,
    pub(super) quota: &'a Arc<Quota>,
    /// Without escapes.
    pub(super) path: Vec<u8>,
    pub(super) request: Request<Incoming>,
}

/// The request back where the path is not of this API, or it is turned off.
pub(in crate::api::http) async fn respond(
    session: &Arc<Session>,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Request<Incoming>> {
    let config = &session.shared.config;
    let Some(vitals) = config.vitals.as_ref().filter(|_| config.v2) else { return Err(request) };
    if !request.uri().path().starts_with("/v2/") {
        return Err(request);
    }
    let Ok(path) = form::unescaped(request.uri().path().as_bytes(), false) else {
        return Ok(page(StatusCode::BAD_REQUEST, PLAIN, "400 Bad Request".to_owned()));
    };
    let handle = &vitals.handle;
    if let Some(clean) = unclean(&path) {
        return Ok(moved(&request, &clean));
    }
    let asked = Asked { session, handle, quota: &vitals.quota, path, request };
    Ok(match asked.path.as_slice() {
        path if path == KEYS || path.starts_with(b"/v2/keys/") => keys::respond(asked).await,
        b"/v2/machines" => members::machines(asked).await,
        b"/v2/stats/self" => stats::of_self(asked).await,
        b"/v2/stats/leader" => stats::of_leader(asked).await,
        b"/v2/stats/store" => stats::of_store(asked),
        path if (path == b"/v2/members" || path.starts_with(b"/v2/members/"))
            && (*asked.method() == Method::GET || !asked.is_strangers()) =>
        {
            members::respond(asked).await
        }
        path if path.starts_with(b"/v2/auth/") && !asked.is_strangers() => {
            auth::respond(asked).await
        }
        _ => nothing(),
    })
}

/// What Go's router sends a path to that is not clean; a slash at the end stays.
fn unclean(path: &[u8]) -> Option<Vec<u8>> {
    let mut clean = crate::state::v2::clean(path);
    if path.ends_with(b"/") && clean != b"/" {
        clean.push(b'/');
    }
    (clean != path).then_some(clean)
}

fn moved(request: &Request<Incoming>, clean: &[u8]) -> Response<Answer> {
    let mut to = form::escaped(clean);
    if let Some(query) = request.uri().query() {
        to = format!("{to}?{query}");
    }
    let mut response = match *request.method() {
        Method::GET | Method::HEAD => {
            let link = to.replace('&', "&amp;");
            let text = format!("<a href=\"{link}\">Moved Permanently</a>.\n\n");
            page(StatusCode::MOVED_PERMANENTLY, "text/html; charset=utf-8", text)
        }
        _ => {
            let mut response = Response::new(Answer::Plain(None));
            *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
            response
        }
    };
    if let Ok(to) = HeaderValue::from_str(&to) {
        response.headers_mut().insert(LOCATION, to);
    }
    response
}

impl Asked<'_> {
    pub(super) fn method(&self) -> &Method {
        self.request.method()
    }

    /// Whether it comes from one whom a discovery service does not know.
    fn is_strangers(&self) -> bool {
        let registry = self.session.shared.config.registry.as_ref();
        registry.is_some_and(|registry| registry.is_stranger(&self.session.caller))
    }

    /// 405, unless the method is among those.
    pub(super) fn refused(&self, allowed: &'static str) -> Option<Response<Answer>> {
        let method = self.method().as_str();
        if allowed.split(',').any(|it| it == method) {
            return None;
        }
        let mut response = not_allowed();
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
        Some(response)
    }

    /// The answer with the cluster's id in its head.
    pub(super) fn of_cluster(&self, mut response: Response<Answer>) -> Response<Answer> {
        let name = HeaderName::from_static("x-etcd-cluster-id");
        let id = self.handle.cluster().to_string();
        if let Ok(id) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(name, id);
        }
        response
    }
}

/// As Go's `http.Error` says it.
pub(in crate::api::http) fn not_allowed() -> Response<Answer> {
    let text = "Method Not Allowed\n".to_owned();
    let mut response = page(StatusCode::METHOD_NOT_ALLOWED, PLAIN, text);
    let name = HeaderName::from_static("x-content-type-options");
    response.headers_mut().insert(name, HeaderValue::from_static("nosniff"));
    response
}

/// Rows of this member cannot be read: the engine stops, and says why in its log.
pub(super) fn faulted(fault: &dyn Display) -> Response<Answer> {
    let text = status::of_fault(fault).text;
    object(StatusCode::INTERNAL_SERVER_ERROR, json::message(&text))
}

/// An object.
pub(super) fn object(code: StatusCode, text: impl Into<Bytes>) -> Response<Answer> {
    let mut response = Response::new(Answer::Plain(Some(text.into())));
    *response.status_mut() = code;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

pub(super) fn number(response: &mut Response<Answer>, name: &'static str, value: u64) {
    response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from(value));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_clean_is_sent_to_what_is() {
        assert_eq!(unclean(b"/v2/keys//a/../b").unwrap(), b"/v2/keys/b");
        assert_eq!(unclean(b"/v2/keys/a//").unwrap(), b"/v2/keys/a/");
        for clean in ["/v2/keys", "/v2/keys/", "/v2/keys/a/b", "/v2/keys/a/"] {
            assert_eq!(unclean(clean.as_bytes()), None, "{clean}");
        }
    }
}
