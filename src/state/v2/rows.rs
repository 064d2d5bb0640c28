//! Table `v2`. The first byte of a key says what the row is:
//!
//! ```text
//!   i                          -> the tree's index (8 BE)
//!   n directory // name        -> the node (V2Node without key and ttl_s); the root is not stored
//!   t expires_at_ms (8 BE) path -> nothing
//!   h index (8 BE)             -> the event of that index (V2Event), for the last V2_HISTORY_EVENTS
//!   ae                         -> whether users must say who they are (1 byte); there since the first change of them
//!   ar name                    -> the role (V2Role)
//!   au name                    -> the user (V2User)
//! ```
//!
//! A clean path has no `//`, so the children of a directory, and they alone, stand behind one prefix, in the order of
//! their names.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;
use prost::Message;

use super::path;
use crate::proto::quorate::log::{V2Event, V2Node, V2Role, V2User};
use crate::storage::{Batch, Direction, Fault, Read, Row, Table};

const INDEX: &[u8] = b"i";
const NODE: u8 = b'n';
/// Prefix, and the first key behind it.
const EXPIRIES: (&[u8], &[u8]) = (b"t", b"u");
const EVENTS: (&[u8], &[u8]) = (b"h", b"i");

/// Prefix of users, roles and their switch, and the first key behind it.
const AUTH: (&[u8], &[u8]) = (b"a", b"b");
const SWITCH: &[u8] = b"ae";
const ROLE: &[u8] = b"ar";
const USER: &[u8] = b"au";

/// A row of users and roles.
pub(super) enum AuthRow {
    Switch(bool),
    User(V2User),
    Role(V2Role),
}

fn unreadable(what: &str, key: &[u8]) -> Fault {
    Fault::corrupt(format!("no {what} in row {:?}", String::from_utf8_lossy(key)), "table v2")
}

/// The index of the last change; 0 of a tree that was never changed.
pub(super) fn index<R: Read>(read: &R) -> Result<u64, Fault> {
    let Some(row) = read.get(Table::V2, INDEX)? else { return Ok(0) };
    let bytes = row.as_ref().try_into().map_err(|_| unreadable("index", INDEX))?;
    Ok(u64::from_be_bytes(bytes))
}

pub(super) fn put_index<R: Read>(batch: &mut Batch<'_, R>, index: u64) {
    batch.put(Table::V2, INDEX, Bytes::copy_from_slice(&index.to_be_bytes()));
}

/// The prefix of a directory's children.
fn children_row(directory: &[u8]) -> Vec<u8> {
    let directory = if path::is_root(directory) { &b""[..] } else { directory };
    [&[NODE][..], directory, b"//"].concat()
}

/// None for the root.
fn node_row(node: &[u8]) -> Option<Vec<u8>> {
    let (directory, name) = path::split(node)?;
    Some([&children_row(directory), name].concat())
}

/// The node at a clean path; the root is always there.
pub(super) fn node<R: Read>(read: &R, path: &[u8]) -> Result<Option<V2Node>, Fault> {
    let Some(row) = node_row(path) else {
        return Ok(Some(V2Node { dir: true, ..V2Node::default() }));
    };
    let Some(value) = read.get(Table::V2, &row)? else { return Ok(None) };
    V2Node::decode(value).map(Some).map_err(|_| unreadable("node", &row))
}

/// The node is as given from now on, and its expiry stands where it is looked for; `before` is what it replaces.
pub(super) fn put_node<R: Read>(
    batch: &mut Batch<'_, R>,
    path: &[u8],
    node: &V2Node,
    before: Option<&V2Node>,
) {
    let Some(row) = node_row(path) else { return };
    if let Some(before) = before {
        delete_expiry(batch, path, before);
    }
    if node.expires_at_ms != 0 {
        batch.put(Table::V2, expiry_row(node.expires_at_ms, path), Bytes::new());
    }
    batch.put(Table::V2, row, node.encode_to_vec());
}

pub(super) fn delete_node<R: Read>(batch: &mut Batch<'_, R>, path: &[u8], node: &V2Node) {
    if let Some(row) = node_row(path) {
        delete_expiry(batch, path, node);
        batch.delete(Table::V2, row);
    }
}

fn delete_expiry<R: Read>(batch: &mut Batch<'_, R>, path: &[u8], node: &V2Node) {
    if node.expires_at_ms != 0 {
        delete_expiry_row(batch, node.expires_at_ms, path);
    }
}

pub(super) fn delete_expiry_row<R: Read>(batch: &mut Batch<'_, R>, at_ms: i64, path: &[u8]) {
    batch.delete(Table::V2, expiry_row(at_ms, path));
}

