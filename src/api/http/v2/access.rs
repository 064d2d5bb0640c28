//! Who asks, and what users and roles let him do. Nothing is forbidden before they are enabled.
//!
//! Promises: a password is compared beside the threads that serve, few at a time. Knows nothing of: how users are
//! changed.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::AUTHORIZATION;
use hyper::{Method, Response, StatusCode};

use super::json;
use super::passwords;
use super::routes::{Asked, object};
use crate::api::http::body::Answer;
use crate::proto::quorate::log::V2User;
use crate::state::v2::Auth;

/// Who asks.
enum Who {
    /// Shows nothing.
    Guest,
    User(Arc<V2User>),
    /// Shows what is not true.
    Liar,
}

/// May change users, roles and members, and see users and roles.
pub(super) async fn is_root(asked: &Asked<'_>) -> bool {
    let auth = asked.handle.tree_auth();
    if !auth.is_enabled() {
        return is_root_of_v3(asked);
    }
    match who(asked, &auth).await {
        Who::User(user) if Auth::is_root(&user) => true,
        Who::User(user) => {
            tracing::warn!(user = user.name, "a v2 request needs the role root");
            false
        }
        Who::Guest | Who::Liar => false,
    }
}

/// Who asks for users in v3 does not leave the cluster to whoever knows v2.
fn is_root_of_v3(asked: &Asked<'_>) -> bool {
    let auth = asked.handle.auth();
    if !auth.is_enabled() {
        return true;
    }
    let name = asked.session.caller.common_name.as_deref();
    let is_root = name.and_then(|name| auth.user(name)).is_some_and(|user| user.is_root());
    if !is_root {
        tracing::warn!(
            "v3 asks for users and v2 does not: users of v2 and members are not changed by whoever comes there; enable users in \
             v2, too, or show a certificate of a user with the role root"
        );
    }
    is_root
}

/// Reading is everybody's.
pub(super) async fn may_change_cluster(asked: &Asked<'_>) -> bool {
    is_reading(asked) || is_root(asked).await
}

/// May read or write the key as the path names it, or all that begins with it.
pub(super) async fn may_use(asked: &Asked<'_>, key: &[u8], recursive: bool) -> bool {
    let auth = asked.handle.tree_auth();
    if !auth.is_enabled() {
        return true;
    }
    let writes = !is_reading(asked);
    match who(asked, &auth).await {
        Who::User(user) => auth.allows(&user, key, writes, recursive),
        Who::Guest => auth.allows_guest(key, writes),
        Who::Liar => false,
    }
}

fn is_reading(asked: &Asked<'_>) -> bool {
    matches!(*asked.method(), Method::GET | Method::HEAD)
}

async fn who(asked: &Asked<'_>, auth: &Auth) -> Who {
    let shown = asked.request.headers().get(AUTHORIZATION).filter(|shown| !shown.is_empty());
    let Some(shown) = shown else {
        // A certificate that was verified says who it is of.
        let name = asked.session.caller.common_name.as_deref();
        return match name.and_then(|name| auth.user(name)) {
            Some(user) => Who::User(Arc::clone(user)),
            None => Who::Guest,
        };
    };
    let Some((name, password)) = basic(shown.as_bytes()) else { return Who::Liar };
    let Some(user) = auth.user(&name) else {
        tracing::warn!(user = name, "there is no such v2 user");
        return Who::Liar;
    };
    if passwords::matches(asked.session, password, &user.password_hash).await {
        return Who::User(Arc::clone(user));
    }
    tracing::warn!(user = name, "a wrong password of a v2 user");
    Who::Liar
}

/// Name and password of basic authentication.
fn basic(shown: &[u8]) -> Option<(String, Vec<u8>)> {
    let (scheme, shown) = shown.split_at_checked("Basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let decoded = STANDARD.decode(shown).ok()?;
    let at = decoded.iter().position(|byte| *byte == b':')?;
    let name = String::from_utf8(decoded.get(..at)?.to_vec()).ok()?;
    Some((name, decoded.get(at + 1..)?.to_vec()))
}

/// etcd's answer to who may not.
pub(super) fn refused() -> Response<Answer> {
    object(StatusCode::UNAUTHORIZED, json::message("Insufficient credentials"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_at_the_first_colon() {
        let shown = format!("basic {}", STANDARD.encode("root:a:b"));
        assert_eq!(basic(shown.as_bytes()), Some(("root".to_owned(), b"a:b".to_vec())));
        for wrong in ["Basic", "Basic !", "Bearer cm9vdDph", "Basic cm9vdA=="] {
            assert_eq!(basic(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
