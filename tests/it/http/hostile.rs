//! Clients that keep to no rule.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use quorate::api::HttpConfig;
use quorate::base::limits;
use quorate::proto::Method;
use quorate::proto::etcdserverpb as pb;
use quorate::transport::{Bound, Bounds, Sizes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::calls::{PUT, RANGE, get, put};
use super::client::{Client, prefixed};
use super::streams::{WATCH, watch};
use super::{Memory, Server, soon, until};

#[tokio::test]
async fn messages_that_are_none_are_refused_with_a_reason() {
    let memory = Memory::new();
    let server = Server::start(&memory);
    let client = Client::dial(server.address).await;
    let max = limits::FRAME_BYTES_MAX;
    let too_long = u32::try_from(max + 1).unwrap().to_be_bytes();
    let too_long = Bytes::from([&[0][..], &too_long].concat());
    let text = format!("grpc: received message larger than max ({} vs. {max})", max + 1);
    let cases = [
        (too_long, 8, text),
        (prefixed(1, b"zipped"), 12, "grpc: Decompressor is not installed".to_owned()),
        (Bytes::from_static(&[0, 0, 0, 0, 9, 1]), 13, "unexpected EOF".to_owned()),
        (Bytes::from_static(&[0, 0]), 13, "unexpected EOF".to_owned()),
        (Bytes::new(), 13, "the request has no message".to_owned()),
    ];
    for (bytes, code, text) in cases {
        let mut stream = client.open(PUT, &[]).await;
        stream.bytes(bytes, true);
        let (found, told) = stream.next().await.unwrap_err();
        assert_eq!(found, code, "{told}");
        assert!(told.contains(&text), "{told}");
    }
    assert_eq!(memory.seen(Method::Put), 0);
    let answer: pb::PutResponse = client.call(PUT, &[], &put("k", "v")).await.unwrap();
    assert!(answer.header.is_some());
}

#[tokio::test]
async fn a_message_that_comes_slowly_is_not_waited_for() {
    let memory = Memory::new();
    let message_deadline = Duration::from_millis(300);
    let server = Server::with(&memory, HttpConfig { message_deadline, ..HttpConfig::default() });
    let client = Client::dial(server.address).await;
    let mut quiet = client.open(WATCH, &[]).await;
    quiet.say(&watch("k"), false);
    assert!(quiet.hear::<pb::WatchResponse>().await.created);
    let begun = Bytes::from_static(&[0, 0, 0, 0, 9, 1]);
    for (path, bytes, text) in [
        (PUT, begun.clone(), "quorate: the message came too slowly"),
        (WATCH, begun, "quorate: the message came too slowly"),
        (PUT, Bytes::new(), "quorate: no message came"),
    ] {
        let mut stream = client.open(path, &[]).await;
        stream.bytes(bytes, false);
        assert_eq!(stream.next().await.unwrap_err(), (4, text.to_owned()), "{path}");
    }
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let begun = b"POST /v3/kv/put HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\n{";
    stream.write_all(begun).await.unwrap();
    let mut answer = [0; 12];
    soon("the refusal", stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 504");
    assert_eq!(memory.seen(Method::Put), 0);
    // A stream may be silent between two messages.
    memory.put("k", "v");
    assert_eq!(quiet.hear::<pb::WatchResponse>().await.events.len(), 1);
}

#[tokio::test]
async fn long_messages_on_their_way_share_a_bound_and_the_oldest_makes_room() {
    let memory = Memory::new();
    let unfinished_bytes = limits::FRAME_BYTES_MAX;
    let bounds = Bounds::with(Sizes { unfinished_bytes, ..Sizes::default() });
    let server = Server::with(&memory, HttpConfig { bounds, ..HttpConfig::default() });
    let long = put("k", &"x".repeat(unfinished_bytes * 2 / 3)).encode_to_vec();
    let long = prefixed(0, &long);
    let (one, other) = (Client::dial(server.address).await, Client::dial(server.address).await);
    let mut first = one.open(PUT, &[]).await;
    let half = long.len() / 2;
    first.bytes(long.slice(..half), false);
    // What is short is bounded otherwise; and this one comes behind the other on its connection.
    let _: pb::PutResponse = one.call(PUT, &[], &put("k", "v")).await.unwrap();
    let mut second = other.open(PUT, &[]).await;
    second.bytes(long.clone(), true);
    second.hear::<pb::PutResponse>().await;
    let text = "quorate: too many bytes of messages that do not come to their end";
    assert_eq!(first.next().await.unwrap_err(), (8, text.to_owned()));
    assert_eq!(memory.seen(Method::Put), 2);
    // Who hangs up gives it back.
    let mut third = one.open(PUT, &[]).await;
    third.bytes(long.slice(..half), false);
    let _: pb::PutResponse = one.call(PUT, &[], &put("k", "v")).await.unwrap();
    third.reset();
    let mut fourth = other.open(PUT, &[]).await;
    fourth.bytes(long, true);
    fourth.hear::<pb::PutResponse>().await;
}

#[tokio::test]
async fn calls_whose_message_never_comes_make_room_for_those_of_others() {
    let memory = Memory::new();
    let bounds = Bounds::with(Sizes { silent: 4, ..Sizes::default() });
    let server = Server::with(&memory, HttpConfig { bounds, ..HttpConfig::default() });
    let (one, other) = (Client::dial(server.address).await, Client::dial(server.address).await);
    let mut calls = Vec::new();
    for path in [PUT, WATCH, PUT, PUT] {
        calls.push(one.open(path, &[]).await);
    }
    // Who comes with a message is none of them.
    let _: pb::PutResponse = one.call(PUT, &[], &put("k", "v")).await.unwrap();
    calls.push(one.open(PUT, &[]).await);
    let text = "quorate: too many calls whose message has not come";
    assert_eq!(calls[0].next().await.unwrap_err(), (8, text.to_owned()));
    let mut silent = other.open(PUT, &[]).await;
    let _: pb::PutResponse = other.call(PUT, &[], &put("k", "v")).await.unwrap();
    assert_eq!(calls[1].next().await.unwrap_err(), (8, text.to_owned()));
    for call in calls[2..].iter_mut().chain([&mut silent]) {
        call.say(&put("k", "v"), true);
        call.hear::<pb::PutResponse>().await;
    }
}

#[tokio::test]
async fn who_holds_most_answers_unread_is_cut() {
    let memory = Memory::new();
    memory.put("k", &"x".repeat(1_000_000));
    let bounds = Bounds::with(Sizes { unsent_bytes: 8_000_000, ..Sizes::default() });
    let config = HttpConfig { bounds: Arc::clone(&bounds), ..HttpConfig::default() };
    let server = Server::with(&memory, config);
    let mut deaf = Vec::new();
    for _ in 0..8 {
        // Small windows: almost nothing of an answer leaves.
        let client = Client::dial_with(server.address, 65_535).await;
        let mut calls = Vec::new();
        for _ in 0..2 {
            let mut call = client.open(RANGE, &[]).await;
            call.say(&get("k"), true);
            calls.push(call);
        }
        deaf.push((client, calls));
    }
    let refused = || bounds.refused().find(|(bound, _)| *bound == Bound::Unsent).unwrap().1;
    soon("the bound", async {
        while refused() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(bounds.unsent.weight() <= 8_000_000);
    let client = Client::dial(server.address).await;
    let read: pb::RangeResponse = client.call(RANGE, &[], &get("k")).await.unwrap();
    assert_eq!(read.kvs[0].value.len(), 1_000_000);
}

#[tokio::test]
async fn calls_under_way_on_one_connection_are_bounded() {
    let memory = Memory::new();
    let server = Server::start(&memory);
    let client = Client::dial(server.address).await;
    memory.hold();
    let bound = limits::CONNECTION_IN_FLIGHT_MAX as usize;
    let mut calls = Vec::new();
    for _ in 0..bound + 50 {
        let mut call = client.open(RANGE, &[]).await;
        call.say(&get("k"), true);
        calls.push(call);
    }
    until("as many as may be are with the service", || memory.held() == bound).await;
    // Somebody else's are none of them.
    let other = Client::dial(server.address).await;
    let mut call = other.open(RANGE, &[]).await;
    call.say(&get("k"), true);
    until("another connection's comes too", || memory.held() == bound + 1).await;
    memory.release();
    for mut call in calls {
        call.hear::<pb::RangeResponse>().await;
    }
    call.hear::<pb::RangeResponse>().await;
}

#[tokio::test]
async fn what_is_no_grpc_is_answered_in_http() {
    let server = Server::start(&Memory::new());
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream
        .write_all(b"GET /nothing HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    soon("the answer", stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
    assert!(answer.ends_with("404 page not found\n"), "{answer}");
    for garbage in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01"[..], b"GET / HTTP/1.1\r\nno header\r\n\r\n"]
    {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        // Refused or cut off, but soon.
        let _ = soon("the end", stream.read_to_end(&mut rest)).await;
    }
    until("all are gone", || server.http.connections() == 0).await;
}

#[tokio::test]
async fn headers_are_bounded() {
    let server = Server::start(&Memory::new());
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let long =
        format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(2 * limits::HTTP_HEADERS_BYTES_MAX));
    // It may be cut off while it is written.
    let _ = stream.write_all(long.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = soon("the end", stream.read_to_end(&mut answer)).await;
    assert!(!answer.starts_with(b"HTTP/1.1 404"), "the header was read to its end");
}
