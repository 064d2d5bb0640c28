//! One request to the tree: what it finds, what it changes, what it tells.
//!
//! Everything that can be refused is refused before the first row is written.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::error::{Error, Stop};
use super::history::Told;
use super::list::ttl_s;
use super::{path, remove, rows};
use crate::base::limits;
use crate::proto::quorate::log::v2_event::Action;
use crate::proto::quorate::log::v2_request::Method;
use crate::proto::quorate::log::{V2Event, V2Node, V2Request};
use crate::storage::{Batch, Fault, Read};

/// What came of a request, or of the time.
#[derive(Debug, Default)]
pub(in crate::state) struct Done {
    pub(in crate::state) told: Vec<Told>,
    /// The tree's index afterwards.
    pub(in crate::state) index: u64,
}

/// The tree while one entry is applied.
pub(super) struct Tree<'t, 'a, R> {
    pub(super) batch: &'t mut Batch<'a, R>,
    /// The envelope's time, milliseconds since 1970.
    pub(super) now_ms: i64,
    pub(super) done: Done,
}

/// Applies one request; `now_ms` is the time of its proposal. An error changes nothing.
pub(in crate::state) fn apply<R: Read>(
    batch: &mut Batch<'_, R>,
    request: &V2Request,
    now_ms: i64,
) -> Result<Result<(V2Event, Done), Error>, Fault> {
    let index = rows::index(batch)?;
    let mut tree = Tree { batch, now_ms, done: Done { told: Vec::new(), index } };
    match tree.run(request) {
        Ok(event) => Ok(Ok((event, tree.done))),
        Err(Stop::Refused(error)) => Ok(Err(error)),
        Err(Stop::Fault(fault)) => Err(fault),
    }
}

/// Removes what has expired at `time_ms`.
pub(in crate::state) fn expire<R: Read>(
    batch: &mut Batch<'_, R>,
    time_ms: i64,
    now_ms: i64,
) -> Result<Done, Fault> {
    let index = rows::index(batch)?;
    let mut tree = Tree { batch, now_ms, done: Done { told: Vec::new(), index } };
    remove::expired(&mut tree, time_ms)?;
    Ok(tree.done)
}

/// Indexes that pass without anything to see: something beside the tree has changed.
pub(in crate::state) fn pass<R: Read>(batch: &mut Batch<'_, R>, steps: u64) -> Result<Done, Fault> {
    let index = rows::index(batch)?;
    let mut tree = Tree { batch, now_ms: 0, done: Done { told: Vec::new(), index } };
    for _ in 0..steps {
        tree.record(V2Event { refresh: true, ..V2Event::default() });
    }
    Ok(tree.done)
}

impl<R: Read> Tree<'_, '_, R> {
    fn run(&mut self, request: &V2Request) -> Result<V2Event, Stop> {
        match request.method() {
            Method::Set => self.set(request),
            Method::Create | Method::CreateInOrder => self.create(request),
            Method::Update => self.update(request),
            Method::CompareAndSwap => self.compare_and_swap(request),
            Method::Delete => remove::delete(self, request),
            Method::CompareAndDelete => remove::compare_and_delete(self, request),
        }
    }

    fn set(&mut self, request: &V2Request) -> Result<V2Event, Stop> {
        let path = request.path.as_ref();
        let before = match self.find(path) {
            Ok(node) => Some(node),
            Err(Stop::Refused(error)) if error.code == Error::KEY_NOT_FOUND && !request.refresh => {
                None
            }
            Err(stop) => return Err(stop),
        };
        self.not_root(path)?;
        if before.as_ref().is_some_and(|before| before.dir) {
            return Err(self.error(Error::NOT_FILE, path).into());
        }
        let value = match &before {
            Some(before) if request.refresh => before.value.clone(),
            _ => request.value.clone(),
        };
        let prev = before.as_ref().map(|before| self.shown(path, before));
        let node = self.put_new(path, request, value, before.as_ref())?;
        Ok(self.tell(Action::Set, node, prev, request.refresh))
    }

