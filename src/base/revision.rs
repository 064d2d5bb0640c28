//! Revisions: the store's own time.

use std::fmt;

/// One change: `main` counts writing transactions (the empty store is at 1), `sub` the changes inside one.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Revision {
    pub main: i64,
    pub sub: u32,
}

impl Revision {
    /// The revision of an empty store.
    pub const EMPTY_STORE: i64 = 1;

    pub const fn new(main: i64, sub: u32) -> Self {
        Self { main, sub }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.main, self.sub)
    }
}
