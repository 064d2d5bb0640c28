//! `/v2/auth`: etcd's v2 users are not kept here, so it is never on, nobody is in it, and it cannot be turned on.

use hyper::{Method, Response, StatusCode};

use super::json;
use super::routes::{Asked, object};
use crate::api::http::body::Answer;

/// The only role that is always there.
const ROOT: &str = r#"{"role":"root","permissions":{"kv":{"read":["/*"],"write":["/*"]}}}"#;

pub(super) fn respond(asked: &Asked<'_>) -> Response<Answer> {
    let path = String::from_utf8_lossy(asked.path.get("/v2/auth/".len()..).unwrap_or_default());
    let path = path.trim_end_matches('/').to_owned();
    let allowed = if path == "enable" || path.contains('/') { "GET,PUT,DELETE" } else { "GET" };
    if let Some(refused) = asked.refused(allowed) {
        return refused;
    }
    let response = match path.split_once('/') {
        _ if asked.method() != Method::GET => changed(asked, &path),
        None if path == "enable" => object(StatusCode::OK, "{\"enabled\":false}\n"),
        None if path == "users" => object(StatusCode::OK, "{\"users\":null}\n"),
        None if path == "roles" => object(StatusCode::OK, format!("{{\"roles\":[{ROOT}]}}\n")),
        Some(("roles", "root")) => object(StatusCode::OK, format!("{ROOT}\n")),
        Some(("roles", role)) => missing(&format!("auth: Role {role} does not exist.")),
        Some(("users", user)) => missing(&format!("auth: User {user} does not exist.")),
        _ => missing("Not found"),
    };
    asked.of_cluster(response)
}

/// What changes nothing is told as etcd tells it; the rest is not built.
fn changed(asked: &Asked<'_>, path: &str) -> Response<Answer> {
    let (code, text) = match (path, asked.method()) {
        ("enable", &Method::DELETE) => (StatusCode::CONFLICT, "auth: already disabled"),
        ("enable", _) => (StatusCode::CONFLICT, "auth: No root user available, please create one"),
        _ => (
            StatusCode::NOT_IMPLEMENTED,
            "quorate: users and roles of the v2 API are not built; close /v2 with --enable-v2=false",
        ),
    };
    object(code, json::message(text))
}

fn missing(text: &str) -> Response<Answer> {
    object(StatusCode::NOT_FOUND, json::message(text))
}
