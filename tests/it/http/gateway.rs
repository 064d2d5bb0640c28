//! The JSON gateway: what etcd's answers look like, byte by byte where they do not differ.

use std::net::SocketAddr;
use std::sync::Arc;

use quorate::api::{Http, HttpConfig};
use quorate::transport::Purpose;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::super::harness::run;
use super::alone::Alone;
use super::pages::{ask, ask_with};
use super::{InMemory, Memory, listen, soon};

/// Status, and the answer.
pub(super) async fn post(address: SocketAddr, path: &str, body: &str) -> (u16, String) {
    post_as(address, path, None, body).await
}

/// The same with a token.
pub(super) async fn post_as(
    address: SocketAddr,
    path: &str,
    token: Option<&str>,
    body: &str,
) -> (u16, String) {
    let (head, body) = ask_with(address, &format!("POST {path}"), &header(token), body).await;
    let is_chunked = head.to_lowercase().contains("transfer-encoding: chunked");
    let body = if is_chunked { whole(&body) } else { body };
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
}

fn header(token: Option<&str>) -> String {
    token.map(|token| format!("authorization: {token}\r\n")).unwrap_or_default()
}

/// What was cut into chunks; etcd cuts what is long.
fn whole(mut chunks: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = chunks.split_once("\r\n") {
        let (chunk, rest) = rest.split_at(usize::from_str_radix(length, 16).unwrap());
        whole.push_str(chunk);
        chunks = rest.strip_prefix("\r\n").unwrap();
    }
    whole
}

/// An answer without what differs from member to member.
async fn plain(address: SocketAddr, path: &str, body: &str) -> String {
    let (status, text) = post(address, path, body).await;
    assert_eq!(status, 200, "{path} {body}: {text}");
    let mut said: Value = serde_json::from_str(&text).unwrap();
    if let Some(header) = said.get_mut("header").and_then(Value::as_object_mut) {
        for id in ["cluster_id", "member_id", "raft_term"] {
            assert!(header.remove(id).unwrap().is_string(), "{text}");
        }
    }
    said.to_string()
}

