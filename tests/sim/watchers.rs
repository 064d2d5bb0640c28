//! Clients that watch: from the past, from now, from the future, over reconnects and compactions.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate::base::KeyRange;
use quorate::engine::Delivered;
use quorate::mvcc::EventBatch;
use quorate::watch::{Delivery, Matched, Spec};

use crate::dice::Dice;
use crate::invariants::WatchGapless;
use crate::model::Model;
use crate::totals::Totals;
use crate::violation::{Verdict, Violation, ensure};

const NAME: &str = "watch_gapless";

/// A client with one stream at a time.
pub(crate) struct WatchClient {
    /// Where its stream is: node and boot.
    pub(crate) at: Option<(u64, u64)>,
    /// By the id that the client chooses.
    watchers: BTreeMap<i64, Watcher>,
    next_id: i64,
}

/// Where a watcher begins.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start {
    Now,
    Future,
    /// History that exists.
    Past,
    PerhapsCompacted,
}

struct Watcher {
    spec: Spec,
    /// What the member showed when it was asked.
    shown: i64,
    /// None until the first `Created` says where "now" was.
    heard: Option<WatchGapless>,
    /// `Created` has come on this stream.
    is_created: bool,
}

impl WatchClient {
    pub(crate) fn new() -> Self {
        Self { at: None, watchers: BTreeMap::new(), next_id: 1 }
    }

    pub(crate) fn len(&self) -> usize {
        self.watchers.len()
    }

    /// A watcher on something, from the past, from now, or from the future.
    pub(crate) fn draw(
        &mut self,
        model: &Model,
        starts: &[(u32, Start)],
        dice: &mut Dice,
        totals: &mut Totals,
    ) -> Spec {
        let key = |dice: &mut Dice| Bytes::from(format!("k/{:02}", dice.below(60)));
        let range = match dice.below(4) {
            0 => KeyRange::From(Bytes::new()),
            1 => KeyRange::Single(key(dice)),
            2 => KeyRange::prefix(b"k/1"),
            _ => {
                let (one, other) = (key(dice), key(dice));
                let (start, end) = if one < other { (one, other) } else { (other, one) };
                let end = if start == end { Bytes::from_static(b"z") } else { end };
                KeyRange::Span { start, end }
            }
        };
        let start = dice.weighted(starts);
        let start_revision = match start {
            Start::Now => 0,
            Start::Future => model.revision + dice.between(1, 30) as i64,
            Start::Past => {
                dice.between(model.compacted.max(1) as u64, model.revision as u64) as i64
            }
            Start::PerhapsCompacted => dice.between(1, model.revision as u64) as i64,
        };
        let filter = dice.below(8);
        totals.watchers += 1;
        totals.watchers_of_the_future += u64::from(matches!(start, Start::Future));
        totals.watchers_with_filters += u64::from(filter < 2);
        self.adopt(Spec {
            denied: None,
            range,
            start_revision,
            progress_notify: dice.in_thousand(300),
            no_put: filter == 0,
            no_delete: filter == 1,
            prev_kv: dice.in_thousand(300),
            fragment: dice.in_thousand(300),
            id: None,
        })
    }

    /// The watcher with the id that it will have.
    pub(crate) fn adopt(&mut self, spec: Spec) -> Spec {
        let id = self.next_id;
        self.next_id += 1;
        let spec = Spec { id: Some(id), ..spec };
        let watcher = Watcher { spec: spec.clone(), shown: 0, heard: None, is_created: false };
        self.watchers.insert(id, watcher);
        spec
    }

    /// The request leaves when its member shows this revision.
    pub(crate) fn asked(&mut self, spec: &Spec, shown: i64) {
        if let Some(watcher) = spec.id.and_then(|id| self.watchers.get_mut(&id)) {
            watcher.shown = shown;
        }
    }

    /// The stream is gone: everything that lived on it is asked for again, from where it was heard.
    pub(crate) fn reconnected(&mut self, totals: &mut Totals) -> Vec<Spec> {
        let again = |watcher: &mut Watcher| {
            watcher.is_created = false;
            if let Some(heard) = &watcher.heard {
                watcher.spec.start_revision = heard.heard + 1;
            }
            totals.watchers_resumed += 1;
            watcher.spec.clone()
        };
        self.watchers.values_mut().map(again).collect()
    }

    /// One watcher less, if there is one.
    pub(crate) fn cancel(&mut self, dice: &mut Dice) -> Option<i64> {
        let ids: Vec<i64> = self.watchers.keys().copied().collect();
        let id = *dice.pick(&ids)?;
        self.watchers.remove(&id);
        Some(id)
    }

