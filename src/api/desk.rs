//! Where the answers of one connection's calls wait for its thread.
//!
//! Answers come from other threads, many at once, and to wake a thread of tokio's from outside costs a system call each
//! time. So whoever has an answer puts it here, and only the first one wakes; the rest is taken with it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use crate::proto::Outcome;

/// See the module. Bounded by the calls that its connection may have under way.
pub(super) struct Desk {
    waiting: Mutex<Waiting>,
    filled: Notify,
}

struct Waiting {
    answers: Vec<(oneshot::Sender<Outcome>, Outcome)>,
    is_open: bool,
}

impl Desk {
    pub(super) fn new() -> Arc<Self> {
        let waiting = Mutex::new(Waiting { answers: Vec::new(), is_open: true });
        Arc::new(Self { waiting, filled: Notify::new() })
    }

    /// From any thread.
    pub(super) fn put(&self, asker: oneshot::Sender<Outcome>, outcome: Outcome) {
        let mut waiting = self.waiting();
        if !waiting.is_open {
            drop(waiting);
            // Whoever hung up wants no answer.
            let _ = asker.send(outcome);
            return;
        }
        waiting.answers.push((asker, outcome));
        let is_first = waiting.answers.len() == 1;
        drop(waiting);
        if is_first {
            self.filled.notify_one();
        }
    }

    /// Hands answers to their askers, on the askers' own thread, until [`close`](Self::close).
    pub(super) async fn serve(self: Arc<Self>) {
        let mut taken = Vec::new();
        loop {
            self.filled.notified().await;
            let mut waiting = self.waiting();
            std::mem::swap(&mut waiting.answers, &mut taken);
            let is_open = waiting.is_open;
            drop(waiting);
            for (asker, outcome) in taken.drain(..) {
                let _ = asker.send(outcome);
            }
            if !is_open {
                return;
            }
        }
    }

    /// From now on answers go straight to their askers.
    pub(super) fn close(&self) {
        self.waiting().is_open = false;
        self.filled.notify_one();
    }

    /// A lock is held for a push or a swap: nobody has left anything half done.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[tokio::test]
    async fn every_answer_finds_its_asker() {
        let desk = Desk::new();
        let serving = tokio::spawn(Arc::clone(&desk).serve());
        let (askers, answers): (Vec<_>, Vec<_>) = (0..100).map(|_| oneshot::channel()).unzip();
        let putting = Arc::clone(&desk);
        let thread = std::thread::spawn(move || {
            for (number, asker) in askers.into_iter().enumerate() {
                putting.put(asker, Ok(Bytes::from(vec![number as u8])));
            }
        });
        for (number, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer.await.unwrap().unwrap()[..], [number as u8]);
        }
        thread.join().unwrap();
        let (late, answer) = oneshot::channel();
        desk.close();
        serving.await.unwrap();
        desk.put(late, Ok(Bytes::new()));
        assert!(answer.await.unwrap().is_ok());
    }
}
