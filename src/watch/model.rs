//! Random clients, slow and quick, beside a model of what each watcher must hear: gapless, ordered, once, whole.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::base::{KeyRange, Moment};
use crate::mvcc::{Event, EventBatch, EventKind, History, KeyValue};

/// What a client knows of one of its watchers.
struct Watching {
    spec: Spec,
    /// Everything below it was told, or must not be.
    next: i64,
}

#[derive(Default)]
struct Client {
    /// Delivered, not yet taken.
    queue: VecDeque<Delivery>,
    /// Create requests without an answer, with the store's revision when they were made.
    asked: VecDeque<(Spec, i64)>,
    canceled: BTreeSet<i64>,
    watching: BTreeMap<i64, Watching>,
    progress_asked: usize,
}

enum Message {
    Batch(Arc<EventBatch>),
    Compacted(i64),
}

#[derive(Debug, Default)]
struct Seen {
    events: usize,
    slow: usize,
    compacted: usize,
    canceled: usize,
    refused: usize,
    reads: usize,
    progress: usize,
    progress_all: usize,
    restarts: usize,
}

struct World {
    dice: fastrand::Rng,
    hub: Hub,
    now: Moment,
    /// Every batch ever; the first is revision 2.
    history: Vec<Arc<EventBatch>>,
    compacted: i64,
    inbox: VecDeque<Message>,
    /// Slices not answered yet; more than one when a restart has overtaken the first.
    reading: Vec<HistoryWanted>,
    clients: BTreeMap<StreamId, Client>,
    streams: u64,
    seen: Seen,
}

const CONFIG: Config = Config {
    stream_queue_bytes_max: 900,
    queues_bytes_max: 1 << 20,
    stream_queue_bytes_min: 300,
    watchers_max: 1_000,
    watchers_per_stream_min: 12,
    watchers_per_stream_max: 12,
    progress_interval: Duration::from_millis(40),
    catchup_revisions_max: 3,
    catchup_bytes_max: 400,
    recent_revisions_max: 4,
    recent_bytes_max: 2_000,
};