/// Names and nodes of a directory, by name; at most `count_max`.
pub(super) fn children<R: Read>(
    read: &R,
    directory: &[u8],
    count_max: usize,
) -> Result<Vec<(Vec<u8>, V2Node)>, Fault> {
    let mut found = Vec::new();
    each_child(read, directory, &mut |name, node| {
        found.push((name.to_vec(), node));
        if found.len() < count_max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(found)
}

/// The names and nodes of a directory, by name, until `each` has enough.
pub(super) fn each_child<R: Read>(
    read: &R,
    directory: &[u8],
    each: &mut dyn FnMut(&[u8], V2Node) -> ControlFlow<()>,
) -> Result<(), Fault> {
    let prefix = children_row(directory);
    let mut failed = None;
    let low = Bound::Included(prefix.as_slice());
    read.scan(Table::V2, low, Bound::Unbounded, Direction::Ascending, &mut |row| {
        let Some(name) = row.key.strip_prefix(prefix.as_slice()) else {
            return ControlFlow::Break(());
        };
        match V2Node::decode(row.value) {
            Ok(node) => each(name, node),
            Err(_) => {
                failed = Some(unreadable("node", row.key));
                ControlFlow::Break(())
            }
        }
    })?;
    failed.map_or(Ok(()), Err)
}

/// How many nodes there are below a directory, at whatever depth; no more than `count_max` are counted.
pub(super) fn count_below<R: Read>(
    read: &R,
    directory: &[u8],
    count_max: usize,
) -> Result<usize, Fault> {
    // The rows of what is below, and of nothing else, begin with the directory's own path and a slash.
    let directory = if path::is_root(directory) { &b""[..] } else { directory };
    let prefix = [&[NODE][..], directory, b"/"].concat();
    let mut count = 0;
    let low = Bound::Included(prefix.as_slice());
    read.scan(Table::V2, low, Bound::Unbounded, Direction::Ascending, &mut |row| {
        if count >= count_max || !row.key.starts_with(&prefix) {
            return ControlFlow::Break(());
        }
        count += 1;
        ControlFlow::Continue(())
    })?;
    Ok(count)
}

fn expiry_row(at_ms: i64, path: &[u8]) -> Vec<u8> {
    [EXPIRIES.0, &at_ms.to_be_bytes()[..], path].concat()
}

/// Time and path of what expires, the earliest first, up to `until_ms`; at most `count_max`.
pub(super) fn expiries<R: Read>(
    read: &R,
    until_ms: i64,
    count_max: usize,
) -> Result<Vec<(i64, Vec<u8>)>, Fault> {
    let (mut found, mut failed) = (Vec::new(), None);
    let (low, high) = (Bound::Included(EXPIRIES.0), Bound::Excluded(EXPIRIES.1));
    read.scan(Table::V2, low, high, Direction::Ascending, &mut |row| {
        let Some((at, path)) = row.key.get(1..).and_then(<[u8]>::split_first_chunk::<8>) else {
            failed = Some(unreadable("time", row.key));
            return ControlFlow::Break(());
        };
        let at_ms = i64::from_be_bytes(*at);
        if at_ms > until_ms || found.len() >= count_max {
            return ControlFlow::Break(());
        }
        found.push((at_ms, path.to_vec()));
        ControlFlow::Continue(())
    })?;
    failed.map_or(Ok(found), Err)
}

/// When the first node expires, milliseconds since 1970.
pub(in crate::state) fn next_expiry<R: Read>(read: &R) -> Result<Option<i64>, Fault> {
    Ok(expiries(read, i64::MAX, 1)?.first().map(|(at_ms, _)| *at_ms))
}

fn event_row(index: u64) -> Vec<u8> {
    [EVENTS.0, &index.to_be_bytes()[..]].concat()
}

pub(super) fn put_event<R: Read>(batch: &mut Batch<'_, R>, index: u64, event: &V2Event) {
    batch.put(Table::V2, event_row(index), event.encode_to_vec());
}

pub(super) fn delete_event<R: Read>(batch: &mut Batch<'_, R>, index: u64) {
    batch.delete(Table::V2, event_row(index));
}

/// The kept events, the newest first, until `each` has enough.
pub(super) fn events<R: Read>(
    read: &R,
    each: &mut dyn FnMut(V2Event) -> ControlFlow<()>,
) -> Result<(), Fault> {
    let mut failed = None;
    let (low, high) = (Bound::Included(EVENTS.0), Bound::Excluded(EVENTS.1));
    read.scan(Table::V2, low, high, Direction::Descending, &mut |row| match V2Event::decode(
        row.value,
    ) {
        Ok(event) => each(event),
        Err(_) => {
            failed = Some(unreadable("event", row.key));
            ControlFlow::Break(())
        }
    })?;
    failed.map_or(Ok(()), Err)
}

pub(super) fn auth_switch() -> Bytes {
    Bytes::from_static(SWITCH)
}

pub(super) fn auth_user(name: &str) -> Bytes {
    Bytes::from([USER, name.as_bytes()].concat())
}

pub(super) fn auth_role(name: &str) -> Bytes {
    Bytes::from([ROLE, name.as_bytes()].concat())
}

/// None deletes it.
pub(super) fn put_auth<R: Read>(batch: &mut Batch<'_, R>, key: Bytes, value: Option<Bytes>) {
    match value {
        Some(value) => batch.put(Table::V2, key, value),
        None => batch.delete(Table::V2, key),
    }
}

/// All of them.
pub(super) fn auth<R: Read>(read: &R, each: &mut dyn FnMut(AuthRow)) -> Result<(), Fault> {
    let mut failed = None;
    let (low, high) = (Bound::Included(AUTH.0), Bound::Excluded(AUTH.1));
    read.scan(Table::V2, low, high, Direction::Ascending, &mut |row| match auth_row(&row) {
        Some(row) => {
            each(row);
            ControlFlow::Continue(())
        }
        None => {
            failed = Some(unreadable("user or role", row.key));
            ControlFlow::Break(())
        }
    })?;
    failed.map_or(Ok(()), Err)
}

fn auth_row(row: &Row<'_>) -> Option<AuthRow> {
    match (row.key.get(..2)?, row.value) {
        (SWITCH, [byte]) => Some(AuthRow::Switch(*byte != 0)),
        (USER, value) => V2User::decode(value).ok().map(AuthRow::User),
        (ROLE, value) => V2Role::decode(value).ok().map(AuthRow::Role),
        _ => None,
    }
}
