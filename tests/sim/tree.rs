//! The tree of etcd's v2 API as simple as it can be said: a map of paths, and what each was at every index.
//!
//! Written from the contract, not from our code: answers, listings and what watchers hear are compared with it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate::proto::quorate::log::v2_event::Action;
use quorate::proto::quorate::log::v2_request::Method;
use quorate::proto::quorate::log::{V2Event, V2Node, V2Request};
use quorate::state::V2Reply;
use quorate::state::v2::{Error, Listing};

/// Most nodes that expire by one entry.
const EXPIRED_MAX: usize = 1_000;

#[derive(Clone, Debug, PartialEq)]
struct Node {
    is_dir: bool,
    value: Bytes,
    created: u64,
    modified: u64,
    /// Milliseconds since 1970.
    expires: Option<i64>,
}

/// What happened at an index.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) event: V2Event,
    /// What went with a directory.
    gone: BTreeSet<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) index: u64,
    nodes: BTreeMap<String, Node>,
    /// Every path that ever was, with what it became at which index.
    past: BTreeMap<String, Vec<(u64, Option<Node>)>>,
    /// That of index 1 first.
    told: Vec<Told>,
}

impl Tree {
    pub(crate) fn apply(&mut self, request: &V2Request, now_ms: i64) -> V2Reply {
        let path = text(&request.path);
        let result = match request.method() {
            Method::Set => self.set(&path, request, now_ms),
            Method::Create => self.create(&path, request, now_ms),
            Method::CreateInOrder => {
                let path = child(&path, &format!("{:020}", self.index + 1));
                self.create(&path, request, now_ms)
            }
            Method::Update => self.update(&path, request, now_ms),
            Method::CompareAndSwap => self.swap(&path, request, now_ms),
            Method::Delete => self.delete(&path, request, now_ms),
            Method::CompareAndDelete => self.compare_and_delete(&path, request, now_ms),
        };
        V2Reply { method: request.method(), result, index: self.index }
    }

    /// Everything that has expired at `time_ms`, in the order of its times; how many events that were.
    pub(crate) fn expire(&mut self, time_ms: i64, now_ms: i64) -> usize {
        let is_due = |node: &Node| node.expires.is_some_and(|at| at <= time_ms);
        let mut due: Vec<(i64, String)> = self
            .nodes
            .iter()
            .filter(|(_, node)| is_due(node))
            .map(|(path, node)| (node.expires.unwrap_or_default(), path.clone()))
            .collect();
        due.sort();
        due.truncate(EXPIRED_MAX);
        let before = self.index;
        for (_, path) in due {
            // Otherwise it went with a directory.
            if let Some(node) = self.nodes.get(&path).cloned() {
                self.remove(Action::Expire, &path, &node, now_ms);
            }
        }
        (self.index - before) as usize
    }

    /// Indexes at which nothing is told: something beside the tree has changed.
    pub(crate) fn pass(&mut self, steps: u64) {
        for _ in 0..steps {
            self.index += 1;
            let event = V2Event { refresh: true, ..V2Event::default() };
            self.told.push(Told { event, gone: BTreeSet::new() });
        }
    }

    /// When the first node goes.
    pub(crate) fn next_expiry_ms(&self) -> Option<i64> {
        self.nodes.values().filter_map(|node| node.expires).min()
    }

    /// Paths that are there now.
    pub(crate) fn paths(&self) -> Vec<&String> {
        self.nodes.keys().collect()
    }

    /// A file's value and the index of its last change.
    pub(crate) fn file(&self, path: &str) -> Option<(Bytes, u64)> {
        let node = self.nodes.get(path).filter(|node| !node.is_dir)?;
        Some((node.value.clone(), node.modified))
    }

    /// What a reader at `index` is told at `now_ms`.
    pub(crate) fn listing(
        &self,
        path: &str,
        recursive: bool,
        index: u64,
        now_ms: i64,
    ) -> Result<Listing, Error> {
        let at = |(path, versions): (&String, &Vec<(u64, Option<Node>)>)| {
            let seen = versions.partition_point(|(changed, _)| *changed <= index);
            Some((path.clone(), versions[..seen].last()?.1.clone()?))
        };
        let nodes: BTreeMap<String, Node> = self.past.iter().filter_map(at).collect();
        let node = found(&nodes, path, index)?;
        Ok(listed(&nodes, path, &node, recursive, true, now_ms))
    }

