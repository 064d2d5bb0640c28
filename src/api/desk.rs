//! Where the calls of one connection wait for the service, and its answers for the connection's thread.
//!
//! Requests come many at once, and each is a task of its own; so do the answers, from other threads, and to wake a thread
//! from outside costs a system call each time. So whoever has a call or an answer puts it here, and only the first one
//! wakes; the rest is taken with it. What was read from the connection together is one batch to the service, which asks
//! other threads once for all of it, and what it answers together is written together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use crate::proto::{Call, Caller, Outcome, Service};

/// See the module. Bounded by the calls that its connection may have under way.
pub(super) struct Desk {
    service: Arc<dyn Service>,
    waiting: Mutex<Waiting>,
    filled: Notify,
}

struct Waiting {
    /// In the order of asking; those in a row of one caller are a batch.
    calls: Vec<(Caller, Vec<Call>)>,
    answers: Vec<(oneshot::Sender<Outcome>, Outcome)>,
    is_open: bool,
}

impl Desk {
    pub(super) fn new(service: Arc<dyn Service>) -> Arc<Self> {
        let waiting = Waiting { calls: Vec::new(), answers: Vec::new(), is_open: true };
        Arc::new(Self { service, waiting: Mutex::new(waiting), filled: Notify::new() })
    }

    /// On the connection's thread; the service gets it when the tasks that are ready have run.
    pub(super) fn ask(&self, caller: &Caller, call: Call) {
        let mut waiting = self.waiting();
        if !waiting.is_open {
            drop(waiting);
            self.service.call(caller, vec![call]);
            return;
        }
        let is_first = waiting.is_empty();
        match waiting.calls.last_mut() {
            Some((last, calls)) if last == caller => calls.push(call),
            _ => waiting.calls.push((caller.clone(), vec![call])),
        }
        drop(waiting);
        if is_first {
            self.filled.notify_one();
        }
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
        let is_first = waiting.is_empty();
        waiting.answers.push((asker, outcome));
        drop(waiting);
        if is_first {
            self.filled.notify_one();
        }
    }

    /// Hands calls to the service, and answers to their askers, on the askers' own thread, until [`close`](Self::close).
    pub(super) async fn serve(self: Arc<Self>) {
        let (mut calls, mut answers) = (Vec::new(), Vec::new());
        loop {
            self.filled.notified().await;
            let mut waiting = self.waiting();
            std::mem::swap(&mut waiting.calls, &mut calls);
            std::mem::swap(&mut waiting.answers, &mut answers);
            let is_open = waiting.is_open;
            drop(waiting);
            for (caller, batch) in calls.drain(..) {
                self.service.call(&caller, batch);
            }
            for (asker, outcome) in answers.drain(..) {
                let _ = asker.send(outcome);
            }
            if !is_open {
                return;
            }
        }
    }

    /// From now on calls go straight to the service, and answers to their askers.
    pub(super) fn close(&self) {
        self.waiting().is_open = false;
        self.filled.notify_one();
    }

    /// A lock is held for a push or a swap: nobody has left anything half done.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.answers.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::proto::{Answers, Duplex, Method, Reply};

    /// Notes who asked for what, and answers nothing.
    #[derive(Default)]
    struct Batches(Mutex<Vec<(bool, Vec<u32>)>>);

    impl Service for Batches {
        fn call(&self, caller: &Caller, batch: Vec<Call>) {
            let deadlines = batch.iter().map(|call| call.deadline_ms).collect();
            self.0.lock().unwrap().push((caller.requires_leader, deadlines));
        }

        fn open(&self, _: &Caller, _: Method, _: Bytes, _: Duplex) {}
    }

    struct Nobody;

    impl Answers for Nobody {
        fn answer(&self, _: u64, _: Outcome) {}
    }

    #[tokio::test]
    async fn what_is_asked_together_is_a_batch_of_its_caller() {
        let service = Arc::new(Batches::default());
        let desk = Desk::new(Arc::clone(&service) as Arc<dyn Service>);
        let serving = tokio::spawn(Arc::clone(&desk).serve());
        let ask = |requires_leader, deadline_ms| {
            let reply = Reply::new(Arc::new(Nobody), 0);
            let call = Call { method: Method::Range, body: Bytes::new(), deadline_ms, reply };
            desk.ask(&Caller { requires_leader, ..Caller::default() }, call);
        };
        for (requires_leader, number) in [(false, 1), (false, 2), (true, 3), (false, 4)] {
            ask(requires_leader, number);
        }
        assert!(service.0.lock().unwrap().is_empty());
        desk.close();
        serving.await.unwrap();
        ask(false, 5);
        let batches = std::mem::take(&mut *service.0.lock().unwrap());
        let of = |leader, numbers: &[u32]| (leader, numbers.to_vec());
        assert_eq!(batches, [of(false, &[1, 2]), of(true, &[3]), of(false, &[4]), of(false, &[5])]);
    }

    #[tokio::test]
    async fn every_answer_finds_its_asker() {
        let desk = Desk::new(Arc::new(Batches::default()));
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
