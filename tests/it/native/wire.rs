//! The door against clients that keep to no rule: bounds, cancels, moved answers, hostile bytes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate::api::NativeConfig;
use quorate::proto::frame::{Answer, MOVED_HEAD, MovedHead, Request, StreamFrame};
use quorate::proto::hello::{ClientHello, Control, SetToken};
use quorate::proto::{Code, Method};

use super::memory::InMemory;
use super::raw::{Raw, get};
use super::{CLUSTER, MEMBER, Memory, Server, soon, until};

fn small() -> NativeConfig {
    NativeConfig { in_flight_max: 4, ..NativeConfig::new(CLUSTER, MEMBER) }
}

#[tokio::test]
async fn unanswered_requests_are_bounded_per_connection() {
    let memory = Memory::new();
    let server = Server::start_at(Arc::new(InMemory(Arc::clone(&memory))), small(), 0);
    let (raw, hello, _control) = Raw::open(&server).await;
    assert_eq!((hello.cluster_id, hello.member_id), (CLUSTER.0, MEMBER.0));
    assert_eq!(hello.in_flight_max, 4);
    memory.hold();
    let (mut one, mut other) = (raw.unary().await, raw.unary().await);
    for id in 0..5 {
        one.request(get(id, "k")).await;
        other.request(get(100 + id, "k")).await;
    }
    until("four calls reach the service", || memory.held() == 4).await;
    // A ping behind them on the same connection comes back, so what was sent has arrived and was not taken.
    let mut third = raw.unary().await;
    third.request(Request::Call { id: 7, method: 999, deadline_ms: 0, body: Bytes::new() }).await;
    assert!(matches!(third.answer().await, Answer::Error { id: 7, .. }));
    assert_eq!(memory.held(), 4);
    memory.release();
    let mut ids = BTreeSet::new();
    for _ in 0..5 {
        for stream in [&mut one, &mut other] {
            let Answer::Message { id, .. } = stream.answer().await else { panic!("no message") };
            assert!(ids.insert(id), "{id} was answered twice");
        }
    }
}

#[tokio::test]
async fn what_a_lost_connection_asked_is_wanted_no_more() {
    let memory = Memory::new();
    let server = Server::start(Arc::new(InMemory(Arc::clone(&memory))));
    let (raw, _, control) = Raw::open(&server).await;
    let mut stream = raw.unary().await;
    memory.hold();
    stream.request(get(1, "k")).await;
    stream.request(get(2, "k")).await;
    until("both reach the service", || memory.wanted() == 2).await;
    drop((stream, control, raw));
    until("nobody waits", || memory.wanted() == 0).await;
    assert_eq!(memory.held(), 2);
}

#[tokio::test]
async fn a_canceled_call_gets_no_answer() {
    let memory = Memory::new();
    let server = Server::start(Arc::new(InMemory(Arc::clone(&memory))));
    let (raw, _, _control) = Raw::open(&server).await;
    let mut stream = raw.unary().await;
    memory.hold();
    stream.request(get(1, "k")).await;
    stream.request(get(2, "k")).await;
    stream.request(Request::Cancel { id: 1 }).await;
    // Unknown ids, and ids canceled twice, are nobody's business.
    stream.request(Request::Cancel { id: 1 }).await;
    stream.request(Request::Cancel { id: 77 }).await;
    stream.request(get(3, "k")).await;
    until("the third call is there, so the cancels are", || memory.held() == 3).await;
    memory.release();
    let mut answered = Vec::new();
    for _ in 0..2 {
        let Answer::Message { id, .. } = stream.answer().await else { panic!("no message") };
        answered.push(id);
    }
    // The service answers the last first, and the canceled one before the next that comes.
    assert_eq!(answered, [3, 2]);
    stream.request(get(4, "k")).await;
    let answer = stream.answer().await;
    assert!(matches!(answer, Answer::Message { id: 4, .. }), "{answer:?}");
}

