//! etcd's flags of one connection over TCP, and of who may ask without gRPC, in the program.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use quorate::proto::etcdserverpb as pb;

use super::super::harness::run;
use super::alone::Alone;
use super::calls::get;
use super::soon;

const TXN: &str = "/etcdserverpb.KV/Txn";

/// Kinds of frames, and a setting.
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const MAX_CONCURRENT_STREAMS: u16 = 3;

/// A frame's kind, flags and payload; none at the end of the connection.
async fn frame(stream: &mut TcpStream) -> Option<(u8, u8, Vec<u8>)> {
    let mut head = [0; 9];
    soon("a frame", stream.read_exact(&mut head)).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    soon("its payload", stream.read_exact(&mut payload)).await.ok()?;
    Some((head[3], head[4], payload))
}

async fn begin(alone: &Alone) -> TcpStream {
    let mut stream = TcpStream::connect(alone.address).await.unwrap();
    let settings = [0, 0, 0, SETTINGS, 0, 0, 0, 0, 0];
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(&settings).await.unwrap();
    stream
}

#[test]
fn a_connection_keeps_to_the_flags() {
    run(async {
        let flags = [
            "--max-concurrent-streams=7",
            "--grpc-keepalive-interval=200ms",
            "--grpc-keepalive-timeout=200ms",
        ];
        let (alone, client) = Alone::start(&flags).await;
        // This one answers pings, and lives.
        let mut stream = begin(&alone).await;
        let (mut streams_max, mut pings) = (None, 0);
        while let Some((kind, flags, payload)) = frame(&mut stream).await {
            if kind == SETTINGS && flags == 0 {
                for setting in payload.chunks_exact(6) {
                    if u16::from_be_bytes([setting[0], setting[1]]) == MAX_CONCURRENT_STREAMS {
                        streams_max = Some(u32::from_be_bytes(setting[2..].try_into().unwrap()));
                    }
                }
            }
            if kind == PING && flags == 0 {
                pings += 1;
                let head = [0, 0, 8, PING, 1, 0, 0, 0, 0];
                // A slow machine may have been given up by now.
                let _ = stream.write_all(&[&head[..], &payload].concat()).await;
                if pings == 2 {
                    break;
                }
            }
        }
        assert_eq!(streams_max, Some(7));
        assert!(pings > 0);
        // This one does not, and is closed.
        let mut silent = begin(&alone).await;
        let mut heard = Vec::new();
        while let Some((kind, flags, _)) = frame(&mut silent).await {
            heard.push((kind, flags));
        }
        assert!(heard.contains(&(PING, 0)), "{heard:?}");
        drop(client);
    });
}

#[test]
fn pages_are_for_the_origins_and_under_the_names_of_the_flags() {
    run(async {
        let flags = ["--cors=http://a.b:80", "--host-whitelist=one.example,127.0.0.1"];
        let (alone, _client) = Alone::start(&flags).await;
        let ask = |headers: &'static str| {
            let address = alone.address;
            async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                let text = format!("GET /version HTTP/1.1\r\nconnection: close\r\n{headers}\r\n");
                stream.write_all(text.as_bytes()).await.unwrap();
                let mut answer = String::new();
                soon("the answer", stream.read_to_string(&mut answer)).await.unwrap();
                answer
            }
        };
        let allowed = ask("host: one.example:2379\r\norigin: http://a.b:80\r\n").await;
        assert!(allowed.starts_with("HTTP/1.1 200 "), "{allowed}");
        assert!(allowed.contains("Access-Control-Allow-Origin: http://a.b:80\r\n"), "{allowed}");
        let stranger = ask("host: 127.0.0.1\r\norigin: http://x.b:80\r\n").await;
        assert!(stranger.starts_with("HTTP/1.1 200 "), "{stranger}");
        assert!(!stranger.to_lowercase().contains("access-control"), "{stranger}");
        let rebound = ask("host: evil.example\r\n").await;
        assert!(rebound.starts_with("HTTP/1.1 421 "), "{rebound}");
        assert!(rebound.contains("e.g. etcd --host-whitelist \"evil.example\""), "{rebound}");
    });
}

#[test]
fn transactions_are_as_long_as_the_flag_says() {
    run(async {
        let (_alone, client) = Alone::start(&["--max-txn-ops=200"]).await;
        let of = |count| {
            let request = pb::request_op::Request::RequestRange(get("k"));
            let success = vec![pb::RequestOp { request: Some(request) }; count];
            pb::TxnRequest { success, ..pb::TxnRequest::default() }
        };
        let found: pb::TxnResponse = client.call(TXN, &[], &of(200)).await.unwrap();
        assert_eq!(found.responses.len(), 200);
        let refused = client.call::<pb::TxnResponse>(TXN, &[], &of(201)).await.unwrap_err();
        assert_eq!(refused, (3, "etcdserver: too many operations in txn request".to_owned()));
    });
}
