//! What the answers of one connection weigh that its client has not taken, among those of all connections.

use std::sync::{Mutex, PoisonError};

use super::bounds::{Bounds, Origin};
use super::crowd::Guest;
use crate::base::limits;

/// See the module.
#[derive(Debug)]
pub struct Unsent {
    /// Nobody is turned away where somebody else goes, so there is one.
    held: Option<Guest<Origin>>,
    bytes: Mutex<Bytes>,
}

#[derive(Debug, Default)]
struct Bytes {
    all: usize,
    /// What the others know of.
    told: usize,
}

impl Unsent {
    /// Of a connection that came from `origin`; of a caller inside this process nobody is told.
    pub fn of(bounds: &Bounds, origin: Option<Origin>) -> Self {
        let held = origin.and_then(|origin| bounds.unsent.enter(origin, 0).ok());
        Self { held, bytes: Mutex::default() }
    }

    /// What an answer of so many bytes weighs: one alone never fills the room, or nobody could read it.
    pub fn weight(answer_bytes: usize) -> usize {
        answer_bytes.min(limits::UNSENT_BYTES_MAX / 4)
    }

    /// So much more waits for the client.
    pub fn hold(&self, weight: usize) {
        self.change(|all| all + weight);
    }

    /// It has taken so much, or never will.
    pub fn release(&self, weight: usize) {
        self.change(|all| all.saturating_sub(weight));
    }

    /// Waits until so much waits for it that it has to be cut.
    pub async fn overflown(&self) {
        match &self.held {
            Some(held) => held.shown_out().await,
            None => std::future::pending().await,
        }
    }

    /// Small answers are the connection's own business: the lock that all share is for large ones.
    fn change(&self, to: impl FnOnce(usize) -> usize) {
        let Some(held) = &self.held else { return };
        // Whole after every statement.
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.all = to(bytes.all);
        let tell = bytes.all.saturating_sub(limits::UNSENT_FREE_BYTES);
        if tell > bytes.told {
            held.grow(tell - bytes.told);
        } else if tell < bytes.told {
            held.shrink(bytes.told - tell);
        }
        bytes.told = tell;
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::super::bounds::Sizes;
    use super::*;

    #[test]
    fn small_answers_are_told_to_nobody_and_large_ones_weigh_until_they_are_taken() {
        let bounds = Bounds::with(Sizes { unsent_bytes: 1 << 20, ..Sizes::default() });
        let origin = SocketAddr::from((Ipv4Addr::LOCALHOST, 1)).into();
        let (one, other) = (Unsent::of(&bounds, Some(origin)), Unsent::of(&bounds, Some(origin)));
        one.hold(limits::UNSENT_FREE_BYTES);
        assert_eq!(bounds.unsent.weight(), 0);
        one.hold(1_000);
        other.hold(limits::UNSENT_FREE_BYTES + 500);
        assert_eq!(bounds.unsent.weight(), 1_500);
        one.release(2_000);
        assert_eq!(bounds.unsent.weight(), 500);
        drop(other);
        assert_eq!(bounds.unsent.weight(), 0);
    }

    #[test]
    fn one_answer_alone_never_fills_the_room() {
        assert_eq!(Unsent::weight(7), 7);
        assert!(Unsent::weight(usize::MAX) < limits::UNSENT_BYTES_MAX);
    }
}
