//! The gateway's websockets.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use quorate::base::limits;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::super::harness::run;
use super::alone::Alone;
use super::pages::ask;
use super::{LONG, Memory, Server, soon, until};

/// The example of RFC 6455.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A client's end.
pub(super) struct Socket(WebSocketStream<TcpStream>);

/// The head of the answer to a request that asks for a websocket, and what is behind it.
async fn upgraded(at: SocketAddr, path: &str, more: &str) -> (String, TcpStream) {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: h\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: {KEY}\r\n{more}\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon("the head", stream.read_u8()).await.unwrap());
    }
    (String::from_utf8(head).unwrap().to_lowercase(), stream)
}

impl Socket {
    pub(super) async fn open(at: SocketAddr, path: &str) -> Self {
        Self::open_as(at, path, None).await
    }

    /// The same with a token, which a browser can say in this header alone.
    pub(super) async fn open_as(at: SocketAddr, path: &str, token: Option<&str>) -> Self {
        let header = |token| format!("sec-websocket-protocol: Bearer, {token}\r\n");
        let more = token.map(header).unwrap_or_default();
        let (head, stream) = upgraded(at, path, &more).await;
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        Self(WebSocketStream::from_raw_socket(stream, Role::Client, None).await)
    }

    pub(super) async fn say(&mut self, text: String) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// None when it has ended; etcd's does without a word.
    pub(super) async fn next(&mut self) -> Option<Value> {
        loop {
            match soon("a message", self.0.next()).await {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(other)) => {
                    assert!(other.is_close(), "{other:?}");
                    return None;
                }
                Some(Err(_)) | None => return None,
            }
        }
    }
}

#[test]
fn a_request_becomes_a_websocket_as_the_rfc_says() {
    run(async {
        let (alone, _client) = Alone::start(&[]).await;
        let at = alone.address;
        let (head, _) = upgraded(at, "/v3/watch", "").await;
        assert!(head.contains("\r\nupgrade: websocket\r\n"), "{head}");
        assert!(head.contains(&format!("\r\nsec-websocket-accept: {ACCEPT}\r\n").to_lowercase()));
        assert!(!head.contains("sec-websocket-protocol"), "{head}");
        let token = "sec-websocket-protocol: Bearer, some.1\r\n";
        let (head, _) = upgraded(at, "/v3/watch", token).await;
        assert!(head.contains("\r\nsec-websocket-protocol: bearer\r\n"), "{head}");
        // Without a key, of another version, or not by GET, it is none.
        let asks = "HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket";
        let key = format!("sec-websocket-key: {KEY}");
        for (request, status) in [
            (format!("GET /v3/watch {asks}\r\nsec-websocket-version: 13\r\nx: "), 400),
            (format!("GET /v3/watch {asks}\r\n{key}\r\nx: "), 400),
            (format!("POST /v3/watch {asks}\r\nsec-websocket-version: 13\r\n{key}\r\nx: "), 405),
        ] {
            let (head, _) = ask(at, &request, "").await;
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {head}");
        }
        // Beside the gateway nothing is asked so.
        let (head, _) = upgraded(at, "/version", "").await;
        assert!(head.starts_with("http/1.1 200 "), "{head}");
        let mut nowhere = Socket::open(at, "/v3/nope").await;
        assert_eq!(nowhere.next().await, Some(json!({"code": 5, "message": "Not Found"})));
        assert_eq!(nowhere.next().await, None);
        let mut wrong = Socket::open(at, "/v3/watch").await;
        wrong.say("{".to_owned()).await;
        assert_eq!(wrong.next().await.unwrap()["code"], 3);
        assert_eq!(wrong.next().await, None);
    });
}

#[test]
fn a_watch_is_spoken_to_while_it_tells() {
    run(async {
        let (alone, _client) = Alone::start(&[]).await;
        let mut watch = Socket::open(alone.address, "/v3beta/watch").await;
        // Who asks whether we are there is answered in between.
        watch.0.send(Message::Ping("there?".into())).await.unwrap();
        watch.say(json!({"create_request": {"key": "aw=="}}).to_string()).await;
        assert_eq!(watch.next().await.unwrap()["result"]["created"], true);
        let mut put = Socket::open(alone.address, "/v3/kv/put").await;
        put.say(json!({"key": "aw==", "value": "MQ=="}).to_string()).await;
        assert_eq!(put.next().await.unwrap()["header"]["revision"], "3");
        assert_eq!(put.next().await, None);
        let heard = watch.next().await.unwrap();
        assert_eq!(heard["result"]["events"][0]["kv"]["value"], "MQ==");
        watch.say(json!({"cancel_request": {"watch_id": 0}}).to_string()).await;
        assert_eq!(watch.next().await.unwrap()["result"]["canceled"], true);
        watch.say("nonsense".to_owned()).await;
        assert_eq!(watch.next().await.unwrap()["error"]["code"], 3);
        assert_eq!(watch.next().await, None);
    });
}

#[tokio::test]
async fn websockets_are_bounded_and_end_with_the_server() {
    let memory = Memory::new();
    let server = Server::start(&memory);
    let mut long = Socket::open(server.address, "/v3/watch").await;
    long.say("x".repeat(128 * 1024)).await;
    assert_eq!(long.next().await, None, "an object of a stream is at most 64 KiB");
    let mut long = Socket::open(server.address, "/v3/kv/put").await;
    // It may be cut off while it is written.
    let _ = long.0.send(Message::text("x".repeat(3 * limits::FRAME_BYTES_MAX))).await;
    assert_eq!(long.next().await, None);
    let mut quiet = Socket::open(server.address, "/v3/kv/put").await;
    let mut watch = Socket::open(server.address, "/v3/watch").await;
    watch.say(json!({"create_request": {"key": "aw=="}}).to_string()).await;
    assert_eq!(watch.next().await.unwrap()["result"]["created"], true);
    until("both are open", || server.http.connections() == 2).await;
    server.http.drain(LONG).await;
    assert_eq!(server.http.connections(), 0);
    let stopped = json!({"code": 14, "message": "etcdserver: server stopped"});
    assert_eq!(watch.next().await, Some(json!({ "error": stopped.clone() })));
    assert_eq!(quiet.next().await, Some(stopped));
    assert_eq!((watch.next().await, quiet.next().await), (None, None));
}
