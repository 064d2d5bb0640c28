//! The registry of a discovery service over HTTP: `/new`, and what strangers may do in the tree.

use std::sync::Arc;

use hyper::header::{ALLOW, CACHE_CONTROL, HOST, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};

use super::form::Form;
use super::request::Wanted;
use super::routes::{Asked, PLAIN, not_allowed};
use crate::api::http::body::Answer;
use crate::api::http::pages::page;
use crate::api::http::session::Session;
use crate::api::registry::{Admitted, Fresh, Refused, Registry};
use crate::base::limits;
use crate::discovery::{Place, token_of};
use crate::proto::Code;
use crate::proto::quorate::log::V2Request;
use crate::proto::quorate::log::v2_request::Method as Verb;
use crate::state::v2::Error;

/// Where a fresh token is asked for, as at discovery.etcd.io.
const NEW: &str = "/new";

/// How many found a cluster where nobody says.
const SIZE_DEFAULT: &[u8] = b"3";

/// `/new?size=3`: a URL for `--discovery`; none where the path is another one. `ttl` is in seconds.
pub(in crate::api::http) async fn fresh<B>(
    session: &Arc<Session>,
    request: &Request<B>,
) -> Option<Response<Answer>> {
    let config = &session.shared.config;
    let registry = config.registry.as_ref().filter(|_| config.v2)?;
    if request.uri().path() != NEW {
        return None;
    }
    if request.method() != Method::GET {
        let mut refused = not_allowed();
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        return Some(refused);
    }
    Some(made(session, registry, request).await)
}

async fn made<B>(session: &Session, registry: &Registry, request: &Request<B>) -> Response<Answer> {
    let told = |code, text: String| page(code, PLAIN, text + "\n");
    let query = request.uri().query().unwrap_or_default();
    let Ok(form) = Form::parse(query.as_bytes(), b"") else {
        return told(StatusCode::BAD_REQUEST, "the query cannot be read".to_owned());
    };
    let Some(base) = base_url(request, session.is_secure) else {
        let text = "the request names no host of this service".to_owned();
        return told(StatusCode::BAD_REQUEST, text);
    };
    let size = form.value("size").unwrap_or(SIZE_DEFAULT);
    let ttl_s = match form.value("ttl").map(|_| form.number("ttl")) {
        None => 0,
        // 0 is no time at all, and no more than a wrong one.
        Some(ttl) => {
            ttl.ok().and_then(|ttl| i64::try_from(ttl).ok()).filter(|ttl| *ttl > 0).unwrap_or(-1)
        }
    };
    let size = String::from_utf8_lossy(size).into_owned();
    let wanted = Fresh { size, ttl_s, token: String::new() };
    let refused = match registry.make(&session.caller, &wanted).await {
        Ok((token, _)) => {
            // No line's end, as discovery.etcd.io had none: templates put it where it belongs.
            let url = format!("{base}/v2/keys{}", token.directory());
            let mut page = page(StatusCode::OK, PLAIN, url);
            page.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            return page;
        }
        Err(refused) => refused,
    };
    let code = match &refused {
        Refused::Invalid(_) | Refused::Missing(_) => StatusCode::BAD_REQUEST,
        Refused::Exists(_) => StatusCode::CONFLICT,
        Refused::Exhausted(_) => StatusCode::TOO_MANY_REQUESTS,
        Refused::Failed(status) if status.code == Code::PermissionDenied => StatusCode::FORBIDDEN,
        Refused::Failed(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut response = told(code, refused.text().to_owned());
    if code == StatusCode::TOO_MANY_REQUESTS {
        let seconds = HeaderValue::from(limits::DISCOVERY_NEW_EVERY.as_secs());
        response.headers_mut().insert(RETRY_AFTER, seconds);
    }
    response
}

/// How the caller reached this server.
fn base_url<B>(request: &Request<B>, is_secure: bool) -> Option<String> {
    let authority = request.uri().authority().map(ToString::to_string);
    let host = request.headers().get(HOST).and_then(|value| value.to_str().ok());
    let host = authority.or_else(|| host.map(str::to_owned))?;
    let is_clean =
        host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte));
    let scheme = if is_secure { "https" } else { "http" };
    (is_clean && !host.is_empty()).then(|| format!("{scheme}://{host}"))
}

/// Of a discovery service: what a stranger wants of the tree, and the right to write it; or why not.
pub(super) async fn admitted(
    asked: &Asked<'_>,
    mut wanted: Wanted,
) -> Result<(Wanted, Option<Admitted>), Error> {
    let registry = asked.session.shared.config.registry.as_ref();
    let Some(registry) = registry.filter(|it| it.is_stranger(&asked.session.caller)) else {
        return Ok((wanted, None));
    };
    let admitted = match &mut wanted {
        Wanted::Read { path, .. } | Wanted::Watch { path, .. } => {
            // The registry itself would tell of every token.
            token_of(path).map(|_| None).ok_or_else(denied)
        }
        Wanted::Write { request, .. } => {
            let admitted = written(registry, asked, request).await;
            // What is written ends with its token.
            request.ttl_s = None;
            admitted.map(Some)
        }
    };
    admitted
        .map(|admitted| (wanted, admitted))
        .map_err(|error| Error { index: asked.handle.tree_index(), ..error })
}

async fn written(
    registry: &Registry,
    asked: &Asked<'_>,
    request: &V2Request,
) -> Result<Admitted, Error> {
    let (caller, value) = (&asked.session.caller, request.value.as_ref());
    let verb = request.method();
    let admitted = match Place::of_path(&request.path) {
        _ if request.dir || request.refresh => return Err(denied()),
        Some(Place::Size(token)) if matches!(verb, Verb::Set | Verb::Create) => {
            registry.admit_size(caller, &token, value).await
        }
        Some(Place::Member(token, id)) if verb == Verb::Create => {
            registry.admit_member(caller, &token, &id, value).await
        }
        _ => return Err(denied()),
    };
    admitted.map_err(|refused| {
        let (code, cause) = match refused {
            Refused::Invalid(text) | Refused::Exhausted(text) => (Error::INVALID_FIELD, text),
            Refused::Exists(text) => (Error::NODE_EXIST, text),
            Refused::Missing(key) => (Error::KEY_NOT_FOUND, key),
            Refused::Failed(status) => (Error::RAFT_INTERNAL, status.text),
        };
        Error::new(code, cause, 0)
    })
}

fn denied() -> Error {
    let text = "this is a discovery service: under /v2/keys/_etcd/registry it has TOKEN, TOKEN/_config/size and \
                TOKEN/<member id> (with prevExist=false), and no other keys";
    Error::new(Error::INVALID_FIELD, text, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_is_that_by_which_the_service_was_reached() {
        let of = |host: &str, is_secure| {
            base_url(&Request::get("/new").header(HOST, host).body(()).unwrap(), is_secure)
        };
        assert_eq!(of("d.example:2379", true).as_deref(), Some("https://d.example:2379"));
        assert_eq!(of("[::1]:1", false).as_deref(), Some("http://[::1]:1"));
        for wrong in ["", "a/b", "a b", "<script>"] {
            assert_eq!(of(wrong, false), None, "{wrong}");
        }
    }
}
