//! A unary stream: requests in batches to the service, answers from any thread back in one write per wake-up.
//!
//! ```text
//!   frames -> places (unanswered per connection) -> batch -> Service::call
//!   answer(id) from any thread -> queue -> writer: one buffer, one write; over 64 KiB: a stream of its own
//!   reading stops without a place, or while too many bytes of answers are unsent
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::connection::Session;
use super::door::{Phase, reached};
use crate::proto::frame::{Answer, MovedHead, Request};
use crate::proto::{Answers, Call, Method, Outcome, Reply, Shape, Status};
use crate::transport::{CloseCode, RecvStream, SendStream, StreamError, Unsent};

/// Requests read at a time, bytes.
const READ_BYTES: usize = 256 * 1024;

/// Moved answers on their way, bytes, at which the stream is no longer read, unless there is only one.
const MOVED_BYTES_MAX: usize = 16 << 20;

/// What an answer without a message counts for, bytes.
const REFUSAL_BYTES: usize = 64;

/// Time for the last answers to arrive before a connection is closed.
const DELIVERY: Duration = Duration::from_secs(1);

/// One unary stream, as its reader, its writer and every answering thread see it.
struct Unary {
    session: Arc<Session>,
    state: Mutex<State>,
    /// Something is to be written, or the reader has ended.
    filled: Notify,
    /// Bytes were taken by the client.
    drained: Notify,
}

#[derive(Default)]
struct State {
    /// Calls with the service by id, and whether their answer is still wanted: a canceled id is free again only when
    /// the service is done with it.
    open: HashMap<u64, bool>,
    /// Calls with the service, canceled ones included.
    with_service: usize,
    answered: Vec<(u64, Outcome)>,
    /// Bytes of answers not written yet, moved ones apart.
    unsent_bytes: usize,
    moved: usize,
    moved_bytes: usize,
    /// No more requests will come.
    is_finished: bool,
    /// Nobody takes answers any more.
    is_broken: bool,
}

impl State {
    fn is_idle(&self) -> bool {
        self.with_service == 0 && self.moved == 0
    }
}

pub(super) async fn serve(session: Arc<Session>, send: SendStream, recv: RecvStream) {
    let unary = Arc::new(Unary {
        session,
        state: Mutex::default(),
        filled: Notify::new(),
        drained: Notify::new(),
    });
    let _end = End(Arc::clone(&unary));
    tokio::join!(read(Arc::clone(&unary), recv), write(unary, send));
}

/// However the stream ends, and with its connection it ends in the middle: what is still asked is wanted no more.
struct End(Arc<Unary>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.finish(true);
    }
}

impl Answers for Unary {
    fn answer(&self, id: u64, outcome: Outcome) {
        let mut state = self.lock();
        state.with_service -= 1;
        let wanted = state.open.remove(&id).unwrap_or(false) && !state.is_broken;
        let was_empty = state.answered.is_empty();
        let bytes = outcome.as_ref().map_or(REFUSAL_BYTES, |body| Unsent::weight(body.len()));
        if wanted {
            state.unsent_bytes += bytes;
            state.answered.push((id, outcome));
            self.session.unsent.hold(bytes);
        }
        let wake = if wanted { was_empty } else { state.is_finished };
        drop(state);
        self.session.places.add_permits(1);
        if wake {
            self.filled.notify_one();
        }
    }

    fn is_wanted(&self, id: u64) -> bool {
        let state = self.lock();
        !state.is_broken && state.open.get(&id).copied().unwrap_or(false)
    }
}

impl Unary {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the client has taken enough of its answers.
    async fn room(&self) {
        loop {
            let drained = self.drained.notified();
            {
                let state = self.lock();
                let crowded = state.moved > 1 && state.moved_bytes > MOVED_BYTES_MAX;
                let max = self.session.door.config.unsent_bytes_max;
                if (state.unsent_bytes < max && !crowded) || state.is_broken {
                    return;
                }
            }
            drained.await;
        }
    }

    fn is_draining(&self) -> bool {
        *self.session.phase.borrow() != Phase::Serving
    }

    /// An answer of the door itself, for a call that takes no place.
    fn refuse(&self, id: u64, status: Status) {
        let mut state = self.lock();
        state.unsent_bytes += REFUSAL_BYTES;
        state.answered.push((id, Err(status)));
        self.session.unsent.hold(REFUSAL_BYTES);
        drop(state);
        self.filled.notify_one();
    }

    /// No more requests, and with `broken` no more answers.
    fn finish(&self, broken: bool) {
        let mut state = self.lock();
        state.is_finished = true;
        if broken {
            state.is_broken = true;
            state.open.clear();
            state.answered.clear();
            self.session.unsent.release(std::mem::take(&mut state.unsent_bytes));
        }
        drop(state);
        self.filled.notify_one();
        self.drained.notify_one();
    }
}

async fn read(unary: Arc<Unary>, mut recv: RecvStream) {
    let session = &unary.session;
    let mut phase = session.phase.subscribe();
    let mut frames = Vec::new();
    loop {
        unary.room().await;
        if unary.lock().is_broken {
            return;
        }
        let frame_bytes_max = session.door.config.frame_bytes_max;
        let more = tokio::select! {
            more = recv.frames(frame_bytes_max, READ_BYTES, &mut frames) => more,
            () = reached(&mut phase, Phase::Draining) => Ok(false),
        };
        match more {
            Ok(true) => {}
            Ok(false) => return unary.finish(false),
            Err(error) => {
                let code = match error {
                    StreamError::TooLong { .. } | StreamError::Slow => Some(CloseCode::Protocol),
                    StreamError::Crowded => Some(CloseCode::Busy),
                    _ => None,
                };
                if let Some(code) = code {
                    session.connection.close(code, &error.to_string());
                }
                return unary.finish(true);
            }
        }
        if let Err(text) = take(&unary, frames.drain(..)).await {
            session.connection.close(CloseCode::Protocol, &text);
            return unary.finish(true);
        }
        if unary.is_draining() {
            return unary.finish(false);
        }
    }
}

