//! What is asked for without gRPC: how the member is, for probes, dashboards and people. etcd's paths and answers.

use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::access::is_preflight;
use super::body::Answer;
use super::elsewhere;
use super::gateway;
use super::health;
use super::metrics;
use super::process;
use super::session::Session;
use super::v2;
use crate::api::local::API_VERSION;
use crate::transport::Purpose;

pub(super) const JSON: &str = "application/json";
pub(super) const PLAIN: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn respond(
    session: &Arc<Session>,
    request: Request<Incoming>,
) -> Response<Answer> {
    let is_metrics = session.purpose == Purpose::Metrics;
    let access = &session.shared.config.access;
    if let Some(refused) = access.refusal(session.is_secure || is_metrics, &request) {
        return refused;
    }
    let mut granted = HeaderMap::new();
    access.grant(request.headers(), &mut granted);
    let mut response = answer(session, request, is_metrics).await;
    response.headers_mut().extend(granted);
    response
}

async fn answer(
    session: &Arc<Session>,
    request: Request<Incoming>,
    is_metrics: bool,
) -> Response<Answer> {
    if is_preflight(&request) {
        return Response::new(Answer::Plain(None));
    }
    if is_metrics {
        return get(session, &request).await;
    }
    if let Some(answered) = v2::fresh(session, &request).await {
        return answered;
    }
    let elsewhere = session.shared.config.elsewhere.as_deref();
    let answered = match elsewhere.filter(|_| session.shared.config.v2) {
        Some(elsewhere) => elsewhere::respond(session, elsewhere, request).await,
        None => v2::respond(session, request).await,
    };
    let request = match answered {
        Ok(answered) => return answered,
        Err(request) => request,
    };
    if !session.shared.config.gateway {
        return get(session, &request).await;
    }
    match gateway::respond(session, request).await {
        Ok(answered) => answered,
        Err(request) => get(session, &request).await,
    }
}

async fn get(session: &Arc<Session>, request: &Request<Incoming>) -> Response<Answer> {
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    let serves_data = session.purpose != Purpose::Metrics;
    let is_known = matches!(path, "/metrics" | "/health")
        || health::Probe::of(path).is_some()
        || (serves_data && matches!(path, "/version" | "/debug/vars"));
    if !is_known {
        return nothing();
    }
    if request.method() != Method::GET {
        let text = "Method Not Allowed\n".to_owned();
        let mut refused = page(StatusCode::METHOD_NOT_ALLOWED, PLAIN, text);
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        return refused;
    }
    if let Some(probe) = health::Probe::of(path) {
        let (is_well, text) = probe.run(session, query).await;
        let code = if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        return page(code, PLAIN, text);
    }
    match path {
        "/health" => {
            let (is_well, text) = health::whole(session, query).await;
            let code = if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            page(code, PLAIN, text)
        }
        "/metrics" => {
            let shared = &session.shared;
            let text =
                metrics::page(shared.config.vitals.as_ref(), &shared.tally, &shared.config.bounds);
            page(StatusCode::OK, METRICS, text)
        }
        "/version" => page(StatusCode::OK, JSON, version()),
        _ => page(StatusCode::OK, "application/json; charset=utf-8", variables(session)),
    }
}

/// As Go's HTTP server says it.
pub(super) fn nothing() -> Response<Answer> {
    page(StatusCode::NOT_FOUND, PLAIN, "404 page not found\n".to_owned())
}

pub(super) fn page(code: StatusCode, kind: &'static str, text: String) -> Response<Answer> {
    let mut page = Response::new(Answer::Plain(Some(Bytes::from(text))));
    *page.status_mut() = code;
    page.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    page
}

/// etcd's three, and ours.
fn version() -> String {
    let ours = env!("CARGO_PKG_VERSION");
    format!(
        r#"{{"etcdserver":"{API_VERSION}","etcdcluster":"{API_VERSION}","storage":"{API_VERSION}","quorate":"{ours}"}}"#
    )
}

/// What etcd publishes through Go's `expvar`, but for Go's own memory.
fn variables(session: &Session) -> String {
    let mut page = serde_json::Map::new();
    page.insert("cmdline".to_owned(), std::env::args().collect::<Vec<_>>().into());
    page.insert("file_descriptor_limit".to_owned(), process::file_limit().into());
    let vitals = session.shared.config.vitals.as_ref();
    if let Some(raft) = vitals.map(|vitals| (vitals.handle.raft(), vitals.handle.applied())) {
        let (raft, applied) = raft;
        let member = vitals.and_then(|it| it.handle.status().ok()).map(|it| it.member.to_string());
        let role = match (raft.is_leader, raft.is_learner) {
            (true, _) => "StateLeader",
            (_, true) => "StateLearner",
            _ => "StateFollower",
        };
        let status = serde_json::json!({
            "id": member,
            "term": raft.term,
            "commit": raft.commit,
            "applied": applied,
            "lead": raft.leader.map(|leader| leader.to_string()).unwrap_or_default(),
            "raftState": role,
        });
        page.insert("raft.status".to_owned(), status);
    }
    let mut text = serde_json::Value::Object(page).to_string();
    text.push('\n');
    text
}