    fn create(&mut self, request: &V2Request) -> Result<V2Event, Stop> {
        let mut path = request.path.to_vec();
        if request.method() == Method::CreateInOrder {
            path = path::join(&path, format!("{:020}", self.done.index + 1).as_bytes());
        }
        self.not_root(&path)?;
        if rows::node(self.batch, &path)?.is_some() {
            return Err(self.error(Error::NODE_EXIST, &path).into());
        }
        let node = self.put_new(&path, request, request.value.clone(), None)?;
        Ok(self.tell(Action::Create, node, None, false))
    }

    /// A directory keeps its modified index, as in etcd: only its TTL changes.
    fn update(&mut self, request: &V2Request) -> Result<V2Event, Stop> {
        let path = request.path.as_ref();
        self.not_root(path)?;
        let before = self.find(path)?;
        if before.dir && !request.value.is_empty() {
            return Err(self.error(Error::NOT_FILE, path).into());
        }
        self.overwrite(Action::Update, request, &before)
    }

    fn compare_and_swap(&mut self, request: &V2Request) -> Result<V2Event, Stop> {
        let path = request.path.as_ref();
        self.not_root(path)?;
        let before = self.find(path)?;
        self.compare(request, &before)?;
        self.overwrite(Action::CompareAndSwap, request, &before)
    }

    /// The file is as the request wants it; both parts are told when neither matches.
    pub(super) fn compare(&self, request: &V2Request, node: &V2Node) -> Result<(), Stop> {
        if node.dir {
            return Err(self.error(Error::NOT_FILE, &request.path).into());
        }
        let differs = |wanted: &[u8], found: &[u8]| [b"[", wanted, b" != ", found, b"]"].concat();
        let mut causes = Vec::new();
        if !request.prev_value.is_empty() && request.prev_value != node.value {
            causes.push(differs(&request.prev_value, &node.value));
        }
        if request.prev_index != 0 && request.prev_index != node.modified {
            let (wanted, found) = (request.prev_index.to_string(), node.modified.to_string());
            causes.push(differs(wanted.as_bytes(), found.as_bytes()));
        }
        if causes.is_empty() {
            return Ok(());
        }
        Err(Error::new(Error::TEST_FAILED, causes.join(&b' '), self.done.index).into())
    }

    /// The node keeps its creation.
    fn overwrite(
        &mut self,
        action: Action,
        request: &V2Request,
        before: &V2Node,
    ) -> Result<V2Event, Stop> {
        let path = request.path.as_ref();
        let next = self.done.index + 1;
        let value = if request.refresh { before.value.clone() } else { request.value.clone() };
        let stored = V2Node {
            value,
            modified: if before.dir { before.modified } else { next },
            expires_at_ms: self.expires_at_ms(request),
            ..before.clone()
        };
        rows::put_node(self.batch, path, &stored, Some(before));
        let shown = V2Node { modified: next, ..self.shown(path, &stored) };
        let prev = self.shown(path, before);
        Ok(self.tell(action, shown, Some(prev), request.refresh))
    }

    /// A node that begins with this request, in place of a file or of nothing; directories above it begin with it.
    fn put_new(
        &mut self,
        path: &[u8],
        request: &V2Request,
        value: Bytes,
        before: Option<&V2Node>,
    ) -> Result<V2Node, Stop> {
        if path.len() > limits::V2_KEY_BYTES_MAX {
            let cause = format!("a key has at most {} bytes", limits::V2_KEY_BYTES_MAX);
            return Err(Error::new(Error::INVALID_FIELD, cause, self.done.index).into());
        }
        let missing = self.missing_directories(path)?;
        let next = self.done.index + 1;
        let directory = V2Node { dir: true, created: next, modified: next, ..V2Node::default() };
        for path in missing {
            rows::put_node(self.batch, &path, &directory, None);
        }
        let node = V2Node {
            dir: request.dir,
            value: if request.dir { Bytes::new() } else { value },
            expires_at_ms: self.expires_at_ms(request),
            ..directory
        };
        rows::put_node(self.batch, path, &node, before);
        Ok(self.shown(path, &node))
    }

