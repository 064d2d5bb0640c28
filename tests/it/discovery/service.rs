//! The discovery service, asked by hand as members and strangers ask it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::harness::Seat;
use crate::program::{Folder, Output, Process, free_port, until};

/// One or three nodes, in clear or not.
pub(super) struct Service {
    pub folder: Folder,
    /// Of clients and of members, by node.
    ports: Vec<(u16, u16)>,
    processes: Vec<Option<Process>>,
    words: Vec<String>,
    scheme: &'static str,
    _seat: Seat,
}

/// Of a service over HTTPS.
pub(super) const CA: &str = "certs/ca.crt";

impl Service {
    /// `quorate discovery`, which has nothing but the discovery service for who asks over TCP.
    pub(super) fn start() -> Self {
        Self::of(1, &["discovery"])
    }

    pub(super) fn of(nodes: usize, words: &[&str]) -> Self {
        Self::launch(Folder::new(), "http", nodes, words)
    }

    /// One node, over HTTPS.
    pub(super) fn secure() -> Self {
        let folder = Folder::new();
        folder.run(&["cert", "ca"]).ok();
        folder.run(&["cert", "server", "d1", "--host", "127.0.0.1"]).ok();
        let files = ["--cert-file=certs/server-d1.crt", "--key-file=certs/server-d1.key"];
        Self::launch(folder, "https", 1, &[&["discovery"], &files[..]].concat())
    }

    /// `words` and what each node needs.
    fn launch(folder: Folder, scheme: &'static str, nodes: usize, words: &[&str]) -> Self {
        let seat = Seat::take();
        let mut service = Self {
            folder,
            ports: (0..nodes).map(|_| (free_port(), free_port())).collect(),
            processes: (0..nodes).map(|_| None).collect(),
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            scheme,
            _seat: seat,
        };
        for at in 0..nodes {
            service.spawn(at);
        }
        for at in 0..nodes {
            service.serves(at);
        }
        service
    }

    fn name(at: usize) -> String {
        format!("d{}", at + 1)
    }

    fn spawn(&mut self, at: usize) {
        let (client, peer) = (self.url(at), self.peer(at));
        let name = Self::name(at);
        let _ = std::fs::remove_file(self.folder.path().join(format!("{name}.err")));
        let entry = |at| format!("{}={}", Self::name(at), self.peer(at));
        let cluster: Vec<String> = (0..self.ports.len()).map(entry).collect();
        let words = [
            format!("--name={name}"),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster={}", cluster.join(",")),
        ];
        let words: Vec<&str> = self.words.iter().chain(&words).map(String::as_str).collect();
        self.processes[at] = Some(self.folder.spawn(&name, &words));
    }

    fn serves(&self, at: usize) {
        until("the service serves", || {
            let said = self.processes[at].as_ref().map(Process::stderr).unwrap_or_default();
            said.contains("ready to serve").then_some(())
        });
    }

    /// Killed and started again.
    pub(super) fn restart(&mut self, at: usize) {
        self.processes[at] = None;
        self.spawn(at);
        self.serves(at);
    }

    pub(super) fn url(&self, at: usize) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.ports[at].0)
    }

    fn peer(&self, at: usize) -> String {
        format!("http://127.0.0.1:{}", self.ports[at].1)
    }

    pub(super) fn kill(&mut self, at: usize) {
        self.processes[at] = None;
    }

    pub(super) fn port(&self) -> u16 {
        self.ports[0].0
    }

    pub(super) fn ask(&self, method: &str, path: &str, form: &str) -> Answer {
        ask(self.port(), method, path, form)
    }

    /// A method by the JSON gateway: a stranger's gRPC.
    fn call(&self, path: &str, object: &serde_json::Value) -> Answer {
        self.ask("POST", &format!("/v3/{path}"), &object.to_string())
    }

    /// The operator's, over QUIC.
    pub(super) fn command(&self, words: &[&str]) -> Output {
        let trust: &[&str] = if self.scheme == "https" { &["--cacert", CA] } else { &[] };
        self.folder.run(&[&["--endpoints", &self.url(0)], trust, words].concat())
    }
}

