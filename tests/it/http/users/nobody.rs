//! Every method over every wire, asked by nobody.

use bytes::Bytes;
use quorate::proto::frame::{Answer, Request};
use quorate::proto::{Method, Shape, etcdserverpb as pb};

use super::super::super::harness::run;
use super::super::super::native::raw::Raw;
use super::super::alone::Alone;
use super::super::client::{Client, End, prefixed};
use super::super::compatibility;
use super::super::gateway::Lines;
use super::{client, enable};

const EMPTY: &str = "etcdserver: user name is empty";
const FAILED: &str = "etcdserver: authentication failed, invalid user ID or password";

/// A key or a name where the method takes one; a method that is added is asked with nothing.
fn request(method: Method) -> Bytes {
    match method {
        Method::Range
        | Method::RangeStream
        | Method::Put
        | Method::DeleteRange
        | Method::Lock
        | Method::Unlock
        | Method::Campaign
        | Method::Leader
        | Method::Observe
        // Everybody may look at himself, and nobody is called nothing.
        | Method::UserGet => Bytes::from_static(b"\x0a\x01k"),
        Method::Watch => {
            let create = pb::WatchCreateRequest { key: "k".into(), ..Default::default() };
            let union = pb::watch_request::RequestUnion::CreateRequest(create);
            prost::Message::encode_to_vec(&pb::WatchRequest { request_union: Some(union) }).into()
        }
        // A key of a leader.
        Method::Proclaim | Method::Resign => Bytes::from_static(b"\x0a\x06\x0a\x01k\x12\x01k"),
        Method::RoleGrantPermission => Bytes::from_static(b"\x0a\x01r\x12\x03\x12\x01k"),
        _ => Bytes::new(),
    }
}

/// The whole list: a method that nobody may use is refused without being on it.
fn expected(method: Method) -> Option<&'static str> {
    match method {
        Method::Authenticate => Some(FAILED),
        // Tokens of a discovery service have a page of their own, and other reasons to refuse.
        Method::RegistryNew | Method::RegistryList | Method::RegistryRevoke => None,
        _ => Some(EMPTY),
    }
}

fn judge(method: Method, wire: &str, told: &Result<Option<Bytes>, End>) {
    let text = match told {
        Err((_, text)) => text.clone(),
        Ok(Some(message)) if method == Method::Watch => {
            let response: pb::WatchResponse = prost::Message::decode(message.clone()).unwrap();
            assert!(
                response.created && response.canceled && response.watch_id == -1,
                "{response:?}"
            );
            let said = "rpc error: code = InvalidArgument desc = ";
            response.cancel_reason.strip_prefix(said).unwrap_or(&response.cancel_reason).to_owned()
        }
        Ok(answer) => panic!("{} over {wire} answers nobody: {answer:?}", method.path()),
    };
    if let Some(expected) = expected(method) {
        assert_eq!(text, expected, "{} over {wire}", method.path());
    }
}

async fn over_grpc(client: &Client, method: Method) -> Result<Option<Bytes>, End> {
    let mut stream = client.open(&format!("/{}", method.path()), &[]).await;
    stream.bytes(prefixed(0, &request(method)), method.shape() != Shape::Duplex);
    stream.next().await
}

async fn over_our_own(url: &str, method: Method) -> Result<Option<Bytes>, End> {
    let (raw, _control) = Raw::greeted(url).await;
    let mut stream = raw.unary().await;
    let (method, body) = (method.number(), request(method));
    stream.request(Request::Call { id: 1, method, deadline_ms: 0, body }).await;
    match stream.answer().await {
        Answer::Message { body, .. } => Ok(Some(body)),
        Answer::Error { status, .. } => Err((status.code.number(), status.text)),
        Answer::Moved { .. } => panic!("nobody was told much"),
    }
}

/// Fails when a method is added that somebody may use without being anybody.
#[test]
fn whoever_is_nobody_may_log_in_and_nothing_else() {
    run(async {
        let (alone, grpc) = Alone::start(&[]).await;
        enable(&client(&[alone.address], None)).await;
        let url = format!("http://{}", alone.address);
        for &method in Method::ALL {
            judge(method, "gRPC", &over_grpc(&grpc, method).await);
            if method.shape() == Shape::Unary {
                judge(method, "our own protocol", &over_our_own(&url, method).await);
            }
        }
        let mut paths = 0;
        for (path, name) in compatibility::paths() {
            let body = match name.as_str() {
                "Range" | "RangeStream" | "Put" | "DeleteRange" => r#"{"key":"aw=="}"#,
                "Watch" => r#"{"create_request":{"key":"aw=="}}"#,
                "Lock" | "Campaign" | "Leader" | "Observe" => r#"{"name":"aw=="}"#,
                "Unlock" => r#"{"key":"aw=="}"#,
                "Proclaim" | "Resign" => r#"{"leader":{"name":"aw==","key":"aw=="}}"#,
                "RoleGrantPermission" => r#"{"name":"r","perm":{"key":"aw=="}}"#,
                "UserGet" => r#"{"name":"k"}"#,
                _ => "{}",
            };
            // Its stream goes on where one watcher was refused.
            let said = Lines::whole(alone.address, &path, None, body).await.next_if_any().await;
            let found = said.unwrap_or_else(|| panic!("{path}: no answer")).to_string();
            let expected = match name.as_str() {
                "Authenticate" => FAILED,
                // A discovery service has other reasons, too.
                _ if path.starts_with("/v3/discovery") => "\"message\":",
                _ => EMPTY,
            };
            assert!(found.contains(expected), "{path} answers nobody: {found}");
            paths += 1;
        }
        assert!(paths > 40, "{paths} paths");
        // Pages know no users.
        for page in ["/health", "/version", "/metrics"] {
            let (head, _) =
                super::super::pages::ask(alone.address, &format!("GET {page}"), "").await;
            assert!(head.starts_with("HTTP/1.1 200 "), "{page}: {head}");
        }
        // Neither do v2's keys; but members are not changed by whoever comes there, nor are v2's users made.
        for (asked, body) in [
            ("POST /v2/members", r#"{"peerURLs":["http://127.0.0.1:1"]}"#),
            ("PUT /v2/auth/users/root", r#"{"user":"root","password":"p"}"#),
            ("PUT /v2/auth/enable", ""),
        ] {
            let (head, text) = super::super::pages::ask_with(
                alone.address,
                asked,
                "content-type: application/json\r\n",
                body,
            )
            .await;
            assert!(head.starts_with("HTTP/1.1 401 "), "{asked}: {head} {text}");
        }
    });
}
