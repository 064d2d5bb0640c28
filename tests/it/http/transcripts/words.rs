//! What stands in transcripts for what is long or differs from run to run.

use std::collections::BTreeMap;

use base64::prelude::{BASE64_STANDARD, Engine};
use prost_reflect::{DescriptorPool, Kind, MessageDescriptor};
use quorate::proto::{DESCRIPTORS, Method};
use serde_json::{Value, json};

/// Strings of one letter are written by their length from here on.
const LONG: usize = 1_000;

/// Names of ids and addresses: `$0` is the first member, `$peer0` and `$client0` its URLs.
#[derive(Default)]
pub(super) struct Names(BTreeMap<String, String>);

impl Names {
    pub(super) fn set(&mut self, name: &str, value: String) {
        self.0.insert(name.to_owned(), value);
    }

    fn value(&self, name: &str) -> Option<&String> {
        self.0.get(name.strip_prefix('$')?)
    }

    fn name(&self, value: &str) -> Option<String> {
        let named = self.0.iter().find(|(_, of)| *of == value);
        named.map(|(name, _)| format!("${name}"))
    }

    /// `{"times":3,"of":{"key":"k#"}}` is an array of three, `{"long":9}` a text of nine letters, `$0` what it names.
    pub(super) fn written_out(&self, value: &mut Value) {
        match value {
            Value::Object(fields) if fields.contains_key("times") => {
                let times = fields["times"].as_u64().unwrap();
                let of = fields["of"].to_string();
                let items = (0..times)
                    .map(|number| serde_json::from_str(&of.replace('#', &number.to_string())));
                *value = Value::Array(items.collect::<Result<_, _>>().unwrap());
                self.written_out(value);
            }
            Value::Object(fields) if fields.contains_key("long") => {
                *value = "x".repeat(fields["long"].as_u64().unwrap() as usize).into();
            }
            Value::Object(fields) => fields.values_mut().for_each(|it| self.written_out(it)),
            Value::Array(values) => values.iter_mut().for_each(|it| self.written_out(it)),
            Value::String(text) => {
                if let Some(known) = self.value(text) {
                    text.clone_from(known);
                }
            }
            _ => {}
        }
    }

    /// The way back; what only one run knows is left out.
    pub(super) fn told(&self, method: Method, value: &mut Value) {
        if method == Method::Status {
            status(value);
        }
        if method == Method::LeaseTimeToLive {
            nearly(value);
        }
        self.shorten(value);
    }

    fn shorten(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for name in ["cluster_id", "member_id", "raft_term", "hash"] {
                    fields.remove(name);
                }
                fields.values_mut().for_each(|value| self.shorten(value));
                // Their order is by id, or any.
                for name in ["members", "keys", "errors", "alarms"] {
                    if let Some(Value::Array(items)) = fields.get_mut(name) {
                        items.sort_by_key(Value::to_string);
                    }
                }
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.shorten(value)),
            Value::String(text) if text.len() >= LONG => *value = json!({ "long": text.len() }),
            Value::String(text) => {
                if let Some(name) = self.name(text) {
                    *text = name;
                }
            }
            _ => {}
        }
    }
}

fn status(value: &mut Value) {
    let fields = value.as_object_mut().unwrap();
    for name in ["dbSize", "dbSizeInUse", "raftIndex", "raftTerm", "raftAppliedIndex"] {
        assert!(fields.remove(name).is_some(), "{name} is zero");
    }
    // A learner of etcd's has none at first.
    if fields.contains_key("isLearner") {
        fields.remove("storageVersion");
    }
    for name in ["version", "storageVersion"] {
        if let Some(Value::String(version)) = fields.get_mut(name) {
            version.truncate(3);
        }
    }
}

/// A lease's remaining time is what it was granted, or a little less.
fn nearly(value: &mut Value) {
    let number = |name: &str| value[name].as_str().and_then(|text| text.parse::<i64>().ok());
    if let (Some(left), Some(granted)) = (number("TTL"), number("grantedTTL")) {
        assert!(left <= granted && left > granted - 30, "{left} of {granted} are left");
        value["TTL"] = "nearly all".into();
    }
}

/// The message that a method takes (`Request`) or gives (`Response`).
pub(super) fn descriptor(method: Method, kind: &str) -> MessageDescriptor {
    let (service, name) = method.path().split_once('/').unwrap();
    let (package, service) = service.rsplit_once('.').unwrap();
    let name = match (method, kind) {
        (Method::Compact, _) => "Compaction".to_owned(),
        (Method::Observe, _) => "Leader".to_owned(),
        (Method::RangeStream, "Request") => "Range".to_owned(),
        _ if service == "Auth" && !name.starts_with("Auth") => format!("Auth{name}"),
        _ => name.to_owned(),
    };
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let full = format!("{package}.{name}{kind}");
    pool.get_message_by_name(&full).unwrap_or_else(|| panic!("no message {full}"))
}

/// Texts to base64, where a message has bytes.
pub(super) fn encoded(descriptor: &MessageDescriptor, value: &mut Value) {
    bytes(descriptor, value, &|text| BASE64_STANDARD.encode(text));
}

/// The way back.
pub(super) fn decoded(descriptor: &MessageDescriptor, value: &mut Value) {
    bytes(descriptor, value, &|text| {
        String::from_utf8_lossy(&BASE64_STANDARD.decode(text).unwrap()).into_owned()
    });
}

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