#[tokio::test]
async fn large_answers_move_and_small_ones_pass_them() {
    let memory = Memory::new();
    memory.put("large", &"x".repeat(3 << 20));
    memory.put("small", "y");
    let server = Server::start(Arc::new(InMemory(Arc::clone(&memory))));
    let (raw, _, _control) = Raw::open(&server).await;
    let mut stream = raw.unary().await;
    stream.request(get(1, "large")).await;
    assert_eq!(stream.answer().await, Answer::Moved { id: 1 });
    let mut moved = soon("the moved stream", raw.connection.accept_uni()).await.unwrap();
    // 3 MiB do not fit into the stream's window: unread, it stands still, and the others go on.
    stream.request(get(2, "small")).await;
    assert!(matches!(stream.answer().await, Answer::Message { id: 2, .. }));
    let head = MovedHead::decode(&moved.exactly(MOVED_HEAD).await.unwrap()).unwrap();
    assert_eq!(head.id, 1);
    let mut length = 0;
    while let Some(chunk) = soon("a chunk", moved.chunk()).await.unwrap() {
        length += chunk.len() as u64;
    }
    assert_eq!(length, head.length);
    assert!(length > 3 << 20);
}

#[tokio::test]
async fn a_stream_whose_answers_are_not_taken_is_not_read() {
    let memory = Memory::new();
    memory.put("k", &"x".repeat(60_000));
    let server = Server::start(Arc::new(InMemory(Arc::clone(&memory))));
    let (raw, _, _control) = Raw::open(&server).await;
    let mut stream = raw.unary().await;
    let asked = 2_000;
    for id in 0..asked {
        stream.request(get(id, "k")).await;
    }
    let mut quiet = 0;
    let mut before = 0;
    while quiet < 10 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = memory.seen(Method::Range);
        quiet = if now == before && now > 0 { quiet + 1 } else { 0 };
        before = now;
    }
    // Unsent 1 MiB, the windows 2 MiB, one read batch of in_flight_max more: far from all.
    assert!(before < 1_300, "{before} of {asked} were read, nobody took an answer");
    let mut answered = BTreeSet::new();
    for _ in 0..asked {
        let Answer::Message { id, .. } = stream.answer().await else { panic!("no message") };
        answered.insert(id);
    }
    assert_eq!(answered.len() as u64, asked);
}

#[tokio::test]
async fn unknown_and_misplaced_methods_are_answered_not_refused() {
    let server = Server::start(Arc::new(InMemory(Memory::new())));
    let (raw, _, _control) = Raw::open(&server).await;
    let mut unary = raw.unary().await;
    for (id, method) in [(1, 9_999), (2, Method::Watch.number()), (3, 0)] {
        unary.request(Request::Call { id, method, deadline_ms: 0, body: Bytes::new() }).await;
        let Answer::Error { id: answered, status } = unary.answer().await else {
            panic!("no error")
        };
        assert_eq!((answered, status.code), (id, Code::Unimplemented));
    }
    for (number, text) in [(9_999, "unknown method 9999"), (Method::Put.number(), "unary method")] {
        let mut stream = raw.stream().await;
        stream.send.bytes(Bytes::copy_from_slice(&u16::to_be_bytes(number))).await.unwrap();
        let frame = soon("the end", stream.recv.frame(1 << 20)).await.unwrap().unwrap();
        let StreamFrame::End(Err(status)) = StreamFrame::parse(frame).unwrap() else {
            panic!("no end")
        };
        assert_eq!(status.code, Code::Unimplemented);
        assert!(status.text.contains(text), "{status}");
    }
}

#[tokio::test]
async fn hostile_bytes_close_the_connection_with_a_reason() {
    let server = Server::start(Arc::new(InMemory(Memory::new())));
    let cases: [(&[u8], &str); 4] = [
        (&[0xff, 0xff, 0xff, 0xff], "longer than"),
        (&[0, 0, 0, 3, 1, 2, 3], "at least 15"),
        (&[0, 0, 0, 0], "at least 15"),
        (&[0x00, 0x20, 0x00, 0x01], "longer than"),
    ];
    for (bytes, reason) in cases {
        let (raw, _, _control) = Raw::open(&server).await;
        let mut stream = raw.unary().await;
        stream.send.bytes(Bytes::copy_from_slice(bytes)).await.unwrap();
        let closed = raw.closed().await;
        assert!(closed.contains(reason) && closed.contains("Protocol"), "{bytes:?}: {closed}");
    }
    let memory = Memory::new();
    memory.hold();
    let server = Server::start(Arc::new(InMemory(Arc::clone(&memory))));
    let (raw, _, _control) = Raw::open(&server).await;
    let mut stream = raw.unary().await;
    stream.request(get(1, "k")).await;
    // Canceled, and still with the service: its late answer must not be taken for another's.
    stream.request(Request::Cancel { id: 1 }).await;
    stream.request(get(1, "k")).await;
    let closed = raw.closed().await;
    assert!(closed.contains("names two requests"), "{closed}");
}

