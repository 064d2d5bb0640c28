//! Messages that wait to leave for one member, of one class: bounded, and the bound drops.
//!
//! Raft repeats what is lost, so that a full outbox costs time, never memory. While no connection is there or in the
//! making it is shut, because a vote of ten seconds ago helps nobody.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

/// What a message costs beside its bytes.
const MESSAGE_OVERHEAD_BYTES: usize = size_of::<Bytes>();

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Bytes>,
    bytes: usize,
    open: bool,
    /// Something was dropped since the queue was last empty.
    overflown: bool,
    dropped: u64,
}

#[derive(Debug)]
pub(super) struct Outbox {
    queue: Mutex<Queue>,
    filled: Notify,
    bytes_max: usize,
}

/// What became of messages that were put in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Put {
    Queued,
    /// At least one was dropped because it is shut.
    Shut,
    /// At least one was dropped because it is full; `first` since it was last empty.
    Full {
        first: bool,
    },
}

impl Outbox {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { queue: Mutex::default(), filled: Notify::new(), bytes_max }
    }

    /// One lock and at most one wake-up for all of them.
    pub(super) fn put(&self, messages: Vec<Bytes>) -> Put {
        let mut queue = self.lock();
        if !queue.open {
            queue.dropped += messages.len() as u64;
            return Put::Shut;
        }
        let was_empty = queue.messages.is_empty();
        let mut outcome = Put::Queued;
        for message in messages {
            let cost = message.len() + MESSAGE_OVERHEAD_BYTES;
            if queue.bytes + cost > self.bytes_max {
                queue.dropped += 1;
                if outcome == Put::Queued {
                    outcome = Put::Full { first: !queue.overflown };
                }
                queue.overflown = true;
                continue;
            }
            queue.bytes += cost;
            queue.messages.push_back(message);
        }
        let wake = was_empty && !queue.messages.is_empty();
        drop(queue);
        if wake {
            self.filled.notify_one();
        }
        outcome
    }

    /// Waits for a message, then takes all that are there, up to about `bytes_max` of them. For one taker at a time.
    pub(super) async fn take(&self, bytes_max: usize, batch: &mut Vec<Bytes>) {
        loop {
            if self.take_now(bytes_max, batch) {
                return;
            }
            self.filled.notified().await;
        }
    }

    pub(super) fn open(&self) {
        self.lock().open = true;
    }

    /// Drops what waits, and what comes until it is open again.
    pub(super) fn shut(&self) {
        let mut queue = self.lock();
        queue.dropped += queue.messages.len() as u64;
        queue.messages = VecDeque::new();
        queue.bytes = 0;
        queue.open = false;
        queue.overflown = false;
    }

    pub(super) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    pub(super) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    fn take_now(&self, bytes_max: usize, batch: &mut Vec<Bytes>) -> bool {
        let mut queue = self.lock();
        let mut taken = 0;
        while taken < bytes_max {
            let Some(message) = queue.messages.pop_front() else { break };
            taken += message.len() + MESSAGE_OVERHEAD_BYTES;
            batch.push(message);
        }
        queue.bytes -= taken;
        if queue.messages.is_empty() {
            queue.overflown = false;
        }
        taken > 0
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: usize) -> Bytes {
        Bytes::from(vec![0; bytes])
    }

    #[test]
    fn it_drops_beyond_its_bound_and_says_so_once() {
        let outbox = Outbox::new(2 * (100 + MESSAGE_OVERHEAD_BYTES));
        outbox.open();
        assert_eq!(outbox.put(vec![message(100), message(100)]), Put::Queued);
        assert_eq!(outbox.put(vec![message(1)]), Put::Full { first: true });
        assert_eq!(outbox.put(vec![message(1), message(1)]), Put::Full { first: false });
        assert_eq!(outbox.dropped(), 3);
        let mut batch = Vec::new();
        assert!(outbox.take_now(usize::MAX, &mut batch));
        assert_eq!((batch.len(), outbox.bytes()), (2, 0));
        assert_eq!(outbox.put(vec![message(100)]), Put::Queued);
    }

    #[test]
    fn shut_it_keeps_nothing() {
        let outbox = Outbox::new(1_000);
        assert_eq!(outbox.put(vec![message(1)]), Put::Shut);
        outbox.open();
        assert_eq!(outbox.put(vec![message(1)]), Put::Queued);
        outbox.shut();
        assert!(!outbox.take_now(usize::MAX, &mut Vec::new()));
        assert_eq!((outbox.bytes(), outbox.dropped()), (0, 2));
    }

    #[test]
    fn a_batch_ends_near_its_bound() {
        let outbox = Outbox::new(1_000_000);
        outbox.open();
        outbox.put((0..10).map(|_| message(100)).collect());
        let mut batch = Vec::new();
        assert!(outbox.take_now(250, &mut batch));
        assert_eq!(batch.len(), 2);
    }
}
