//! Nodes of the v2 tree past their time are taken out, by the leader's clock.

use std::time::Duration;

use crate::base::{Moment, Term};
use crate::engine::Handle;
use crate::state::Command;

use super::Keeper;

/// How often it is looked (etcd's).
pub const TREE_EXPIRY_INTERVAL: Duration = Duration::from_millis(500);

/// Tells the tree what time it is, once something in it has expired.
#[derive(Debug, Default)]
pub struct TreeExpiry {
    next: Moment,
}

impl Keeper for TreeExpiry {
    fn next(&mut self, now: Moment, handle: &Handle) -> Option<(Term, Command)> {
        if now < self.next {
            return None;
        }
        let due = handle.tree_expiry();
        if due.is_none() {
            // As long as there is more, it is asked for as soon as this one is applied.
            self.next = now + TREE_EXPIRY_INTERVAL;
        }
        due.map(|(term, sync)| (term, Command::V2Sync(sync)))
    }

    fn wake_at(&self) -> Moment {
        self.next
    }
}