/// What HTTP answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub code: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn index(&self) -> u64 {
        let line = self.head.lines().find(|line| line.to_lowercase().starts_with("x-etcd-index"));
        line.unwrap().split(": ").nth(1).unwrap().trim().parse().unwrap()
    }
}

pub(super) fn ask(port: u16, method: &str, path: &str, form: &str) -> Answer {
    try_ask(port, method, path, form, Duration::from_secs(90)).unwrap()
}

/// None where nobody listens, or whoever listens does not answer in time.
pub(super) fn try_ask(
    port: u16,
    method: &str,
    path: &str,
    form: &str,
    patience: Duration,
) -> Option<Answer> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(patience)).ok()?;
    let length = form.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{form}"
    )
    .ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let code = head.split(' ').nth(1)?.parse().ok()?;
    let body = match head.to_lowercase().contains("transfer-encoding: chunked") {
        true => without_chunks(body),
        false => body.to_owned(),
    };
    Some(Answer { code, head: head.to_owned(), body })
}

fn without_chunks(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let (chunk, rest) = rest.split_at(usize::from_str_radix(length, 16).unwrap());
        whole.push_str(chunk);
        body = rest.strip_prefix("\r\n").unwrap_or(rest);
    }
    whole
}

pub(super) const KEYS: &str = "/v2/keys/_etcd/registry";

/// A token, as the path of its directory.
fn fresh(service: &Service, query: &str) -> String {
    let answer = service.ask("GET", &format!("/new?{query}"), "");
    assert_eq!(answer.code, 200, "{answer:?}");
    let path = answer.body.strip_prefix(&service.url(0)).unwrap().to_owned();
    assert!(path.starts_with(&format!("{KEYS}/")), "{path}");
    path
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

#[test]
fn tokens_are_made_filled_watched_and_taken_back() {
    let mut service = Service::start();
    let path = fresh(&service, "size=2");
    let size = service.ask("GET", &format!("{path}/_config/size"), "").json();
    assert_eq!((&size["action"], &size["node"]["value"]), (&"get".into(), &"2".into()));
    let empty = service.ask("GET", &path, "");
    assert!(empty.json()["node"]["nodes"].is_null(), "{empty:?}");

    // Who waits hears of the next one, and of what came since an index.
    let (port, waiting) = (service.port(), format!("{path}?wait=true&recursive=true"));
    let from = format!("{waiting}&waitIndex={}", empty.index() + 1);
    let waiter = thread::spawn(move || ask(port, "GET", &from, ""));
    let registered =
        service.ask("PUT", &format!("{path}/a1?prevExist=false"), "value=n1%3Dhttp://h:1");
    assert_eq!((registered.code, &registered.json()["action"]), (201, &"create".into()));
    let heard = waiter.join().unwrap().json();
    assert_eq!(heard["node"]["value"], "n1=http://h:1");

    // It survives a restart in the middle.
    service.restart(0);
    let second = service.ask("PUT", &format!("{path}/b2?prevExist=false"), "value=n2%3Dhttp://h:2");
    assert_eq!(second.code, 201, "{second:?}");
    let listed = service.ask("GET", &format!("{path}?sorted=true"), "").json();
    let keys = listed["node"]["nodes"].as_array().unwrap().iter();
    let keys: Vec<&str> = keys.map(|node| name_of(node["key"].as_str().unwrap())).collect();
    assert_eq!(keys, ["a1", "b2"]);

    let token = name_of(&path);
    let told = service.command(&["discovery", "list"]).ok();
    assert!(told.starts_with(&format!("{token}, 2 of 2, 604")), "{told}");
    assert!(told.ends_with("s, n1 n2\n"), "{told}");
    let table = service.command(&["discovery", "list", "-w", "table"]).ok();
    assert!(table.contains("2 of 2") && table.contains("n1 n2"), "{table}");
    let json = service.command(&["discovery", "list", "-w", "json"]).ok();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["tokens"][0]["members"][1]["peerURLs"][0], "http://h:2");
    let revoked = service.command(&["discovery", "revoke", token]).ok();
    assert_eq!(revoked, format!("Token {token} revoked; 2 members had registered\n"));
    assert_eq!(service.ask("GET", &path, "").json()["errorCode"], 100);
    assert_eq!(service.command(&["discovery", "list"]).ok(), "");
    let again = service.command(&["discovery", "revoke", token]);
    assert!(again.stderr.contains(&format!("there is no token {token}")), "{again:?}");
}

