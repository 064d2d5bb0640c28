//! `/v2/members` and `/v2/machines`: who is in the cluster, and changes of that.

use hyper::header::CONTENT_TYPE;
use hyper::{Method, Response, StatusCode};

use super::routes::{Asked, not_allowed, object};
use super::{form, json};
use crate::api::ask;
use crate::api::http::body::Answer;
use crate::api::http::pages::page;
use crate::base::MemberId;
use crate::proto::etcdserverpb as pb;
use crate::proto::{Method as Call, Status};

const PREFIX: usize = "/v2/members".len();

/// What is told instead of a member.
type Refused = (StatusCode, String);

/// All client addresses, as text.
pub(super) async fn machines(asked: Asked<'_>) -> Response<Answer> {
    if let Some(refused) = asked.refused("GET,HEAD") {
        return refused;
    }
    let members = asked.handle.query().map(|query| query.members().list()).unwrap_or_default();
    let mut urls: Vec<String> = members.into_iter().flat_map(|it| it.client_ur_ls).collect();
    urls.sort();
    page(StatusCode::OK, "text/plain; charset=utf-8", urls.join(", "))
}

pub(super) async fn respond(mut asked: Asked<'_>) -> Response<Answer> {
    if let Some(refused) = asked.refused("GET,POST,DELETE,PUT") {
        return refused;
    }
    let rest = asked.path.get(PREFIX..).unwrap_or_default();
    let id = String::from_utf8_lossy(rest).trim_matches('/').to_owned();
    let answered = match (asked.method(), id.as_str()) {
        (&Method::GET, _) => told(&asked, &id),
        (&Method::POST, _) => add(&mut asked).await,
        (&Method::DELETE | &Method::PUT, "") => {
            return asked.of_cluster(not_allowed());
        }
        (&Method::DELETE, _) => remove(&asked, &id).await,
        _ => update(&mut asked, &id).await,
    };
    let (code, text) = match answered {
        Ok((code, text)) => (code, text),
        Err((code, text)) => (code, json::message(&text)),
    };
    if code == StatusCode::NO_CONTENT {
        let mut response = Response::new(Answer::Plain(None));
        *response.status_mut() = code;
        return asked.of_cluster(response);
    }
    asked.of_cluster(object(code, text))
}

