//! One unary stream: calls go out as they come, answers come back in any order.
//!
//! ```text
//!   call --frame--> out buffer --writer task--> stream        one write for all that came together
//!   call <--------- pending   <--reader task--- stream        or from a moved answer's stream
//! ```
//!
//! The last id that the writer took divides calls that may have reached the server from calls that cannot have: when
//! the connection is lost, the latter are safe to repeat.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::{Notify, oneshot};

use crate::proto::frame::{Answer, FrameError, Request, encode_call};
use crate::proto::{Method, Status};

/// How a call on a lane ends without a message.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Status(Status),
    /// The connection ended; `sent` if the request may have left.
    #[error("the connection was lost: {reason}")]
    Lost { reason: Arc<str>, sent: bool },
}

type Outcome = Result<Bytes, Failure>;

/// Shared by callers, writer and reader of one stream.
#[derive(Debug)]
pub(super) struct Lane {
    state: Mutex<State>,
    filled: Notify,
}

#[derive(Debug)]
struct State {
    out: BytesMut,
    next_id: u64,
    /// Ids of a lane are its index plus a multiple of the number of lanes, so that they are unique per connection.
    id_step: u64,
    /// Every id up to this one has been handed to the stream.
    taken_id: Option<u64>,
    pending: HashMap<u64, oneshot::Sender<Outcome>>,
    /// Answered on streams of their own that have not arrived yet.
    moving: HashSet<u64>,
    lost: Option<Arc<str>>,
}

impl Lane {
    /// Lane `index` of `lanes`.
    pub(super) fn new(index: u64, lanes: u64) -> Self {
        Self {
            state: Mutex::new(State {
                out: BytesMut::new(),
                next_id: index + lanes,
                id_step: lanes,
                taken_id: None,
                pending: HashMap::new(),
                moving: HashSet::new(),
                lost: None,
            }),
            filled: Notify::new(),
        }
    }

    /// Sends a call and waits for its answer. Dropped before, it cancels the call.
    pub(super) async fn call(&self, method: Method, body: &[u8], deadline_ms: u32) -> Outcome {
        let (tell, told) = oneshot::channel();
        let id = self.submit(method, body, deadline_ms, tell)?;
        let mut pending = PendingCall { lane: self, id, is_open: true };
        let outcome = told.await;
        pending.is_open = false;
        // A sender vanishes only with the lane itself.
        outcome.unwrap_or_else(|_| {
            Err(Failure::Lost { reason: "the connection was dropped".into(), sent: true })
        })
    }

    fn submit(
        &self,
        method: Method,
        body: &[u8],
        deadline_ms: u32,
        tell: oneshot::Sender<Outcome>,
    ) -> Result<u64, Failure> {
        let mut state = self.lock();
        if let Some(reason) = &state.lost {
            return Err(Failure::Lost { reason: Arc::clone(reason), sent: false });
        }
        let id = state.next_id;
        state.next_id += state.id_step;
        let was_empty = state.out.is_empty();
        encode_call(&mut state.out, id, method.number(), deadline_ms, body);
        state.pending.insert(id, tell);
        drop(state);
        if was_empty {
            self.filled.notify_one();
        }
        Ok(id)
    }

    /// What is to be written; waits for something. None once the lane is lost.
    pub(super) async fn take_out(&self) -> Option<Bytes> {
        loop {
            let filled = self.filled.notified();
            {
                let mut state = self.lock();
                if state.lost.is_some() {
                    return None;
                }
                if !state.out.is_empty() {
                    state.taken_id = Some(state.next_id - state.id_step);
                    return Some(state.out.split().freeze());
                }
            }
            filled.await;
        }
    }