    /// The directories above `path` that are not there; refused when one is a file.
    fn missing_directories(&self, path: &[u8]) -> Result<Vec<Vec<u8>>, Stop> {
        let mut missing = Vec::new();
        for above in path::ancestors(path) {
            match rows::node(self.batch, above)? {
                Some(node) if !node.dir => return Err(self.error(Error::NOT_DIR, above).into()),
                Some(_) => {}
                None => missing.push(above.to_vec()),
            }
        }
        Ok(missing)
    }

    pub(super) fn find(&self, path: &[u8]) -> Result<V2Node, Stop> {
        find(self.batch, path, self.done.index)
    }

    pub(super) fn not_root(&self, path: &[u8]) -> Result<(), Stop> {
        if path::is_root(path) {
            return Err(self.error(Error::ROOT_READ_ONLY, b"/").into());
        }
        Ok(())
    }

    pub(super) fn error(&self, code: u16, cause: &[u8]) -> Error {
        // The root has no name among the causes.
        let cause =
            if path::is_root(cause) && code != Error::ROOT_READ_ONLY { &b""[..] } else { cause };
        Error::new(code, Bytes::copy_from_slice(cause), self.done.index)
    }

    fn expires_at_ms(&self, request: &V2Request) -> i64 {
        request.ttl_s.map_or(0, |ttl| self.now_ms.saturating_add(ttl.saturating_mul(1_000)))
    }

    /// As an event tells of the node.
    pub(super) fn shown(&self, path: &[u8], node: &V2Node) -> V2Node {
        V2Node {
            key: Bytes::copy_from_slice(path),
            ttl_s: ttl_s(node.expires_at_ms, self.now_ms),
            cleared: false,
            ..node.clone()
        }
    }

    /// The next index, and the event that it is.
    pub(super) fn tell(
        &mut self,
        action: Action,
        node: V2Node,
        prev_node: Option<V2Node>,
        refresh: bool,
    ) -> V2Event {
        let event = V2Event { action: action.into(), node: Some(node), prev_node, refresh };
        self.record(event.clone());
        event
    }

    fn record(&mut self, event: V2Event) {
        self.done.index += 1;
        let index = self.done.index;
        rows::put_index(self.batch, index);
        rows::put_event(self.batch, index, &event);
        if let Some(old) = index.checked_sub(limits::V2_HISTORY_EVENTS as u64) {
            rows::delete_event(self.batch, old);
        }
        self.done.told.push(Told::new(index, event));
    }
}

/// The node at `path`, or which part of the way to it is missing or no directory.
pub(super) fn find<R: Read>(read: &R, path: &[u8], index: u64) -> Result<V2Node, Stop> {
    if let Some(node) = rows::node(read, path)? {
        return Ok(node);
    }
    let refuse = |code, cause: &[u8]| Error::new(code, Bytes::copy_from_slice(cause), index);
    let broken: ControlFlow<Stop> =
        path::ancestors(path).try_for_each(|above| match rows::node(read, above) {
            Ok(Some(node)) if node.dir => ControlFlow::Continue(()),
            Ok(Some(_)) => ControlFlow::Break(refuse(Error::NOT_DIR, above).into()),
            Ok(None) => ControlFlow::Break(refuse(Error::KEY_NOT_FOUND, above).into()),
            Err(fault) => ControlFlow::Break(Stop::Fault(fault)),
        });
    match broken {
        ControlFlow::Break(stop) => Err(stop),
        ControlFlow::Continue(()) => Err(refuse(Error::KEY_NOT_FOUND, path).into()),
    }
}
