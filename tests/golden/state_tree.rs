//! The v2 tree in the scripts of the state machine: requests, and what is told.

use std::error::Error;

use bytes::Bytes;
use goldenscript::ArgumentConsumer;
use quorate::proto::quorate::log::v2_request::Method;
use quorate::proto::quorate::log::{V2Event, V2Node, V2Request};
use quorate::state::Shared;
use quorate::state::v2::{self, Found, Listed, Listing};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A method, a path, conditions, flags.
pub(crate) fn request(words: &mut ArgumentConsumer<'_>) -> Result<V2Request> {
    let mut word = || words.next_pos().map(|arg| arg.value.clone()).unwrap_or_default();
    let (method, path) = (word().to_uppercase(), word());
    let mut text =
        |name| words.lookup(name).map(|arg| Bytes::from(arg.value.clone())).unwrap_or_default();
    let (value, prev_value) = (text("value"), text("prev"));
    let prev_index = words.lookup_parse("index")?.unwrap_or(0);
    let ttl_s = words.lookup_parse("ttl")?;
    let flags: Vec<String> = words.rest_pos().iter().map(|arg| arg.value.clone()).collect();
    words.reject_rest()?;
    let has = |flag: &str| flags.iter().any(|given| given == flag);
    Ok(V2Request {
        method: Method::from_str_name(&method).ok_or("method?")? as i32,
        path: v2::clean(path.as_bytes()).into(),
        value,
        prev_value,
        prev_index,
        ttl_s,
        dir: has("dir"),
        recursive: has("recursive"),
        refresh: has("refresh"),
    })
}

/// What a watcher of a path hears from `since` on: one that was there before everything, and one that looks back.
pub(crate) fn heard(words: &mut ArgumentConsumer<'_>, shared: &Shared) -> Result<String> {
    let path = words.next_pos().map(|arg| Bytes::from(arg.value.clone())).unwrap_or_default();
    let since = words.lookup_parse("since")?.unwrap_or(1);
    let recursive = words.next_pos().is_some();
    words.reject_rest()?;
    let watcher = |came_at| {
        let mut watch = shared.v2_watch(path.clone(), recursive, since);
        watch.came_at = came_at;
        let mut out = String::new();
        loop {
            match shared.v2_find(&mut watch) {
                Found::Event(event) => out += &format!("  {}", print_event(&event)),
                Found::Nothing => return out,
                Found::Cleared(oldest) => {
                    return out + &format!("  {}\n", watch.cleared(oldest, shared.v2_index()));
                }
            }
        }
    };
    Ok(format!("live:\n{}past:\n{}", watcher(0), watcher(shared.v2_index())))
}

pub(crate) fn print_event(event: &V2Event) -> String {
    let node = event.node.as_ref().map(print_node).unwrap_or_default();
    let before = event.prev_node.as_ref().map(|it| format!(" before: {}", print_node(it)));
    let refresh = if event.refresh { " refresh" } else { "" };
    let action = event.action().as_str_name();
    format!("{action}{refresh} {node}{}\n", before.unwrap_or_default())
}

fn print_node(node: &V2Node) -> String {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let mut out = text(&node.key);
    if node.dir {
        out += "/";
    } else if !node.valueless {
        out += &format!("={}", text(&node.value));
    }
    if node.expires_at_ms != 0 {
        out += &format!(" expires={} ttl={}", node.expires_at_ms, node.ttl_s);
    }
    out + &format!(" [{} {}]", node.created, node.modified)
}

pub(crate) fn print(found: std::result::Result<Listed, v2::Error>) -> String {
    fn lines(listing: &Listing, depth: usize) -> String {
        let nodes = listing.nodes.iter().flatten().map(|it| lines(it, depth + 1));
        let below: String = nodes.collect();
        format!("{}{}\n{below}", "  ".repeat(depth), print_node(&listing.node))
    }
    match found {
        Ok(listed) => format!("at {}\n{}", listed.index, lines(&listed.listing, 0)),
        Err(error) => format!("{error}\n"),
    }
}
