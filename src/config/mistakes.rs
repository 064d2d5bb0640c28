//! What is wrong with the settings, told so that it can be mended.

use std::fmt;

/// One line per mistake: where, what, and what to write instead.
#[derive(Clone, Debug, Default, Eq, PartialEq, thiserror::Error)]
pub struct Mistakes(Vec<String>);

impl Mistakes {
    pub fn new(line: impl Into<String>) -> Self {
        Self(vec![line.into()])
    }

    pub(super) fn push(&mut self, line: impl Into<String>) {
        self.0.push(line.into());
    }

    pub fn lines(&self) -> &[String] {
        &self.0
    }

    /// `value`, unless something was found to be wrong.
    pub(super) fn unless_any<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}