/// The places of the events that a watcher wants; none when there are none.
fn wanted(spec: &Spec, batch: &EventBatch) -> Vec<u32> {
    let wants = |event: &Event| {
        spec.range.contains(&event.kv.key)
            && !(spec.no_put && event.kind == EventKind::Put)
            && !(spec.no_delete && event.kind == EventKind::Delete)
    };
    (0..batch.events.len() as u32).filter(|&at| wants(&batch.events[at as usize])).collect()
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            dice: fastrand::Rng::with_seed(seed),
            hub: Hub::new(CONFIG, 1, 0),
            now: Moment::ZERO,
            history: Vec::new(),
            compacted: 0,
            inbox: VecDeque::new(),
            reading: Vec::new(),
            clients: BTreeMap::new(),
            streams: 0,
            seen: Seen::default(),
        }
    }

    fn revision(&self) -> i64 {
        1 + self.history.len() as i64
    }

    fn key(&mut self) -> Bytes {
        Bytes::from_static(self.dice.choice([&b"a"[..], b"ab", b"b", b"c", b"d"]).unwrap())
    }

    fn range(&mut self) -> KeyRange {
        let (one, two) = (self.key(), self.key());
        match self.dice.u8(0..4) {
            0 => KeyRange::Single(one),
            1 => KeyRange::prefix(&one),
            2 => KeyRange::From(one),
            _ => KeyRange::Span { start: one, end: two },
        }
    }

    /// One more revision in the store; the hub may hear of it later.
    fn write(&mut self) -> Arc<EventBatch> {
        let revision = self.revision() + 1;
        let mut events = Vec::new();
        for _ in 0..self.dice.usize(1..4) {
            let kind = if self.dice.u8(0..3) == 0 { EventKind::Delete } else { EventKind::Put };
            let value = Bytes::from(vec![b'v'; self.dice.usize(0..100)]);
            let key = self.key();
            let kv = KeyValue { key, mod_revision: revision, value, ..KeyValue::default() };
            events.push(Event { kind, kv, prev: None });
        }
        let batch = Arc::new(EventBatch { revision, events });
        self.history.push(Arc::clone(&batch));
        batch
    }

    fn request(&mut self) {
        let Some(stream) = self.dice.choice(self.clients.keys().copied().collect::<Vec<_>>())
        else {
            return;
        };
        let seen = self.revision();
        match self.dice.u8(0..10) {
            0..5 => {
                let start_revision = match self.dice.u8(0..8) {
                    0..3 => 0,
                    3..6 => self.dice.i64(1..=seen),
                    6 => seen + self.dice.i64(0..20),
                    _ => self.dice.i64(-1..=seen),
                };
                let spec = Spec {
                    denied: None,
                    range: self.range(),
                    start_revision,
                    progress_notify: self.dice.bool(),
                    no_put: self.dice.u8(0..6) == 0,
                    no_delete: self.dice.u8(0..6) == 0,
                    prev_kv: self.dice.bool(),
                    fragment: false,
                    id: self.dice.bool().then(|| self.dice.i64(0..6)),
                };
                self.client(stream).asked.push_back((spec.clone(), seen));
                self.hub.create(stream, spec, seen, self.now);
            }
            5..7 => {
                let id = self.dice.i64(0..12);
                self.client(stream).canceled.insert(id);
                self.hub.cancel(stream, id);
            }
            _ => {
                self.client(stream).progress_asked += 1;
                self.hub.progress(stream, seen);
            }
        }
    }

    fn client(&mut self, stream: StreamId) -> &mut Client {
        self.clients.get_mut(&stream).unwrap()
    }

    fn step(&mut self) {
        self.now = self.now + Duration::from_millis(self.dice.u64(0..10));
        match self.dice.u8(0..20) {
            0..6 => {
                let batch = self.write();
                self.inbox.push_back(Message::Batch(batch));
            }
            6..11 => self.hear(),
            11..13 => self.request(),
            13 if self.clients.len() < 4 => {
                self.streams += 1;
                self.hub.open(StreamId(self.streams));
                self.clients.insert(StreamId(self.streams), Client::default());
            }
            14 if self.dice.u8(0..10) == 0 => {
                if let Some((stream, _)) = self.clients.pop_first() {
                    self.hub.close(stream);
                }
            }
            15 if self.dice.u8(0..6) == 0 => {
                self.compacted = self.dice.i64(self.compacted.max(1)..=self.revision());
                self.inbox.push_back(Message::Compacted(self.compacted));
            }
            16 if self.dice.u8(0..40) == 0 => self.install(),
            17 => self.hub.tick(self.now),
            _ => self.read(),
        }
        self.deliver();
        self.take();
    }

    /// The hub hears of what the store has done.
    fn hear(&mut self) {
        match self.inbox.pop_front() {
            Some(Message::Batch(batch)) => self.hub.publish(batch),
            Some(Message::Compacted(revision)) => self.hub.compacted(revision),
            None => {}
        }
    }

    /// A snapshot is installed: the hub never hears of some revisions.
    fn install(&mut self) {
        for _ in 0..self.dice.usize(0..8) {
            self.write();
        }
        if self.dice.bool() {
            self.compacted = self.dice.i64(self.compacted.max(1)..=self.revision());
        }
        self.inbox.clear();
        self.hub.restarted(self.revision(), self.compacted);
        self.seen.restarts += 1;
    }

    /// Asks for a slice, or answers one as a store that may be compacted by now would.
    fn read(&mut self) {
        let asked = self.hub.next_slice();
        if asked.is_some() || self.reading.is_empty() {
            self.reading.extend(asked);
            return;
        }
        let wanted = self.reading.swap_remove(self.dice.usize(..self.reading.len()));
        let mut history = History { batches: Vec::new(), through: wanted.to };
        let mut bytes = 0;
        for batch in &self.history[(wanted.from - 2).max(0) as usize..(wanted.to - 1) as usize] {
            let full = history.batches.len() >= wanted.revisions_max || bytes >= wanted.bytes_max;
            if full && !history.batches.is_empty() {
                history.through = batch.revision - 1;
                break;
            }
            // Compaction takes from the revisions below it what it likes.
            if batch.revision >= self.compacted {
                bytes += batch.events.iter().map(|event| event.kv.value.len()).sum::<usize>();
                history.batches.push(batch.as_ref().clone());
            }
        }
        self.seen.reads += 1;
        self.hub.history(wanted.number, history, self.compacted);
    }

    /// From the hub to the clients' queues, which must keep their bound.
    fn deliver(&mut self) {
        for (stream, delivery) in self.hub.take_deliveries() {
            self.clients.get_mut(&stream).expect("only open streams").queue.push_back(delivery);
        }
        for (stream, client) in &self.clients {
            let events = client.queue.iter().filter(|d| matches!(d, Delivery::Events { .. }));
            let bytes: Vec<usize> = events.map(Delivery::bytes).collect();
            let most = bytes.iter().max().copied().unwrap_or(0);
            assert!(bytes.iter().sum::<usize>() <= CONFIG.stream_queue_bytes_max + most);
            self.seen.slow += usize::from(self.hub.is_full(*stream));
        }
    }

    /// Clients take some of what waits for them; the second is slow, the third stops for long times.
    fn take(&mut self) {
        for stream in self.clients.keys().copied().collect::<Vec<_>>() {
            let most = match stream.0 % 4 {
                1 => usize::from(self.dice.u8(0..4) == 0),
                2 if self.dice.u8(0..30) > 0 => 0,
                _ => 20,
            };
            self.take_some(stream, most);
        }
    }

    fn take_some(&mut self, stream: StreamId, most: usize) {
        let mut bytes = 0;
        for _ in 0..most {
            let Some(delivery) = self.client(stream).queue.pop_front() else { break };
            bytes += delivery.bytes();
            self.check(stream, delivery);
        }
        self.hub.drained(stream, bytes);
    }

    fn check(&mut self, stream: StreamId, delivery: Delivery) {
        let mut client = self.clients.remove(&stream).unwrap();
        match delivery {
            Delivery::Created { id, revision } => {
                let (spec, seen) = client.asked.pop_front().unwrap();
                assert!(revision >= seen);
                let explicit = spec.id.filter(|id| *id != 0);
                assert!(explicit.is_none_or(|wanted| wanted == id));
                let next =
                    if spec.start_revision == 0 { revision + 1 } else { spec.start_revision };
                assert!(client.watching.insert(id, Watching { spec, next }).is_none());
            }
            Delivery::Refused { reason, .. } => {
                let (spec, _) = client.asked.pop_front().unwrap();
                let fits = match reason {
                    Refusal::EmptyRange => spec.range.is_empty(),
                    Refusal::Compacted => spec.start_revision < 0,
                    Refusal::DuplicateId => spec.id.is_some_and(|id| id != 0),
                    Refusal::Denied(denial) => spec.denied == Some(denial),
                    Refusal::TooMany(_) | Refusal::TooManyOfAll(_) => true,
                };
                assert!(fits, "{reason:?} {spec:?}");
                self.seen.refused += 1;
            }
            Delivery::Events { batch, watchers } => {
                assert_eq!(batch, self.history[(batch.revision - 2) as usize]);
                assert!(!watchers.is_empty());
                for matched in watchers {
                    self.check_events(&mut client, &batch, &matched);
                }
            }
            Delivery::Progress { id: -1, revision } => {
                assert!(client.progress_asked > 0);
                client.progress_asked -= 1;
                for watching in client.watching.values() {
                    assert!(watching.spec.start_revision <= revision);
                    self.check_told(watching, revision);
                }
                self.seen.progress_all += 1;
            }
            Delivery::Progress { id, revision } => {
                let watching = &client.watching[&id];
                assert!(watching.spec.progress_notify && watching.spec.start_revision <= revision);
                self.check_told(watching, revision);
                self.seen.progress += 1;
            }
            Delivery::Canceled { id, revision, compact_revision } => {
                let watching = client.watching.remove(&id).unwrap();
                match compact_revision {
                    Some(compacted) => {
                        assert!(revision == 0 && watching.next < compacted);
                        assert!(compacted <= self.compacted);
                        self.seen.compacted += 1;
                    }
                    None => {
                        assert!(client.canceled.contains(&id));
                        self.seen.canceled += 1;
                    }
                }
            }
        }
        self.clients.insert(stream, client);
    }

    /// All events of the revision, and none of an earlier one is missing.
    fn check_events(&mut self, client: &mut Client, batch: &EventBatch, matched: &Matched) {
        let watching = client.watching.get_mut(&matched.id).expect("created comes first");
        let places = wanted(&watching.spec, batch);
        let events: Vec<&Event> =
            places.iter().map(|&place| &batch.events[place as usize]).collect();
        assert!(!events.is_empty() && matched.events.of(batch) == events);
        assert_eq!(matched.prev_kv, watching.spec.prev_kv);
        assert!(batch.revision >= watching.next, "{} again", batch.revision);
        self.check_told(watching, batch.revision - 1);
        watching.next = batch.revision + 1;
        self.seen.events += 1;
    }

    /// The watcher has been told of everything up to `revision`.
    fn check_told(&self, watching: &Watching, revision: i64) {
        for missing in watching.next.max(2)..=revision {
            let batch = &self.history[(missing - 2) as usize];
            assert!(wanted(&watching.spec, batch).is_empty(), "{missing} is missing");
        }
    }

    /// Everybody takes everything: nobody misses anything then, and nothing is left to read.
    fn heal(&mut self) {
        for round in 0.. {
            assert!(round < 10_000, "the hub does not come to rest");
            while !self.inbox.is_empty() {
                self.hear();
            }
            self.deliver();
            for stream in self.clients.keys().copied().collect::<Vec<_>>() {
                self.take_some(stream, usize::MAX);
            }
            let answering = !self.reading.is_empty();
            self.read();
            if answering || !self.reading.is_empty() {
                continue;
            }
            self.deliver();
            if self.clients.values().all(|client| client.queue.is_empty()) {
                break;
            }
        }
        for (stream, client) in &self.clients {
            assert!(client.asked.is_empty() && !self.hub.is_full(*stream));
            for watching in client.watching.values() {
                self.check_told(watching, self.revision());
            }
        }
        assert_eq!(self.hub.revision(), self.revision());
    }
}

#[test]
fn every_watcher_hears_everything_once_in_order_and_whole() {
    let mut seen = Seen::default();
    for seed in 0..150 {
        let mut world = World::new(seed);
        for _ in 0..1_500 {
            world.step();
        }
        world.heal();
        seen.events += world.seen.events;
        seen.slow += world.seen.slow;
        seen.compacted += world.seen.compacted;
        seen.canceled += world.seen.canceled;
        seen.refused += world.seen.refused;
        seen.reads += world.seen.reads;
        seen.progress += world.seen.progress;
        seen.progress_all += world.seen.progress_all;
        seen.restarts += world.seen.restarts;
    }
    let Seen {
        events,
        slow,
        compacted,
        canceled,
        refused,
        reads,
        progress,
        progress_all,
        restarts,
    } = seen;
    let least = [
        events / 100,
        slow / 10,
        compacted,
        canceled,
        refused,
        reads,
        progress,
        progress_all,
        restarts,
    ];
    assert!(least.into_iter().min() > Some(100), "too little was met: {seen:?}");
}
