//! The client's calls: errors, deadlines, lost connections, several endpoints, a stopping server.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use quorate::client::{Client, Config, Error};
use quorate::proto::{Code, Method, Retry, Status};

use super::memory::{InMemory, no_leader};
use super::{CLUSTER, MEMBER, Memory, Server, connect, soon, until};

#[tokio::test]
async fn calls_are_answered_small_and_large() {
    let memory = Memory::new();
    let server = Server::start(Arc::new(InMemory(Arc::clone(&memory))));
    let client = connect(&[&server]).await;
    assert_eq!(client.endpoint(), Some(server.url()));
    let answer = client.put("k", "v").await.unwrap();
    assert_eq!(answer.header.unwrap().revision, 2);
    let large = "x".repeat(1 << 20);
    client.put("large", large.clone()).await.unwrap();
    let (small, moved) = tokio::join!(client.get("k"), client.get("large"));
    assert_eq!(small.unwrap().kvs[0].value, "v");
    assert_eq!(moved.unwrap().kvs[0].value, large);
    client.close().await;
}

#[tokio::test]
async fn many_calls_share_a_connection_and_are_answered_in_any_order() {
    let memory = Memory::new();
    let server = Server::start(Arc::new(InMemory(Arc::clone(&memory))));
    let mut config = Config::new([server.url()]);
    config.unary_streams = 4;
    let client = Client::connect(config).await.unwrap();
    memory.hold();
    let calls: Vec<_> = (0..200)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move { client.put(format!("k{number}"), "v").await })
        })
        .collect();
    until("all are there at once", || memory.held() == 200).await;
    memory.release();
    for call in calls {
        soon("an answer", call).await.unwrap().unwrap();
    }
    assert_eq!(server.native.connections(), 1);
}

#[tokio::test]
async fn a_servers_error_comes_with_code_text_retry_and_endpoint() {
    let memory = Memory::new();
    let server = Server::start(Arc::new(InMemory(Arc::clone(&memory))));
    let client = connect(&[&server]).await;
    let status = Status::new(
        Code::OutOfRange,
        "etcdserver: mvcc: required revision has been compacted",
        Retry::Never,
    );
    memory.fail_with(Some(status.clone()));
    let error = client.get("k").await.unwrap_err();
    assert_eq!(error.code(), Code::OutOfRange);
    assert_eq!(error.text(), status.text);
    assert_eq!(error.retry(), Retry::Never);
    assert_eq!(error.endpoint(), Some(server.url().as_str()));
    assert_eq!(memory.seen(Method::Range), 1);

    let too_large = client.put("k", vec![0; 3 << 20]).await.unwrap_err();
    assert_eq!(too_large.text(), "etcdserver: request is too large");
    let unserved = client.status().await.unwrap_err();
    assert_eq!(unserved.code(), Code::OutOfRange, "the service fails everything");
}

#[tokio::test]
async fn what_was_not_proposed_is_tried_again_and_what_is_ambiguous_is_not() {
    let memory = Memory::new();
    let server = Server::start(Arc::new(InMemory(Arc::clone(&memory))));
    let client = connect(&[&server]).await;
    memory.fail_with(Some(no_leader()));
    let putting = tokio::spawn({
        let client = client.clone();
        async move { client.put("k", "v").await }
    });
    until("the put is tried again", || memory.seen(Method::Put) >= 3).await;
    memory.fail_with(None);
    soon("the put", putting).await.unwrap().unwrap();

    let timed_out = "etcdserver: request timed out";
    memory.fail_with(Some(Status::new(Code::Unavailable, timed_out, Retry::Ambiguous)));
    let before = memory.seen(Method::Put);
    let error = client.put("k", "v").await.unwrap_err();
    assert_eq!((error.text().as_str(), error.retry()), (timed_out, Retry::Ambiguous));
    assert_eq!(memory.seen(Method::Put), before + 1);

    let reading = tokio::spawn({
        let client = client.clone();
        async move { client.get("k").await }
    });
    until("a read is tried again", || memory.seen(Method::Range) >= 3).await;
    memory.fail_with(None);
    soon("the read", reading).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_call_ends_at_its_deadline_and_is_canceled() {
    let memory = Memory::new();
    let server = Server::start(Arc::new(InMemory(Arc::clone(&memory))));
    let client = connect(&[&server]).await;
    memory.hold();
    let hasty = client.within(Duration::from_millis(50));
    let error = soon("the deadline", hasty.put("k", "v").into_future()).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { retry: Retry::Ambiguous, .. }), "{error}");
    assert!(error.to_string().contains("may or may not"), "{error}");
    memory.release();
    client.put("k", "v").await.unwrap();
}

#[tokio::test]
async fn a_write_on_a_lost_connection_is_ambiguous_and_a_read_goes_on_elsewhere() {
    let memory = Memory::new();
    let first = Server::start(Arc::new(InMemory(Arc::clone(&memory))));
    let second = Server::start(Arc::new(InMemory(Arc::clone(&memory))));
    let client = connect(&[&first, &second]).await;
    memory.hold();
    let writing = tokio::spawn({
        let client = client.clone();
        async move { client.put("k", "v").await }
    });
    let reading = tokio::spawn({
        let client = client.clone();
        async move { client.get("k").await }
    });
    until("both are there", || memory.held() == 2).await;
    first.stop().await;
    let error = soon("the loss", writing).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Lost { retry: Retry::Ambiguous, .. }), "{error}");
    memory.release();
    soon("the read", reading).await.unwrap().unwrap();
    assert_eq!(memory.seen(Method::Put), 1);
    assert_eq!(client.endpoint(), Some(second.url()));
}

