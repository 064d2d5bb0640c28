//! The queue in front of a turn: bounded, drained as a whole, one wake-up per batch.
//!
//! Many threads push, one turn drains. A push wakes the turn only when the queue was empty, so that a thousand
//! requests that arrive together cost one wake-up. The simulation drains without ever waiting.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A bounded queue; see the module.
#[derive(Debug)]
pub(super) struct Inbox<T> {
    queue: Mutex<Queue<T>>,
    filled: Condvar,
    len_max: usize,
}

#[derive(Debug)]
struct Queue<T> {
    items: VecDeque<T>,
    closed: bool,
}

/// Why a push did not happen; the item comes back.
#[derive(Debug)]
pub(super) enum Refused<T> {
    Full(T),
    Closed(T),
}

impl<T> Inbox<T> {
    pub(super) fn new(len_max: usize) -> Self {
        let queue = Mutex::new(Queue { items: VecDeque::new(), closed: false });
        Self { queue, filled: Condvar::new(), len_max }
    }

    /// Queues one item from outside, if there is room.
    pub(super) fn push(&self, item: T) -> Result<(), Refused<T>> {
        self.enqueue(item, self.len_max)
    }

    /// Queues one item of the engine itself. Its number is bounded by what caused it (one answer for each batch
    /// written, entry applied, message asked), so it is never refused for lack of room: losing it would wedge a turn.
    pub(super) fn push_internal(&self, item: T) {
        // A closed inbox means that the engine stops: nobody will miss the item.
        let _ = self.enqueue(item, usize::MAX);
    }

    fn enqueue(&self, item: T, len_max: usize) -> Result<(), Refused<T>> {
        let mut queue = self.lock();
        if queue.closed {
            return Err(Refused::Closed(item));
        }
        if queue.items.len() >= len_max {
            return Err(Refused::Full(item));
        }
        let was_empty = queue.items.is_empty();
        queue.items.push_back(item);
        drop(queue);
        if was_empty {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Everything that is queued, in order.
    pub(super) fn drain(&self) -> VecDeque<T> {
        std::mem::take(&mut self.lock().items)
    }

    pub(super) fn len(&self) -> usize {
        self.lock().items.len()
    }

    /// Sleeps until something is queued, the inbox is closed, or `timeout` has passed.
    pub(super) fn wait(&self, timeout: Duration) {
        let queue = self.lock();
        if queue.items.is_empty() && !queue.closed {
            drop(
                self.filled
                    .wait_timeout_while(queue, timeout, |queue| {
                        queue.items.is_empty() && !queue.closed
                    })
                    .unwrap_or_else(PoisonError::into_inner),
            );
        }
    }

    /// Refuses everything from now on and wakes the turn; what is queued can still be drained.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        // A panic elsewhere must not turn into a second one here: the queue is whole after every statement.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_for_others_and_not_for_the_engine() {
        let inbox = Inbox::new(1);
        inbox.push(1).unwrap();
        assert!(matches!(inbox.push(2), Err(Refused::Full(2))));
        inbox.push_internal(3);
        assert_eq!(inbox.drain(), [1, 3]);
        inbox.close();
        assert!(matches!(inbox.push(4), Err(Refused::Closed(4))));
    }
}