#[test]
fn keys_leases_and_members_in_json() {
    run(async {
        let (alone, _client) = Alone::start(&[]).await;
        let at = alone.address;
        for (path, body, expected) in [
            ("/v3/kv/put", r#"{"key":"Zm9v","value":"YmFy"}"#, r#"{"header":{"revision":"3"}}"#),
            (
                "/v3beta/kv/put",
                r#"{"key":"Zm9v","value":"YmF6","prev_kv":true}"#,
                r#"{"header":{"revision":"4"},"prev_kv":{"create_revision":"3","key":"Zm9v","mod_revision":"3","value":"YmFy","version":"1"}}"#,
            ),
            (
                "/v3/kv/range",
                r#"{"key":"Zm8=","rangeEnd":"Zm9w","limit":"5","sort_order":"DESCEND","sort_target":1,"nope":1}"#,
                r#"{"count":"1","header":{"revision":"4"},"kvs":[{"create_revision":"3","key":"Zm9v","mod_revision":"4","value":"YmF6","version":"2"}]}"#,
            ),
            (
                "/v3/kv/txn",
                r#"{"compare":[{"key":"Zm9v","result":"EQUAL","target":"VALUE","value":"YmF6"}],"success":[{"request_put":{"key":"Zm9v","value":"Yg=="}},{"requestRange":{"key":"Zm9v"}}]}"#,
                r#"{"header":{"revision":"5"},"responses":[{"response_put":{"header":{"revision":"5"}}},{"response_range":{"count":"1","header":{"revision":"5"},"kvs":[{"create_revision":"3","key":"Zm9v","mod_revision":"5","value":"Yg==","version":"3"}]}}],"succeeded":true}"#,
            ),
            (
                "/v3/lease/grant",
                r#"{"TTL":"60","ID":7}"#,
                r#"{"ID":"7","TTL":"60","header":{"revision":"5"}}"#,
            ),
            ("/v3/kv/lease/leases", "", r#"{"header":{"revision":"5"},"leases":[{"ID":"7"}]}"#),
            (
                "/v3/kv/deleterange",
                r#"{"key":"Zm9v"}"#,
                r#"{"deleted":"1","header":{"revision":"6"}}"#,
            ),
            ("/v3/auth/status", "{}", r#"{"authRevision":"1","header":{"revision":"6"}}"#),
            ("/v3/maintenance/defragment", "{}", "{}"),
        ] {
            assert_eq!(plain(at, path, body).await, expected, "{path}");
        }
        let (_, members) = post(at, "/v3/cluster/member/list", "{}").await;
        assert!(members.contains("\"peerURLs\":[\"http://127.0.0.1:"), "{members}");
        let (_, status) = post(at, "/v3/maintenance/status", "{}").await;
        assert!(status.contains("\"version\":\"3.6.0\""), "{status}");
        let (_, pieces) = post(at, "/v3/maintenance/snapshot", "{}").await;
        assert!(pieces.contains("{\"result\":{\""), "{}", &pieces[..80]);
    });
}

#[test]
fn failures_are_etcds() {
    run(async {
        let (alone, _client) = Alone::start(&[]).await;
        for (path, body, status, expected) in [
            ("/v3/kv/range", "", 400, r#"{"code":3,"message":"etcdserver: key is not provided"}"#),
            ("/v3/kv/range", "{", 400, r#"{"code":3,"message":"unexpected EOF"}"#),
            (
                "/v3/kv/compaction",
                r#"{"revision":99}"#,
                400,
                r#"{"code":11,"message":"etcdserver: mvcc: required revision is a future revision"}"#,
            ),
            (
                "/v3/lease/revoke",
                r#"{"ID":9}"#,
                404,
                r#"{"code":5,"message":"etcdserver: requested lease not found"}"#,
            ),
            (
                "/v3/auth/authenticate",
                r#"{"name":"a","password":"b"}"#,
                400,
                r#"{"code":9,"message":"etcdserver: authentication is not enabled"}"#,
            ),
            (
                "/v3/maintenance/transfer-leadership",
                r#"{"targetID":1}"#,
                400,
                r#"{"code":9,"message":"etcdserver: bad leader transferee"}"#,
            ),
            ("/v3/nope", "{}", 404, r#"{"code":5,"message":"Not Found"}"#),
            ("/v3alpha/kv/range", "{}", 404, "404 page not found\n"),
        ] {
            let answer = post(alone.address, path, body).await;
            assert_eq!(answer, (status, expected.to_owned()), "{path}");
        }
        let (head, body) = ask(alone.address, "GET /v3/kv/range", "").await;
        assert!(head.starts_with("HTTP/1.1 501 "), "{head}");
        assert_eq!(body, r#"{"code":12,"message":"Method Not Allowed"}"#);
        let (status, text) = post(alone.address, "/v3/kv/range", r#"{"key":1}"#).await;
        assert!(status == 400 && text.contains("\"code\":3"), "{text}");
        let long = format!(r#"{{"key":"YQ==","value":"{}"}}"#, "A".repeat(5 << 20));
        let mut stream = TcpStream::connect(alone.address).await.unwrap();
        let head = format!(
            "POST /v3/kv/put HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n",
            long.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // It is refused before it is read to its end.
        let _ = stream.write_all(long.as_bytes()).await;
        let mut answer = [0; 12];
        soon("the refusal", stream.read_exact(&mut answer)).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 429");
    });
}

/// A stream of lines; what is sent further goes on the same request.
pub(super) struct Lines {
    stream: BufReader<TcpStream>,
}

impl Lines {
    pub(super) async fn post(address: SocketAddr, path: &str, body: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut lines = Self { stream: BufReader::new(stream) };
        let head = format!("POST {path} HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n");
        lines.stream.write_all(head.as_bytes()).await.unwrap();
        lines.say(body).await;
        lines
    }

    /// The same, and nothing further will be said: etcd's own gateway begins to answer only then.
    pub(super) async fn whole(
        address: SocketAddr,
        path: &str,
        token: Option<&str>,
        body: &str,
    ) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let (length, token) = (body.len(), header(token));
        let text = format!(
            "POST {path} HTTP/1.1\r\nhost: h\r\n{token}connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(text.as_bytes()).await.unwrap();
        Self { stream: BufReader::new(stream) }
    }

    async fn say(&mut self, body: &str) {
        let chunk = format!("{:x}\r\n{body}\r\n", body.len());
        self.stream.write_all(chunk.as_bytes()).await.unwrap();
    }

    /// The next line of the answer; heads and lengths of chunks are passed over.
    pub(super) async fn next(&mut self) -> Value {
        self.next_if_any().await.expect("the answer ended")
    }

    /// None at the end of what was posted whole.
    pub(super) async fn next_if_any(&mut self) -> Option<Value> {
        loop {
            let mut line = String::new();
            soon("a line", self.stream.read_line(&mut line)).await.unwrap();
            if line.is_empty() {
                return None;
            }
            if line.starts_with('{') {
                return Some(serde_json::from_str(&line).unwrap());
            }
        }
    }
}

#[test]
fn watches_and_renewals_are_lines() {
    run(async {
        let (alone, _client) = Alone::start(&[]).await;
        let at = alone.address;
        let create = r#"{"create_request":{"key":"aw==","watch_id":"3"}}"#;
        let mut watch = Lines::post(at, "/v3/watch", create).await;
        let created = watch.next().await;
        assert_eq!(
            (&created["result"]["created"], &created["result"]["watch_id"]),
            (&true.into(), &"3".into())
        );
        post(at, "/v3/kv/put", r#"{"key":"aw==","value":"MQ=="}"#).await;
        let event = watch.next().await;
        assert_eq!(event["result"]["events"][0]["kv"]["value"], "MQ==");
        watch.say(r#"{"cancel_request":{"watch_id":3}}"#).await;
        assert_eq!(watch.next().await["result"]["canceled"], true);
        watch.say(r#"{"create_request":{"key":1}}"#).await;
        assert_eq!(watch.next().await["error"]["code"], 3);

        post(at, "/v3/lease/grant", r#"{"TTL":60,"ID":7}"#).await;
        let (status, lines) = post(at, "/v3/lease/keepalive", "{\"ID\":7}\n{\"ID\":8}").await;
        assert_eq!(status, 200);
        let mut ttls: Vec<(String, String)> = lines
            .lines()
            // Between them stand the lengths of chunks.
            .filter(|line| line.starts_with('{'))
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["result"].clone())
            .map(|it| {
                (
                    it["ID"].as_str().unwrap().to_owned(),
                    it["TTL"].as_str().unwrap_or("0").to_owned(),
                )
            })
            .collect();
        ttls.sort();
        assert_eq!(ttls, [("7".to_owned(), "60".to_owned()), ("8".to_owned(), "0".to_owned())]);
    });
}

#[tokio::test]
async fn the_gateway_can_be_closed() {
    let memory = Arc::new(InMemory(Memory::new()));
    let config = HttpConfig { gateway: false, ..HttpConfig::default() };
    let closed = listen(Purpose::Clients, Arc::new(Http::new(memory, config)));
    let (status, _) = post(closed.addresses()[0], "/v3/kv/range", r#"{"key":"aw=="}"#).await;
    assert_eq!(status, 404);
}
