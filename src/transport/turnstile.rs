//! One at a time: work of which there may be very much at once, and which is not what others wait for.
//!
//! A runtime of one thread runs what is ready in the order in which it became so. A thousand handshakes, or a thousand
//! watchers of one key, are a thousand steps that everybody else waits for. Behind a turnstile only one of them is ready
//! at a time: between two of them the sockets are looked at, and whatever else is ready runs. Nothing is lost by it:
//! there is always a next one.

use std::cell::RefCell;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;

/// See the module.
#[derive(Clone, Debug)]
pub struct Turnstile(Arc<Semaphore>);

/// The right to go on now. To be ended, not only dropped: others have their turn first.
#[derive(Debug)]
pub struct Turn(Option<OwnedSemaphorePermit>);

thread_local! {
    static OF_THREAD: RefCell<Option<Turnstile>> = const { RefCell::new(None) };
}

impl Default for Turnstile {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Turnstile {
    /// The one that everybody shares who tells many clients something on this thread's runtime.
    pub fn of_thread() -> Self {
        OF_THREAD.with_borrow_mut(|kept| kept.get_or_insert_with(Self::default).clone())
    }

    /// Waits for a turn. It must not be held while waiting for anybody outside.
    pub async fn turn(&self) -> Turn {
        // Never closed.
        Turn(Arc::clone(&self.0).acquire_owned().await.ok())
    }

    /// Runs it to its end, each of its steps in a turn of its own.
    pub async fn steps<F: Future>(&self, work: F) -> F::Output {
        let mut work = pin!(work);
        let bell = Arc::new(Bell(Notify::new()));
        let waker = Waker::from(Arc::clone(&bell));
        bell.0.notify_one();
        loop {
            bell.0.notified().await;
            let turn = self.turn().await;
            let step = work.as_mut().poll(&mut Context::from_waker(&waker));
            turn.end().await;
            if let Poll::Ready(done) = step {
                return done;
            }
        }
    }
}

impl Turn {
    /// Lets the runtime look at its sockets, and run what is ready, before the next turn begins.
    pub async fn end(self) {
        yield_now().await;
        drop(self.0);
    }
}

/// Says that there is a next step.
struct Bell(Notify);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Notes who had a turn.
    async fn busy(turnstile: Turnstile, steps: usize, noted: Arc<Mutex<Vec<char>>>, name: char) {
        let work = async {
            for _ in 0..steps {
                noted.lock().unwrap().push(name);
                let mut is_first = true;
                std::future::poll_fn(|context| {
                    if std::mem::replace(&mut is_first, false) {
                        context.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    Poll::Ready(())
                })
                .await;
            }
        };
        turnstile.steps(work).await;
    }

    #[tokio::test]
    async fn between_two_steps_everybody_else_has_a_turn() {
        let noted = Arc::new(Mutex::new(Vec::new()));
        let turnstile = Turnstile::default();
        let many: Vec<_> = (0..100)
            .map(|_| tokio::spawn(busy(turnstile.clone(), 3, Arc::clone(&noted), 'x')))
            .collect();
        let others = Arc::clone(&noted);
        let other = tokio::spawn(async move {
            for _ in 0..20 {
                others.lock().unwrap().push('o');
                yield_now().await;
            }
        });
        other.await.unwrap();
        let steps = noted.lock().unwrap().iter().filter(|&&who| who == 'x').count();
        assert!(steps < 45, "{steps} steps beside 20 of the other's");
        for one in many {
            one.await.unwrap();
        }
        assert_eq!(noted.lock().unwrap().len(), 320);
    }
}