#[tokio::test]
async fn a_member_without_a_leader_is_left_for_another() {
    let (lonely, memory) = (Memory::new(), Memory::new());
    lonely.fail_with(Some(no_leader()));
    let first = Server::start(Arc::new(InMemory(Arc::clone(&lonely))));
    let second = Server::start(Arc::new(InMemory(Arc::clone(&memory))));
    let client = connect(&[&first, &second]).await;
    assert_eq!(client.endpoint(), Some(first.url()));
    client.put("k", "v").await.unwrap();
    assert_eq!(memory.seen(Method::Put), 1);
    assert_eq!(client.endpoint(), Some(second.url()));
}

#[tokio::test]
async fn a_learner_is_left_for_another_and_alone_it_says_so_at_once() {
    let text = "etcdserver: rpc not supported for learner";
    let status = Status::new(Code::FailedPrecondition, text, Retry::NotProposed);
    let (learner, memory) = (Memory::new(), Memory::new());
    learner.fail_with(Some(status));
    let first = Server::start(Arc::new(InMemory(Arc::clone(&learner))));
    let second = Server::start(Arc::new(InMemory(Arc::clone(&memory))));
    connect(&[&first, &second]).await.put("k", "v").await.unwrap();
    assert_eq!((learner.seen(Method::Put), memory.seen(Method::Put)), (1, 1));
    let error = connect(&[&first]).await.put("k", "v").await.unwrap_err();
    assert_eq!(error.text(), text);
    assert_eq!(learner.seen(Method::Put), 2, "once each");
}

#[tokio::test]
async fn a_stopping_server_answers_what_it_read_and_sends_its_clients_away() {
    let memory = Memory::new();
    let first = Server::start(Arc::new(InMemory(Arc::clone(&memory))));
    let second = Server::start(Arc::new(InMemory(Arc::clone(&memory))));
    let client = connect(&[&first, &second]).await;
    memory.hold();
    let before = tokio::spawn({
        let client = client.clone();
        async move { client.put("k", "before").await }
    });
    until("it is there", || memory.held() == 1).await;
    let draining = tokio::spawn({
        let native = Arc::clone(&first.native);
        async move { native.drain(super::LONG).await }
    });
    until("the client has heard it", || client.endpoint().is_none()).await;
    let after = tokio::spawn({
        let client = client.clone();
        async move { client.put("k", "after").await }
    });
    until("the next one goes elsewhere", || memory.held() == 2).await;
    assert_eq!(second.native.connections(), 1);
    memory.release();
    soon("the first answer", before).await.unwrap().unwrap();
    soon("the second answer", after).await.unwrap().unwrap();
    soon("the end", draining).await.unwrap();
    assert_eq!(first.native.connections(), 0);
    assert_eq!(memory.seen(Method::Put), 2);
}

#[tokio::test]
async fn a_server_that_stops_under_load_makes_no_write_ambiguous() {
    let memory = Memory::new();
    let first = Server::start(Arc::new(InMemory(Arc::clone(&memory))));
    let second = Server::start(Arc::new(InMemory(Arc::clone(&memory))));
    let client = connect(&[&first, &second]).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let writers: Vec<_> = (0..32)
        .map(|writer| {
            let (client, stopped) = (client.clone(), stopped.clone());
            tokio::spawn(async move {
                let mut written = 0;
                while !*stopped.borrow() {
                    client.put(format!("k{writer}"), "v").await.unwrap();
                    written += 1;
                }
                written
            })
        })
        .collect();
    until("writes flow", || memory.seen(Method::Put) > 500).await;
    soon("the end", first.native.drain(super::LONG)).await;
    let at_the_end = memory.seen(Method::Put);
    until("writes flow elsewhere", || memory.seen(Method::Put) > at_the_end + 500).await;
    stop.send_replace(true);
    let mut written = 0;
    for writer in writers {
        written += soon("a writer", writer).await.unwrap();
    }
    assert_eq!(written, memory.seen(Method::Put), "each was done once");
}

#[tokio::test]
async fn a_dead_endpoint_delays_the_others_only_a_moment() {
    let memory = Memory::new();
    let server = Server::start(Arc::new(InMemory(memory)));
    let dead = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", dead.local_addr().unwrap());
    let mut config = Config::new([silent, server.url()]);
    config.dial_timeout = super::LONG;
    let client = soon("a connection", Client::connect(config)).await.unwrap();
    assert_eq!(client.endpoint(), Some(server.url()));
}

#[tokio::test]
async fn without_an_endpoint_the_reasons_are_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut config = Config::new([url.clone()]);
    config.dial_timeout = Duration::from_millis(300);
    let error = Client::connect(config.clone()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&url) && text.contains("is UDP forwarded?"), "{text}");
    assert_eq!((error.code(), error.retry()), (Code::Unavailable, Retry::NotProposed));

    config.request_timeout = Duration::from_millis(700);
    let client = Client::lazy(config).unwrap();
    let error = client.put("k", "v").await.unwrap_err();
    assert_eq!(error.retry(), Retry::NotProposed, "{error}");
}

#[tokio::test]
async fn a_server_of_another_protocol_is_not_believed() {
    let config = quorate::api::NativeConfig::new(CLUSTER, MEMBER);
    let memory = Memory::new();
    let server = Server::start_at(Arc::new(InMemory(memory)), config, 0);
    let mut wrong = Config::new([server.url().replace("http://", "https://")]);
    wrong.dial_timeout = Duration::from_secs(5);
    let error = Client::connect(wrong).await.unwrap_err();
    // Nobody signed the certificate of an http:// endpoint.
    assert!(matches!(error, Error::Connect { .. }), "{error}");
}
