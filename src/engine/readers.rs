//! The reader pool: storage is read here, never on an endpoint's thread.
//!
//! Without threads (the simulation) a job runs where it is submitted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::inbox::{Inbox, Refused};
use crate::base::limits;

/// One batch of reads.
pub(super) type Job = Box<dyn FnOnce() + Send>;

/// See the module.
pub(super) struct Readers {
    jobs: Inbox<Job>,
    is_threaded: AtomicBool,
}

impl Readers {
    pub(super) fn new() -> Self {
        Self { jobs: Inbox::new(limits::DRIVER_INBOX_MAX), is_threaded: AtomicBool::new(false) }
    }

    /// False if the pool is stopping or has more work than it can queue; the job is dropped, so whoever waits for it
    /// must answer from its drop.
    pub(super) fn submit(&self, job: Job) -> bool {
        if !self.is_threaded.load(Ordering::Acquire) {
            job();
            return true;
        }
        match self.jobs.push(job) {
            Ok(()) => true,
            Err(Refused::Full(_) | Refused::Closed(_)) => false,
        }
    }

    pub(super) fn close(&self) {
        self.jobs.close();
    }

    /// Threads live until the inbox is closed and drained.
    pub(super) fn spawn(
        shared: &Arc<super::shared::Shared>,
        count: usize,
    ) -> std::io::Result<Vec<std::thread::JoinHandle<()>>> {
        shared.readers.is_threaded.store(true, Ordering::Release);
        (0..count)
            .map(|number| {
                let shared = Arc::clone(shared);
                std::thread::Builder::new()
                    .name(format!("read-{number}"))
                    .spawn(move || shared.readers.run())
            })
            .collect()
    }

    fn run(&self) {
        loop {
            match self.jobs.pop() {
                Some(job) => job(),
                None if self.jobs.is_closed() => return,
                None => self.jobs.wait(Duration::from_secs(3_600)),
            }
        }
    }
}
