//! The reader pool: storage is read here, never on an endpoint's thread.
//!
//! ```text
//!   fresh jobs ──► the quick thread, and whoever else is free
//!   long jobs  ──► wait ──► a few under way, a slice each in turn, on the other threads
//! ```
//!
//! What is asked first is read a little: most is answered by that. What is not is long, and stands behind everything that
//! is short; one thread takes nothing long, so that however many long reads there are, a short one waits for none of
//! them. Nor do they have more than half of the processors: writes need some, too. Without threads (the simulation) a job
//! runs where it is submitted.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use super::shared::lock;
use crate::base::limits;

/// One batch of reads, of which each takes little time.
pub(super) type Job = Box<dyn FnOnce() + Send>;

/// One slice of a long read; what is left of it, if anything is.
pub struct LongJob(Box<dyn FnOnce() -> Option<Self> + Send>);

impl LongJob {
    pub fn new(slice: impl FnOnce() -> Option<Self> + Send + 'static) -> Self {
        Self(Box::new(slice))
    }

    fn run(self) -> Option<Self> {
        (self.0)()
    }
}

impl fmt::Debug for LongJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LongJob").finish_non_exhaustive()
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Readers {
    jobs: Mutex<Jobs>,
    /// For the quick thread, and for the others.
    quick: Condvar,
    filled: Condvar,
    is_threaded: AtomicBool,
}

#[derive(Default)]
struct Jobs {
    fresh: VecDeque<Job>,
    /// Long ones that have not begun.
    waiting: VecDeque<LongJob>,
    /// Long ones between two slices; `under_way` counts those that are run now, too.
    between: VecDeque<LongJob>,
    under_way: usize,
    /// Slices that are run now, and how many may be.
    running: usize,
    running_max: usize,
    /// The quick thread waits for something.
    is_quick_idle: bool,
    is_closed: bool,
}

enum Next {
    Fresh(Job),
    Slice(LongJob),
}

impl Readers {
    /// False if the pool is stopping or has more work than it can queue; the job is dropped, so whoever waits for it
    /// must answer from its drop.
    pub(super) fn submit(&self, job: Job) -> bool {
        if !self.is_threaded.load(Ordering::Acquire) {
            job();
            return true;
        }
        let mut jobs = lock(&self.jobs);
        if jobs.is_closed || jobs.fresh.len() >= limits::DRIVER_INBOX_MAX {
            return false;
        }
        jobs.fresh.push_back(job);
        let is_first = jobs.fresh.len() == 1;
        let wakes_quick = std::mem::take(&mut jobs.is_quick_idle);
        drop(jobs);
        if wakes_quick {
            self.quick.notify_one();
        } else if is_first {
            self.filled.notify_one();
        }
        true
    }

    /// The same for what takes long.
    pub(super) fn submit_long(&self, job: LongJob) -> bool {
        if !self.is_threaded.load(Ordering::Acquire) {
            let mut left = Some(job);
            while let Some(job) = left {
                left = job.run();
            }
            return true;
        }
        let mut jobs = lock(&self.jobs);
        if jobs.is_closed || jobs.waiting.len() >= limits::LONG_READS_WAITING_MAX {
            return false;
        }
        jobs.waiting.push_back(job);
        drop(jobs);
        self.filled.notify_one();
        true
    }

    pub(super) fn close(&self) {
        lock(&self.jobs).is_closed = true;
        self.quick.notify_all();
        self.filled.notify_all();
    }

    /// One thread for what is quick, and some for everything. They live until the pool is closed and drained.
    pub(super) fn spawn(
        shared: &Arc<super::shared::Shared>,
        processors: usize,
    ) -> std::io::Result<Vec<std::thread::JoinHandle<()>>> {
        let half = processors / 2;
        lock(&shared.readers.jobs).running_max = half.max(1);
        shared.readers.is_threaded.store(true, Ordering::Release);
        (0..=half.max(2))
            .map(|number| {
                let shared = Arc::clone(shared);
                std::thread::Builder::new()
                    .name(format!("read-{number}"))
                    .spawn(move || shared.readers.run(number == 0))
            })
            .collect()
    }

    fn run(&self, is_quick: bool) {
        let mut likes_long = false;
        loop {
            let next = if is_quick { self.fresh() } else { self.any(likes_long) };
            // In turn, so that neither starves.
            likes_long = !likes_long;
            match next {
                Some(Next::Fresh(job)) => job(),
                Some(Next::Slice(job)) => {
                    let left = job.run();
                    let mut jobs = lock(&self.jobs);
                    jobs.running -= 1;
                    match left {
                        Some(left) => jobs.between.push_back(left),
                        None => jobs.under_way -= 1,
                    }
                }
                None => return,
            }
        }
    }

