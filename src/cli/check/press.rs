//! Writes by many workers at once, and what became of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::base::{Clock, Moment, SystemClock};
use crate::cli::exit::Exit;
use crate::client::Client;

/// One call may take so long, and is an error then.
const CALL: Duration = Duration::from_secs(60);

/// At most so many calls at once, each on the next of the connections.
pub(super) struct Press {
    clients: Vec<Client>,
    places: Arc<Semaphore>,
    workers: u32,
    turn: usize,
    tally: Arc<Mutex<Tally>>,
    clock: SystemClock,
    began: Moment,
}

/// What became of the calls.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tally {
    /// Of each that succeeded.
    pub seconds: Vec<f64>,
    /// By their text.
    pub errors: BTreeMap<String, u64>,
    /// From the first call to the last answer.
    pub took: Duration,
}

impl Press {
    pub(super) fn new(clients: &[Client], workers: u32) -> Self {
        let clock = SystemClock::new();
        Self {
            clients: clients.iter().map(|client| client.within(CALL)).collect(),
            places: Arc::new(Semaphore::new(workers as usize)),
            workers,
            turn: 0,
            tally: Arc::default(),
            began: clock.now(),
            clock,
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.clock.now().since(self.began)
    }

    /// Waits until a worker is free.
    pub(super) async fn worker(&self) -> OwnedSemaphorePermit {
        loop {
            // The semaphore is never closed.
            if let Ok(permit) = Arc::clone(&self.places).acquire_owned().await {
                return permit;
            }
        }
    }

    /// Begins one write.
    pub(super) fn put(&mut self, worker: OwnedSemaphorePermit, key: Vec<u8>, value: &'static [u8]) {
        let client = self.clients[self.turn % self.clients.len()].clone();
        self.turn += 1;
        let (clock, tally) = (self.clock, Arc::clone(&self.tally));
        tokio::spawn(async move {
            let began = clock.now();
            let outcome = client.put(key, value).await;
            let seconds = clock.now().since(began).as_secs_f64();
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            match outcome {
                Ok(_) => tally.seconds.push(seconds),
                Err(error) => *tally.errors.entry(error.text()).or_default() += 1,
            }
            drop(worker);
        });
    }

    /// Waits for the answers of all.
    pub(super) async fn end(self) -> Tally {
        // The semaphore is never closed.
        let _all = self.places.acquire_many(self.workers).await.ok();
        let mut tally =
            std::mem::take(&mut *self.tally.lock().unwrap_or_else(PoisonError::into_inner));
        tally.took = self.elapsed();
        tally
    }
}

impl Tally {
    /// The lines about calls that failed.
    pub(super) fn failures(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.errors.is_empty() {
            lines.push("FAIL: too many errors".to_owned());
        }
        lines.extend(
            self.errors.iter().map(|(text, count)| format!("FAIL: ERROR({text}) -> {count}")),
        );
        lines
    }
}

/// `prefix`, and etcdctl's bytes behind it: a random number as Go's varint, in front of zeros.
pub(super) fn random_key(prefix: &str, bytes: usize) -> Result<Vec<u8>, Exit> {
    let mut dice = [0; 8];
    getrandom::fill(&mut dice).map_err(|error| Exit::error(format!("no random bytes: {error}")))?;
    let mut key = prefix.as_bytes().to_vec();
    let behind = key.len();
    // Go's signed varints have the sign in the last bit: 0 for what is not negative.
    let mut number = u64::from_le_bytes(dice) >> 1 << 1;
    while number >= 0x80 {
        key.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    key.push(number as u8);
    key.resize(behind + bytes, 0);
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_random_in_front_and_as_long_as_they_should_be() {
        let keys: Vec<_> = (0..64).map(|_| random_key("/p/", 256).unwrap()).collect();
        assert!(
            keys.iter()
                .all(|key| key.len() == 259 && key.starts_with(b"/p/") && key[3..13] != [0; 10])
        );
        assert_ne!(keys[0], keys[1]);
    }
}
