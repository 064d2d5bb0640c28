//! Unary calls through the door: answers, failures, and what the metadata says.

use std::sync::Arc;

use quorate::proto::etcdserverpb as pb;
use quorate::proto::{Code, Method, Retry, Status};

use super::client::Client;
use super::{Memory, Server};

pub(super) const PUT: &str = "/etcdserverpb.KV/Put";
pub(super) const RANGE: &str = "/etcdserverpb.KV/Range";

pub(super) fn put(key: &str, value: &str) -> pb::PutRequest {
    let (key, value) = (key.to_owned().into(), value.to_owned().into());
    pb::PutRequest { key, value, ..Default::default() }
}

pub(super) fn get(key: &str) -> pb::RangeRequest {
    pb::RangeRequest { key: key.to_owned().into(), ..Default::default() }
}

#[tokio::test]
async fn a_call_is_answered_with_its_message_and_a_status() {
    let server = Server::start(&Memory::new());
    let client = Client::dial(server.address).await;
    let answer: pb::PutResponse = client.call(PUT, &[], &put("k", "v")).await.unwrap();
    assert_eq!(answer.header.unwrap().revision, 2);
    let mut stream = client.open(RANGE, &[]).await;
    stream.say(&get("k"), true);
    let answer: pb::RangeResponse = stream.hear().await;
    assert_eq!(answer.kvs[0].value, "v");
    assert_eq!(stream.headers["content-type"], "application/grpc");
    assert_eq!(stream.headers["server"], concat!("quorate/", env!("CARGO_PKG_VERSION")));
    assert_eq!(stream.next().await, Ok(None));
}

#[tokio::test]
async fn a_long_value_goes_and_comes_whole() {
    let server = Server::start(&Memory::new());
    let client = Client::dial(server.address).await;
    let value = "x".repeat(1_500_000);
    let _: pb::PutResponse = client.call(PUT, &[], &put("k", &value)).await.unwrap();
    let answer: pb::RangeResponse = client.call(RANGE, &[], &get("k")).await.unwrap();
    assert!(answer.kvs[0].value == value);
}

#[tokio::test]
async fn failures_are_numbers_and_texts() {
    let memory = Memory::new();
    let server = Server::start(&memory);
    let client = Client::dial(server.address).await;
    for (path, code, text) in [
        ("/etcdserverpb.KV/Steal", 12, "unknown method Steal for service etcdserverpb.KV"),
        ("/grpc.Nobody/Put", 12, "unknown service grpc.Nobody"),
        ("/nowhere", 12, "malformed method name: \"nowhere\""),
    ] {
        let refused = client.call::<pb::PutResponse>(path, &[], &put("k", "v")).await.unwrap_err();
        assert_eq!(refused, (code, text.to_owned()));
    }
    let text = "etcdserver: 100% \u{fc}ber";
    memory.fail_with(Some(Status::new(Code::Unavailable, text, Retry::NotProposed)));
    let failed = client.call::<pb::PutResponse>(PUT, &[], &put("k", "v")).await.unwrap_err();
    assert_eq!(failed, (14, "etcdserver: 100%25 %C3%BCber".to_owned()));
}

#[tokio::test]
async fn metadata_says_who_asks_and_how() {
    let memory = Memory::new();
    let server = Server::start(&memory);
    let client = Client::dial(server.address).await;
    let _: pb::PutResponse = client.call(PUT, &[], &put("k", "v")).await.unwrap();
    let caller = memory.last_caller();
    assert_eq!((caller.token, caller.requires_leader), (None, false));
    let metadata = [("hasleader", "true"), ("token", "t.1"), ("user-agent", "grpc-go/1")];
    let _: pb::PutResponse = client.call(PUT, &metadata, &put("k", "v")).await.unwrap();
    let caller = memory.last_caller();
    assert_eq!((caller.token.as_deref(), caller.requires_leader), (Some("t.1"), true));
    assert_eq!(caller.client, "grpc-go/1");
    assert!(caller.address.is_some());
    let mut stream = client.open_raw(PUT, &[("client-api-version", &[0xff])]).await;
    stream.say(&put("k", "v"), true);
    let refused = stream.next().await.unwrap_err();
    assert_eq!(refused, (3, "etcdserver: invalid client api version".to_owned()));
    let refused =
        client.call::<pb::PutResponse>(PUT, &[("grpc-timeout", "soon")], &put("k", "v")).await;
    assert_eq!(refused.unwrap_err().0, 13);
    assert_eq!(memory.seen(Method::Put), 2);
}

/// `grpc.health.v1`'s two messages.
#[derive(Clone, PartialEq, prost::Message)]
struct Health {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Healthy {
    #[prost(int32, tag = "1")]
    status: i32,
}

#[tokio::test]
async fn the_server_says_that_it_serves() {
    let server = Server::start(&Memory::new());
    let client = Client::dial(server.address).await;
    let check = "/grpc.health.v1.Health/Check";
    let whole = Health::default();
    assert_eq!(client.call::<Healthy>(check, &[], &whole).await.unwrap().status, 1);
    let other = Health { service: "other".to_owned() };
    let refused = client.call::<Healthy>(check, &[], &other).await.unwrap_err();
    assert_eq!(refused, (5, "unknown service".to_owned()));
    let mut watch = client.open("/grpc.health.v1.Health/Watch", &[]).await;
    watch.say(&whole, true);
    assert_eq!(watch.hear::<Healthy>().await.status, 1);
    server.http.drain(super::LONG).await;
    assert_eq!(watch.next().await.unwrap_err().0, 14);
}

#[tokio::test]
async fn many_calls_share_one_connection() {
    let memory = Memory::new();
    let server = Server::start(&memory);
    let client = Arc::new(Client::dial(server.address).await);
    let calls: Vec<_> = (0..500)
        .map(|number| {
            let client = Arc::clone(&client);
            tokio::spawn(async move {
                let request = put(&format!("k{number}"), "v");
                client.call::<pb::PutResponse>(PUT, &[], &request).await.unwrap()
            })
        })
        .collect();
    let mut revisions = Vec::new();
    for call in calls {
        revisions.push(call.await.unwrap().header.unwrap().revision);
    }
    assert_eq!(memory.seen(Method::Put), 500);
    assert_eq!(server.http.connections(), 1);
}
