//! `/v2/members` and `/v2/machines`: who is in the cluster, and changes of that.

use hyper::header::CONTENT_TYPE;
use hyper::{Method, Response, StatusCode};
use tokio::time::timeout;

use super::routes::{Asked, faulted, not_allowed, object};
use super::{access, form, json};
use crate::api::http::body::Answer;
use crate::api::http::pages::page;
use crate::api::local::{self, Changing};
use crate::api::status;
use crate::base::{MemberId, limits};
use crate::engine::Error;
use crate::proto::etcdserverpb as pb;
use crate::proto::quorate::log::member_change::Kind;
use crate::state::{Asker, Rejection, Reply, check};

const PREFIX: usize = "/v2/members".len();

/// What is told instead of a member.
type Refused = (StatusCode, String);

/// All client addresses, as text.
pub(super) async fn machines(asked: Asked<'_>) -> Response<Answer> {
    if let Some(refused) = asked.refused("GET,HEAD") {
        return refused;
    }
    announced(&asked).await;
    let members = match asked.handle.query() {
        Ok(query) => query.members().list(),
        Err(fault) => return faulted(&fault),
    };
    let mut urls: Vec<String> = members.into_iter().flat_map(|it| it.client_ur_ls).collect();
    urls.sort();
    page(StatusCode::OK, "text/plain; charset=utf-8", urls.join(", "))
}

pub(super) async fn respond(mut asked: Asked<'_>) -> Response<Answer> {
    if let Some(refused) = asked.refused("GET,POST,DELETE,PUT") {
        return refused;
    }
    if !access::may_change_cluster(&asked).await {
        return access::refused();
    }
    let rest = asked.path.get(PREFIX..).unwrap_or_default();
    let id = String::from_utf8_lossy(rest).trim_matches('/').to_owned();
    let answered = match (asked.method(), id.as_str()) {
        (&Method::GET, _) => told(&asked, &id).await,
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

/// Waits for this member's client URLs. Between its first election and its own word of where it is found there is none of
/// it to tell, and a client that learns of none gives up; etcd does not listen to clients before it.
async fn announced(asked: &Asked<'_>) {
    let mut changed = asked.handle.members_changed();
    let own = asked.handle.member();
    let is_told = || {
        let Ok(query) = asked.handle.query() else { return true };
        let members = query.members();
        match members.member(own) {
            Some(own) => !own.client_ur_ls.is_empty(),
            None => !members.is_empty(),
        }
    };
    let told = async { while !is_told() && changed.changed().await.is_ok() {} };
    if timeout(limits::ANNOUNCEMENT_WAIT, told).await.is_err() {
        tracing::debug!(
            "/v2/members is answered without this member's client URLs: there is no leader to take them"
        );
    }
}

/// All, one, or the leader.
async fn told(asked: &Asked<'_>, id: &str) -> Result<(StatusCode, String), Refused> {
    announced(asked).await;
    let internal = |fault| (StatusCode::INTERNAL_SERVER_ERROR, status::of_fault(&fault).text);
    let members = asked.handle.query().map_err(internal)?.members();
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
    let member = pb::Member { peer_ur_ls: peer_urls(asked).await?, ..Default::default() };
    let added = change(asked, Kind::AddVoter, member).await;
    let member = added.map_err(|error| refused(&error, ""))?.unwrap_or_default();
    Ok((StatusCode::CREATED, object_of(&member) + "\n"))
}

async fn remove(asked: &Asked<'_>, text: &str) -> Result<(StatusCode, String), Refused> {
    let member = pb::Member { id: member_id(text)?.0, ..Default::default() };
    let removed = change(asked, Kind::Remove, member).await;
    removed.map_err(|error| refused(&error, text))?;
    Ok((StatusCode::NO_CONTENT, String::new()))
}

async fn update(asked: &mut Asked<'_>, text: &str) -> Result<(StatusCode, String), Refused> {
    let id = member_id(text)?.0;
    let member = pb::Member { id, peer_ur_ls: peer_urls(asked).await?, ..Default::default() };
    let updated = change(asked, Kind::Update, member).await;
    // Who was removed is to an update nobody.
    let error = |error| match error {
        Error::Rejected(Rejection::MemberRemoved) => Error::Rejected(Rejection::MemberNotFound),
        error => error,
    };
    updated.map_err(|it| refused(&error(it), text))?;
    Ok((StatusCode::NO_CONTENT, String::new()))
}

/// Through the log; the member as it is afterwards, if it is.
async fn change(
    asked: &Asked<'_>,
    kind: Kind,
    member: pb::Member,
) -> Result<Option<pb::Member>, Error> {
    let handle = asked.handle;
    let change = Changing { kind, member }.command(handle.clock().wall_ms());
    let deadline = handle.clock().now() + limits::V2_REQUEST_DEADLINE;
    let applied = local::change(handle, Asker::member(), change, deadline).await?;
    Ok(match applied.reply {
        Reply::Members { member, .. } => member,
        _ => None,
    })
}

fn member_id(text: &str) -> Result<MemberId, Refused> {
    let id = u64::from_str_radix(text, 16).ok().filter(|_| !text.starts_with('+'));
    // Nobody has the id 0.
    id.filter(|id| *id != 0)
        .map(MemberId)
        .ok_or_else(|| (StatusCode::NOT_FOUND, format!("No such member: {text}")))
}

fn refused(error: &Error, id: &str) -> Refused {
    match error {
        Error::Rejected(Rejection::PeerUrlExist) => {
            (StatusCode::CONFLICT, "membership: peerURL exists".to_owned())
        }
        Error::Rejected(Rejection::MemberExist) => {
            (StatusCode::CONFLICT, "membership: ID exists".to_owned())
        }
        Error::Rejected(Rejection::MemberNotFound) => {
            (StatusCode::NOT_FOUND, format!("No such member: {id}"))
        }
        Error::Rejected(Rejection::MemberRemoved) => {
            (StatusCode::GONE, format!("Member permanently removed: {id}"))
        }
        // What etcd calls an internal error has a reason here.
        _ => (StatusCode::INTERNAL_SERVER_ERROR, status::of_error(error).text),
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
    // And those of whoever dials them.
    let request = pb::MemberUpdateRequest { id: 0, peer_ur_ls: urls };
    check::member_update(&request).map_err(|malformed| bad(malformed.to_string()))?;
    Ok(request.peer_ur_ls)
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