    /// What happened at an index, if it is known yet.
    pub(crate) fn told(&self, index: u64) -> Option<&Told> {
        self.told.get(usize::try_from(index.checked_sub(1)?).ok()?)
    }

    fn set(&mut self, path: &str, request: &V2Request, now_ms: i64) -> Result<V2Event, Error> {
        let before = match self.find(path) {
            Err(error) if error.code == Error::KEY_NOT_FOUND && !request.refresh => None,
            found => Some(found?),
        };
        self.not_the_root(path)?;
        if before.as_ref().is_some_and(|node| node.is_dir) {
            return Err(self.error(Error::NOT_FILE, path));
        }
        let kept = before.as_ref().filter(|_| request.refresh).map(|node| node.value.clone());
        let value = kept.unwrap_or_else(|| request.value.clone());
        let prev = before.map(|node| shown(path, &node, now_ms));
        let node = self.plant(path, request, value, now_ms)?;
        Ok(self.tell(Action::Set, node, prev, request.refresh, BTreeSet::new()))
    }

    fn create(&mut self, path: &str, request: &V2Request, now_ms: i64) -> Result<V2Event, Error> {
        self.not_the_root(path)?;
        if self.nodes.contains_key(path) {
            return Err(self.error(Error::NODE_EXIST, path));
        }
        let node = self.plant(path, request, request.value.clone(), now_ms)?;
        Ok(self.tell(Action::Create, node, None, false, BTreeSet::new()))
    }

    fn update(&mut self, path: &str, request: &V2Request, now_ms: i64) -> Result<V2Event, Error> {
        self.not_the_root(path)?;
        let before = self.find(path)?;
        if before.is_dir && !request.value.is_empty() {
            return Err(self.error(Error::NOT_FILE, path));
        }
        Ok(self.change(Action::Update, path, request, &before, now_ms))
    }

    fn swap(&mut self, path: &str, request: &V2Request, now_ms: i64) -> Result<V2Event, Error> {
        self.not_the_root(path)?;
        let before = self.find(path)?;
        self.compare(path, request, &before)?;
        Ok(self.change(Action::CompareAndSwap, path, request, &before, now_ms))
    }

    fn delete(&mut self, path: &str, request: &V2Request, now_ms: i64) -> Result<V2Event, Error> {
        self.not_the_root(path)?;
        let node = self.find(path)?;
        if node.is_dir && !request.recursive {
            if !request.dir {
                return Err(self.error(Error::NOT_FILE, path));
            }
            if !below(&self.nodes, path).is_empty() {
                return Err(self.error(Error::DIR_NOT_EMPTY, path));
            }
        }
        Ok(self.remove(Action::Delete, path, &node, now_ms))
    }

    fn compare_and_delete(
        &mut self,
        path: &str,
        request: &V2Request,
        now_ms: i64,
    ) -> Result<V2Event, Error> {
        let node = self.find(path)?;
        self.compare(path, request, &node)?;
        Ok(self.remove(Action::CompareAndDelete, path, &node, now_ms))
    }

    fn compare(&self, path: &str, request: &V2Request, node: &Node) -> Result<(), Error> {
        if node.is_dir {
            return Err(self.error(Error::NOT_FILE, path));
        }
        let (value, index) = (text(&request.prev_value), request.prev_index);
        let mut causes = Vec::new();
        if !value.is_empty() && value != text(&node.value) {
            causes.push(format!("[{value} != {}]", text(&node.value)));
        }
        if index != 0 && index != node.modified {
            causes.push(format!("[{index} != {}]", node.modified));
        }
        if causes.is_empty() {
            return Ok(());
        }
        Err(Error::new(Error::TEST_FAILED, causes.join(" "), self.index))
    }

