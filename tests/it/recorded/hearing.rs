//! What a watcher was told on the wire, as the judge wants it.
//!
//! The judge's events name the version that was replaced, which the wire does not: the model says it. Everything that
//! the wire does say is what was heard.

use std::sync::Arc;

use quorate::base::Revision;
use quorate::engine::Delivered;
use quorate::mvcc::{Event, EventBatch, EventKind, KeyValue};
use quorate::proto::mvccpb;
use quorate::watch::{Delivery, Matched, Which};

use super::recorder::Told;
use crate::model::Model;

/// Each watch client of the recorder has one watcher.
const ID: i64 = 1;

/// The newest revision that it shows; 0 for none.
pub(super) fn revision(told: &Told) -> i64 {
    match told {
        Told::Created { revision } | Told::Progress { revision } => *revision,
        Told::Events(events) => events.iter().map(revision_of).max().unwrap_or(0),
        // The compaction itself may be known to nobody yet.
        Told::Compacted { .. } => 0,
    }
}

pub(super) fn deliveries(told: &Told, wants_previous: bool, model: &Model) -> Vec<Delivered> {
    let plain = |delivery| vec![Delivered { delivery, previous: None }];
    match told {
        Told::Created { revision } => plain(Delivery::Created { id: ID, revision: *revision }),
        Told::Progress { revision } => plain(Delivery::Progress { id: ID, revision: *revision }),
        Told::Compacted { revision } => {
            let compact_revision = Some(*revision);
            plain(Delivery::Canceled { id: ID, revision: 0, compact_revision })
        }
        Told::Events(events) => events
            .chunk_by(|one, next| revision_of(one) == revision_of(next))
            .map(|events| batch(events, wants_previous, model))
            .collect(),
    }
}

fn batch(events: &[mvccpb::Event], wants_previous: bool, model: &Model) -> Delivered {
    let revision = events.first().map_or(0, revision_of);
    let heard = events.iter().map(|event| heard(event, revision, model)).collect();
    let batch = EventBatch { revision, events: heard };
    let prev_kv = wants_previous;
    let watcher = Matched { id: ID, events: Which::All, prev_kv, fragment: false };
    let previous = wants_previous.then(|| {
        let told = |key: &[u8]| {
            events.iter().find(|event| event.kv.as_ref().is_some_and(|kv| kv.key == key))
        };
        let changes = model.changes_at(revision).into_iter();
        let previous = changes.map(|change| match told(&change.kv.key) {
            Some(event) => event.prev_kv.as_ref().map(of_wire),
            // Not this watcher's business.
            None => model.told_before(change).as_ref().map(of_wire),
        });
        Arc::new(previous.collect())
    });
    let delivery = Delivery::Events { batch: Arc::new(batch), watchers: vec![watcher] };
    Delivered { delivery, previous }
}

fn heard(event: &mvccpb::Event, revision: i64, model: &Model) -> Event {
    let kv = event.kv.as_ref().map(of_wire).unwrap_or_default();
    let changes = model.changes_at(revision);
    let change = changes.iter().find(|change| change.kv.key == kv.key);
    let before = change.and_then(|change| change.before.as_ref());
    let kind = match event.r#type() {
        mvccpb::event::EventType::Put => EventKind::Put,
        mvccpb::event::EventType::Delete => EventKind::Delete,
    };
    Event { kind, kv, prev: before.map(|kv| Revision { main: kv.mod_revision, sub: 0 }) }
}

fn revision_of(event: &mvccpb::Event) -> i64 {
    event.kv.as_ref().map_or(0, |kv| kv.mod_revision)
}

fn of_wire(kv: &mvccpb::KeyValue) -> KeyValue {
    KeyValue {
        key: kv.key.clone(),
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
        value: kv.value.clone(),
        lease: kv.lease,
    }
}
