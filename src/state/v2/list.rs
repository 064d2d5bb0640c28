//! What readers see of a node: the node, and of a directory what is in it but not hidden, by name.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::error::{Error, Stop};
use super::{path, rows, tree};
use crate::base::limits;
use crate::proto::quorate::log::V2Node;
use crate::storage::{Fault, Read};

/// How often a listing is taken again because the tree changed meanwhile.
const ATTEMPTS: usize = 8;

/// A node and what is in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing {
    pub node: V2Node,
    /// None where it is not told: of a file, and of a directory in a listing that is not recursive.
    pub nodes: Option<Vec<Self>>,
}

/// What was found, and the tree's index then.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    pub listing: Listing,
    pub index: u64,
}

/// Seconds until `expires_at_ms`, rounded up; 0 for what never expires.
pub fn ttl_s(expires_at_ms: i64, now_ms: i64) -> i64 {
    if expires_at_ms == 0 {
        return 0;
    }
    let left_ms = expires_at_ms.saturating_sub(now_ms);
    left_ms.div_euclid(1_000) + i64::from(left_ms.rem_euclid(1_000) > 0)
}

/// The node at `path`. Rows of the tree change under a reader: it looks again until nothing changed while it looked, and
/// a tree that never rests is told with the index before, so that whoever watches from there hears of every change that
/// may be missing.
pub(in crate::state) fn listed<R: Read>(
    read: &R,
    path: &[u8],
    recursive: bool,
    now_ms: i64,
) -> Result<Result<Listed, Error>, Fault> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let index = rows::index(read)?;
        let found = match whole(read, path, recursive, now_ms, index) {
            Ok(listing) => Ok(Listed { listing, index }),
            Err(Stop::Refused(error)) => Err(error),
            Err(Stop::Fault(fault)) => return Err(fault),
        };
        if attempt == ATTEMPTS || rows::index(read)? == index {
            return Ok(found);
        }
    }
}

fn whole<R: Read>(
    read: &R,
    path: &[u8],
    recursive: bool,
    now_ms: i64,
    index: u64,
) -> Result<Listing, Stop> {
    let node = tree::find(read, path, index)?;
    let mut listing = shown(path, node, now_ms);
    if listing.node.dir {
        let mut room = limits::V2_LISTING_BYTES_MAX;
        listing.nodes = Some(nodes(read, path, recursive, now_ms, &mut room)?);
        if room == 0 {
            return Err(too_long(path, index).into());
        }
    }
    Ok(listing)
}

/// etcd would answer, or die trying.
fn too_long(path: &[u8], index: u64) -> Error {
    let (path, bytes) = (String::from_utf8_lossy(path), limits::V2_LISTING_BYTES_MAX);
    let cause = format!(
        "the listing of {path} takes more than {bytes} bytes: list its directories one by one"
    );
    Error::new(Error::INVALID_FIELD, cause, index)
}

/// Depth is bounded by the length of a key, and what is collected by `room`, bytes: 0 afterwards says that there was not
/// enough.
fn nodes<R: Read>(
    read: &R,
    directory: &[u8],
    recursive: bool,
    now_ms: i64,
    room: &mut usize,
) -> Result<Vec<Listing>, Fault> {
    let mut found = Vec::new();
    rows::each_child(read, directory, &mut |name, node| {
        if path::is_hidden(name) {
            return ControlFlow::Continue(());
        }
        let child = shown(&path::join(directory, name), node, now_ms);
        let bytes = size_of::<Listing>() + child.node.key.len() + child.node.value.len();
        *room = room.saturating_sub(bytes);
        if *room == 0 {
            return ControlFlow::Break(());
        }
        found.push(child);
        ControlFlow::Continue(())
    })?;
    for child in found.iter_mut().filter(|child| recursive && child.node.dir) {
        if *room == 0 {
            break;
        }
        child.nodes = Some(nodes(read, &child.node.key, recursive, now_ms, room)?);
    }
    Ok(found)
}

fn shown(path: &[u8], node: V2Node, now_ms: i64) -> Listing {
    // The root has no name.
    let key = if path::is_root(path) { Bytes::new() } else { Bytes::copy_from_slice(path) };
    let ttl_s = ttl_s(node.expires_at_ms, now_ms);
    Listing { node: V2Node { key, ttl_s, cleared: false, ..node }, nodes: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Batch, Nothing};

    #[test]
    fn what_is_left_is_rounded_up() {
        for (at, now, left) in
            [(0, 5, 0), (2_000, 1_000, 1), (2_001, 1_000, 2), (1_000, 1_000, 0), (1, 1_000, 0)]
        {
            assert_eq!(ttl_s(at, now), left, "{at} {now}");
        }
    }

    #[test]
    fn a_listing_that_is_too_long_is_refused_with_what_to_do() {
        let mut batch = Batch::new(&Nothing);
        let value = Bytes::from(vec![b'x'; limits::V2_LISTING_BYTES_MAX / 4]);
        for name in ["/d/a", "/d/b", "/d/c", "/d/d", "/e/a"] {
            let node = V2Node { value: value.clone(), created: 1, ..V2Node::default() };
            rows::put_node(&mut batch, name.as_bytes(), &node, None);
        }
        for name in ["/d", "/e"] {
            let node = V2Node { dir: true, created: 1, ..V2Node::default() };
            rows::put_node(&mut batch, name.as_bytes(), &node, None);
        }
        let list = |path: &[u8], recursive| listed(&batch, path, recursive, 0).unwrap();
        for (path, recursive) in [(&b"/"[..], true), (b"/d", false)] {
            let refused = list(path, recursive).unwrap_err();
            assert_eq!(refused.code, Error::INVALID_FIELD);
            assert!(refused.to_string().contains("one by one"), "{refused}");
        }
        assert_eq!(list(b"/", false).unwrap().listing.nodes.unwrap().len(), 2);
        assert_eq!(list(b"/e", true).unwrap().listing.nodes.unwrap().len(), 1);
    }
}