#[tokio::test]
async fn a_connection_begins_with_hello() {
    let server = Server::start(Arc::new(InMemory(Memory::new())));
    let raw = Raw::dial(&server).await;
    let mut control = raw.stream().await;
    let token = Control::SetToken(SetToken { token: "t".to_owned() });
    control.send.bytes(token.encode()).await.unwrap();
    let closed = raw.closed().await;
    assert!(closed.contains("no Hello"), "{closed}");

    let raw = Raw::dial(&server).await;
    let mut control = raw.stream().await;
    let newer = ClientHello { versions: vec![7, 8], ..ClientHello::default() };
    control.send.bytes(Control::ClientHello(newer).encode()).await.unwrap();
    let closed = raw.closed().await;
    assert!(closed.contains("version 1") && closed.contains("Incompatible"), "{closed}");
}

#[tokio::test]
async fn the_token_of_a_connection_can_be_renewed() {
    let memory = Memory::new();
    let server = Server::start(Arc::new(InMemory(Arc::clone(&memory))));
    let (raw, _, mut control) = Raw::open(&server).await;
    let mut stream = raw.unary().await;
    stream.request(get(1, "k")).await;
    stream.answer().await;
    let caller = memory.last_caller();
    assert_eq!((caller.client.as_str(), caller.token), ("raw", None));
    let token = Control::SetToken(SetToken { token: "t2".to_owned() });
    control.send.bytes(token.encode()).await.unwrap();
    let mut id = 1;
    while memory.last_caller().token.is_none() {
        id += 1;
        stream.request(get(id, "k")).await;
        stream.answer().await;
    }
    assert_eq!(memory.last_caller().token.as_deref(), Some("t2"));
}

#[tokio::test]
async fn a_stopping_server_ends_its_streams_in_peace_and_reads_no_more() {
    let memory = Memory::new();
    let server = Server::start(Arc::new(InMemory(Arc::clone(&memory))));
    let (raw, _, mut control) = Raw::open(&server).await;
    let mut stream = raw.unary().await;
    memory.hold();
    stream.request(get(1, "k")).await;
    until("the call arrives", || memory.held() == 1).await;
    let draining = tokio::spawn({
        let native = Arc::clone(&server.native);
        async move { native.drain(super::LONG).await }
    });
    let frame = soon("GoAway", control.recv.frame(1 << 14)).await.unwrap().unwrap();
    assert!(matches!(Control::parse(frame), Ok(Control::GoAway(_))));
    stream.request_in_vain(get(2, "k")).await;
    memory.release();
    assert!(matches!(stream.answer().await, Answer::Message { id: 1, .. }));
    assert_eq!(soon("the end", stream.recv.frame(1 << 20)).await.unwrap(), None);
    assert_eq!(memory.seen(Method::Range), 1, "the second was not read");
    soon("the end", draining).await.unwrap();
    let closed = raw.closed().await;
    assert!(closed.contains("Done") && closed.contains("stopping"), "{closed}");
}

#[tokio::test]
async fn a_unary_stream_that_its_client_finished_is_answered_to_the_end() {
    let memory = Memory::new();
    let server = Server::start(Arc::new(InMemory(Arc::clone(&memory))));
    let (raw, _, _control) = Raw::open(&server).await;
    let mut stream = raw.unary().await;
    memory.hold();
    stream.request(get(1, "k")).await;
    stream.send.finish();
    until("the call arrives", || memory.held() == 1).await;
    memory.release();
    assert!(matches!(stream.answer().await, Answer::Message { id: 1, .. }));
    assert_eq!(soon("the end", stream.recv.frame(1 << 20)).await.unwrap(), None);
}
