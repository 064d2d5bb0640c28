//! Transcripts of a real etcd, replayed against a member over gRPC, over JSON (in requests and in websockets) and over
//! our own protocol.
//!
//! A line names a path of the gateway (or a method as gRPC calls it) and gives the request in protobuf's JSON, but with
//! bytes as plain texts; so are the answers written. What differs from member to member (terms, sizes) is left out, and ids
//! and addresses have names (`words`). Beside the paths there are a few words about the members themselves. A script
//! says in its first lines on which wires it is replayed, if not on all, of how many members its cluster is, how often it
//! may be tried where time has a say, and which etcd it is recorded of, if older ones do not know what it asks for.
//!
//! ```text
//!   # wires: grpc native
//!   # members: 3
//!   # tries: 3
//!   kv/put '{"key":"a"}' at=follower      to another member than the first
//!   kv/put '{"key":"a"}' patient=yes      asked again until it succeeds
//!   kv/put '{"key":"a"}' as=bob           with the token that bob was given last, or with this text (token=TEXT)
//!   watch '{...}' '{...}' hear=2          two requests, and the first two messages, or as many as there are (hear=all)
//!   w:watch '{...}' hear=1                the same, and the stream stays open as w
//!   w:say '{...}' hear=1                  more on it; w:hear and w:end
//! ```
//!
//! Recorded with `QUORATE_TRANSCRIPTS_OF=/path/to/etcd cargo test --test it transcripts`; the difference is read by eye.

mod place;
mod routes;
mod snapshot;
mod wires;
mod words;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

use goldenscript::{Command as Line, Runner};
use prost_reflect::{DeserializeOptions, DynamicMessage, SerializeOptions};
use quorate::proto::{Code, Method, Shape};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::super::harness::{eventually, free_ports};
use super::client::End;
use place::Place;
use wires::{Open, Said, To, Wire};
use words::{Names, decoded, descriptor, encoded};

#[test]
fn etcds_transcripts_are_ours_over_grpc() {
    replay(Wire::Grpc);
}

#[test]
fn etcds_transcripts_are_ours_over_json() {
    replay(Wire::Json);
}

#[test]
fn etcds_transcripts_are_ours_over_websockets() {
    replay(Wire::Socket);
}

#[test]
fn etcds_transcripts_are_ours_over_our_own_protocol() {
    replay(Wire::Native);
}

