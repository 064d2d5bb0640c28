//! etcd's v2 API: transcripts of a real etcd 3.4, replayed against a member, and what no transcript can say.
//!
//! A line is a request: a method, a path, a form or a raw body, and who asks (`as`). Indexes are told as they are, for both trees begin at the same one;
//! dates are left out. The article's are told by curl, too. Recorded with `QUORATE_V2_TRANSCRIPTS_OF=/path/to/etcd-3.4 cargo test --test it http::v2`.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use goldenscript::{Command as Line, Runner};
use quorate::proto::etcdserverpb as pb;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use super::super::harness::{eventually, quorate, run};
use super::super::interop::skipped;
use super::alone::Alone;
use super::calls::RANGE;
use super::soon;
use super::three::Three;
use super::transcripts::difference;

/// The second article's commands; the others are told to one member.
const ARTICLE: &str = "the_second_articles_commands_in_their_order";

/// Where etcd 3.4's tree stands when it begins to serve, alone and as one of three: it keeps its members in it.
const FIRST_INDEX: u64 = 3;
const FIRST_INDEX_OF_THREE: u64 = 7;

#[test]
fn etcds_v2_transcripts_are_ours() {
    let recorded = std::env::var_os("QUORATE_V2_TRANSCRIPTS_OF").map(PathBuf::from);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/etcd_v2");
    let mut scripts: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    let (mut requests, mut differences) = (0, Vec::new());
    for path in scripts {
        let script = std::fs::read_to_string(&path).unwrap();
        let mut talk = match &recorded {
            // Told to members in turn, as the article tells it.
            Some(program) if path.ends_with(ARTICLE) => {
                let program = program.clone();
                Talk::three(move || {
                    let mut program = Command::new(&program);
                    program.arg("--enable-v2=true");
                    program
                })
            }
            None if path.ends_with(ARTICLE) => Talk::three(quorate),
            Some(program) => Talk::alone(Command::new(program)),
            None => Talk::alone(quorate()),
        };
        let found = goldenscript::generate(&mut talk, &script).unwrap();
        requests += talk.requests;
        if recorded.is_some() {
            std::fs::write(&path, &found).unwrap();
        } else if script != found {
            let lines = script.lines().zip(found.lines()).filter(|(kept, found)| kept != found);
            let lines = lines.map(|(kept, found)| format!("- {kept}\n+ {found}\n"));
            differences.push(format!("{}:\n{}", path.display(), lines.collect::<String>()));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(requests >= 200, "only {requests} requests are recorded");
}

#[test]
fn curl_sends_the_second_articles_commands() {
    if Command::new("curl").arg("--version").output().is_err() {
        return skipped("curl").unwrap_or_default();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/etcd_v2").join(ARTICLE);
    let script = std::fs::read_to_string(&path).unwrap();
    let mut talk = Talk { with_curl: true, ..Talk::three(quorate) };
    let found = goldenscript::generate(&mut talk, &script).unwrap();
    assert!(script == found, "{}", difference(&script, &found));
}

/// A fresh cluster, and the watches that are open.
struct Talk {
    runtime: Runtime,
    cluster: Running,
    watches: BTreeMap<String, Answer>,
    requests: usize,
    /// A process for each request.
    with_curl: bool,
}

enum Running {
    Alone(Box<Alone>),
    Three(Three),
}

/// An answer of which the head is read.
struct Answer {
    head: String,
    body: Box<dyn AsyncBufRead + Send + Unpin>,
    _curl: Option<tokio::process::Child>,
}

impl Talk {
    fn alone(program: Command) -> Self {
        let start = async { Alone::of(program, &["--enable-v2=true"]).await.0 };
        Self::start(async { Running::Alone(Box::new(start.await)) })
    }

    fn three(program: impl Fn() -> Command + Send + Sync + 'static) -> Self {
        Self::start(async { Running::Three(Three::of(program).await) })
    }

    fn start(cluster: impl Future<Output = Running>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let cluster = runtime.block_on(cluster);
        let watches = BTreeMap::new();
        let talk = Self { runtime, cluster, watches, requests: 0, with_curl: false };
        let first = match talk.cluster {
            Running::Alone(_) => FIRST_INDEX,
            Running::Three(_) => FIRST_INDEX_OF_THREE,
        };
        talk.runtime.block_on(align_to(talk.address(None), first));
        talk
    }

    /// Of the member that a line names by its number or by what it is, or of the first.
    fn address(&self, prefix: Option<&str>) -> SocketAddr {
        let three = match &self.cluster {
            Running::Alone(alone) => return alone.address,
            Running::Three(three) => three,
        };
        let state = match prefix {
            Some("leader") => "StateLeader",
            Some("follower") => "StateFollower",
            number => {
                return three.addresses[number.map_or(0, |it| it.parse::<usize>().unwrap() - 1)];
            }
        };
        self.runtime.block_on(eventually(state, || async {
            for &address in &three.addresses {
                if say(address, "GET", "/v2/stats/self", "").await.1.contains(state) {
                    return Some(address);
                }
            }
            None
        }))
    }

    /// Some fields of a page's object, without what is another cluster's each time.
    fn page(&self, line: &Line) -> Result<String, Box<dyn Error>> {
        let mut words = line.consume_args();
        let path = words.next_pos().ok_or("a path")?.value.clone();
        let address = self.address(line.prefix.as_deref());
        let (status, text) = self.runtime.block_on(async {
            let mut answer = self.get(address, &path).await;
            let mut text = String::new();
            soon("the page", answer.body.read_to_string(&mut text)).await.unwrap();
            (answer.status().to_owned(), text)
        });
        let page: serde_json::Value = serde_json::from_str(&text)?;
        let mut out = format!("{status}\n");
        while let Some(name) = words.next_pos() {
            let mut value = page.get(&name.value).cloned().ok_or_else(|| text.clone())?;
            hide(&mut value);
            out += &format!("{}: {value}\n", name.value);
        }
        Ok(out)
    }

    async fn get(&self, address: SocketAddr, path: &str) -> Answer {
        match self.with_curl {
            true => curled(address, "GET", path, &[]).await,
            false => send(address, "GET", path, "", "").await,
        }
    }

    async fn request(&self, line: &Line) -> String {
        let mut words = line.consume_args();
        let path = words.next_pos().unwrap().value.clone();
        let kind = words.lookup("type").map(|arg| arg.value.clone());
        let raw = words.lookup("raw").map(|arg| arg.value.clone());
        let who = words.lookup("as").map(|arg| arg.value.clone());
        let parameters = words.rest_key();
        let form = parameters.iter().map(|arg| {
            let name = arg.key.clone().unwrap_or_default();
            (escaped(&name), escaped(&arg.value), format!("{name}={}", arg.value))
        });
        let form: Vec<_> = form.collect();
        words.reject_rest().unwrap();
        let address = self.address(line.prefix.as_deref());
        if self.with_curl {
            let fields: Vec<&str> = form.iter().map(|(.., typed)| typed.as_str()).collect();
            return told(curled(address, &line.name, &path, &fields).await).await;
        }
        let form = form.iter().map(|(name, value, _)| format!("{name}={value}"));
        let form = form.collect::<Vec<_>>().join("&");
        let kind = kind.unwrap_or_else(|| "application/x-www-form-urlencoded".to_owned());
        let body = raw.unwrap_or(form);
        told(send_as(who.as_deref(), address, &line.name, &path, &kind, &body).await).await
    }
}

/// Puts words in the place of numbers, ids, times, versions and names of members.
fn hide(value: &mut serde_json::Value) {
    use serde_json::Value;
    match value {
        Value::Number(_) => *value = "a number".into(),
        Value::String(text) => {
            let is_of = |signs: &str| {
                text.chars().all(|sign| sign.is_ascii_digit() || signs.contains(sign))
            };
            let kind = if text.len() > 12 && is_of("abcdef") {
                "an id"
            } else if text.starts_with("20") && text.ends_with('Z') {
                "a time"
            } else if text.ends_with('s') && is_of(".hmsµn") {
                "a duration"
            } else if text.contains('.') && is_of(".") {
                "a version"
            } else if text.starts_with("etcd-0") {
                "a name"
            } else {
                return;
            };
            *value = kind.into();
        }
        Value::Array(items) => items.iter_mut().for_each(hide),
        Value::Object(fields) => {
            let is_id =
                |name: &String| name.len() > 12 && name.bytes().all(|it| it.is_ascii_hexdigit());
            let ids: Vec<String> = fields.keys().filter(|name| is_id(name)).cloned().collect();
            for (place, id) in ids.into_iter().enumerate() {
                let value = fields.remove(&id).unwrap_or_default();
                fields.insert(format!("id {}", place + 1), value);
            }
            fields.values_mut().for_each(hide);
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// Brings our tree to where etcd's begins, with nothing in it.
pub(super) async fn align(address: SocketAddr) {
    align_to(address, FIRST_INDEX).await;
}

async fn align_to(address: SocketAddr, first: u64) {
    if index(address).await == 0 {
        for _ in 1..first {
            say(address, "PUT", "/v2/keys/_first", "").await;
        }
        say(address, "DELETE", "/v2/keys/_first", "").await;
    }
    eventually("the tree stands where it begins", || async {
        (index(address).await == first).then_some(())
    })
    .await;
}

/// The same with JSON.
pub(super) async fn say_json(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
) -> (u16, String) {
    say_as(None, address, method, path, body).await
}

/// The same of somebody with a name and a password.
pub(super) async fn say_as(
    who: Option<&str>,
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
) -> (u16, String) {
    let mut answer = send_as(who, address, method, path, "application/json", body).await;
    let mut text = String::new();
    soon("the body", answer.body.read_to_string(&mut text)).await.unwrap();
    (answer.status().parse().unwrap(), text)
}

/// Where the tree stands.
pub(super) async fn index(address: SocketAddr) -> u64 {
    let answer = send(address, "GET", "/v2/keys", "", "").await;
    answer.header("x-etcd-index").unwrap().parse().unwrap()
}

async fn send(address: SocketAddr, method: &str, path: &str, kind: &str, body: &str) -> Answer {
    send_as(None, address, method, path, kind, body).await
}

/// `who` is a name, a colon and a password.
async fn send_as(
    who: Option<&str>,
    address: SocketAddr,
    method: &str,
    path: &str,
    kind: &str,
    body: &str,
) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let mut text = format!("{method} {path} HTTP/1.0\r\nhost: h\r\ncontent-length: {length}\r\n");
    if let Some(who) = who {
        let shown = base64::engine::general_purpose::STANDARD.encode(who);
        text += &format!("authorization: Basic {shown}\r\n");
    }
    if !kind.is_empty() {
        text += &format!("content-type: {kind}\r\n");
    }
    stream.write_all(format!("{text}\r\n{body}").as_bytes()).await.unwrap();
    Answer::read(Box::new(BufReader::new(stream)), None).await
}

/// The same by curl, as one types it.
async fn curled(address: SocketAddr, method: &str, path: &str, form: &[&str]) -> Answer {
    let mut curl = tokio::process::Command::new("curl");
    // With --include a head waits for its body.
    curl.args(["--silent", "--show-error", "--location", "--dump-header", "-", "--no-buffer"]);
    curl.args(["--noproxy", "*", "--request", method]);
    curl.args(form.iter().flat_map(|field| ["-d", field]));
    curl.arg(format!("http://{address}{path}")).kill_on_drop(true);
    let mut process = curl.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let out = Box::new(BufReader::new(process.stdout.take().unwrap()));
    Answer::read(out, Some(process)).await
}

/// A request with a form: its status and its body.
pub(super) async fn say(
    address: SocketAddr,
    method: &str,
    path: &str,
    form: &str,
) -> (u16, String) {
    let mut answer = send(address, method, path, "application/x-www-form-urlencoded", form).await;
    let mut text = String::new();
    soon("the body", answer.body.read_to_string(&mut text)).await.unwrap();
    (answer.status().parse().unwrap(), text)
}

impl Answer {
    async fn read(
        mut body: Box<dyn AsyncBufRead + Send + Unpin>,
        curl: Option<tokio::process::Child>,
    ) -> Self {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(soon("the head", body.read_line(&mut head)).await.unwrap() > 0, "{head}");
        }
        Self { head, body, _curl: curl }
    }

    fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap().trim()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// What is told of the head.
    fn summary(&self) -> String {
        let mut text = self.status().to_owned();
        for (name, shown) in [
            ("content-type", ""),
            ("allow", "allow="),
            ("location", "location="),
            ("x-etcd-index", "index="),
        ] {
            if let Some(value) = self.header(name) {
                text += &format!(" {shown}{value}");
            }
        }
        if self.header("x-etcd-cluster-id").is_some() {
            text += " cluster";
        }
        let is_logged =
            self.header("x-raft-index").is_some() && self.header("x-raft-term").is_some();
        text + if is_logged { " raft\n" } else { "\n" }
    }
}

async fn told(mut answer: Answer) -> String {
    let mut text = String::new();
    soon("the body", answer.body.read_to_string(&mut text)).await.unwrap();
    let mut out = answer.summary() + &without_dates(&text);
    if !out.ends_with('\n') {
        out += "\\\n";
    }
    out
}

pub(super) fn without_dates(text: &str) -> String {
    const BEFORE: &str = "\"expiration\":\"";
    let mut parts = text.split(BEFORE);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (date, rest) = part.split_once('"').unwrap();
        assert!(date.starts_with("20") && date.ends_with('Z'), "{date}");
        out += &format!("{BEFORE}...\"{rest}");
    }
    out
}

fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let escape =
        |byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(escape).collect()
}

impl Runner for Talk {
    fn run(&mut self, line: &Line) -> Result<String, Box<dyn Error>> {
        let mut words = line.consume_args();
        match line.name.as_str() {
            "watch" => {
                let (name, path) = (words.next_pos().ok_or("a name")?, words.next_pos());
                let path = &path.ok_or("a path")?.value;
                let address = self.address(line.prefix.as_deref());
                let answer = self.runtime.block_on(self.get(address, path));
                self.requests += 1;
                let summary = answer.summary();
                self.watches.insert(name.value.clone(), answer);
                Ok(summary)
            }
            "page" => {
                self.requests += 1;
                self.page(line)
            }
            "hear" => {
                let name = &words.next_pos().ok_or("a name")?.value;
                let answer = self.watches.get_mut(name).ok_or("no such watch")?;
                let mut text = String::new();
                let heard = soon("an event", answer.body.read_line(&mut text));
                self.runtime.block_on(heard)?;
                Ok(without_dates(&text))
            }
            "gone" => {
                let path = words.next_pos().ok_or("a path")?.value.clone();
                let address = self.address(line.prefix.as_deref());
                self.runtime.block_on(eventually("it expires", || async {
                    (say(address, "GET", &path, "").await.0 == 404).then_some(())
                }));
                Ok(String::new())
            }
            _ => {
                self.requests += 1;
                Ok(self.runtime.block_on(self.request(line)))
            }
        }
    }
}

#[test]
fn the_v2_api_can_be_turned_off() {
    run(async {
        let (alone, _) = Alone::of(quorate(), &["--enable-v2=false"]).await;
        assert_eq!(say(alone.address, "GET", "/v2/keys", "").await.0, 404);
    });
}

#[test]
fn who_asks_a_new_member_at_once_hears_where_it_is_found() {
    run(async {
        let alone = Alone::opened(quorate(), &[]).await;
        let url = format!("http://{}", alone.address);
        let (code, text) = say(alone.address, "GET", "/v2/members", "").await;
        let told: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((code, told["members"][0]["clientURLs"][0].as_str()), (200, Some(&*url)));
    });
}

#[test]
fn the_tree_is_not_seen_through_v3() {
    run(async {
        let (alone, client) = Alone::of(quorate(), &[]).await;
        assert_eq!(say(alone.address, "PUT", "/v2/keys/k", "value=v").await.0, 201);
        let (key, range_end) = ("\0".into(), "\0".into());
        let all = pb::RangeRequest { key, range_end, ..Default::default() };
        let found: pb::RangeResponse = client.call(RANGE, &[], &all).await.unwrap();
        assert_eq!((found.count, found.header.unwrap().revision), (0, 1));
    });
}

#[test]
fn names_of_the_head_are_written_as_go_writes_them() {
    run(async {
        let (alone, _) = Alone::start(&[]).await;
        let head = send(alone.address, "GET", "/v2/keys", "", "").await.head;
        for name in ["Content-Type", "X-Etcd-Cluster-Id", "X-Etcd-Index", "X-Raft-Index"] {
            assert!(head.contains(&format!("\r\n{name}: ")), "{name}: {head}");
        }
    });
}

/// Who leads, by what members tell.
pub(super) async fn leader(three: &Three) -> usize {
    eventually("a leader", || async {
        for (place, &address) in three.addresses.iter().enumerate() {
            if TcpStream::connect(address).await.is_err() {
                continue;
            }
            let (_, text) = say(address, "GET", "/v2/stats/self", "").await;
            if text.contains("StateLeader") {
                return Some(place);
            }
        }
        None
    })
    .await
}

/// What a member tells of the indexes `from..=to`, by one stream.
pub(super) async fn history(address: SocketAddr, from: u64, to: u64) -> Vec<serde_json::Value> {
    let path = format!("/v2/keys/?wait=true&recursive=true&stream=true&waitIndex={from}");
    let mut stream = send(address, "GET", &path, "", "").await;
    let mut told: Vec<serde_json::Value> = Vec::new();
    loop {
        let mut line = String::new();
        soon("an event", stream.body.read_line(&mut line)).await.unwrap();
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        let index = event["node"]["modifiedIndex"].as_u64().unwrap();
        told.push(event);
        if index >= to {
            return told;
        }
    }
}