    /// Answers reach their callers; a frame that is none ends the lane.
    pub(super) fn receive(&self, frames: impl Iterator<Item = Bytes>) -> Result<(), FrameError> {
        let mut answered = Vec::new();
        let mut moved = Vec::new();
        let mut parsed = Ok(());
        for frame in frames {
            match Answer::parse(frame) {
                Ok(Answer::Message { id, body }) => answered.push((id, Ok(body))),
                Ok(Answer::Error { id, status }) => {
                    answered.push((id, Err(Failure::Status(status))));
                }
                Ok(Answer::Moved { id }) => moved.push(id),
                Err(error) => {
                    parsed = Err(error);
                    break;
                }
            }
        }
        let mut state = self.lock();
        for id in moved {
            if state.pending.contains_key(&id) {
                state.moving.insert(id);
            }
        }
        let callers: Vec<_> = answered
            .into_iter()
            .filter_map(|(id, outcome)| Some((state.pending.remove(&id)?, outcome)))
            .collect();
        drop(state);
        for (tell, outcome) in callers {
            // The caller may have given up in this very moment.
            let _gone = tell.send(outcome);
        }
        parsed
    }

    /// Whether it takes no more calls.
    pub(super) fn is_over(&self) -> bool {
        self.lock().lost.is_some()
    }

    /// Whether somebody waits for `id`.
    pub(super) fn awaits(&self, id: u64) -> bool {
        self.lock().pending.contains_key(&id)
    }

    /// A moved answer has arrived.
    pub(super) fn complete(&self, id: u64, message: Bytes) {
        let mut state = self.lock();
        state.moving.remove(&id);
        let tell = state.pending.remove(&id);
        drop(state);
        if let Some(tell) = tell {
            let _gone = tell.send(Ok(message));
        }
    }

    /// The server ended the stream in peace: it has answered what it read, and read nothing else.
    pub(super) fn end(&self, reason: &Arc<str>) {
        let mut state = self.lock();
        if state.lost.is_some() {
            return;
        }
        state.lost = Some(Arc::clone(reason));
        let State { pending, moving, .. } = &mut *state;
        let unread: Vec<u64> = pending.keys().copied().filter(|id| !moving.contains(id)).collect();
        let callers: Vec<_> = unread.iter().filter_map(|id| pending.remove(id)).collect();
        drop(state);
        self.filled.notify_one();
        for tell in callers {
            let reason = Arc::clone(reason);
            let _gone = tell.send(Err(Failure::Lost { reason, sent: false }));
        }
    }

    /// The connection is lost: every caller is told so, and whether its request had left.
    pub(super) fn fail(&self, reason: &Arc<str>) {
        let mut state = self.lock();
        state.lost.get_or_insert_with(|| Arc::clone(reason));
        let taken = state.taken_id;
        let pending = std::mem::take(&mut state.pending);
        drop(state);
        self.filled.notify_one();
        for (id, tell) in pending {
            let sent = taken.is_some_and(|taken| id <= taken);
            let _gone = tell.send(Err(Failure::Lost { reason: Arc::clone(reason), sent }));
        }
    }

