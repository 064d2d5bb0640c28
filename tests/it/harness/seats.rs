//! How many clusters may live at once: tests run side by side, and a small machine has two cores.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

const SEATS: usize = 2;

static TAKEN: Mutex<usize> = Mutex::new(0);
static GIVEN_BACK: Condvar = Condvar::new();

/// One cluster's right to run; given back when dropped.
pub(crate) struct Seat(());

impl Seat {
    pub(crate) fn take() -> Self {
        let mut taken = taken();
        while *taken >= SEATS {
            taken = GIVEN_BACK.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        *taken += 1;
        Self(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        *taken() -= 1;
        GIVEN_BACK.notify_one();
    }
}

/// A test that failed has not spoilt the count.
fn taken() -> MutexGuard<'static, usize> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}