    /// The quick thread's next.
    fn fresh(&self) -> Option<Next> {
        let mut jobs = lock(&self.jobs);
        loop {
            if let Some(job) = jobs.fresh.pop_front() {
                let has_more = !jobs.fresh.is_empty();
                drop(jobs);
                if has_more {
                    self.filled.notify_one();
                }
                return Some(Next::Fresh(job));
            }
            if jobs.is_closed {
                return None;
            }
            jobs.is_quick_idle = true;
            jobs = self.quick.wait(jobs).unwrap_or_else(std::sync::PoisonError::into_inner);
            jobs.is_quick_idle = false;
        }
    }

    fn any(&self, likes_long: bool) -> Option<Next> {
        let mut jobs = lock(&self.jobs);
        loop {
            let next = match likes_long {
                true => jobs.long().or_else(|| jobs.fresh.pop_front().map(Next::Fresh)),
                false => jobs.fresh.pop_front().map(Next::Fresh).or_else(|| jobs.long()),
            };
            if next.is_some() {
                let has_more = !jobs.fresh.is_empty() || jobs.has_long();
                drop(jobs);
                if has_more {
                    self.filled.notify_one();
                }
                return next;
            }
            if jobs.is_closed {
                return None;
            }
            jobs = self.filled.wait(jobs).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }
}

impl Jobs {
    fn has_long(&self) -> bool {
        let may_begin = self.under_way < limits::LONG_READS_MAX && !self.waiting.is_empty();
        self.running < self.running_max && (may_begin || !self.between.is_empty())
    }

    /// Few are under way at a time: each holds what it has read.
    fn long(&mut self) -> Option<Next> {
        if !self.has_long() {
            return None;
        }
        let begun = self.under_way < limits::LONG_READS_MAX;
        let begun = begun.then(|| self.waiting.pop_front()).flatten();
        self.under_way += usize::from(begun.is_some());
        let job = begun.or_else(|| self.between.pop_front())?;
        self.running += 1;
        Some(Next::Slice(job))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// So many slices.
    fn sliced(slices: usize, ran: &Arc<AtomicUsize>) -> LongJob {
        let ran = Arc::clone(ran);
        LongJob::new(move || {
            ran.fetch_add(1, Ordering::Relaxed);
            (slices > 1).then(|| sliced(slices - 1, &ran))
        })
    }

    #[test]
    fn without_threads_everything_runs_at_once() {
        let (readers, ran) = (Readers::default(), Arc::new(AtomicUsize::new(0)));
        assert!(readers.submit_long(sliced(3, &ran)));
        assert_eq!(ran.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn few_long_reads_are_under_way_and_the_quick_thread_takes_none() {
        let (readers, ran) = (Readers::default(), Arc::new(AtomicUsize::new(0)));
        readers.is_threaded.store(true, Ordering::Relaxed);
        lock(&readers.jobs).running_max = usize::MAX;
        for _ in 0..limits::LONG_READS_MAX + 5 {
            assert!(readers.submit_long(sliced(2, &ran)));
        }
        let begun = |readers: &Readers| lock(&readers.jobs).under_way;
        let mut taken = Vec::new();
        while begun(&readers) < limits::LONG_READS_MAX {
            taken.push(readers.any(true).unwrap());
        }
        assert!(lock(&readers.jobs).long().is_none());
        assert!(readers.submit(Box::new(|| {})));
        assert!(matches!(readers.fresh(), Some(Next::Fresh(_))));
        readers.close();
        assert!(readers.fresh().is_none());
        assert!(!readers.submit(Box::new(|| {})) && !readers.submit_long(sliced(1, &ran)));
    }

    #[test]
    fn long_reads_leave_processors_to_others() {
        let (readers, ran) = (Readers::default(), Arc::new(AtomicUsize::new(0)));
        readers.is_threaded.store(true, Ordering::Relaxed);
        lock(&readers.jobs).running_max = 1;
        assert!(readers.submit_long(sliced(2, &ran)) && readers.submit_long(sliced(1, &ran)));
        assert!(matches!(readers.any(true), Some(Next::Slice(_))));
        assert!(!lock(&readers.jobs).has_long());
        // What is short is run nevertheless, by whoever is free.
        assert!(readers.submit(Box::new(|| {})));
        assert!(matches!(readers.any(true), Some(Next::Fresh(_))));
        lock(&readers.jobs).running -= 1;
        assert!(matches!(readers.any(true), Some(Next::Slice(_))));
    }
}