fn replay(wire: Wire) {
    let recorded = std::env::var_os("QUORATE_TRANSCRIPTS_OF").map(PathBuf::from);
    // The name of one, or the beginning of it.
    let only = std::env::var("QUORATE_TRANSCRIPT").unwrap_or_default();
    if recorded.is_some() && wire == Wire::Native {
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/etcd");
    let mut scripts: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    let mut differences = Vec::new();
    for path in scripts {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let script = std::fs::read_to_string(&path).unwrap();
        let heading = Heading::of(&script);
        let is_recorded = recorded.as_ref().is_none_or(|program| heading.is_recorded_of(program));
        if !name.starts_with(&only) || !heading.wires.contains(&wire) || !is_recorded {
            continue;
        }
        let replayed = || {
            let mut talk = Talk::start(recorded.clone(), wire, heading.members);
            goldenscript::generate(&mut talk, &script)
                .unwrap_or_else(|error| panic!("{name} over {wire:?}: {error}"))
        };
        let mut found = replayed();
        if recorded.is_some() && wire == Wire::Grpc {
            std::fs::write(&path, &found).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap();
        for _ in 1..heading.tries {
            if kept != found {
                eprintln!("once more {name} over {wire:?}:\n{}", difference(&kept, &found));
                found = replayed();
            }
        }
        if kept != found {
            differences.push(format!("{name} over {wire:?}:\n{}", difference(&kept, &found)));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// The lines that differ, and how many there are where that is all.
pub(super) fn difference(kept: &str, found: &str) -> String {
    let lines = kept.lines().zip(found.lines());
    let differing = lines.filter(|(kept, found)| kept != found);
    let differing: String =
        differing.map(|(kept, found)| format!("- {kept}\n+ {found}\n")).collect();
    let (kept, found) = (kept.lines().count(), found.lines().count());
    if kept == found { differing } else { format!("{differing}{kept} lines became {found}\n") }
}

/// What a script says of itself.
struct Heading {
    wires: Vec<Wire>,
    members: usize,
    /// How often it may be played until it is as it was kept.
    tries: usize,
    /// The version of etcd that has what it asks for, if not every one has.
    recorded_of: Option<String>,
}

impl Heading {
    fn of(script: &str) -> Self {
        let said = |name: &str| {
            let mut heads = script.lines().take_while(|line| line.starts_with('#'));
            heads.find_map(|line| line.strip_prefix(name))
        };
        let wires = said("# wires: ").unwrap_or("grpc json native").split(' ');
        let wires = wires.map(|name| match name {
            "grpc" => Wire::Grpc,
            "json" => Wire::Json,
            "socket" => Wire::Socket,
            "native" => Wire::Native,
            other => panic!("no wire {other}"),
        });
        let count = |text: &str| text.parse().unwrap();
        let members = said("# members: ").map_or(1, count);
        // On a busy machine a leader of several may be followed by another, and scripts know of none.
        let tries = said("# tries: ").map_or(if members > 1 { 3 } else { 1 }, count);
        let recorded_of = said("# recorded of: ").map(str::to_owned);
        Self { wires: wires.collect(), members, tries, recorded_of }
    }

    fn is_recorded_of(&self, program: &Path) -> bool {
        let Some(version) = &self.recorded_of else { return true };
        let said = Command::new(program).arg("--version").output().unwrap().stdout;
        String::from_utf8_lossy(&said).starts_with(&format!("etcd Version: {version}."))
    }
}

/// A fresh cluster, and how it is spoken to.
struct Talk {
    wire: Wire,
    runtime: Runtime,
    place: Place,
    names: Names,
    streams: BTreeMap<String, (Method, Open)>,
    /// By user.
    tokens: BTreeMap<String, String>,
    /// The line that is carried out.
    at: String,
}

impl Drop for Talk {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("over {:?}, {}", self.wire, self.at);
        }
    }
}

/// What a line says beside its requests.
struct Words {
    texts: Vec<String>,
    hear: Option<usize>,
    at: Option<String>,
    /// Asked until it succeeds: the leader learns a little later how far others are.
    patient: bool,
    metadata: Vec<(String, Vec<u8>)>,
    /// Whose token is shown.
    user: Option<String>,
    /// A token as it is.
    token: Option<String>,
}

impl Words {
    fn of(line: &Line) -> Result<Self, Box<dyn Error>> {
        let mut args = line.consume_args();
        let hear = args.lookup("hear").map(|count| match count.value.as_str() {
            "all" => Ok(usize::MAX),
            count => count.parse(),
        });
        let at = args.lookup("at").map(|at| at.value.clone());
        let patient = args.lookup("patient").is_some();
        let user = args.lookup("as").map(|user| user.value.clone());
        let token = args.lookup("token").map(|token| token.value.clone());
        let metadata = args.lookup("metadata").map(|pair| {
            let (name, value) = pair.value.split_once('=').unwrap();
            // A byte that is no text.
            let value = if value == "%ff" { vec![0xff] } else { value.as_bytes().to_vec() };
            (name.to_owned(), value)
        });
        let texts = args.rest_pos().iter().map(|arg| arg.value.clone()).collect();
        args.reject_rest()?;
        let metadata = metadata.into_iter().collect();
        Ok(Self { texts, hear: hear.transpose()?, at, patient, metadata, user, token })
    }
}

impl Talk {
    fn start(program: Option<PathBuf>, wire: Wire, members: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let place = runtime.block_on(Place::start(program, members));
        let mut names = Names::default();
        for (index, port) in free_ports(3).into_iter().enumerate() {
            names.set(&format!("free{index}"), format!("http://127.0.0.1:{port}"));
        }
        let (streams, tokens) = (BTreeMap::new(), BTreeMap::new());
        let at = String::new();
        let mut talk = Self { wire, runtime, place, names, streams, tokens, at };
        (0..members).for_each(|index| talk.learn(index));
        talk
    }

    /// A member gets its names.
    fn learn(&mut self, index: usize) {
        let id = self.runtime.block_on(self.place.id(index));
        let member = &self.place.members[index];
        self.names.set(&index.to_string(), id.to_string());
        self.names.set(&format!("peer{index}"), member.peer.clone());
        self.names.set(&format!("client{index}"), member.url());
    }

    fn member(&self, at: Option<&str>) -> usize {
        let leader = || self.runtime.block_on(self.place.leader());
        match at {
            None => 0,
            Some("leader") => leader(),
            Some("follower") => usize::from(leader() == 0),
            Some(number) => number.parse().unwrap(),
        }
    }

    fn request(&mut self, method: Method, text: &str) -> DynamicMessage {
        let descriptor = descriptor(method, "Request");
        let mut value: Value = serde_json::from_str(text).unwrap();
        for at in ["leader", "follower"] {
            if text.contains(&format!("${at}")) {
                let index = self.member(Some(at));
                let id = self.runtime.block_on(self.place.id(index));
                // For this request alone: the answer calls it by its number.
                let mut role = Names::default();
                role.set(at, id.to_string());
                role.written_out(&mut value);
            }
        }
        self.names.written_out(&mut value);
        encoded(&descriptor, &mut value);
        let options = DeserializeOptions::new();
        DynamicMessage::deserialize_with_options(descriptor, value, &options).unwrap()
    }

    /// An answer as it stands in a transcript.
    fn told(&mut self, method: Method, said: Said) -> Value {
        let descriptor = descriptor(method, "Response");
        let mut value = match said {
            Said::Object(value) => value,
            Said::Message(message) => {
                let message = DynamicMessage::decode(descriptor.clone(), message).unwrap();
                let options = SerializeOptions::new().use_proto_field_name(true);
                message.serialize_with_options(serde_json::value::Serializer, &options).unwrap()
            }
        };
        decoded(&descriptor, &mut value);
        if method == Method::MemberAdd {
            self.names.set("new", value["member"]["ID"].as_str().unwrap().to_owned());
        }
        if let (Method::LeaseGrant, Some(id)) = (method, value["ID"].as_str())
            && id.len() > 6
        {
            self.names.set("lease", id.to_owned());
        }
        self.names.told(method, &mut value);
        value
    }

    /// What a line that names a method is answered.
    fn ask(&mut self, line: &Line, method: Method, words: &Words) -> Vec<Result<Value, End>> {
        let texts = words.texts.iter();
        let requests: Vec<_> = texts.map(|text| self.request(method, text)).collect();
        let index = self.member(words.at.as_deref());
        let member = &self.place.members[index];
        let known = |user: &String| {
            self.tokens
                .get(user)
                .unwrap_or_else(|| panic!("nobody has logged in as {user}"))
                .clone()
        };
        let token = words.user.as_ref().map(known).or_else(|| words.token.clone());
        let token = token.as_deref();
        let to = To { member, path: &line.name, method, metadata: &words.metadata, token };
        if method.shape() == Shape::Unary {
            // etcd's gateway waits for the end of what is asked once, and a websocket has none.
            let wire = match self.wire {
                Wire::Socket if self.place.is_recorded() => Wire::Json,
                wire => wire,
            };
            let asked = || to.unary(wire, &requests[0]);
            let answer = match words.patient {
                true => {
                    Ok(self.runtime.block_on(eventually("success", async || asked().await.ok())))
                }
                false => self.runtime.block_on(asked()),
            };
            let mut told = answer.map(|said| self.told(method, said));
            if let (Method::Authenticate, Ok(value)) = (method, &mut told) {
                self.remember(&words.texts[0], value);
            }
            return vec![told];
        }
        let whole = line.prefix.is_none();
        let mut open = self.runtime.block_on(to.open(self.wire, &requests, whole));
        if method == Method::Snapshot {
            return vec![self.runtime.block_on(snapshot::whole(&mut open))];
        }
        let heard = self.hear(method, &mut open, words.hear.expect("hear=N"));
        if let Some(name) = &line.prefix {
            self.streams.insert(name.clone(), (method, open));
        }
        heard
    }

    /// A token is its user's from now on; another run has another one.
    fn remember(&mut self, request: &str, value: &mut Value) {
        let request: Value = serde_json::from_str(request).unwrap();
        let token = value["token"].as_str().unwrap().to_owned();
        let user = request["name"].as_str().unwrap().to_owned();
        value["token"] = "of its own".into();
        self.tokens.insert(user, token);
    }

    /// The next messages of a stream, or revisions of a watcher.
    fn hear(&mut self, method: Method, open: &mut Open, count: usize) -> Vec<Result<Value, End>> {
        let mut heard = Vec::new();
        while heard.len() < count {
            match self.runtime.block_on(open.next()) {
                Ok(Some(said)) => {
                    let value = self.told(method, said);
                    by_revision(&mut heard, value);
                }
                Ok(None) => {
                    heard.push(Ok("end".into()));
                    break;
                }
                Err(end) => {
                    heard.push(Err(end));
                    break;
                }
            }
        }
        heard
    }

    /// More of a stream that is open.
    fn go_on(&mut self, line: &Line, words: &Words) -> Vec<Result<Value, End>> {
        let name = line.prefix.as_ref().unwrap();
        let (method, mut open) = self.streams.remove(name).expect("a stream of that name");
        for text in &words.texts {
            let request = self.request(method, text);
            self.runtime.block_on(open.say(&request, false));
        }
        if line.name == "end" {
            open.finish();
        }
        let heard = self.hear(method, &mut open, words.hear.unwrap_or(0));
        self.streams.insert(name.clone(), (method, open));
        heard
    }

    /// What is done to members; false for other words.
    fn among_members(&mut self, line: &Line, words: &Words) -> bool {
        match line.name.as_str() {
            "kill" => {
                let index = self.member(words.at.as_deref());
                self.place.kill(index);
            }
            "leaderless" => {
                let index = self.member(words.at.as_deref());
                self.runtime.block_on(self.place.leaderless(index));
            }
            "join" => {
                let mut peer = words.texts[0].as_str().into();
                self.names.written_out(&mut peer);
                self.runtime.block_on(self.place.join(peer.as_str().unwrap()));
                self.learn(self.place.members.len() - 1);
            }
            "caught-up" => {
                let index = self.member(words.at.as_deref());
                self.runtime.block_on(self.place.caught_up(index));
            }
            _ => return false,
        }
        true
    }
}

impl Runner for Talk {
    fn run(&mut self, line: &Line) -> Result<String, Box<dyn Error>> {
        let words = Words::of(line)?;
        self.at = format!("line {}: {}", line.line_number, line.name);
        if self.among_members(line, &words) {
            return Ok(String::new());
        }
        let heard = match routes::method(&line.name) {
            Some(method) => self.ask(line, method, &words),
            None if matches!(line.name.as_str(), "say" | "hear" | "end") => {
                self.go_on(line, &words)
            }
            None if line.name.contains('.') => {
                let service = words.texts.first().map_or("", String::as_str);
                let member = &self.place.members[0];
                let answer = wires::other(member, &line.name, service);
                vec![self.runtime.block_on(answer).map(Value::from)]
            }
            None => return Err(format!("no path {}", line.name).into()),
        };
        let told = heard.into_iter().map(|item| match item {
            Ok(Value::String(text)) => text,
            Ok(value) => value.to_string(),
            Err((code, text)) => format!("{}: {text}", Code::from_number(code)),
        });
        Ok(told.collect::<Vec<_>>().join("\n"))
    }
}

/// How many revisions a watch response brings is left to the server: each is written on its own.
fn by_revision(heard: &mut Vec<Result<Value, End>>, mut response: Value) {
    let Some(events) = response.get("events").and_then(Value::as_array).cloned() else {
        return heard.push(Ok(response));
    };
    // Its revision is that of the last event, or a later one.
    response.as_object_mut().unwrap().remove("header");
    let revision = |event: &Value| event["kv"]["mod_revision"].clone();
    for of_revision in events.chunk_by(|one, next| revision(one) == revision(next)) {
        response["events"] = of_revision.to_vec().into();
        heard.push(Ok(response.clone()));
    }
}