    /// Specs to create again, because what they asked for was compacted.
    pub(crate) fn take(
        &mut self,
        deliveries: &[Delivered],
        model: &Model,
        totals: &mut Totals,
    ) -> Result<Vec<Spec>, Violation> {
        let mut again = Vec::new();
        let debug = std::env::var_os("SIM_DEBUG").is_some();
        for delivered in deliveries {
            if debug {
                let mut text = format!("{:?}", delivered.delivery);
                text.truncate(300);
                println!("{:?} {text}", self.at);
            }
            match &delivered.delivery {
                Delivery::Created { id, revision } => self.created(*id, *revision, model)?,
                Delivery::Refused { reason, .. } => {
                    return Err(Violation::new(NAME, format!("a watcher is refused: {reason}")));
                }
                Delivery::Events { batch, watchers } => {
                    for matched in watchers {
                        totals.watch_events += 1;
                        totals.previous_values += u64::from(matched.prev_kv);
                        self.events(delivered, batch, matched, model)?;
                    }
                }
                Delivery::Progress { id: -1, revision } => {
                    totals.progress_told += 1;
                    for watcher in self.watchers.values_mut().filter(|watcher| watcher.is_created) {
                        progress(watcher, *revision, model)?;
                    }
                }
                Delivery::Progress { id, revision } => {
                    totals.progress_told += 1;
                    if let Some(watcher) = self.watchers.get_mut(id) {
                        progress(watcher, *revision, model)?;
                    }
                }
                Delivery::Canceled { id, compact_revision, .. } => {
                    let canceled = self.canceled(*id, *compact_revision, model)?;
                    totals.watchers_compacted_in_the_past += u64::from(canceled.is_some());
                    again.extend(canceled);
                }
            }
        }
        Ok(again)
    }

    fn created(&mut self, id: i64, revision: i64, model: &Model) -> Verdict {
        let Some(watcher) = self.watchers.get_mut(&id) else { return Ok(()) };
        ensure(revision <= model.revision, NAME, || {
            format!("created at {revision}, in the future")
        })?;
        ensure(revision >= watcher.shown, NAME, || {
            format!("created at {revision}, and {} was there when it was asked for", watcher.shown)
        })?;
        watcher.is_created = true;
        if watcher.heard.is_none() {
            let spec = &watcher.spec;
            let first = if spec.start_revision > 0 { spec.start_revision } else { revision + 1 };
            watcher.heard = Some(WatchGapless {
                range: spec.range.clone(),
                no_put: spec.no_put,
                no_delete: spec.no_delete,
                heard: first - 1,
            });
        }
        Ok(())
    }

    fn events(
        &mut self,
        delivered: &Delivered,
        batch: &EventBatch,
        matched: &Matched,
        model: &Model,
    ) -> Verdict {
        let Some(watcher) = self.watchers.get_mut(&matched.id) else { return Ok(()) };
        let Some(heard) = watcher.heard.as_mut().filter(|_| watcher.is_created) else {
            return Err(Violation::new(NAME, format!("events before {} was created", matched.id)));
        };
        let Spec { prev_kv, fragment, .. } = watcher.spec;
        ensure((prev_kv, fragment) == (matched.prev_kv, matched.fragment), NAME, || {
            format!("{:?} is told {matched:?}", watcher.spec)
        })?;
        heard.events(model, batch.revision, &matched.events.of(batch))?;
        if !watcher.spec.prev_kv {
            return Ok(());
        }
        let Some(previous) = &delivered.previous else {
            return Err(Violation::new(NAME, "previous values were asked for and are missing"));
        };
        let mut changes = model.changes_at(batch.revision);
        if batch.revision <= model.compacted && changes.len() != previous.len() {
            changes = model.changes_left(batch.revision);
        }
        for (change, found) in changes.iter().zip(previous.iter()) {
            let found = found.clone().map(quorate::state::to_wire);
            let expected = model.told_before(change);
            // Whoever knows of a compaction above that revision tells nothing.
            let may_be_gone = batch.revision - 1 < model.compacted;
            ensure(found == expected || (found.is_none() && may_be_gone), NAME, || {
                format!("before {:?} there was {found:?}, not {expected:?}", change.kv)
            })?;
        }
        ensure(changes.len() == previous.len(), NAME, || "too few previous values".to_owned())
    }

    /// Only history that is gone may end a watcher that did not ask for it.
    fn canceled(
        &mut self,
        id: i64,
        compact_revision: Option<i64>,
        model: &Model,
    ) -> Result<Option<Spec>, Violation> {
        let Some(watcher) = self.watchers.get_mut(&id) else { return Ok(None) };
        let Some(compacted) = compact_revision else {
            return Err(Violation::new(
                NAME,
                format!("watcher {id} was canceled without a reason"),
            ));
        };
        let next =
            watcher.heard.as_ref().map_or(watcher.spec.start_revision, |heard| heard.heard + 1);
        ensure(next < compacted && compacted <= model.compacted, NAME, || {
            format!(
                "watcher {id} needs {next} and is canceled with {compacted}; {}",
                model.compacted
            )
        })?;
        watcher.is_created = false;
        watcher.spec.start_revision = compacted;
        if let Some(heard) = &mut watcher.heard {
            heard.heard = compacted - 1;
        }
        Ok(Some(watcher.spec.clone()))
    }

    /// At the end nothing may be missing.
    pub(crate) fn is_complete(&self, model: &Model) -> Verdict {
        for (id, watcher) in &self.watchers {
            match &watcher.heard {
                Some(heard) => heard.nothing_until(model, model.revision)?,
                None => {
                    return Err(Violation::new(NAME, format!("watcher {id} was never created")));
                }
            }
        }
        Ok(())
    }
}

fn progress(watcher: &mut Watcher, revision: i64, model: &Model) -> Verdict {
    match &mut watcher.heard {
        Some(heard) => heard.progress(model, revision),
        None => Ok(()),
    }
}

/// The revision that a delivery shows to a client; 0 for none.
pub(crate) fn told_revision(delivery: &Delivery) -> i64 {
    match delivery {
        Delivery::Created { revision, .. } | Delivery::Progress { revision, .. } => *revision,
        Delivery::Events { batch, .. } => batch.revision,
        Delivery::Refused { .. } | Delivery::Canceled { .. } => 0,
    }
}