    /// The caller no longer waits; the server is told.
    fn cancel(&self, id: u64) {
        let mut state = self.lock();
        state.moving.remove(&id);
        if state.pending.remove(&id).is_none() || state.lost.is_some() {
            return;
        }
        let was_empty = state.out.is_empty();
        Request::Cancel { id }.encode(&mut state.out);
        drop(state);
        if was_empty {
            self.filled.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Cancels the call when its future is dropped before the answer.
struct PendingCall<'a> {
    lane: &'a Lane,
    id: u64,
    is_open: bool,
}

impl Drop for PendingCall<'_> {
    fn drop(&mut self) {
        if self.is_open {
            self.lane.cancel(self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Buf;

    use super::*;

    fn answer(id: u64, text: &'static str) -> std::iter::Once<Bytes> {
        let mut bytes = BytesMut::new();
        Answer::Message { id, body: Bytes::from_static(text.as_bytes()) }.encode(&mut bytes);
        std::iter::once(bytes.split_off(4).freeze())
    }

    fn sent(mut bytes: Bytes) -> Vec<Request> {
        let mut requests = Vec::new();
        while !bytes.is_empty() {
            let length = bytes.get_u32() as usize;
            requests.push(Request::parse(bytes.split_to(length)).unwrap());
        }
        requests
    }

    #[tokio::test]
    async fn answers_find_their_callers_in_any_order() {
        let lane = Lane::new(0, 2);
        let server = async {
            let requests = sent(lane.take_out().await.unwrap());
            let ids: Vec<u64> = requests
                .iter()
                .map(|request| match request {
                    Request::Call { id, .. } => *id,
                    Request::Cancel { id } => panic!("{id} canceled"),
                })
                .collect();
            assert_eq!(ids, [2, 4], "one write for both, ids of lane 0 of 2");
            lane.receive(answer(4, "second")).unwrap();
            lane.receive(answer(99, "nobody's")).unwrap();
            lane.receive(answer(2, "first")).unwrap();
        };
        let (first, second, ()) = tokio::join!(
            lane.call(Method::Range, b"a", 0),
            lane.call(Method::Range, b"b", 0),
            server
        );
        assert_eq!(first.unwrap(), "first");
        assert_eq!(second.unwrap(), "second");
    }

    #[tokio::test]
    async fn a_dropped_call_is_canceled() {
        let lane = Lane::new(1, 1);
        let call = tokio::time::timeout(
            std::time::Duration::from_millis(1),
            lane.call(Method::Put, b"x", 0),
        );
        assert!(call.await.is_err());
        let requests = sent(lane.take_out().await.unwrap());
        assert!(matches!(requests[..], [Request::Call { id: 2, .. }, Request::Cancel { id: 2 }]));
        assert!(!lane.awaits(2));
    }

    #[tokio::test]
    async fn a_lost_connection_tells_what_had_left_from_what_had_not() {
        let lane = Arc::new(Lane::new(0, 1));
        let spawn = || {
            let lane = Arc::clone(&lane);
            tokio::spawn(async move { lane.call(Method::Put, b"x", 0).await })
        };
        let first = spawn();
        lane.take_out().await.unwrap();
        let second = spawn();
        while !lane.awaits(2) {
            tokio::task::yield_now().await;
        }
        lane.fail(&"gone".into());
        let was_sent = |outcome: Outcome| match outcome.unwrap_err() {
            Failure::Lost { sent, .. } => sent,
            Failure::Status(status) => panic!("{status}"),
        };
        assert!(was_sent(first.await.unwrap()));
        assert!(!was_sent(second.await.unwrap()));
        assert!(!was_sent(lane.call(Method::Put, b"x", 0).await), "refused at once");
        assert!(lane.take_out().await.is_none());
    }

    #[tokio::test]
    async fn a_stream_ended_in_peace_has_read_nothing_that_it_did_not_answer() {
        let lane = Arc::new(Lane::new(0, 1));
        let calls: Vec<_> = (0..2)
            .map(|_| {
                let lane = Arc::clone(&lane);
                tokio::spawn(async move { lane.call(Method::Put, b"x", 0).await })
            })
            .collect();
        while !lane.awaits(2) {
            tokio::task::yield_now().await;
        }
        lane.take_out().await.unwrap();
        let mut moved = BytesMut::new();
        Answer::Moved { id: 1 }.encode(&mut moved);
        lane.receive(std::iter::once(moved.split_off(4).freeze())).unwrap();
        lane.end(&"stopping".into());
        let [first, second] = <[_; 2]>::try_from(calls).unwrap();
        let failure = second.await.unwrap().unwrap_err();
        assert!(matches!(failure, Failure::Lost { sent: false, .. }), "{failure:?}");
        lane.complete(1, Bytes::from_static(b"large"));
        assert_eq!(first.await.unwrap().unwrap(), "large");
    }
}
