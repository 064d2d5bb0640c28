//! How far long work has come, on stderr when somebody looks at it.

use std::io::{IsTerminal, Write};

use super::duration::format_bytes;

/// One line that is written over itself, and gone when this is dropped.
pub(super) struct Progress {
    what: &'static str,
    is_shown: bool,
    last: Option<u64>,
}

impl Progress {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, is_shown: std::io::stderr().is_terminal(), last: None }
    }

    /// Shows `done` of `total` bytes, unless nothing a person could see has changed.
    pub(super) fn bytes(&mut self, done: u64, total: u64) {
        let shown = |bytes: u64| format_bytes(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.part(done, total, || format!("{} of {}", shown(done), shown(total)));
    }

    /// The same of something that is counted.
    pub(super) fn count(&mut self, done: u64, total: u64, unit: &str) {
        self.part(done, total, || format!("{done} of {total} {unit}"));
    }

    fn part(&mut self, done: u64, total: u64, text: impl FnOnce() -> String) {
        let percent = done.saturating_mul(100) / total.max(1);
        if self.is_shown && self.last != Some(percent) {
            self.last = Some(percent);
            self.write(&format!("{} {} ({percent}%)", self.what, text()));
        }
    }

    /// Shows a step that has no measure.
    pub(super) fn step(&mut self, text: &str) {
        if self.is_shown {
            self.last = Some(u64::MAX);
            self.write(&format!("{} {text}", self.what));
        }
    }

    /// Takes the line away, so that another may be written.
    pub(super) fn clear(&mut self) {
        if self.last.take().is_some() {
            self.write("");
        }
    }

    fn write(&self, text: &str) {
        // Nobody looks any more: then there is nothing to show.
        let _ = write!(std::io::stderr(), "\r\x1b[K{text}");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
