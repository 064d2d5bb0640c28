//! The turns, each in a loop on a thread of its own.
//!
//! A fault, or a panic, in any of them stops them all: a member that cannot trust one of its parts must not go on
//! with the others. What was acknowledged is on a majority's disks.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::handle::Handle;
use super::parts::Parts;
use super::readers::Readers;
use super::shared::Shared;
use crate::base::Moment;
use crate::storage::Fault;

/// Longest sleep of a turn that has no deadline of its own: how late it may notice age alone.
const IDLE_WAIT: Duration = Duration::from_millis(500);
/// Sleep of a turn that others hold back.
const HELD_WAIT: Duration = Duration::from_millis(5);

/// One pass of a thread's loop.
type Turn = Box<dyn FnMut(&Shared) -> Result<(), Fault> + Send>;

/// The running engine; `join` after `Handle::stop`.
pub struct Threads {
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    pub fn spawn(parts: Parts) -> io::Result<(Handle, Self)> {
        let Parts {
            mut driver,
            mut log,
            mut applier,
            mut checkpoint,
            mut snapshots,
            mut hub,
            handle,
            shared,
        } = parts;
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let mut handles = Readers::spawn(&shared, processors)?;
        let mut start = |name: &str, mut turn: Turn| {
            let shared = Arc::clone(&shared);
            let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
                let guard = StopOnPanic(Arc::clone(&shared));
                while !shared.is_stopping() {
                    if let Err(fault) = turn(&shared) {
                        tracing::error!(%fault, "this member stops");
                        shared.stop(Some(fault.to_string()));
                    }
                }
                drop(guard);
            })?;
            handles.push(thread);
            io::Result::Ok(())
        };
        start(
            "raft",
            Box::new(move |shared| {
                driver.turn(shared.clock.now())?;
                let now = shared.clock.now();
                shared.driver.wait(until(driver.wake_at(), now));
                Ok(())
            }),
        )?;
        start(
            "log",
            Box::new(move |shared| {
                log.turn(shared.clock.now())?;
                shared.log_inbox.wait(IDLE_WAIT);
                Ok(())
            }),
        )?;
        start(
            "apply",
            Box::new(move |shared| {
                applier.turn(shared.clock.now())?;
                if !applier.has_work() {
                    shared.applier.wait(if applier.is_held() { HELD_WAIT } else { IDLE_WAIT });
                }
                Ok(())
            }),
        )?;
        start(
            "checkpoint",
            Box::new(move |shared| {
                be_nice();
                checkpoint.turn(shared.clock.now())?;
                if !checkpoint.has_work() {
                    shared.checkpoint.wait(IDLE_WAIT);
                }
                Ok(())
            }),
        )?;
        start(
            "snapshot",
            Box::new(move |shared| {
                be_nice();
                snapshots.turn(shared.clock.now())?;
                shared.snapshots.wait(IDLE_WAIT);
                Ok(())
            }),
        )?;
        start(
            "watch",
            Box::new(move |shared| {
                hub.turn(shared.clock.now())?;
                if !hub.has_work() {
                    shared.hub.wait(IDLE_WAIT);
                }
                Ok(())
            }),
        )?;
        Ok((handle, Self { handles }))
    }

    /// Waits for all threads to end; blocks.
    pub fn join(self) {
        for handle in self.handles {
            if handle.join().is_err() {
                tracing::error!("a thread of the engine panicked");
            }
        }
    }
}

fn until(moment: Moment, now: Moment) -> Duration {
    moment.since(now)
}

/// From here on this thread takes no processor from requests: checkpoints and copies can wait.
pub fn be_nice() {
    use std::cell::Cell;
    thread_local!(static DONE: Cell<bool> = const { Cell::new(false) });
    if !DONE.replace(true)
        && let Err(error) = rustix::process::nice(10)
    {
        tracing::debug!(%error, "could not lower a thread's priority");
    }
}

struct StopOnPanic(Arc<Shared>);

impl Drop for StopOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.stop(Some("a thread of the engine panicked; its backtrace is above".to_owned()));
        }
    }
}