    /// The creation stays; a directory's modified index, too, though the event tells another.
    fn change(
        &mut self,
        action: Action,
        path: &str,
        request: &V2Request,
        before: &Node,
        now_ms: i64,
    ) -> V2Event {
        let next = self.index + 1;
        let mut node = before.clone();
        if !request.refresh {
            node.value = request.value.clone();
        }
        node.expires = expires(request, now_ms);
        if !node.is_dir {
            node.modified = next;
        }
        self.put(path, Some(node.clone()));
        let told = V2Node { modified: next, ..shown(path, &node, now_ms) };
        let prev = shown(path, before, now_ms);
        self.tell(action, told, Some(prev), request.refresh, BTreeSet::new())
    }

    /// A new node, with the directories above it.
    fn plant(
        &mut self,
        path: &str,
        request: &V2Request,
        value: Bytes,
        now_ms: i64,
    ) -> Result<V2Node, Error> {
        let next = self.index + 1;
        let above: Vec<String> = above(path);
        let file = above.iter().find(|it| self.nodes.get(*it).is_some_and(|node| !node.is_dir));
        if let Some(file) = file {
            return Err(self.error(Error::NOT_DIR, file));
        }
        let directory = Node {
            is_dir: true,
            value: Bytes::new(),
            created: next,
            modified: next,
            expires: None,
        };
        for missing in above {
            if !self.nodes.contains_key(&missing) {
                self.put(&missing, Some(directory.clone()));
            }
        }
        let value = if request.dir { Bytes::new() } else { value };
        let expires = expires(request, now_ms);
        let node = Node { is_dir: request.dir, value, expires, ..directory };
        self.put(path, Some(node.clone()));
        Ok(shown(path, &node, now_ms))
    }

    fn remove(&mut self, action: Action, path: &str, node: &Node, now_ms: i64) -> V2Event {
        let gone = below(&self.nodes, path);
        for path in gone.iter().map(String::as_str).chain([path]) {
            self.put(path, None);
        }
        let told = V2Node {
            key: Bytes::from(path.to_owned()),
            dir: node.is_dir,
            valueless: !node.is_dir,
            created: node.created,
            modified: self.index + 1,
            ..V2Node::default()
        };
        self.tell(action, told, Some(shown(path, node, now_ms)), false, gone)
    }

    fn put(&mut self, path: &str, node: Option<Node>) {
        let next = self.index + 1;
        self.past.entry(path.to_owned()).or_default().push((next, node.clone()));
        match node {
            Some(node) => self.nodes.insert(path.to_owned(), node),
            None => self.nodes.remove(path),
        };
    }

    fn tell(
        &mut self,
        action: Action,
        node: V2Node,
        prev_node: Option<V2Node>,
        refresh: bool,
        gone: BTreeSet<String>,
    ) -> V2Event {
        self.index += 1;
        let event = V2Event { action: action.into(), node: Some(node), prev_node, refresh };
        self.told.push(Told { event: event.clone(), gone });
        event
    }

    fn find(&self, path: &str) -> Result<Node, Error> {
        found(&self.nodes, path, self.index)
    }

    fn not_the_root(&self, path: &str) -> Result<(), Error> {
        if path == "/" {
            return Err(Error::new(Error::ROOT_READ_ONLY, "/", self.index));
        }
        Ok(())
    }

    fn error(&self, code: u16, path: &str) -> Error {
        // The root has no name.
        let cause = if path == "/" { "" } else { path };
        Error::new(code, cause.to_owned(), self.index)
    }
}

impl Told {
    /// Whether a watcher of `path` must be told of it, and whether it may be: who looks back hears of every directory
    /// above that went, who was there only if its own path went with it.
    pub(crate) fn is_for(&self, path: &str, recursive: bool) -> (bool, bool) {
        let key = self.event.node.as_ref().map(|node| text(&node.key)).unwrap_or_default();
        if self.event.refresh {
            return (false, false);
        }
        if key == path || (recursive && is_below(&key, path)) {
            return (true, true);
        }
        let removes = matches!(self.event.action(), Action::Delete | Action::Expire);
        (self.gone.contains(path), removes && is_below(path, &key))
    }
}

