//! Transcripts of a real etcd, replayed against a member over gRPC and over JSON.
//!
//! A line names a path of the gateway and gives the request in protobuf's JSON, but with bytes as plain texts; so are the
//! answers written. What differs from member to member (ids, terms, sizes) is left out. Recorded with
//! `QUORATE_TRANSCRIPTS_OF=/path/to/etcd cargo test --test it transcripts`; the difference is read by eye.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::prelude::{BASE64_STANDARD, Engine};
use goldenscript::{Command as Line, Runner};
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, Kind, MessageDescriptor, SerializeOptions,
};
use quorate::proto::{Code, DESCRIPTORS, Method, Shape};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::super::harness::quorate;
use super::alone::Alone;
use super::client::{Client, End};
use super::gateway::post;
use super::soon;

#[test]
fn etcds_transcripts_are_ours_over_grpc() {
    replay(Wire::Grpc);
}

#[test]
fn etcds_transcripts_are_ours_over_json() {
    replay(Wire::Json);
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wire {
    Grpc,
    Json,
}

fn replay(wire: Wire) {
    let recorded = std::env::var_os("QUORATE_TRANSCRIPTS_OF").map(PathBuf::from);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/etcd");
    let mut scripts: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    for path in scripts {
        let script = std::fs::read_to_string(&path).unwrap();
        let program = recorded.as_ref().map_or_else(quorate, Command::new);
        let found = goldenscript::generate(&mut Talk::start(program, wire), &script).unwrap();
        if recorded.is_some() && wire == Wire::Grpc {
            std::fs::write(&path, &found).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap();
        assert!(kept == found, "{} over {wire:?}:\n{}", path.display(), difference(&kept, &found));
    }
}

/// The first lines that differ.
fn difference(kept: &str, found: &str) -> String {
    let mut lines = kept.lines().zip(found.lines());
    match lines.find(|(kept, found)| kept != found) {
        Some((kept, found)) => format!("- {kept}\n+ {found}"),
        None => "one is longer".to_owned(),
    }
}

/// A fresh cluster of one, and how it is spoken to.
struct Talk {
    wire: Wire,
    runtime: Runtime,
    alone: Alone,
    client: Client,
    pool: DescriptorPool,
}

impl Talk {
    fn start(program: Command, wire: Wire) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (alone, client) = runtime.block_on(Alone::of(program, &[]));
        let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
        Self { wire, runtime, alone, client, pool }
    }

    fn descriptor(&self, method: Method, kind: &str) -> MessageDescriptor {
        let (service, name) = method.path().split_once('/').unwrap();
        let (package, _) = service.rsplit_once('.').unwrap();
        let name = match method {
            Method::Compact => "Compaction",
            Method::Observe => "Leader",
            _ => name,
        };
        self.pool.get_message_by_name(&format!("{package}.{name}{kind}")).unwrap()
    }

    fn request(&self, method: Method, text: &str) -> DynamicMessage {
        let descriptor = self.descriptor(method, "Request");
        let mut value: Value = serde_json::from_str(text).unwrap();
        bytes(&descriptor, &mut value, &|text| BASE64_STANDARD.encode(text));
        let options = DeserializeOptions::new();
        DynamicMessage::deserialize_with_options(descriptor, value, &options).unwrap()
    }

    /// An answer as it stands in a transcript.
    fn told(&self, method: Method, mut value: Value) -> String {
        let descriptor = self.descriptor(method, "Response");
        bytes(&descriptor, &mut value, &|text| {
            String::from_utf8_lossy(&BASE64_STANDARD.decode(text).unwrap()).into_owned()
        });
        forget(&mut value);
        value.to_string()
    }

    fn decoded(&self, method: Method, message: bytes::Bytes) -> Value {
        let message = DynamicMessage::decode(self.descriptor(method, "Response"), message).unwrap();
        let options = SerializeOptions::new().use_proto_field_name(true);
        message.serialize_with_options(serde_json::value::Serializer, &options).unwrap()
    }

    async fn unary(&self, path: &str, method: Method, text: &str) -> Result<Value, End> {
        let request = self.request(method, text);
        if self.wire == Wire::Grpc {
            let mut stream = self.client.open(&format!("/{}", method.path()), &[]).await;
            stream.say(&request, true);
            let message = stream.next().await?.unwrap();
            assert_eq!(stream.next().await, Ok(None));
            return Ok(self.decoded(method, message));
        }
        let body = serde_json::to_string(&request).unwrap();
        let (status, text) = post(self.alone.address, &format!("/v3/{path}"), &body).await;
        let said: Value = serde_json::from_str(&text).unwrap();
        if status == 200 { Ok(said) } else { Err(failure(&said)) }
    }

    /// The first `count` messages, or a watcher's revisions, of a stream on which `requests` are said.
    async fn stream(
        &self,
        path: &str,
        method: Method,
        requests: &[&str],
        count: usize,
    ) -> Vec<Result<Value, End>> {
        let requests: Vec<_> = requests.iter().map(|text| self.request(method, text)).collect();
        let mut heard = Vec::new();
        if self.wire == Wire::Grpc {
            let mut stream = self.client.open(&format!("/{}", method.path()), &[]).await;
            for (number, request) in (1..).zip(&requests) {
                // Who is asked once waits until no more can come.
                let is_last = method.shape() == Shape::ServerStream && number == requests.len();
                stream.say(request, is_last);
            }
            while heard.len() < count {
                let next = stream.next().await.transpose().unwrap();
                hear(&mut heard, next.map(|message| self.decoded(method, message)));
            }
            return heard;
        }
        let said: Vec<String> =
            requests.iter().map(|request| serde_json::to_string(request).unwrap()).collect();
        let path = format!("/v3/{path}");
        let mut lines =
            super::gateway::Lines::whole(self.alone.address, &path, &said.join("\n")).await;
        while heard.len() < count {
            let mut line = soon("a line", lines.next()).await;
            let item = match line.get("error") {
                Some(error) => Err(failure(error)),
                None => Ok(line["result"].take()),
            };
            hear(&mut heard, item);
        }
        heard
    }
}

impl Runner for Talk {
    fn run(&mut self, line: &Line) -> Result<String, Box<dyn Error>> {
        let mut args = line.consume_args();
        let count: Option<usize> = args.lookup_parse("hear")?;
        let texts: Vec<&str> = args.rest_pos().iter().map(|arg| arg.value.as_str()).collect();
        args.reject_rest()?;
        let path = line.name.as_str();
        let method = method(path).ok_or_else(|| format!("no path {path}"))?;
        let heard = match count {
            Some(count) => self.runtime.block_on(self.stream(path, method, &texts, count)),
            None => vec![self.runtime.block_on(self.unary(path, method, texts[0]))],
        };
        let told = heard.into_iter().map(|item| match item {
            Ok(value) => self.told(method, value),
            Err((code, text)) => format!("{}: {text}", Code::from_number(code)),
        });
        Ok(told.collect::<Vec<_>>().join("\n"))
    }
}

/// The methods that transcripts speak of, by their paths.
fn method(path: &str) -> Option<Method> {
    Some(match path {
        "kv/range" => Method::Range,
        "kv/put" => Method::Put,
        "kv/deleterange" => Method::DeleteRange,
        "kv/txn" => Method::Txn,
        "kv/compaction" => Method::Compact,
        "watch" => Method::Watch,
        "lease/grant" => Method::LeaseGrant,
        "lease/revoke" => Method::LeaseRevoke,
        "lease/keepalive" => Method::LeaseKeepAlive,
        "lease/timetolive" => Method::LeaseTimeToLive,
        "lease/leases" => Method::LeaseLeases,
        "cluster/member/add" => Method::MemberAdd,
        "cluster/member/remove" => Method::MemberRemove,
        "cluster/member/update" => Method::MemberUpdate,
        "cluster/member/promote" => Method::MemberPromote,
        "maintenance/alarm" => Method::Alarm,
        "maintenance/defragment" => Method::Defragment,
        "maintenance/hashkv" => Method::HashKv,
        "maintenance/transfer-leadership" => Method::MoveLeader,
        "auth/authenticate" => Method::Authenticate,
        "auth/status" => Method::AuthStatus,
        "lock/lock" => Method::Lock,
        "lock/unlock" => Method::Unlock,
        "election/campaign" => Method::Campaign,
        "election/proclaim" => Method::Proclaim,
        "election/leader" => Method::Leader,
        "election/observe" => Method::Observe,
        "election/resign" => Method::Resign,
        _ => return None,
    })
}

/// How many revisions a watch response brings is left to the server: each is written on its own.
fn hear(heard: &mut Vec<Result<Value, End>>, item: Result<Value, End>) {
    let events = item.as_ref().ok().and_then(|value| value.get("events")?.as_array().cloned());
    let (Some(events), Ok(mut response)) = (events, item.clone()) else { return heard.push(item) };
    // Its revision is that of the last event, or a later one.
    response.as_object_mut().unwrap().remove("header");
    let revision = |event: &Value| event["kv"]["mod_revision"].clone();
    for of_revision in events.chunk_by(|one, next| revision(one) == revision(next)) {
        response["events"] = of_revision.to_vec().into();
        heard.push(Ok(response.clone()));
    }
}

fn failure(said: &Value) -> End {
    (said["code"].as_u64().unwrap() as u16, said["message"].as_str().unwrap().to_owned())
}

/// Does something with every text that stands for bytes.
fn bytes(descriptor: &MessageDescriptor, value: &mut Value, change: &dyn Fn(&str) -> String) {
    let Some(fields) = value.as_object_mut() else { return };
    for (name, value) in fields {
        let named = descriptor.get_field_by_name(name);
        let Some(field) = named.or_else(|| descriptor.get_field_by_json_name(name)) else {
            continue;
        };
        let values = match value {
            Value::Array(values) => values.iter_mut().collect(),
            value => vec![value],
        };
        for value in values {
            match (field.kind(), &mut *value) {
                (Kind::Bytes, Value::String(text)) => *text = change(text),
                (Kind::Message(inner), value) => bytes(&inner, value, change),
                _ => {}
            }
        }
    }
}

/// Leaves out what differs from member to member.
fn forget(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for name in ["cluster_id", "member_id", "raft_term", "hash"] {
                fields.remove(name);
            }
            fields.values_mut().for_each(forget);
        }
        Value::Array(values) => values.iter_mut().for_each(forget),
        _ => {}
    }
}
