//! The raft crate's own log lines (slog) handed to tracing: its info and above as debug, the rest as trace.

use slog::{Drain, Never, OwnedKVList, Record};

/// The crate's logger for `Core`. Lines are formatted only if somebody listens.
pub(super) fn log_drain() -> slog::Logger {
    slog::Logger::root(Tracing, slog::o!())
}

struct Tracing;

impl Drain for Tracing {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, _: &OwnedKVList) -> Result<(), Never> {
        if record.level().is_at_least(slog::Level::Info) {
            tracing::debug!(target: "quorate::raft", "{}", record.msg());
        } else {
            tracing::trace!(target: "quorate::raft", "{}", record.msg());
        }
        Ok(())
    }
}
