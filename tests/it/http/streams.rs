//! Streams through the door: watches that go on, renewals that end, and the end of the server.

use quorate::proto::Method;
use quorate::proto::etcdserverpb as pb;
use quorate::proto::etcdserverpb::watch_request::RequestUnion;

use super::calls::{PUT, put};
use super::client::Client;
use super::{LONG, Memory, Server, until};

pub(super) const WATCH: &str = "/etcdserverpb.Watch/Watch";
const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";

pub(super) fn watch(key: &str) -> pb::WatchRequest {
    let create = pb::WatchCreateRequest { key: key.to_owned().into(), ..Default::default() };
    pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }
}

#[tokio::test]
async fn a_watch_goes_on_after_its_client_has_said_all() {
    let memory = Memory::new();
    let server = Server::start(&memory);
    let client = Client::dial(server.address).await;
    let mut stream = client.open(WATCH, &[]).await;
    stream.say(&watch("k"), true);
    assert!(stream.hear::<pb::WatchResponse>().await.created);
    for number in 0..3 {
        memory.put("k", &number.to_string());
        let heard: pb::WatchResponse = stream.hear().await;
        assert_eq!(heard.events[0].kv.as_ref().unwrap().value, number.to_string());
    }
}

#[tokio::test]
async fn two_watchers_share_a_stream() {
    let memory = Memory::new();
    let server = Server::start(&memory);
    let client = Client::dial(server.address).await;
    let mut stream = client.open(WATCH, &[]).await;
    for (id, key) in [(1, "a"), (2, "b")] {
        let mut request = watch(key);
        if let Some(RequestUnion::CreateRequest(create)) = &mut request.request_union {
            create.watch_id = id;
        }
        stream.say(&request, false);
        assert_eq!(stream.hear::<pb::WatchResponse>().await.watch_id, id);
    }
    memory.put("b", "1");
    assert_eq!(stream.hear::<pb::WatchResponse>().await.watch_id, 2);
}

#[tokio::test]
async fn renewals_end_with_their_client() {
    let memory = Memory::new();
    memory.grant(7);
    let server = Server::start(&memory);
    let client = Client::dial(server.address).await;
    let mut stream = client.open(KEEP_ALIVE, &[]).await;
    stream.say(&pb::LeaseKeepAliveRequest { id: 7 }, false);
    assert_eq!(stream.hear::<pb::LeaseKeepAliveResponse>().await.ttl, 1);
    stream.say(&pb::LeaseKeepAliveRequest { id: 8 }, true);
    assert_eq!(stream.hear::<pb::LeaseKeepAliveResponse>().await.ttl, 0);
    assert_eq!(stream.next().await, Ok(None));
}

#[tokio::test]
async fn a_stopping_server_ends_streams_and_answers_what_was_asked() {
    let memory = Memory::new();
    let server = Server::start(&memory);
    let client = Client::dial(server.address).await;
    let mut watching = client.open(WATCH, &[]).await;
    watching.say(&watch("k"), false);
    assert!(watching.hear::<pb::WatchResponse>().await.created);
    memory.hold();
    let mut asked = client.open(PUT, &[]).await;
    asked.say(&put("k", "v"), true);
    until("the call arrives", || memory.held() == 1).await;
    let draining = tokio::spawn({
        let http = server.http.clone();
        async move { http.drain(LONG).await }
    });
    let ended = watching.next().await.unwrap_err();
    assert_eq!(ended, (14, "etcdserver: server stopped".to_owned()));
    memory.release();
    assert_eq!(asked.hear::<pb::PutResponse>().await.header.unwrap().revision, 2);
    assert_eq!(asked.next().await, Ok(None));
    drop((client, watching, asked));
    super::soon("the end of the connection", draining).await.unwrap();
    assert_eq!(server.http.connections(), 0);
}

#[tokio::test]
async fn who_hangs_up_is_forgotten() {
    let memory = Memory::new();
    let server = Server::start(&memory);
    let client = Client::dial(server.address).await;
    let mut stream = client.open(WATCH, &[]).await;
    stream.say(&watch("k"), false);
    assert!(stream.hear::<pb::WatchResponse>().await.created);
    stream.reset();
    memory.hold();
    let mut asked = client.open(PUT, &[]).await;
    asked.say(&put("k", "v"), true);
    until("the call arrives", || memory.held() == 1).await;
    asked.reset();
    memory.release();
    // The connection is as good as before.
    let answer: pb::PutResponse = client.call(PUT, &[], &put("k", "v")).await.unwrap();
    assert!(answer.header.is_some());
    assert_eq!(memory.seen(Method::Put), 2);
    drop(client);
    until("the connection ends", || server.http.connections() == 0).await;
}
