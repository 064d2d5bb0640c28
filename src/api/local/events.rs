//! Watch responses as bytes: an event is encoded once, however many watchers and streams it goes to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use bytes::Bytes;
use prost::Message;

use crate::engine::Previous;
use crate::proto::etcdserverpb as pb;
use crate::proto::mvccpb;
use crate::state::to_wire;
use crate::watch::{Event, EventBatch, EventKind, Matched, Which};

/// Batches whose events are remembered: streams take them at about the same time.
const BATCHES_MAX: usize = 64;

/// What was encoded lately.
#[derive(Debug, Default)]
pub(super) struct Memo {
    recent: Mutex<VecDeque<Arc<Encoded>>>,
}

impl Memo {
    pub(super) fn of(&self, batch: &Arc<EventBatch>) -> Arc<Encoded> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |known: &&Arc<Encoded>| known.batch.as_ptr() == Arc::as_ptr(batch);
        if let Some(known) = recent.iter().rev().find(is_it) {
            return Arc::clone(known);
        }
        // What nobody has to send any more is not kept.
        recent.retain(|known| known.batch.strong_count() > 0);
        if recent.len() >= BATCHES_MAX {
            recent.pop_front();
        }
        let fresh = Arc::new(Encoded::new(batch));
        recent.push_back(Arc::clone(&fresh));
        fresh
    }
}

/// The events of one batch as fields of a WatchResponse, each encoded when it is first wanted.
#[derive(Debug)]
pub(super) struct Encoded {
    /// Holds the address, not the batch: no other batch can have it while this lives.
    batch: Weak<EventBatch>,
    plain: Vec<OnceLock<Bytes>>,
    with_previous: Vec<OnceLock<Bytes>>,
}

impl Encoded {
    fn new(batch: &Arc<EventBatch>) -> Self {
        let slots = || batch.events.iter().map(|_| OnceLock::new()).collect();
        Self { batch: Arc::downgrade(batch), plain: slots(), with_previous: slots() }
    }

    fn field(
        &self,
        batch: &EventBatch,
        place: usize,
        prev_kv: bool,
        previous: Option<&Previous>,
    ) -> Option<&Bytes> {
        let event = batch.events.get(place)?;
        if !prev_kv {
            return Some(self.plain.get(place)?.get_or_init(|| field(event, None)));
        }
        let slot = self.with_previous.get(place)?;
        Some(slot.get_or_init(|| {
            let before = previous.and_then(|values| values.get(place)?.clone());
            field(event, before.map(to_wire))
        }))
    }
}

/// Tag, length and event, exactly as they stand in a WatchResponse.
fn field(event: &Event, prev_kv: Option<mvccpb::KeyValue>) -> Bytes {
    let kind = match event.kind {
        EventKind::Put => mvccpb::event::EventType::Put,
        EventKind::Delete => mvccpb::event::EventType::Delete,
    };
    let event = mvccpb::Event { r#type: kind.into(), kv: Some(to_wire(event.kv.clone())), prev_kv };
    pb::WatchResponse { events: vec![event], ..Default::default() }.encode_to_vec().into()
}

/// One watcher's response to a batch; in pieces of about `fragment_bytes` if it asked for that.
pub(super) fn responses(
    encoded: &Encoded,
    batch: &EventBatch,
    matched: &Matched,
    previous: Option<&Previous>,
    header: Option<pb::ResponseHeader>,
    fragment_bytes: usize,
) -> Vec<Bytes> {
    let places: Vec<usize> = match &matched.events {
        Which::All => (0..batch.events.len()).collect(),
        Which::Some(places) => places.iter().map(|&place| place as usize).collect(),
    };
    let fields: Vec<&Bytes> = places
        .into_iter()
        .filter_map(|place| encoded.field(batch, place, matched.prev_kv, previous))
        .collect();
    let mut pieces: Vec<&[&Bytes]> = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (at, field) in fields.iter().enumerate() {
        if matched.fragment && at > from && bytes + field.len() >= fragment_bytes {
            pieces.push(&fields[from..at]);
            (from, bytes) = (at, 0);
        }
        bytes += field.len();
    }
    pieces.push(&fields[from..]);
    let last = pieces.len() - 1;
    let whole = |(number, piece): (usize, &&[&Bytes])| {
        let head = pb::WatchResponse {
            header,
            watch_id: matched.id,
            fragment: number != last,
            ..Default::default()
        };
        let length = piece.iter().map(|field| field.len()).sum::<usize>();
        let mut out = Vec::with_capacity(head.encoded_len() + length);
        out.extend_from_slice(&head.encode_to_vec());
        piece.iter().for_each(|field| out.extend_from_slice(field));
        Bytes::from(out)
    };
    pieces.iter().enumerate().map(whole).collect()
}
