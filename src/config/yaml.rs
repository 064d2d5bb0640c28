//! etcd's configuration file, YAML or JSON, as the flags that it stands for: each with its line.
//!
//! Values stay as they are written, because only a key knows what it takes: `off` may be a text or a switch, and a time is
//! a number of nanoseconds there. Knows nothing of which keys there are but of etcd's two blocks of TLS.

use saphyr_parser::{Event, Parser, ScalarStyle};

/// Blocks in a file of etcd's are two deep; whoever nests deeper means no setting.
const DEPTH_MAX: usize = 8;

/// etcd's blocks, and what the names in them have in front as flags.
const BLOCKS: [(&str, &str); 2] =
    [("client-transport-security", ""), ("peer-transport-security", "peer-")];

/// One flag of the file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    /// From 1 on.
    pub(super) line: usize,
    pub(super) value: Written,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Written {
    /// A text, a number or a switch, as it stands there.
    One(String),
    Many(Vec<String>),
}

/// What cannot be read, and in which line.
pub(super) type Unread = (usize, String);

enum Value {
    Null,
    Scalar(String),
    List(Vec<(usize, Self)>),
    Block(Vec<(String, usize, Self)>),
}

/// Every flag of the file, in its order; those without a value are left out.
pub(super) fn read(text: &str) -> Result<Vec<Entry>, Unread> {
    let mut events = Events { parser: Parser::new_from_str(text), line: 1 };
    let root = loop {
        match events.next()? {
            Event::StreamStart | Event::DocumentStart(_) => {}
            Event::StreamEnd | Event::DocumentEnd => return Ok(Vec::new()),
            begun => break events.value(begun, 0)?,
        }
    };
    let block = match root {
        Value::Block(block) => block,
        Value::Null => return Ok(Vec::new()),
        _ => {
            return Err((1, "is no list of settings: write `name: value` in each line".to_owned()));
        }
    };
    let mut found = Vec::new();
    for (key, line, value) in block {
        match (value, BLOCKS.iter().find(|(name, _)| *name == key)) {
            (Value::Block(inner), Some((_, prefix))) => {
                for (key, line, value) in inner {
                    push(&mut found, flag_of(prefix, &key), line, value)?;
                }
            }
            (value, _) => push(&mut found, key, line, value)?,
        }
    }
    Ok(found)
}

/// The flag that a name in a block of TLS stands for.
fn flag_of(prefix: &str, key: &str) -> String {
    match key {
        "allowed-cn" | "allowed-hostname" => {
            let plane = if prefix.is_empty() { "client-" } else { prefix };
            format!("{plane}cert-{key}")
        }
        "skip-client-san-verification" => format!("peer-{key}"),
        _ => format!("{prefix}{key}"),
    }
}

fn push(found: &mut Vec<Entry>, key: String, line: usize, value: Value) -> Result<(), Unread> {
    let value = match value {
        Value::Null => return Ok(()),
        Value::Scalar(text) => Written::One(text),
        Value::List(items) => {
            let text = |(line, item)| match item {
                Value::Scalar(text) => Ok(text),
                Value::Null => Ok(String::new()),
                _ => Err((line, format!("{key} is a list of lists; it takes texts"))),
            };
            Written::Many(items.into_iter().map(text).collect::<Result<_, _>>()?)
        }
        Value::Block(inner) => {
            let texts = inner.into_iter().map(|(name, line, value)| match value {
                Value::Scalar(text) => Ok(format!("{name}={text}")),
                _ => Err((line, format!("{key} has a block in it; it takes name: value"))),
            });
            Written::Many(texts.collect::<Result<_, _>>()?)
        }
    };
    found.push(Entry { key, line, value });
    Ok(())
}

struct Events<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    line: usize,
}