#[test]
fn strangers_are_told_what_is_wrong() {
    let service = Service::start();
    let put = |path: &str, form: &str| {
        let answer = service.ask("PUT", &format!("{KEYS}/{path}"), form);
        let json = answer.json();
        let cause = json["cause"].as_str().unwrap_or_default().to_owned();
        (answer.code, json["errorCode"].as_u64().unwrap_or_default(), cause)
    };
    for size in ["-1", "0", "1000000", "", "x", "3%20"] {
        let (code, error, cause) = put("t/_config/size", &format!("value={size}"));
        assert_eq!((code, error), (400, 209), "{size}: {cause}");
        let new = service.ask("GET", &format!("/new?size={size}"), "");
        assert_eq!(new.code, 400, "{new:?}");
        assert!(new.body.contains("a size is from 1 to 31"), "{new:?}");
    }
    for ttl in ["0", "-1", "x", "999999999999"] {
        assert_eq!(service.ask("GET", &format!("/new?size=3&ttl={ttl}"), "").code, 400, "{ttl}");
    }
    assert_eq!(service.ask("POST", "/new?size=3", "").code, 405);
    let missing = put("t/a1?prevExist=false", "value=n1=http://h:1");
    assert_eq!(missing, (404, 100, "/_etcd/registry/t/_config/size".to_owned()));
    // As the third article makes one.
    assert_eq!(put("t/_config/size", "value=3").0, 201);
    assert_eq!(put("t/_config/size", "value=3").0, 200);
    assert_eq!(put("t/_config/size", "value=5").0, 412);
    assert_eq!(put("t/a1?prevExist=false", "value=n1=http://h:1").0, 201);
    for (path, form, code, part) in [
        ("t/a1?prevExist=false", "value=n1=http://h:1", 412, "duplicate id"),
        ("t/b2?prevExist=false", "value=n1=http://h:2", 400, "the name n1 already"),
        ("t/b2?prevExist=false", "value=n2=http://h:1", 400, "http://h:1 already"),
        ("t/b2?prevExist=false", "value=rubbish", 400, "is not name=url"),
        ("t/b2", "value=n2=http://h:2", 400, "prevExist=false"),
        ("t/not-an-id?prevExist=false", "value=n2=http://h:2", 400, "no other keys"),
        ("t/c/d/e", "value=1", 400, "no other keys"),
    ] {
        let (found, _, cause) = put(path, form);
        assert_eq!(found, code, "{path}: {cause}");
        assert!(cause.contains(part), "{path}: {cause}");
    }
    for (method, path) in [
        ("GET", "/v2/keys/foo"),
        ("GET", "/v2/keys/?recursive=true"),
        ("GET", "/v2/keys/_etcd/registry?recursive=true"),
        ("GET", "/v2/keys/_etcd/registry/?wait=true&recursive=true"),
        ("DELETE", "/v2/keys/_etcd/registry/t?recursive=true"),
        ("DELETE", "/v2/keys/_etcd/registry/t/a1"),
    ] {
        let answer = service.ask(method, path, "");
        assert_eq!((answer.code, &answer.json()["errorCode"]), (400, &209.into()), "{path}");
    }
    let taken = service.command(&["discovery", "new", "t"]);
    assert!(taken.stderr.contains("the token t is taken"), "{taken:?}");
    let pages = ["/health", "/version", "/metrics", "/readyz"];
    for page in pages {
        assert_eq!(service.ask("GET", page, "").code, 200, "{page}");
    }
}

fn base64(text: &str) -> String {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let at = |n: usize| u32::from(chunk.get(n).copied().unwrap_or_default());
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let sign = char::from(SIGNS[(bits >> (18 - 6 * place) & 63) as usize]);
            out.push(if place > chunk.len() { '=' } else { sign });
        }
    }
    out
}

