//! etcd's objects, byte by byte as Go's encoder writes them.

use crate::proto::quorate::log::v2_event::Action;
use crate::proto::quorate::log::{V2Event, V2Node};
use crate::state::v2::{Error, Listing};

/// What happened, on a line; without its nodes where the client wants none.
pub(super) fn event(event: &V2Event, without_values: bool) -> String {
    let name = match event.action() {
        Action::Get => "get",
        Action::Set => "set",
        Action::Create => "create",
        Action::Update => "update",
        Action::CompareAndSwap => "compareAndSwap",
        Action::Delete => "delete",
        Action::CompareAndDelete => "compareAndDelete",
        Action::Expire => "expire",
    };
    let mut out = format!(r#"{{"action":"{name}""#);
    if !without_values {
        for (name, part) in [("node", &event.node), ("prevNode", &event.prev_node)] {
            if let Some(part) = part {
                out.push_str(&format!(r#","{name}":"#));
                write_node(&mut out, part, None);
            }
        }
    }
    out.push_str("}\n");
    out
}

/// What a read found.
pub(super) fn listing(listing: &Listing) -> String {
    let mut out = r#"{"action":"get","node":"#.to_owned();
    write_node(&mut out, &listing.node, listing.nodes.as_deref());
    out.push_str("}\n");
    out
}

pub(super) fn error(error: &Error) -> String {
    let mut out = format!(r#"{{"errorCode":{},"message":"{}""#, error.code, error.message());
    if !error.cause.is_empty() {
        out.push_str(r#","cause":"#);
        quote(&mut out, &error.cause);
    }
    out.push_str(&format!(",\"index\":{}}}\n", error.index));
    out
}

/// `{"message":...}`
pub(super) fn message(text: &str) -> String {
    let mut out = r#"{"message":"#.to_owned();
    quote(&mut out, text.as_bytes());
    out.push('}');
    out
}

/// A list of texts; never `null`.
pub(super) fn texts(out: &mut String, texts: &[String]) {
    out.push('[');
    for (place, text) in texts.iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        quote(out, text.as_bytes());
    }
    out.push(']');
}

fn write_node(out: &mut String, node: &V2Node, nodes: Option<&[Listing]>) {
    let mut comma = '{';
    let mut name = |out: &mut String, name: &str| {
        out.push(std::mem::replace(&mut comma, ','));
        out.push_str(&format!(r#""{name}":"#));
    };
    if !node.key.is_empty() {
        name(out, "key");
        quote(out, &node.key);
    }
    if node.dir {
        name(out, "dir");
        out.push_str("true");
    } else if !node.valueless {
        name(out, "value");
        quote(out, &node.value);
    }
    if node.expires_at_ms != 0 {
        name(out, "expiration");
        out.push_str(&format!("\"{}\"", date(node.expires_at_ms)));
    }
    if node.ttl_s != 0 {
        name(out, "ttl");
        out.push_str(&node.ttl_s.to_string());
    }
    if let Some(nodes) = nodes.filter(|nodes| !nodes.is_empty()) {
        name(out, "nodes");
        out.push('[');
        for (place, child) in nodes.iter().enumerate() {
            if place > 0 {
                out.push(',');
            }
            write_node(out, &child.node, child.nodes.as_deref());
        }
        out.push(']');
    }
    for (what, index) in [("modifiedIndex", node.modified), ("createdIndex", node.created)] {
        if index != 0 {
            name(out, what);
            out.push_str(&index.to_string());
        }
    }
    out.push('}');
}

/// In quotes; what is no UTF-8 becomes the sign for that, byte by byte.
pub(super) fn quote(out: &mut String, text: &[u8]) {
    out.push('"');
    for chunk in text.utf8_chunks() {
        for sign in chunk.valid().chars() {
            match sign {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                    out.push_str(&format!("\\u{:04x}", u32::from(sign)));
                }
                sign => out.push(sign),
            }
        }
        for _ in chunk.invalid() {
            out.push_str("\\ufffd");
        }
    }
    out.push('"');
}

/// RFC 3339 in UTC, with as many digits as say something.
pub(super) fn date(ms: i64) -> String {
    let (days, of_day_ms) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    let (year, month, day) = civil(days);
    let (seconds, ms) = (of_day_ms / 1_000, of_day_ms % 1_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if ms != 0 {
        text.push_str(format!(".{ms:03}").trim_end_matches('0'));
    }
    text.push('Z');
    text
}

/// Year, month and day of a day since 1970, by eras of 400 years that begin in March.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_as_go_escapes_them() {
        let mut out = String::new();
        quote(&mut out, b"<a&b>\"\\\n\x01\x7f\xff\xfe\xc3\xbc");
        assert_eq!(
            out,
            r#""\u003ca\u0026b\u003e\"\\\n\u0001"#.to_owned() + "\x7f\\ufffd\\ufffdü\""
        );
    }

    #[test]
    fn dates_have_no_idle_digits() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_533_218_772_720, "2018-08-02T14:06:12.72Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(date(ms), text);
        }
    }

    #[test]
    fn the_root_has_neither_name_nor_index() {
        let root = Listing { node: V2Node { dir: true, ..V2Node::default() }, nodes: Some(vec![]) };
        assert_eq!(listing(&root), "{\"action\":\"get\",\"node\":{\"dir\":true}}\n");
    }
}