impl<'a> Events<'a> {
    fn next(&mut self) -> Result<Event<'a>, Unread> {
        match self.parser.next() {
            None => Ok(Event::StreamEnd),
            Some(Ok((event, span))) => {
                self.line = span.start.line();
                Ok(event)
            }
            Some(Err(error)) => Err((error.marker().line(), error.info().to_owned())),
        }
    }

    fn value(&mut self, begun: Event<'a>, depth: usize) -> Result<Value, Unread> {
        if depth > DEPTH_MAX {
            return Err((self.line, "is nested too deep for a setting".to_owned()));
        }
        match begun {
            Event::Scalar(text, style, _, _) => {
                let is_null = matches!(style, ScalarStyle::Plain)
                    && ["", "~", "null", "Null", "NULL"].contains(&text.as_ref());
                Ok(if is_null { Value::Null } else { Value::Scalar(text.into_owned()) })
            }
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        Event::SequenceEnd => return Ok(Value::List(items)),
                        begun => items.push((self.line, self.value(begun, depth + 1)?)),
                    }
                }
            }
            Event::MappingStart(..) => {
                let mut entries = Vec::new();
                loop {
                    let name = match self.next()? {
                        Event::MappingEnd => return Ok(Value::Block(entries)),
                        Event::Scalar(name, ..) => name.into_owned(),
                        _ => return Err((self.line, "a setting's name is no text".to_owned())),
                    };
                    let line = self.line;
                    let begun = self.next()?;
                    entries.push((name, line, self.value(begun, depth + 1)?));
                }
            }
            Event::Alias(_) => {
                Err((self.line, "an alias (*) is not followed here: write the value".to_owned()))
            }
            _ => Err((self.line, "the file ends in the middle of a setting".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(String, usize, Written)> {
        let entries = read(text).unwrap();
        entries.into_iter().map(|it| (it.key, it.line, it.value)).collect()
    }

    #[test]
    fn a_file_of_etcds_is_read_as_its_flags() {
        let one = |text: &str| Written::One(text.to_owned());
        let many =
            |texts: &[&str]| Written::Many(texts.iter().map(|it| (*it).to_owned()).collect());
        let text = "# This is the configuration file\nname: 'n1'\ndata-dir:\n\
                    listen-peer-urls: http://localhost:2380,http://10.0.0.1:2380\nquota-backend-bytes: 0\n\
                    client-transport-security:\n  # x\n  cert-file: a.crt\n  client-cert-auth: false\n  allowed-cn: [a, 'b']\n\
                    peer-transport-security:\n  key-file: p.key\n  allowed-hostname:\n    - h\n\
                    log-outputs: [stderr]\nproxy: off\n";
        assert_eq!(
            found(text),
            [
                ("name".to_owned(), 2, one("n1")),
                (
                    "listen-peer-urls".to_owned(),
                    4,
                    one("http://localhost:2380,http://10.0.0.1:2380")
                ),
                ("quota-backend-bytes".to_owned(), 5, one("0")),
                ("cert-file".to_owned(), 8, one("a.crt")),
                ("client-cert-auth".to_owned(), 9, one("false")),
                ("client-cert-allowed-cn".to_owned(), 10, many(&["a", "b"])),
                ("peer-key-file".to_owned(), 12, one("p.key")),
                ("peer-cert-allowed-hostname".to_owned(), 13, many(&["h"])),
                ("log-outputs".to_owned(), 15, many(&["stderr"])),
                ("proxy".to_owned(), 16, one("off")),
            ]
        );
        let json = r#"{"name": "n1", "peer-transport-security": {"auto-tls": true}}"#;
        assert_eq!(
            found(json),
            [("name".to_owned(), 1, one("n1")), ("peer-auto-tls".to_owned(), 1, one("true"))]
        );
        assert_eq!(found("# nothing\n"), []);
        assert_eq!(found("---\n"), []);
    }

    #[test]
    fn what_is_no_such_file_is_told_with_its_line() {
        assert_eq!(read("a: 1\nname: [a\n").unwrap_err().0, 3);
        assert!(read("- a\n").unwrap_err().1.contains("name: value"));
        assert!(read("a: &x 1\nb: *x\n").unwrap_err().1.contains("alias"));
        assert!(read(&"[".repeat(10_000)).is_err());
        assert!(read("a:\n  - - - b\n").unwrap_err().1.contains("list of lists"));
    }
}