#[test]
fn by_the_newer_protocol_strangers_get_no_more() {
    let service = Service::start();
    let key = |text: &str| base64(text);
    let put = |at: &str, value: &str| {
        service.call("kv/put", &serde_json::json!({"key": key(at), "value": key(value)}))
    };
    let get = |at: &str, end: &str| {
        service.call("kv/range", &serde_json::json!({"key": key(at), "range_end": key(end)}))
    };
    let size = "/_etcd/registry/t/_config/size";
    for wrong in ["-1", "1000000", "x"] {
        let refused = put(size, wrong);
        assert!(refused.body.contains("a size is from 1 to 31"), "{refused:?}");
    }
    assert_eq!(put(size, "3").code, 200);
    let found = get(size, "").json();
    assert_eq!(found["kvs"][0]["value"], key("3"));
    assert!(found["kvs"][0]["lease"].is_string(), "it ends: {found}");

    // An id is that of its URLs and the token, and who has come stays as he is.
    let id = quorate::base::MemberId::from_peer_urls(&["http://h:1".to_owned()], "t", None);
    let member = format!("/_etcd/registry/t/members/{id}");
    let foreign = put("/_etcd/registry/t/members/abc", "n1=http://h:1");
    assert!(foreign.body.contains(&format!("which is {id}")), "{foreign:?}");
    assert_eq!(put(&member, "n1=http://h:1").code, 200);
    assert_eq!(put(&member, "n1=http://h:1").code, 200, "a member that was started again");
    let other = put(&member, "n9=http://h:1");
    assert!(other.body.contains("duplicate id"), "{other:?}");
    let id = quorate::base::MemberId::from_peer_urls(&["http://h:2".to_owned()], "t", None);
    let twin = put(&format!("/_etcd/registry/t/members/{id}"), "n1=http://h:2");
    assert!(twin.body.contains("duplicate name"), "{twin:?}");
    let found = get("/_etcd/registry/t/members", "/_etcd/registry/t/membert").json();
    assert_eq!(found["kvs"].as_array().unwrap().len(), 1);
    assert!(found["kvs"][0]["lease"].is_string(), "it ends with its token: {found}");
    // One token founds one cluster, by one protocol.
    let by_url = service.ask("PUT", &format!("{KEYS}/t/a1?prevExist=false"), "value=m=http://m:1");
    assert_eq!(by_url.code, 400, "{by_url:?}");
    assert!(by_url.body.contains("--discovery-token"), "{by_url:?}");

    for (path, object) in [
        ("kv/put", serde_json::json!({"key": key("foo"), "value": key("1")})),
        ("kv/range", serde_json::json!({"key": key("\0"), "range_end": key("\0")})),
        (
            "kv/range",
            serde_json::json!({"key": key("/_etcd/registry/"), "range_end": key("/_etcd/registry0")}),
        ),
        ("kv/deleterange", serde_json::json!({"key": key(&member)})),
        ("kv/compaction", serde_json::json!({"revision": 2})),
        ("lease/grant", serde_json::json!({"TTL": 60})),
        ("cluster/member/add", serde_json::json!({"peerURLs": ["http://h:9"]})),
        ("maintenance/snapshot", serde_json::json!({})),
        (
            "watch",
            serde_json::json!({"create_request": {"key": key("\0"), "range_end": key("\0")}}),
        ),
        ("discovery/list", serde_json::json!({})),
        ("discovery/revoke", serde_json::json!({"token": "t"})),
    ] {
        let refused = service.call(path, &object);
        assert!(refused.body.contains("this is a discovery service"), "{path}: {refused:?}");
    }
    let added = service.ask("POST", "/v2/members", "{\"peerURLs\":[\"http://h:9\"]}");
    assert!(added.code >= 400, "{added:?}");
    let fresh = service.call("discovery/new", &serde_json::json!({"size": 3})).json();
    assert_eq!(fresh["token"].as_str().unwrap().len(), 32);
    // Over QUIC on its own machine it is the operator who asks.
    let told = service.command(&["discovery", "list"]).ok();
    assert!(told.contains("t, 1 of 3, ") && told.contains(", n1\n"), "{told}");
    assert!(service.command(&["get", "--prefix", ""]).ok().contains("n1=http://h:1"));
}

