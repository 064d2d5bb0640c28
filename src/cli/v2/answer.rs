//! What `/v2/keys` answers, and how it is shown: simple, extended, json.

use serde::{Deserialize, Serialize};

use super::super::print::escaped;
use super::cluster::Error;
use super::failure::{Failure, print, say};
use super::http::Answer;

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Node {
    pub key: String,
    #[serde(skip_serializing_if = "is_false")]
    pub dir: bool,
    pub value: String,
    pub nodes: Option<Vec<Self>>,
    pub created_index: u64,
    pub modified_index: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    ttl: i64,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Event {
    pub action: String,
    #[serde(deserialize_with = "or_default")]
    pub node: Node,
    pub prev_node: Option<Node>,
    /// Where the tree stood when this was answered.
    #[serde(skip)]
    pub index: u64,
}

fn is_false(value: &bool) -> bool {
    !*value
}

fn is_zero(value: &i64) -> bool {
    *value == 0
}

/// A node that is null is one without anything.
fn or_default<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Node, D::Error> {
    Ok(Option::<Node>::deserialize(from)?.unwrap_or_default())
}

/// A refusal of the keys.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Refusal {
    error_code: i64,
    message: String,
    cause: String,
    index: u64,
}

impl Event {
    /// None if nothing was said at all: a watch that the server has ended.
    pub(super) fn read(answer: &Answer) -> Result<Option<Self>, Error> {
        let strange = |_| {
            let text = "client: response is invalid json. The endpoint is probably not valid etcd cluster endpoint";
            Error::Told(text.to_owned())
        };
        if !matches!(answer.status, 200 | 201) {
            let refusal: Refusal = serde_json::from_slice(&answer.body).map_err(strange)?;
            let Refusal { error_code, message, cause, index } = refusal;
            return Err(Error::Told(format!("{error_code}: {message} ({cause}) [{index}]")));
        }
        if answer.body.is_empty() {
            return Ok(None);
        }
        let mut event: Self = serde_json::from_slice(&answer.body).map_err(strange)?;
        let index = answer.headers.get("x-etcd-index").and_then(|value| value.to_str().ok());
        event.index = index.and_then(|index| index.parse().ok()).unwrap_or_default();
        Ok(Some(event))
    }

    pub(super) fn show(&self, format: &str) -> Result<(), Failure> {
        print(match format {
            "simple" => self.simple(),
            "extended" => self.extended(),
            "json" => format!("{}\n", self.json()),
            other => {
                eprintln!("Unsupported output format: {other}");
                return Ok(());
            }
        })
    }

    fn previous(&self) -> &str {
        self.prev_node.as_ref().map_or("", |node| &node.value)
    }

    fn simple(&self) -> String {
        match self.action.as_str() {
            "delete" => format!("PrevNode.Value: {}\n", self.previous()),
            _ => format!("{}\n", self.node.value),
        }
    }

    fn extended(&self) -> String {
        let Node { key, created_index, modified_index, ttl, value, .. } = &self.node;
        let mut text = format!(
            "Key: {key}\nCreated-Index: {created_index}\nModified-Index: {modified_index}\n"
        );
        if self.prev_node.is_some() {
            text += &format!("PrevNode.Value: {}\n", self.previous());
        }
        text += &format!("TTL: {ttl}\nIndex: {}\n", self.index);
        if self.action != "delete" {
            text += &format!("\n{value}\n");
        }
        text
    }

    fn json(&self) -> String {
        // A structure of strings and numbers is always written.
        escaped(serde_json::to_string(self).unwrap_or_default())
    }

    /// As `ls` does: a file's name, or what is in a directory.
    pub(super) fn list(&self, marks_directories: bool) -> Result<(), Failure> {
        if !self.node.dir {
            say(&self.node.key)?;
        }
        let mut text = String::new();
        listed(&self.node, marks_directories, &mut text);
        print(text)
    }
}

fn listed(node: &Node, marks_directories: bool, text: &mut String) {
    for node in node.nodes.iter().flatten() {
        text.push_str(&node.key);
        text.push_str(if node.dir && marks_directories { "/\n" } else { "\n" });
        listed(node, marks_directories, text);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyper::HeaderMap;

    use super::*;

    fn event(status: u16, body: &'static str) -> Result<Option<Event>, Error> {
        let mut headers = HeaderMap::new();
        headers.insert("x-etcd-index", "7".parse().unwrap());
        Event::read(&Answer { status, headers, body: Bytes::from_static(body.as_bytes()) })
    }

    #[test]
    fn answers_are_shown_as_etcdctl_does() {
        let body = r#"{"action":"set","node":{"key":"/k","value":"<w>","expiration":"2026-11-22T00:54:32.657Z","ttl":9,"modifiedIndex":7,"createdIndex":6},"prevNode":{"key":"/k","value":"v","modifiedIndex":6,"createdIndex":6}}"#;
        let found = event(200, body).unwrap().unwrap();
        assert_eq!(found.simple(), "<w>\n");
        let extended = "Key: /k\nCreated-Index: 6\nModified-Index: 7\nPrevNode.Value: v\nTTL: 9\nIndex: 7\n\n<w>\n";
        assert_eq!(found.extended(), extended);
        let json = r#"{"action":"set","node":{"key":"/k","value":"\u003cw\u003e","nodes":null,"createdIndex":6,"modifiedIndex":7,"expiration":"2026-11-22T00:54:32.657Z","ttl":9},"prevNode":{"key":"/k","value":"v","nodes":null,"createdIndex":6,"modifiedIndex":6}}"#;
        assert_eq!(found.json(), json);
    }

    #[test]
    fn what_is_no_answer_is_told() {
        assert!(event(200, "").unwrap().is_none());
        let told = |status, body| event(status, body).unwrap_err().to_string();
        let body = r#"{"errorCode":100,"message":"Key not found","cause":"/k","index":7}"#;
        assert_eq!(told(404, body), "100: Key not found (/k) [7]");
        assert!(told(404, "404 page not found").contains("response is invalid json"));
        assert!(told(200, "<html>").contains("response is invalid json"));
    }
}