/// Gives the requests to the service, as many at a time as there are places.
async fn take(unary: &Arc<Unary>, frames: impl Iterator<Item = Bytes>) -> Result<(), String> {
    let session = &unary.session;
    let caller = session.caller();
    let mut batch: Vec<Call> = Vec::new();
    for frame in frames {
        let (id, number, deadline_ms, body) = match Request::parse(frame) {
            Ok(Request::Call { id, method, deadline_ms, body }) => (id, method, deadline_ms, body),
            Ok(Request::Cancel { id }) => {
                if let Some(wanted) = unary.lock().open.get_mut(&id) {
                    *wanted = false;
                }
                continue;
            }
            Err(error) => return Err(error.to_string()),
        };
        let method = match Method::from_number(number) {
            Some(method) if method.shape() == Shape::Unary => method,
            known => {
                unary.refuse(id, not_unary(number, known));
                continue;
            }
        };
        match session.places.try_acquire() {
            Ok(place) => place.forget(),
            Err(_) => {
                if !batch.is_empty() {
                    session.door.service.call(&caller, std::mem::take(&mut batch));
                }
                match session.places.acquire().await {
                    Ok(place) => place.forget(),
                    // Never closed.
                    Err(_) => return Ok(()),
                }
            }
        }
        {
            let mut state = unary.lock();
            if state.open.insert(id, true).is_some() {
                return Err(format!("the id {id} names two requests"));
            }
            state.with_service += 1;
        }
        let answers: Arc<dyn Answers> = Arc::clone(unary) as _;
        batch.push(Call { method, body, deadline_ms, reply: Reply::new(answers, id) });
    }
    if !batch.is_empty() {
        session.door.service.call(&caller, batch);
    }
    Ok(())
}

fn not_unary(number: u16, method: Option<Method>) -> Status {
    Status::unimplemented(match method {
        Some(method) => format!("{} has a stream of its own", method.path()),
        None => format!("unknown method {number}"),
    })
}

async fn write(unary: Arc<Unary>, mut send: SendStream) {
    let mut out = BytesMut::new();
    loop {
        let filled = unary.filled.notified();
        let (answered, mut bytes) = {
            let mut state = unary.lock();
            if state.is_broken {
                return;
            }
            if state.answered.is_empty() && state.is_finished && state.is_idle() {
                break;
            }
            let taken = state.unsent_bytes;
            (std::mem::take(&mut state.answered), taken)
        };
        if answered.is_empty() {
            filled.await;
            continue;
        }
        for (id, outcome) in answered {
            bytes -= encode(&unary, id, outcome, &mut out);
        }
        if send.bytes(out.split().freeze()).await.is_err() {
            return unary.finish(true);
        }
        let mut state = unary.lock();
        let bytes = bytes.min(state.unsent_bytes);
        state.unsent_bytes -= bytes;
        drop(state);
        unary.session.unsent.release(bytes);
        unary.drained.notify_one();
    }
    // What was asked is answered: the end of the stream says that nothing else was read from it.
    send.finish();
    let _gone = timeout(DELIVERY, send.delivered()).await;
}

/// Returns the weight of what goes on a stream of its own, and is unsent on that one.
fn encode(unary: &Arc<Unary>, id: u64, outcome: Outcome, out: &mut BytesMut) -> usize {
    match outcome {
        Ok(body) if body.len() > unary.session.door.config.inline_bytes_max => {
            Answer::Moved { id }.encode(out);
            let weight = Unsent::weight(body.len());
            let mut state = unary.lock();
            if state.is_broken {
                return 0;
            }
            state.moved += 1;
            state.moved_bytes += weight;
            state.unsent_bytes -= weight;
            drop(state);
            tokio::spawn(send_moved(Arc::clone(unary), id, body));
            return weight;
        }
        Ok(body) => Answer::Message { id, body }.encode(out),
        Err(status) => Answer::Error { id, status }.encode(out),
    }
    0
}

/// A large answer on a stream of its own, behind the small ones.
async fn send_moved(unary: Arc<Unary>, id: u64, body: Bytes) {
    let (length, weight) = (body.len(), Unsent::weight(body.len()));
    let connection = &unary.session.connection;
    let sending = async {
        let mut send = connection.open_uni().await?;
        send.prioritize(-1);
        let head = MovedHead { id, length: length as u64 }.encode();
        send.chunks(&mut [Bytes::copy_from_slice(&head), body]).await?;
        send.finish();
        send.delivered().await
    };
    match sending.await {
        // Stopped: the client no longer wants it.
        Ok(()) | Err(StreamError::Stopped(_) | StreamError::Lost(_)) => {}
        Err(error) => connection.close(CloseCode::Slow, &format!("a moved answer: {error}")),
    }
    let mut state = unary.lock();
    state.moved -= 1;
    state.moved_bytes -= weight;
    drop(state);
    unary.session.unsent.release(weight);
    unary.drained.notify_one();
    unary.filled.notify_one();
}
