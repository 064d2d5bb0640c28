//! A registry by its URL, as etcd 2 to 3.6 have it: a directory of the v2 tree, over HTTP/1.1.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, PROXY_AUTHORIZATION};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use std::time::Duration;
use tokio::time::timeout;

use super::error::{Failure, GatherError};
use super::gathering::{Listing, Registry};
use super::meeting::Meeting;
use super::place::Directory;
use super::wire::{Wire, authority, basic};
use crate::base::limits;
use crate::transport::Names;

/// etcd's number for a key that is not there.
const KEY_NOT_FOUND: u64 = 100;
/// And for one that is.
const NODE_EXIST: u64 = 105;
/// And for a wait whose history is gone.
const INDEX_CLEARED: u64 = 401;
/// And for what happened inside a cluster, and may go by.
const OF_RAFT: std::ops::Range<u64> = 300..400;

/// One directory; each question has a connection of its own, so none outlives a restart of the service unseen.
pub struct V2<'a> {
    meeting: &'a Meeting,
    directory: &'a Directory,
    wire: Wire<'a>,
}

/// An answer that speaks v2.
struct Answer {
    index: u64,
    told: Told,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Told {
    node: Option<Node>,
    error_code: Option<u64>,
    message: String,
    cause: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Node {
    key: String,
    value: Option<String>,
    nodes: Vec<Self>,
    created_index: u64,
}

impl<'a> V2<'a> {
    pub fn new(
        meeting: &'a Meeting,
        directory: &'a Directory,
        names: &Names,
    ) -> Result<Self, Failure> {
        Ok(Self { meeting, directory, wire: Wire::new(meeting, names, b"http/1.1")? })
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        form: Option<String>,
        patience: Duration,
    ) -> Result<Answer, Failure> {
        let server = &self.directory.server;
        match timeout(patience, self.exchange(method, path, form)).await {
            Ok(Ok((status, index, body))) => Ok(Answer { index, told: self.read(status, &body)? }),
            Ok(Err(what)) => Err(Failure::Passing(what)),
            Err(_) => Err(Failure::Passing(format!("{server}: no answer within {patience:?}"))),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        form: Option<String>,
    ) -> Result<(StatusCode, u64, Bytes), String> {
        let server = &self.directory.server;
        let told = |error: &dyn std::fmt::Display| format!("{server}: {error}");
        let stream = self.wire.open(server, true).await?;
        let path = format!("{}{path}", self.directory.path);
        let passed_on = self.wire.passes_on(server, true);
        let uri = if passed_on { format!("http://{}{path}", authority(server)) } else { path };
        let mut request =
            Request::builder().method(method).uri(uri).header(HOST, authority(server));
        if let Some(credentials) = &self.meeting.credentials {
            request = request.header(AUTHORIZATION, basic(credentials));
        }
        if let Some(login) = self.wire.proxy_login().filter(|_| passed_on) {
            request = request.header(PROXY_AUTHORIZATION, login);
        }
        if form.is_some() {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        let body = Full::new(Bytes::from(form.unwrap_or_default()));
        let request = request.body(body).map_err(|error| told(&error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| told(&error))?;
        let asking = async {
            let response = sender.send_request(request).await.map_err(|error| told(&error))?;
            let (head, body) = response.into_parts();
            let index =
                head.headers.get("x-etcd-index").and_then(|it| it.to_str().ok()?.parse().ok());
            let body = Limited::new(body, limits::DISCOVERY_ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| told(&error))?.to_bytes();
            Ok((head.status, index.unwrap_or_default(), body))
        };
        tokio::pin!(asking);
        tokio::select! {
            answered = &mut asking => answered,
            // The connection may end with the answer's last byte.
            _ = connection => asking.await,
        }
    }

    /// What an answer says, if it goes on from there.
    fn read(&self, status: StatusCode, body: &[u8]) -> Result<Told, Failure> {
        let server = &self.directory.server;
        let told: Option<Told> = serde_json::from_slice(body).ok();
        let says = |told: &Told| match told.cause.is_empty() {
            true => format!("{} ({status})", told.message),
            false => format!("{} ({}, {status})", told.message, told.cause),
        };
        let is_passing =
            matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
        if status.is_server_error() || is_passing {
            let what = told.as_ref().map_or_else(|| status.to_string(), says);
            return Err(Failure::Passing(format!("{server} answers {what}")));
        }
        if status.is_success() && body.is_empty() {
            // As an etcd ends a wait when it stops.
            return Err(Failure::Passing(format!("{server} answers nothing ({status})")));
        }
        let endpoint = || format!("{server}{}", self.directory.path);
        if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN {
            let what = told.as_ref().map_or_else(|| status.to_string(), says);
            return Err(GatherError::Refused { endpoint: endpoint(), what, is_login: true }.into());
        }
        let Some(told) = told.filter(|it| it.node.is_some() || it.error_code.is_some()) else {
            let what = format!("answers {status} without the v2 API's words");
            return Err(GatherError::BadEndpoint { endpoint: endpoint(), what }.into());
        };
        match told.error_code {
            None | Some(KEY_NOT_FOUND | NODE_EXIST | INDEX_CLEARED) => Ok(told),
            Some(code) if OF_RAFT.contains(&code) => {
                Err(Failure::Passing(format!("{server} answers {}", says(&told))))
            }
            Some(_) => {
                let what = says(&told);
                Err(GatherError::Refused { endpoint: endpoint(), what, is_login: false }.into())
            }
        }
    }

    fn no_size(&self) -> Failure {
        GatherError::SizeNotFound { place: self.directory.text.clone() }.into()
    }
}

impl Registry for V2<'_> {
    async fn size(&mut self) -> Result<String, Failure> {
        let path = "/_config/size?quorum=true";
        let answer = self.ask(Method::GET, path, None, self.meeting.request_timeout).await?;
        answer.told.node.and_then(|node| node.value).ok_or_else(|| self.no_size())
    }

    async fn entries(&mut self) -> Result<Listing, Failure> {
        let path = "?quorum=true";
        let answer = self.ask(Method::GET, path, None, self.meeting.request_timeout).await?;
        let Some(directory) = answer.told.node else { return Err(self.no_size()) };
        Ok(Listing { entries: entries(directory.nodes), at: answer.index })
    }

    async fn register(&mut self, id: &str, entry: &str) -> Result<(), Failure> {
        let (path, form) = (format!("/{id}?prevExist=false"), format!("value={}", encoded(entry)));
        let patience = self.meeting.request_timeout;
        let answer = self.ask(Method::PUT, &path, Some(form), patience).await?;
        match answer.told.error_code {
            Some(KEY_NOT_FOUND) => Err(self.no_size()),
            _ => Ok(()),
        }
    }

    async fn change(&mut self, since: u64) -> Result<(), Failure> {
        let path = format!("?wait=true&recursive=true&waitIndex={}", since + 1);
        let asking = self.ask(Method::GET, &path, None, Duration::MAX);
        match timeout(limits::DISCOVERY_LOOK_AGAIN, asking).await {
            // If its history is shorter than we waited, the list tells.
            Ok(answered) => answered.map(|_| ()),
            Err(_) => Ok(()),
        }
    }
}

/// Members in the order of their creation; what begins with `_` is the registry's own.
fn entries(mut nodes: Vec<Node>) -> Vec<(String, String)> {
    nodes.sort_by_key(|node| node.created_index);
    let entry = |node: Node| {
        let id = node.key.rsplit('/').next().unwrap_or_default().to_owned();
        (!id.starts_with('_')).then(|| (id, node.value.unwrap_or_default()))
    };
    nodes.into_iter().filter_map(entry).collect()
}

/// As a form's value.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'_' | b'.' => {
                encoded.push(char::from(byte));
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::super::place::Venue;
    use super::*;

    fn read(status: u16, body: &str) -> Result<Told, Failure> {
        let (place, _) = Venue::parse("http://h:1/v2/keys/t").unwrap();
        let meeting = Meeting::new(place);
        let Venue::Directory(directory) = &meeting.place else { panic!("a directory") };
        let v2 = V2::new(&meeting, directory, &Names::default()).unwrap();
        v2.read(StatusCode::from_u16(status).unwrap(), body.as_bytes())
    }

    #[test]
    fn answers_are_told_apart() {
        let ended = |status, body: &str| match read(status, body).unwrap_err() {
            Failure::Final(error) => error.to_string(),
            Failure::Passing(what) => panic!("{what}"),
        };
        let bad = ended(404, "404 page not found");
        assert!(
            bad.starts_with("discovery: bad discovery endpoint: http://h:1/v2/keys/t"),
            "{bad}"
        );
        assert!(ended(200, "<html>").contains("bad discovery endpoint"));
        assert!(ended(200, "{}").contains("bad discovery endpoint"));
        let login = ended(401, r#"{"message":"Insufficient credentials"}"#);
        assert!(login.contains("discovery-user"), "{login}");
        let refused = ended(400, r#"{"errorCode":209,"message":"Invalid field","cause":"no"}"#);
        assert!(refused.contains("Invalid field (no, 400 Bad Request)"), "{refused}");
        for (status, body) in [
            (503, ""),
            (429, "{}"),
            (408, ""),
            (200, ""),
            (500, r#"{"errorCode":300,"message":"Raft Internal Error"}"#),
            (400, r#"{"errorCode":301,"message":"During Leader Election"}"#),
        ] {
            assert!(matches!(read(status, body), Err(Failure::Passing(_))), "{status} {body}");
        }
        let none = r#"{"errorCode":100,"message":"Key not found","cause":"/t","index":4}"#;
        assert_eq!(read(404, none).unwrap().error_code, Some(KEY_NOT_FOUND));
    }

    #[test]
    fn members_are_read_in_the_order_of_their_creation() {
        let body = r#"{"action":"get","node":{"key":"/t","dir":true,"nodes":[
            {"key":"/t/b","value":"n2=http://h:2","modifiedIndex":9,"createdIndex":9},
            {"key":"/t/_config","dir":true,"createdIndex":3},
            {"key":"/t/a","value":"n1=http://h:1","modifiedIndex":12,"createdIndex":7}]}}"#;
        let told = read(200, body).unwrap();
        let of = |id: &str, value: &str| (id.to_owned(), value.to_owned());
        let found = entries(told.node.unwrap().nodes);
        assert_eq!(found, [of("a", "n1=http://h:1"), of("b", "n2=http://h:2")]);
        assert_eq!(encoded("n1=http://h:1"), "n1%3Dhttp%3A%2F%2Fh%3A1");
    }
}
