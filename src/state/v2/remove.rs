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

/// Children that are in memory at once, at every depth, while a large directory goes in parts.
const CHILDREN_AT_ONCE: usize = 64;

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
    if node.dir {
        let count_max = limits::V2_REMOVED_PER_ENTRY_MAX;
        if rows::count_below(tree.batch, path, count_max + 1)? > count_max {
            let path = String::from_utf8_lossy(path);
            let cause = format!(
                "{path} has more than {count_max} nodes below it: delete its directories one by one"
            );
            return Err(Error::new(Error::DIR_NOT_EMPTY, cause, tree.done.index).into());
        }
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

/// Everything whose time has come, each with an event of its own; what went with its directory has none. An entry
/// removes a bounded number of nodes: of a directory that holds more, a part goes at a time, and its event comes last.
pub(super) fn expired<R: Read>(tree: &mut Tree<'_, '_, R>, time_ms: i64) -> Result<(), Fault> {
    let room_whole = limits::V2_REMOVED_PER_ENTRY_MAX;
    let mut room = room_whole;
    for (at_ms, path) in rows::expiries(tree.batch, time_ms, limits::V2_EXPIRED_PER_ENTRY_MAX)? {
        let node = rows::node(tree.batch, &path)?;
        let Some(mut node) = node.filter(|node| node.expires_at_ms == at_ms) else {
            // It went with a directory before; a time without its node must not come up again for ever.
            rows::delete_expiry_row(tree.batch, at_ms, &path);
            continue;
        };
        let below = if node.dir { rows::count_below(tree.batch, &path, room + 1)? } else { 0 };
        if below < room {
            remove(tree, Action::Expire, &path, &node)?;
            room -= below + 1;
            continue;
        }
        if room == room_whole {
            clear_part(tree, &path, &mut room)?;
            node.cleared = true;
            rows::put_node(tree.batch, &path, &node, None);
        }
        break;
    }
    Ok(())
}

/// Deletes as much below a directory as there is room for, children before their directory. Whether that was all.
fn clear_part<R: Read>(
    tree: &mut Tree<'_, '_, R>,
    directory: &[u8],
    room: &mut usize,
) -> Result<bool, Fault> {
    loop {
        let some = rows::children(tree.batch, directory, CHILDREN_AT_ONCE)?;
        if some.is_empty() {
            return Ok(true);
        }
        for (name, child) in some {
            let path = path::join(directory, &name);
            let is_empty = !child.dir || clear_part(tree, &path, room)?;
            if !is_empty || *room == 0 {
                return Ok(false);
            }
            rows::delete_node(tree.batch, &path, &child);
            *room -= 1;
        }
    }
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

/// Deletes what is in a directory; the caller has counted it.
fn remove_below<R: Read>(
    tree: &mut Tree<'_, '_, R>,
    path: &[u8],
    node: &V2Node,
) -> Result<Removed, Fault> {
    let mut paths = BTreeSet::new();
    let mut is_whole = !node.cleared;
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::tree;
    use super::*;
    use crate::proto::quorate::log::v2_request::Method;
    use crate::storage::{Batch, Nothing, Table};

    const MAX: usize = limits::V2_REMOVED_PER_ENTRY_MAX;

    fn node(dir: bool, expires_at_ms: i64) -> V2Node {
        V2Node { dir, created: 1, modified: 1, expires_at_ms, ..V2Node::default() }
    }

    /// `/big` expires at 5, and has `count` files below it, in directories of a hundred.
    fn big(count: usize) -> Batch<'static, Nothing> {
        let mut batch = Batch::new(&Nothing);
        rows::put_node(&mut batch, b"/big", &node(true, 5), None);
        rows::put_node(&mut batch, b"/beside", &node(false, 0), None);
        for number in 0..count {
            let directory = format!("/big/-{}", number / 100);
            if number % 100 == 0 {
                rows::put_node(&mut batch, directory.as_bytes(), &node(true, 0), None);
            }
            let file = format!("{directory}/{number}");
            rows::put_node(&mut batch, file.as_bytes(), &node(false, 0), None);
        }
        batch
    }

    #[test]
    fn a_directory_that_is_too_large_is_not_deleted_and_expires_in_parts() {
        let mut batch = big(MAX + 1_000);
        let request = V2Request {
            method: Method::Delete.into(),
            path: "/big".into(),
            recursive: true,
            ..V2Request::default()
        };
        let refused = tree::apply(&mut batch, &request, 0).unwrap().unwrap_err();
        assert_eq!(refused.code, Error::DIR_NOT_EMPTY);
        assert!(refused.to_string().contains("one by one"), "{refused}");

        let done = tree::expire(&mut batch, 5, 5).unwrap();
        assert!(done.told.is_empty() && rows::next_expiry(&batch).unwrap() == Some(5));
        let left = rows::count_below(&batch, b"/big", usize::MAX).unwrap();
        assert!(left > 0 && left < 2_000, "{left}");
        // Nothing is left without its directory.
        assert!(rows::children(&batch, b"/big", usize::MAX).unwrap().iter().all(|it| it.1.dir));
        let done = tree::expire(&mut batch, 5, 5).unwrap();
        assert_eq!((done.told.len(), done.index), (1, 1));
        assert_eq!(rows::next_expiry(&batch).unwrap(), None);
        assert_eq!(rows::count_below(&batch, b"/", usize::MAX).unwrap(), 1, "what is beside");
    }

    #[test]
    fn a_directory_that_fits_goes_at_once() {
        let mut batch = big(1_000);
        assert_eq!(rows::count_below(&batch, b"/big", usize::MAX).unwrap(), 1_010);
        let done = tree::expire(&mut batch, 5, 5).unwrap();
        assert_eq!((done.told.len(), rows::next_expiry(&batch).unwrap()), (1, None));
        assert_eq!(rows::count_below(&batch, b"/", usize::MAX).unwrap(), 1, "what is beside");
    }

    #[test]
    fn a_time_without_its_node_does_not_come_up_for_ever() {
        let mut batch = Batch::new(&Nothing);
        let row = [b"t", &7_i64.to_be_bytes()[..], b"/gone"].concat();
        batch.put(Table::V2, row, Bytes::new());
        assert_eq!(rows::next_expiry(&batch).unwrap(), Some(7));
        let done = tree::expire(&mut batch, 8, 8).unwrap();
        assert!(done.told.is_empty() && rows::next_expiry(&batch).unwrap().is_none());
    }
}