/// All, one, or the leader.
fn told(asked: &Asked<'_>, id: &str) -> Result<(StatusCode, String), Refused> {
    let internal = (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error".to_owned());
    let members = asked.handle.query().map_err(|_| internal)?.members();
    if id.is_empty() {
        let members: Vec<String> = members.list().iter().map(object_of).collect();
        return Ok((StatusCode::OK, format!("{{\"members\":[{}]}}\n", members.join(","))));
    }
    if id != "leader" {
        return Err((StatusCode::NOT_FOUND, "Not found".to_owned()));
    }
    let leader = asked.handle.raft().leader.and_then(|leader| members.member(leader));
    match leader {
        Some(leader) => Ok((StatusCode::OK, object_of(leader) + "\n")),
        None => Err((StatusCode::SERVICE_UNAVAILABLE, "During election".to_owned())),
    }
}

fn object_of(member: &pb::Member) -> String {
    let mut out = format!(r#"{{"id":"{}","name":"#, MemberId(member.id));
    json::quote(&mut out, member.name.as_bytes());
    out.push_str(r#","peerURLs":"#);
    json::texts(&mut out, &member.peer_ur_ls);
    out.push_str(r#","clientURLs":"#);
    json::texts(&mut out, &member.client_ur_ls);
    out.push('}');
    out
}

async fn add(asked: &mut Asked<'_>) -> Result<(StatusCode, String), Refused> {
    let peer_ur_ls = peer_urls(asked).await?;
    let request = pb::MemberAddRequest { peer_ur_ls, is_learner: false };
    let added: Result<pb::MemberAddResponse, Status> =
        ask::message(asked.service(), asked.caller(), Call::MemberAdd, &request).await;
    let added = added.map_err(|status| refused(&status, None))?;
    let member = added.member.unwrap_or_default();
    Ok((StatusCode::CREATED, object_of(&member) + "\n"))
}

async fn remove(asked: &Asked<'_>, text: &str) -> Result<(StatusCode, String), Refused> {
    let id = member_id(text)?;
    let was_removed = is_removed(asked, id);
    let request = pb::MemberRemoveRequest { id: id.0 };
    let removed: Result<pb::MemberRemoveResponse, Status> =
        ask::message(asked.service(), asked.caller(), Call::MemberRemove, &request).await;
    match removed {
        Ok(_) => Ok((StatusCode::NO_CONTENT, String::new())),
        Err(_) if was_removed => {
            Err((StatusCode::GONE, format!("Member permanently removed: {text}")))
        }
        Err(status) => Err(refused(&status, Some(text))),
    }
}

async fn update(asked: &mut Asked<'_>, text: &str) -> Result<(StatusCode, String), Refused> {
    let id = member_id(text)?;
    let peer_ur_ls = peer_urls(asked).await?;
    let request = pb::MemberUpdateRequest { id: id.0, peer_ur_ls };
    let updated: Result<pb::MemberUpdateResponse, Status> =
        ask::message(asked.service(), asked.caller(), Call::MemberUpdate, &request).await;
    updated.map_err(|status| refused(&status, Some(text)))?;
    Ok((StatusCode::NO_CONTENT, String::new()))
}

fn is_removed(asked: &Asked<'_>, id: MemberId) -> bool {
    asked.handle.query().is_ok_and(|query| query.members().is_removed(id))
}

fn member_id(text: &str) -> Result<MemberId, Refused> {
    let id = u64::from_str_radix(text, 16).ok().filter(|_| !text.starts_with('+'));
    id.map(MemberId).ok_or_else(|| (StatusCode::NOT_FOUND, format!("No such member: {text}")))
}

fn refused(status: &Status, id: Option<&str>) -> Refused {
    match (status.text.as_str(), id) {
        ("etcdserver: Peer URLs already exists", _) => {
            (StatusCode::CONFLICT, "membership: peerURL exists".to_owned())
        }
        ("etcdserver: member ID already exist", _) => {
            (StatusCode::CONFLICT, "membership: ID exists".to_owned())
        }
        ("etcdserver: member not found", Some(id)) => {
            (StatusCode::NOT_FOUND, format!("No such member: {id}"))
        }
        (text, _) if text.contains("timed out") => (StatusCode::GATEWAY_TIMEOUT, text.to_owned()),
        // What etcd calls an internal error has a reason here.
        (text, _) => (StatusCode::INTERNAL_SERVER_ERROR, text.to_owned()),
    }
}

/// What the body says, checked as etcd checks it.
async fn peer_urls(asked: &mut Asked<'_>) -> Result<Vec<String>, Refused> {
    let headers = asked.request.headers().clone();
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind != "application/json" {
        let text = "Bad Content-Type , accept application/json";
        let text = text.replace("Type ,", &format!("Type {kind},"));
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    let bad = |text: String| (StatusCode::BAD_REQUEST, text);
    let session = asked.session;
    let body = form::whole(session, &headers, asked.request.body_mut()).await.map_err(bad)?;
    let object: serde_json::Value =
        serde_json::from_slice(&body).map_err(|error| bad(not_json(&body, &error)))?;
    let urls = object.get("peerURLs").and_then(serde_json::Value::as_array);
    let urls = urls.into_iter().flatten().filter_map(|url| url.as_str().map(str::to_owned));
    let urls: Vec<String> = urls.collect();
    if urls.is_empty() {
        return Err(bad("no valid URLs given".to_owned()));
    }
    for url in &urls {
        checked(url).map_err(bad)?;
    }
    Ok(urls)
}

/// Go's words where it stumbles over the first sign.
fn not_json(body: &[u8], error: &serde_json::Error) -> String {
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => "unexpected end of JSON input".to_owned(),
        Some(byte) if !b"{[\"-0123456789tfn".contains(byte) => {
            let sign = char::from(*byte);
            format!("invalid character '{sign}' looking for beginning of value")
        }
        Some(_) => error.to_string(),
    }
}

/// etcd's rules for URLs, and its words.
fn checked(url: &str) -> Result<(), String> {
    let (scheme, address) = url.split_once("://").unwrap_or(("", url));
    let has_colon = url.split('/').next().is_some_and(|segment| segment.contains(':'));
    if !url.starts_with(|sign: char| sign.is_ascii_alphabetic()) && has_colon {
        return Err(format!("parse \"{url}\": first path segment in URL cannot contain colon"));
    }
    if !matches!(scheme, "http" | "https" | "unix" | "unixs") {
        return Err(format!("URL scheme must be http, https, unix, or unixs: {url}"));
    }
    let (host, path) = address.find('/').map_or((address, ""), |at| address.split_at(at));
    if !scheme.starts_with("unix") && !host.contains(':') {
        return Err(format!("URL address does not have the form \"host:port\": {url}"));
    }
    if !path.is_empty() {
        return Err(format!("URL must not contain a path: {url}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_refused_in_etcds_words() {
        for (url, start) in [
            ("xx", "URL scheme must be"),
            ("127.0.0.1:1", "parse \"127.0.0.1:1\": first path"),
            ("ftp://a:1", "URL scheme must be"),
            ("http://a", "URL address does not have"),
            ("http://a:1/b", "URL must not contain a path"),
        ] {
            assert!(checked(url).unwrap_err().starts_with(start), "{url}");
        }
        assert_eq!(checked("http://a:1"), Ok(()));
    }
}
