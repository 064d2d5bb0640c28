//! What readers see of a node: the node, and of a directory what is in it but not hidden, by name.

use bytes::Bytes;

use super::error::{Error, Stop};
use super::{path, rows, tree};
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
        listing.nodes = Some(nodes(read, path, recursive, now_ms)?);
    }
    Ok(listing)
}

/// Depth is bounded by the length of a key.
fn nodes<R: Read>(
    read: &R,
    directory: &[u8],
    recursive: bool,
    now_ms: i64,
) -> Result<Vec<Listing>, Fault> {
    let mut found = Vec::new();
    for (name, node) in rows::children(read, directory, usize::MAX)? {
        if path::is_hidden(&name) {
            continue;
        }
        let path = path::join(directory, &name);
        let mut child = shown(&path, node, now_ms);
        if child.node.dir && recursive {
            child.nodes = Some(nodes(read, &path, recursive, now_ms)?);
        }
        found.push(child);
    }
    Ok(found)
}

fn shown(path: &[u8], node: V2Node, now_ms: i64) -> Listing {
    // The root has no name.
    let key = if path::is_root(path) { Bytes::new() } else { Bytes::copy_from_slice(path) };
    let ttl_s = ttl_s(node.expires_at_ms, now_ms);
    Listing { node: V2Node { key, ttl_s, ..node }, nodes: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_rounded_up() {
        for (at, now, left) in
            [(0, 5, 0), (2_000, 1_000, 1), (2_001, 1_000, 2), (1_000, 1_000, 0), (1, 1_000, 0)]
        {
            assert_eq!(ttl_s(at, now), left, "{at} {now}");
        }
    }
}
