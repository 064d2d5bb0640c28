//! `/v2/keys?wait=true`: one event, or all that come.
//!
//! The head goes out at once; a client that reads too slowly for the history is cut off with what it has, and begins
//! again from its last index.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use hyper::{Response, StatusCode};
use tokio::sync::mpsc;

use super::json;
use super::keys::indexes;
use super::routes::{Asked, object};
use crate::api::http::body::Answer;
use crate::api::http::session::Session;
use crate::base::limits;
use crate::engine::Handle;
use crate::state::v2::{Error, Found, Watch};

pub(super) fn respond(
    asked: &Asked<'_>,
    path: Vec<u8>,
    recursive: bool,
    since: u64,
    stream: bool,
) -> Result<Response<Answer>, Error> {
    let handle = asked.handle;
    let mut watch = handle.tree_watch(path.into(), recursive, since);
    let came_at = watch.came_at;
    let mut first = None;
    match handle.tree_find(&mut watch) {
        Found::Cleared(oldest) => return Err(watch.cleared(oldest, came_at)),
        Found::Event(event) => first = Some(Bytes::from(json::event(&event, false))),
        Found::Nothing => {}
    }
    let (sender, lines) = mpsc::channel(limits::STREAM_MESSAGES_MAX);
    let following = Following { handle: handle.clone(), watch, stream, sender };
    tokio::spawn(follow(Arc::clone(asked.session), following, first));
    let mut response = object(StatusCode::OK, Bytes::new());
    *response.body_mut() = Answer::Lines(lines);
    indexes(&mut response, handle, came_at);
    Ok(response)
}

struct Following {
    handle: Handle,
    watch: Watch,
    stream: bool,
    sender: mpsc::Sender<Bytes>,
}

/// Until the client has what it wants, or goes, or the connection ends.
async fn follow(session: Arc<Session>, mut following: Following, first: Option<Bytes>) {
    let watchers = &following.handle.clone();
    watchers.tree_meters().watchers.fetch_add(1, Ordering::Relaxed);
    let gone = following.sender.clone();
    tokio::select! {
        () = following.run(first) => {}
        () = session.left() => {}
        () = gone.closed() => {}
        () = watchers.quarantined() => {}
    }
    watchers.tree_meters().watchers.fetch_sub(1, Ordering::Relaxed);
}

impl Following {
    async fn run(&mut self, first: Option<Bytes>) {
        let mut changes = self.handle.tree_changes();
        if let Some(first) = first
            && (self.sender.send(first).await.is_err() || !self.stream)
        {
            return;
        }
        loop {
            changes.mark_unchanged();
            match self.handle.tree_find(&mut self.watch) {
                Found::Event(event) => {
                    let line = Bytes::from(json::event(&event, false));
                    if self.sender.send(line).await.is_err() || !self.stream {
                        return;
                    }
                    continue;
                }
                Found::Cleared(_) => return,
                Found::Nothing => {}
            }
            if self.handle.is_stopped() || changes.changed().await.is_err() {
                return;
            }
        }
    }
}
