//! A watcher hears every change of its range once, in order, whole revisions, and no progress beyond what it heard.

use quorate::base::KeyRange;
use quorate::mvcc::{Event, EventKind};

use crate::model::{Change, Model};
use crate::violation::{Verdict, ensure};

const NAME: &str = "watch_gapless";

/// What one watcher, through all its reconnects, has heard.
#[derive(Clone, Debug)]
pub(crate) struct WatchGapless {
    pub(crate) range: KeyRange,
    pub(crate) no_put: bool,
    pub(crate) no_delete: bool,
    /// Everything that matters up to here has been heard.
    pub(crate) heard: i64,
}

impl WatchGapless {
    fn wants(&self, change: &Change) -> bool {
        let wanted = if change.is_put { !self.no_put } else { !self.no_delete };
        wanted && self.range.contains(&change.kv.key)
    }

    fn wanted<'a>(&self, model: &'a Model, revision: i64) -> Vec<&'a Change> {
        let changes = model.changes_at(revision).into_iter();
        changes.filter(|change| self.wants(change)).collect()
    }

    /// What may be told of a revision that was compacted to.
    fn wanted_of_left<'a>(&self, model: &'a Model, revision: i64) -> Vec<&'a Change> {
        let changes = model.changes_left(revision).into_iter();
        changes.filter(|change| self.wants(change)).collect()
    }

    /// Nothing that matters lies behind `heard` up to and with `revision`.
    pub(crate) fn nothing_until(&self, model: &Model, revision: i64) -> Verdict {
        let between = self.heard + 1..(revision + 1).max(self.heard + 1);
        for (missed, _) in model.changes.range(between) {
            let wanted = self.wanted(model, *missed);
            // A put that was deleted again in the revision that was compacted to is not there to be told.
            let is_gone =
                *missed <= model.compacted && self.wanted_of_left(model, *missed).is_empty();
            ensure(wanted.is_empty() || is_gone, NAME, || {
                format!("{self:?} is at {revision} without having heard {missed}: {wanted:?}")
            })?;
        }
        Ok(())
    }

    /// All events of one revision, with previous values if they were asked for.
    pub(crate) fn events(&mut self, model: &Model, revision: i64, events: &[&Event]) -> Verdict {
        ensure(revision > self.heard, NAME, || format!("{self:?} hears {revision} again"))?;
        ensure(revision <= model.revision, NAME, || {
            format!("{self:?} hears {revision} too early")
        })?;
        self.nothing_until(model, revision - 1)?;
        let wanted = self.wanted(model, revision);
        let agrees = |wanted: &[&Change]| {
            wanted.len() == events.len()
                && wanted.iter().zip(events).all(|(change, event)| is(change, event))
        };
        let is_compacted = revision <= model.compacted;
        let agrees =
            agrees(&wanted) || (is_compacted && agrees(&self.wanted_of_left(model, revision)));
        ensure(agrees, NAME, || {
            format!("{self:?} hears {events:?} at {revision}, not {wanted:?}")
        })?;
        self.heard = revision;
        Ok(())
    }

    /// Everything up to `revision` is said to have been delivered.
    pub(crate) fn progress(&mut self, model: &Model, revision: i64) -> Verdict {
        ensure(revision <= model.revision, NAME, || {
            format!("progress {revision} is ahead of the log")
        })?;
        ensure(revision >= self.heard, NAME, || {
            format!("progress {revision} falls behind {self:?}")
        })?;
        self.nothing_until(model, revision)?;
        self.heard = self.heard.max(revision);
        Ok(())
    }
}

fn is(change: &Change, event: &Event) -> bool {
    let kind = if change.is_put { EventKind::Put } else { EventKind::Delete };
    let kv = quorate::state::to_wire(event.kv.clone());
    let before = change.before.as_ref().map(|kv| kv.mod_revision);
    event.kind == kind && kv == change.kv && event.prev.map(|revision| revision.main) == before
}
