//! Nodes that go: deleted, compared and deleted, expired. A directory goes with everything in it, in one event.

use std::collections::BTreeSet;

use super::error::{Error, Stop};
use super::history::Removed;
use super::tree::Tree;
use super::{path, rows};
use crate::base::limits;
use crate::proto::quorate::log::v2_event::Action;
use crate::proto::quorate::log::{V2Event, V2Node, V2Request};
use crate::storage::{Fault, Read};

pub(super) fn delete<R: Read>(
    tree: &mut Tree<'_, '_, R>,
    request: &V2Request,
) -> Result<V2Event, Stop> {
    let path = request.path.as_ref();
    tree.not_root(path)?;
    let node = tree.find(path)?;
    if node.dir && !request.dir && !request.recursive {
        return Err(tree.error(Error::NOT_FILE, path).into());
    }
    if node.dir && !request.recursive && !rows::children(tree.batch, path, 1)?.is_empty() {
        return Err(tree.error(Error::DIR_NOT_EMPTY, path).into());
    }
    Ok(remove(tree, Action::Delete, path, &node)?)
}

pub(super) fn compare_and_delete<R: Read>(
    tree: &mut Tree<'_, '_, R>,
    request: &V2Request,
) -> Result<V2Event, Stop> {
    let path = request.path.as_ref();
    let node = tree.find(path)?;
    if node.dir {
        return Err(tree.error(Error::NOT_FILE, path).into());
    }
    tree.compare(request, &node)?;
    Ok(remove(tree, Action::CompareAndDelete, path, &node)?)
}

/// Everything whose time has come, each with an event of its own; what went with its directory has none.
pub(super) fn expired<R: Read>(tree: &mut Tree<'_, '_, R>, time_ms: i64) -> Result<(), Fault> {
    let due = rows::expiries(tree.batch, time_ms, limits::V2_EXPIRED_PER_ENTRY_MAX)?;
    for (at_ms, path) in due {
        let node = rows::node(tree.batch, &path)?;
        if let Some(node) = node.filter(|node| node.expires_at_ms == at_ms) {
            remove(tree, Action::Expire, &path, &node)?;
        }
    }
    Ok(())
}

fn remove<R: Read>(
    tree: &mut Tree<'_, '_, R>,
    action: Action,
    path: &[u8],
    node: &V2Node,
) -> Result<V2Event, Fault> {
    let prev = tree.shown(path, node);
    let gone = V2Node {
        key: prev.key.clone(),
        dir: node.dir,
        valueless: !node.dir,
        created: node.created,
        modified: tree.done.index + 1,
        ..V2Node::default()
    };
    let removed = remove_below(tree, path, node)?;
    rows::delete_node(tree.batch, path, node);
    let event = tree.tell(action, gone, Some(prev), false);
    if let Some(told) = tree.done.told.last_mut() {
        told.took(removed);
    }
    Ok(event)
}

/// Deletes what is in a directory.
fn remove_below<R: Read>(
    tree: &mut Tree<'_, '_, R>,
    path: &[u8],
    node: &V2Node,
) -> Result<Removed, Fault> {
    let mut paths = BTreeSet::new();
    let mut is_whole = true;
    let mut directories = if node.dir { vec![path.to_vec()] } else { Vec::new() };
    while let Some(directory) = directories.pop() {
        for (name, child) in rows::children(tree.batch, &directory, usize::MAX)? {
            let path = path::join(&directory, &name);
            rows::delete_node(tree.batch, &path, &child);
            if child.dir {
                directories.push(path.clone());
            }
            is_whole &= paths.len() < limits::V2_REMOVED_PATHS_MAX;
            if is_whole {
                paths.insert(path);
            }
        }
    }
    Ok(if is_whole { Removed::These(paths) } else { Removed::Everything })
}
