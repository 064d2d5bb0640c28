//! HTTP/2 as bytes, the messages of every method of gRPC, and tokens.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use quorate::proto::{Method, Shape};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::super::calls::{RANGE, get};
use super::super::client::{Client, prefixed};
use super::super::users;
use super::{Alone, Inputs, LOOK, pb, put, run, serves, soon, sound};

const WORD: Duration = Duration::from_millis(200);

/// What a client writes for one call, from its first byte on.
async fn recorded(path: &str, headers: &[(&str, &str)], message: &impl Message) -> Vec<u8> {
    let (near, mut far) = tokio::io::duplex(1 << 20);
    let client = Client::over(near).await;
    let mut stream = client.open(path, headers).await;
    stream.say(message, true);
    let mut bytes = Vec::new();
    // It waits for nobody, and is through when it has nothing more to write.
    while let Ok(read) = timeout(WORD, far.read_buf(&mut bytes)).await {
        assert!(read.unwrap() > 0);
    }
    bytes
}

#[test]
fn http2_as_bytes() {
    run(async {
        let (alone, _client) = Alone::start(&[]).await;
        let metadata = [("token", "t.1"), ("grpc-timeout", "5S"), ("hasleader", "true")];
        let made = vec![
            recorded("/etcdserverpb.KV/Put", &[], &put("k", "v")).await,
            recorded(RANGE, &metadata, &get("k")).await,
            recorded("/grpc.health.v1.Health/Check", &[], &get("")).await,
        ];
        let words = [
            "http://127.0.0.1:2379",
            ":authority",
            "/etcdserverpb.KV/Range",
            "grpc-encoding",
            "\0\0\0\u{4}\u{1}",
        ];
        for (at, input) in Inputs::new("http2", made, &words, 900).enumerate() {
            let mut stream = TcpStream::connect(alone.address).await.unwrap();
            let _ = soon("room to write", stream.write_all(&input)).await;
            let _ = stream.shutdown().await;
            // All that it answers: a server that has heard everything hangs up.
            let mut answer = Vec::new();
            let _ = timeout(Duration::from_secs(1), stream.read_to_end(&mut answer)).await;
            if at % LOOK == 0 {
                serves(&alone, at).await;
            }
        }
        serves(&alone, usize::MAX).await;
        sound(alone.process());
    });
}

/// Methods that would change the member itself so that it serves no more: another voter that never comes, alarms, users. What
/// they say is read by the same code, and their messages are among those of `tests/golden/fuzz`.
fn is_lasting(method: Method) -> bool {
    matches!(
        method,
        Method::MemberAdd
            | Method::MemberUpdate
            | Method::MemberRemove
            | Method::Alarm
            | Method::AuthEnable
            // These wait, by what they are for.
            | Method::Lock
            | Method::Campaign
    )
}

/// An input is a method, a flag and a message.
#[test]
fn messages_of_every_method() {
    run(async {
        // Passwords are hashed often here, and nobody's.
        let (alone, client) = Alone::start(&["--bcrypt-cost=4"]).await;
        let mut made = Vec::new();
        for (at, _) in (0u8..).zip(Method::ALL) {
            for message in [get("k").encode_to_vec(), put("k", "v").encode_to_vec(), Vec::new()] {
                made.push([&[at, 0][..], &message].concat());
            }
        }
        for (at, input) in
            Inputs::new("messages", made, &["\0", "k", "http://h:1"], 1_200).enumerate()
        {
            let Some((&[method, flag], message)) = input.split_first_chunk::<2>() else { continue };
            let method = Method::ALL[usize::from(method) % Method::ALL.len()];
            if is_lasting(method) {
                continue;
            }
            let mut stream = client.open(&format!("/{}", method.path()), &[]).await;
            stream.bytes(prefixed(flag & 1, message), method.shape() != Shape::Duplex);
            match method.shape() {
                // Everything that is asked once is answered once.
                Shape::Unary => drop(stream.next().await),
                _ => drop(timeout(WORD, stream.next()).await),
            }
            stream.reset();
            if at % LOOK == 0 {
                serves(&alone, at).await;
            }
        }
        serves(&alone, usize::MAX).await;
        sound(alone.process());
    });
}

/// A token that nobody gave out is none, whatever is in it.
#[test]
fn tokens() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("token.key");
        std::fs::write(&key, "a secret").unwrap();
        let setting =
            format!("--auth-token=jwt,sign-method=HS256,priv-key={},ttl=10m", key.display());
        let (alone, grpc) = Alone::start(&[&setting]).await;
        let anybody = users::client(&[alone.address], None);
        users::enable(&anybody).await;
        let request =
            pb::AuthenticateRequest { name: "bob".to_owned(), password: "word".to_owned() };
        let answer: pb::AuthenticateResponse =
            grpc.call("/etcdserverpb.Auth/Authenticate", &[], &request).await.unwrap();
        let words = [".", "eyJhbGciOiJub25lIn0", "Bearer ", "=="];
        let genuine = answer.token.clone().into_bytes();
        let mut inputs = Inputs::new("tokens", vec![genuine.clone()], &words, 900);
        while let Some(input) = inputs.next() {
            // What is no value of a header is refused by HTTP.
            if hyper::header::HeaderValue::from_bytes(&input).is_err() || input.len() > 32 << 10 {
                continue;
            }
            let mut stream = grpc.open_raw(RANGE, &[("token", &input)]).await;
            stream.say(&get("b"), true);
            let told: Result<Option<Bytes>, _> = stream.next().await;
            let shown = input.strip_prefix(b"Bearer ").unwrap_or(&input).trim_ascii();
            assert_eq!(told.is_ok(), shown == genuine, "{}: {told:?}", inputs.place());
        }
        sound(alone.process());
    });
}