/// Walks down to the node; what is missing on the way, or no directory.
fn found(nodes: &BTreeMap<String, Node>, path: &str, index: u64) -> Result<Node, Error> {
    let root = Node { is_dir: true, value: Bytes::new(), created: 0, modified: 0, expires: None };
    let mut at = root;
    let mut here = String::new();
    for name in path.split('/').filter(|name| !name.is_empty()) {
        if !at.is_dir {
            return Err(Error::new(Error::NOT_DIR, here, index));
        }
        here = format!("{here}/{name}");
        at = match nodes.get(&here) {
            Some(node) => node.clone(),
            None => return Err(Error::new(Error::KEY_NOT_FOUND, here, index)),
        };
    }
    Ok(at)
}

fn listed(
    nodes: &BTreeMap<String, Node>,
    path: &str,
    node: &Node,
    recursive: bool,
    is_top: bool,
    now_ms: i64,
) -> Listing {
    let key = if path == "/" { "" } else { path };
    let children = || {
        let of_this = nodes.iter().filter(|(it, _)| above(it).last().map_or("/", |it| it) == path);
        let seen = of_this.filter(|(it, _)| !it.rsplit('/').next().unwrap_or("").starts_with('_'));
        seen.map(|(it, node)| listed(nodes, it, node, recursive, false, now_ms)).collect()
    };
    Listing {
        node: shown(key, node, now_ms),
        nodes: (node.is_dir && (is_top || recursive)).then(children),
    }
}

fn shown(path: &str, node: &Node, now_ms: i64) -> V2Node {
    let left_ms = node.expires.map_or(0, |at| at - now_ms);
    V2Node {
        key: Bytes::from(path.to_owned()),
        dir: node.is_dir,
        value: node.value.clone(),
        created: node.created,
        modified: node.modified,
        expires_at_ms: node.expires.unwrap_or(0),
        ttl_s: (left_ms + 999).div_euclid(1_000),
        ..V2Node::default()
    }
}

fn expires(request: &V2Request, now_ms: i64) -> Option<i64> {
    request.ttl_s.map(|seconds| now_ms + seconds * 1_000)
}

fn is_below(path: &str, directory: &str) -> bool {
    match directory {
        "/" => path != "/",
        directory => path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/')),
    }
}

fn below(nodes: &BTreeMap<String, Node>, directory: &str) -> BTreeSet<String> {
    nodes.keys().filter(|path| is_below(path, directory)).cloned().collect()
}

/// The directories above, from the top, without the root.
fn above(path: &str) -> Vec<String> {
    let ends = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
    ends.map(|at| path[..at].to_owned()).collect()
}

fn child(directory: &str, name: &str) -> String {
    format!("{}/{name}", directory.trim_end_matches('/'))
}

/// The workload's paths and values are texts.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(tree: &mut Tree, method: Method, path: &str, value: &'static str) -> V2Reply {
        let request = V2Request {
            method: method.into(),
            path: Bytes::from(path.to_owned()),
            value: value.into(),
            recursive: true,
            ..V2Request::default()
        };
        tree.apply(&request, 1_000)
    }

    #[test]
    fn the_past_stays_readable_and_a_directory_goes_with_what_is_in_it() {
        let mut tree = Tree::default();
        ask(&mut tree, Method::Set, "/d/a", "1").result.unwrap();
        ask(&mut tree, Method::Set, "/d/a", "2").result.unwrap();
        let gone = ask(&mut tree, Method::Delete, "/d", "").result.unwrap();
        assert_eq!((tree.index, gone.node.unwrap().modified), (3, 3));
        let at = |index| tree.listing("/d/a", false, index, 0).map(|it| it.node.value);
        assert_eq!(at(1), Ok("1".into()));
        assert_eq!(at(2), Ok("2".into()));
        assert_eq!(at(3), Err(Error::new(Error::KEY_NOT_FOUND, "/d", 3)));
        let told = tree.told(3).unwrap();
        assert_eq!(told.is_for("/d/a", false), (true, true));
        assert_eq!(told.is_for("/d/b", false), (false, true));
        assert_eq!(told.is_for("/e", true), (false, false));
    }
}
