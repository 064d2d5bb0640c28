//! HTTP/1.1 as bytes on a connection: heads, forms, JSON, websockets' frames.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Alone, Inputs, LOOK, run, serves, soon, sound};

/// Longest wait for a word: streams go on for ever, and what is no request is answered by nothing.
const WORD: Duration = Duration::from_millis(200);

const WORDS: &[&str] = &[
    "\r\n",
    "\r\n\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: 18446744073709551615\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Connection: Upgrade\r\nUpgrade: websocket\r\n",
    "Authorization: Basic ",
    "Content-Type: application/x-www-form-urlencoded\r\n",
    "Content-Type: multipart/form-data; boundary=",
    "Expect: 100-continue\r\n",
    "X-HTTP-Method-Override: PUT\r\n",
    "%00",
    "%2e%2e/",
    "%zz",
    "+",
    "&ttl=",
    "&prevExist=false",
    "&waitIndex=-1",
    "?recursive=true&sorted=true",
    "\\u0000",
    "\\ud800",
    "1e999",
    "{\"",
    "[[",
    "null",
    "ffffffffffffffff\r\n",
    "HTTP/1.0",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
];

/// Says it, says no more, and hears at least the beginning of an answer.
async fn say(alone: &Alone, bytes: &[u8]) {
    let mut stream = TcpStream::connect(alone.address).await.unwrap();
    // Whoever is refused may be cut off while he speaks.
    let _ = soon("room to write", stream.write_all(bytes)).await;
    let _ = stream.shutdown().await;
    let mut piece = [0; 4096];
    let _ = timeout(WORD, stream.read(&mut piece)).await;
}

/// All inputs of a target at one member.
fn door(target: &'static str, count: u64) {
    run(async {
        let (alone, _client) = Alone::start(&[]).await;
        for (at, input) in Inputs::new(target, Vec::new(), WORDS, count).enumerate() {
            say(&alone, &input).await;
            if at % LOOK == 0 {
                serves(&alone, at).await;
            }
        }
        serves(&alone, usize::MAX).await;
        sound(alone.process());
    });
}

#[test]
fn pages_and_json_as_bytes() {
    door("http", 900);
}

#[test]
fn the_v2_api_as_bytes() {
    door("http-v2", 900);
}

#[test]
fn websockets_as_bytes() {
    door("websocket", 500);
}
