//! Memory of a process while something happens: its own pages at their peak, the file's beside them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Bytes. What the kernel could drop at once (file-backed pages) is not what a process needs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Peak {
    /// RssAnon + RssShmem.
    pub own: u64,
    /// RssFile at the same moment or another, at its peak.
    pub file: u64,
}

const LOOK: Duration = Duration::from_millis(50);

pub(crate) struct Watch {
    over: Arc<AtomicBool>,
    own: Arc<AtomicU64>,
    file: Arc<AtomicU64>,
    looking: JoinHandle<()>,
}

impl Watch {
    pub(crate) fn of(pid: u32) -> Self {
        let (over, own, file) = <(Arc<AtomicBool>, Arc<AtomicU64>, Arc<AtomicU64>)>::default();
        let looking = {
            let (over, own, file) = (Arc::clone(&over), Arc::clone(&own), Arc::clone(&file));
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let now = look(pid);
                    own.fetch_max(now.own, Ordering::Relaxed);
                    file.fetch_max(now.file, Ordering::Relaxed);
                    std::thread::sleep(LOOK);
                }
            })
        };
        Self { over, own, file, looking }
    }

    pub(crate) fn peak(self) -> Peak {
        self.over.store(true, Ordering::Relaxed);
        // It does not panic; its numbers are here in any case.
        let _ended = self.looking.join();
        Peak { own: self.own.load(Ordering::Relaxed), file: self.file.load(Ordering::Relaxed) }
    }
}

/// As it is now; zero for a process that is gone.
pub(crate) fn look(pid: u32) -> Peak {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes: Option<u64> =
            line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        kilobytes.unwrap_or(0) * 1024
    };
    Peak { own: bytes("RssAnon:") + bytes("RssShmem:"), file: bytes("RssFile:") }
}