#[test]
fn tokens_end_with_all_that_was_registered() {
    let service = Service::start();
    let path = fresh(&service, "size=3&ttl=3");
    let named = service.command(&["discovery", "new", "named", "--ttl", "3600"]).ok();
    let lines: Vec<&str> = named.lines().collect();
    let url = service.url(0);
    assert_eq!(lines[0], "named");
    assert_eq!(lines[1], format!("--discovery {url}{KEYS}/named"));
    assert_eq!(lines[2], format!("--discovery-token named --discovery-endpoints {url}"));
    let member = format!("{path}/a1?prevExist=false");
    // A stranger cannot make it live longer.
    assert_eq!(service.ask("PUT", &member, "value=n1=http://h:1&ttl=1000").code, 201);
    until("the token ends", || {
        let listed = service.command(&["discovery", "list"]).ok();
        let is_gone = service.ask("GET", &path, "").code == 404 && listed.lines().count() == 1;
        is_gone.then_some(())
    });
    let told = service.command(&["discovery", "list"]).ok();
    assert!(told.starts_with("named, 0 of 3, 3"), "{told}");
    assert_eq!(service.ask("PUT", &member, "value=n1=http://h:1").code, 404);
}

#[test]
fn fresh_tokens_are_few_at_a_time() {
    let service = Service::start();
    let refused = until("somebody asks too often", || {
        Some(service.ask("GET", "/new", "")).filter(|answer| answer.code != 200)
    });
    assert_eq!(refused.code, 429, "{refused:?}");
    assert!(refused.head.to_lowercase().contains("retry-after: 30"), "{refused:?}");
    // A slow machine earns some meanwhile.
    let made = service.command(&["discovery", "list"]).ok().lines().count();
    assert!((20..30).contains(&made), "{made}");
    // By no other door either.
    let mut n = 0;
    until("a size is written too often", || {
        n += 1;
        let put = service.ask("PUT", &format!("{KEYS}/t{n}/_config/size"), "value=3");
        assert!(put.code == 201 || put.body.contains("too many tokens"), "{put:?}");
        (put.code == 400).then_some(())
    });
    until("a method is called too often", || {
        let call = service.call("discovery/new", &serde_json::json!({"size": 3}));
        call.body.contains("too many tokens").then_some(())
    });
    // But the operator may.
    service.command(&["discovery", "new"]).ok();
}

#[test]
fn three_nodes_are_one_service() {
    let mut service = Service::of(3, &["discovery"]);
    let path = fresh(&service, "size=2");
    let put = |port: u16, id: &str, value: &str| {
        ask(port, "PUT", &format!("{path}/{id}?prevExist=false"), &format!("value={value}"))
    };
    let (first, second) = (service.ports[1].0, service.ports[2].0);
    assert_eq!(put(first, "a1", "n1=http://h:1").code, 201);
    let twin = put(second, "b2", "n1=http://h:2");
    assert!(twin.body.contains("duplicate name"), "{twin:?}");
    service.processes[0] = None;
    until("two of three go on", || {
        let answer = put(second, "b2", "n2=http://h:2");
        (answer.code == 201 || answer.body.contains("duplicate id")).then_some(())
    });
    service.restart(0);
    until("the third one knows", || {
        let told = service.command(&["discovery", "list"]);
        told.stdout.contains("2 of 2").then_some(())
    });
}

#[test]
fn every_cluster_makes_tokens() {
    let service = Service::of(1, &["serve"]);
    let path = fresh(&service, "");
    assert_eq!(
        service.ask("GET", &format!("{path}/_config/size"), "").json()["node"]["value"],
        "3"
    );
    // Nobody is a stranger there.
    assert_eq!(service.ask("PUT", "/v2/keys/foo", "value=1").code, 201);
    let listed = service.call("discovery/list", &serde_json::json!({})).json();
    assert_eq!(listed["tokens"][0]["name"], name_of(&path), "{listed}");
    assert!(service.command(&["discovery", "revoke", name_of(&path)]).ok().contains("nobody"));
}
