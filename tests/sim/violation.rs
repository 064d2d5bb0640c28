//! A promise that was broken: which check found it, and what it saw.

use std::fmt;

#[derive(Clone, Debug)]
pub(crate) struct Violation {
    /// The check's name; a sabotage must be found by the one that is meant to find it.
    pub(crate) check: &'static str,
    pub(crate) text: String,
}

pub(crate) type Verdict = Result<(), Violation>;

impl Violation {
    pub(crate) fn new(check: &'static str, text: impl Into<String>) -> Self {
        Self { check, text: text.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.text)
    }
}

/// `Ok` if it holds; otherwise a violation with the text.
pub(crate) fn ensure(holds: bool, check: &'static str, text: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(Violation::new(check, text())) }
}
