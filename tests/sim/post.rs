//! Where members leave what is to be sent; the world collects it after every turn.
//!
//! What a member wants to be told later (the answer to a question) is kept by the world alone: nothing in flight may
//! hold on to a member that crashes, or its database could not be opened again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use quorate::base::{MemberId, Moment};
use quorate::consensus::Class;
use quorate::engine::{Answered, AskKind, AskReply, Outbox};
use quorate::storage::SnapshotCopy;

/// One question of one boot of a member.
pub(crate) type AskId = u64;

pub(crate) enum Posted {
    Messages {
        to: u64,
        class: Class,
        messages: Vec<Bytes>,
    },
    Ask {
        id: AskId,
        to: u64,
        kind: AskKind,
        body: Bytes,
        deadline: Moment,
    },
    /// None: the question was dropped unanswered.
    Reply {
        id: AskId,
        body: Option<Bytes>,
    },
    Snapshot {
        to: u64,
        header: Bytes,
        copy: SnapshotCopy,
    },
}

/// One member's side of the post, for one boot.
#[derive(Clone, Default)]
pub(crate) struct Post {
    out: Arc<Mutex<Vec<Posted>>>,
    asks: Arc<Mutex<Asks>>,
}

#[derive(Default)]
struct Asks {
    next: AskId,
    waiting: BTreeMap<AskId, Answered>,
}

impl Post {
    /// `first_ask` keeps the questions of all members and boots apart.
    pub(crate) fn new(first_ask: AskId) -> Self {
        let asks = Asks { next: first_ask, waiting: BTreeMap::new() };
        Self { out: Arc::default(), asks: Arc::new(Mutex::new(asks)) }
    }

    pub(crate) fn collect(&self) -> Vec<Posted> {
        std::mem::take(&mut self.out.lock().unwrap())
    }

    /// Tells the member what was answered, unless it has been told.
    pub(crate) fn answer(&self, id: AskId, body: Option<Bytes>) -> bool {
        let answered = self.asks.lock().unwrap().waiting.remove(&id);
        let is_waiting = answered.is_some();
        if let Some(answered) = answered {
            answered(body.ok_or(quorate::engine::Lost));
        }
        is_waiting
    }

    /// The member is no more: nobody will be told.
    pub(crate) fn forget(&self) {
        let waiting = std::mem::take(&mut self.asks.lock().unwrap().waiting);
        drop(waiting);
        self.out.lock().unwrap().clear();
    }

    /// What a member calls to answer the question `id` of another.
    pub(crate) fn reply_to(&self, id: AskId) -> AskReply {
        let mut promise = Promise { id, out: Some(Arc::clone(&self.out)) };
        Box::new(move |body| promise.keep(Some(body)))
    }
}

/// A reply that is dropped says that the question was lost.
struct Promise {
    id: AskId,
    out: Option<Arc<Mutex<Vec<Posted>>>>,
}

impl Promise {
    fn keep(&mut self, body: Option<Bytes>) {
        if let Some(out) = self.out.take() {
            out.lock().unwrap().push(Posted::Reply { id: self.id, body });
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.keep(None);
    }
}

impl Outbox for Post {
    fn send(&self, to: MemberId, class: Class, messages: Vec<Bytes>) {
        self.out.lock().unwrap().push(Posted::Messages { to: to.0, class, messages });
    }

    fn ask(&self, to: MemberId, kind: AskKind, body: Bytes, deadline: Moment, answered: Answered) {
        let id = {
            let mut asks = self.asks.lock().unwrap();
            let id = asks.next;
            asks.next += 1;
            asks.waiting.insert(id, answered);
            id
        };
        self.out.lock().unwrap().push(Posted::Ask { id, to: to.0, kind, body, deadline });
    }

    fn send_snapshot(&self, to: MemberId, header: Bytes, copy: SnapshotCopy) {
        self.out.lock().unwrap().push(Posted::Snapshot { to: to.0, header, copy });
    }
}
