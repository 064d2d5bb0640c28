//! The hub: requests, published batches and slices of history in; deliveries out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::catchup::Recent;
use super::delivery::{Delivery, Matched, Which};
use super::index::{Index, Slot};
use super::spec::{Config, Refusal, Spec, StreamId};
use super::watcher::{Place, Request, Stream, Watcher, Watchers};
use crate::base::{Moment, Sabotage, limits};
use crate::mvcc::EventBatch;

/// A slice of history that somebody must read: whole revisions from `from` on, at most to `to`, bounded by the two
/// sizes (`mvcc::history` takes them as they are). The answer goes to [`Hub::history`] with the number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HistoryWanted {
    pub number: u64,
    pub from: i64,
    pub to: i64,
    pub revisions_max: usize,
    pub bytes_max: usize,
}

/// All watchers of this member.
#[derive(Debug)]
pub struct Hub {
    pub(super) config: Config,
    /// The last revision published.
    pub(super) revision: i64,
    /// The revision compacted at; 0 before the first time.
    pub(super) compacted: i64,
    pub(super) streams: BTreeMap<StreamId, Stream>,
    pub(super) watchers: Watchers,
    /// Watchers that published batches go to.
    pub(super) synced: Index,
    /// Watchers that slices of history go to, and their next revisions.
    pub(super) behind: Index,
    pub(super) ready: BTreeSet<(i64, Slot)>,
    /// Watchers of slow streams that wait.
    pub(super) parked: BTreeSet<(i64, Slot)>,
    pub(super) recent: Recent,
    /// The slice that is being read.
    pub(super) reading: Option<HistoryWanted>,
    pub(super) reads: u64,
    /// The end of the last slice, and one more.
    pub(super) served_to: i64,
    /// Streams with deferred requests: (revision that the first one waits for, stream).
    deferred: BTreeSet<(i64, StreamId)>,
    /// When the streams with quiet watchers are to be looked at.
    due: BTreeSet<(Moment, StreamId)>,
    out: Vec<(StreamId, Delivery)>,
    /// Delivered to all streams and not taken, bytes.
    queued: usize,
}

/// One event that one watcher wants.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Match {
    stream: StreamId,
    id: i64,
    slot: Slot,
    event: u32,
}

impl Hub {
    /// A hub without streams; `revision` is the store's current one, `compacted` 0 if there was no compaction.
    pub fn new(config: Config, revision: i64, compacted: i64) -> Self {
        Self {
            config,
            revision,
            compacted,
            streams: BTreeMap::new(),
            watchers: Watchers::default(),
            synced: Index::default(),
            behind: Index::default(),
            ready: BTreeSet::new(),
            parked: BTreeSet::new(),
            recent: Recent::default(),
            reading: None,
            reads: 0,
            served_to: 0,
            deferred: BTreeSet::new(),
            due: BTreeSet::new(),
            out: Vec::new(),
            queued: 0,
        }
    }

    /// The last revision published.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Streams, watchers, and those of them that wait for their slow stream.
    pub fn census(&self) -> (usize, usize, usize) {
        (self.streams.len(), self.watchers.len(), self.parked.len())
    }

    /// What is to be delivered since the last call, in order.
    pub fn take_deliveries(&mut self) -> Vec<(StreamId, Delivery)> {
        std::mem::take(&mut self.out)
    }

    pub fn open(&mut self, stream: StreamId) {
        self.streams.entry(stream).or_default();
    }

    /// Forgets a stream and its watchers; nothing is delivered to it any more.
    pub fn close(&mut self, stream: StreamId) {
        let Some(gone) = self.streams.get(&stream) else { return };
        self.due.remove(&(gone.progress_due, stream));
        if let Some((revision, _)) = gone.deferred.front() {
            self.deferred.remove(&(*revision, stream));
        }
        let ids: Vec<i64> = gone.watchers.keys().copied().collect();
        for id in ids {
            self.forget(stream, id);
        }
        if let Some(gone) = self.streams.remove(&stream) {
            self.queued -= gone.queued;
        }
        self.out.retain(|(to, _)| *to != stream);
    }

    /// Creates a watcher. `seen` is the store's revision when the request was made: whoever writes and then watches
    /// must not be told of that write, so the request waits until the hub has seen it too.
    pub fn create(&mut self, stream: StreamId, spec: Spec, seen: i64, now: Moment) {
        self.ask(stream, seen, Request::Create(spec, now));
    }

    /// Ends a watcher; an unknown id gets no answer.
    pub fn cancel(&mut self, stream: StreamId, id: i64) {
        self.ask(stream, 0, Request::Cancel(id));
    }

    /// Asks for a progress message for the whole stream; there is none unless all its watchers are synced.
    pub fn progress(&mut self, stream: StreamId, seen: i64) {
        self.ask(stream, seen, Request::Progress);
    }

    /// Whether the stream has much to take, or many requests wait: whoever reads its requests waits with the next.
    pub fn is_full(&self, stream: StreamId) -> bool {
        let most = limits::WATCH_REQUESTS_DEFERRED_MAX;
        self.streams.get(&stream).is_some_and(|stream| stream.slow || stream.deferred.len() >= most)
    }

    /// The client has taken deliveries of so many bytes ([`Delivery::bytes`]).
    pub fn drained(&mut self, stream: StreamId, bytes: usize) {
        let Some(drained) = self.streams.get_mut(&stream) else { return };
        let before = std::mem::take(&mut drained.queued);
        drained.queued = before.saturating_sub(bytes);
        self.queued -= before - drained.queued;
        let left = drained.queued;
        if !drained.slow || left > self.queue_bytes_max() / 2 {
            return;
        }
        let Some(drained) = self.streams.get_mut(&stream) else { return };
        drained.slow = false;
        for slot in drained.behind.clone() {
            if let Some(watcher) = self.watchers.get(slot) {
                self.place(slot, watcher.next, Place::Ready);
            }
        }
    }

    /// One more revision. A batch that is not the next one (events were missed) sends everybody to the history.
    pub fn publish(&mut self, batch: Arc<EventBatch>) {
        if batch.revision <= self.revision {
            return;
        }
        if batch.revision > self.revision + 1 {
            return self.restarted(batch.revision, self.compacted);
        }
        self.revision = batch.revision;
        self.recent.push(&batch, &self.config);
        let matches = self.matches(&self.synced, &batch, |watcher| {
            watcher.next <= batch.revision || Sabotage::WatchHearsBeforeStart.is_on()
        });
        self.deliver(&batch, &matches, i64::MAX);
        self.answer_deferred();
    }

    /// The store was compacted: watchers that still need what is gone are canceled.
    pub fn compacted(&mut self, revision: i64) {
        self.compacted = self.compacted.max(revision);
        self.recent.compacted(self.compacted);
        let below = ..(self.compacted, 0);
        let gone = self.ready.range(below).chain(self.parked.range(below));
        let gone: Vec<Slot> = gone.map(|&(_, slot)| slot).collect();
        for slot in gone {
            let Some(watcher) = self.watchers.get(slot) else { continue };
            let (stream, id) = (watcher.stream, watcher.id);
            self.forget(stream, id);
            self.cancel_compacted(stream, id);
        }
    }

    /// The store jumped to another state (a snapshot was installed): watchers go on from their own next revisions.
    pub fn restarted(&mut self, revision: i64, compacted: i64) {
        let missed = if Sabotage::WatchGoesBackInTime.is_on() { 0 } else { self.revision + 1 };
        self.revision = self.revision.max(revision);
        self.reading = None;
        self.recent = Recent::default();
        let synced = self.watchers.iter().filter(|(_, watcher)| watcher.place == Place::Synced);
        let behind: Vec<(Slot, i64)> = synced
            .map(|(slot, watcher)| (slot, watcher.next.max(missed)))
            .filter(|&(_, next)| next <= self.revision)
            .collect();
        for (slot, next) in behind {
            self.fall_behind(slot, next);
        }
        self.compacted(compacted);
        self.answer_deferred();
    }

    /// Progress messages that are due: to watchers that asked for them, are synced, and had no events since last time.
    pub fn tick(&mut self, now: Moment) {
        while let Some(&(due, stream)) = self.due.first()
            && due <= now
        {
            self.due.pop_first();
            let interval = self.interval(stream);
            let Some(ticked) = self.streams.get_mut(&stream) else { continue };
            if ticked.notify.is_empty() {
                ticked.progress_due = Moment::ZERO;
                continue;
            }
            ticked.progress_due = now + interval;
            self.due.insert((ticked.progress_due, stream));
            let notify: Vec<i64> = ticked.notify.iter().copied().collect();
            let slots: Vec<Slot> =
                notify.iter().filter_map(|id| ticked.watchers.get(id).copied()).collect();
            for slot in slots {
                let Some(watcher) = self.watchers.get_mut(slot) else { continue };
                let quiet = std::mem::replace(&mut watcher.quiet, true);
                let (id, start, place) = (watcher.id, watcher.start, watcher.place);
                let begun = start <= self.revision || Sabotage::WatchProgressBeforeStart.is_on();
                if quiet && place == Place::Synced && begun {
                    self.tell(stream, Delivery::Progress { id, revision: self.revision });
                }
            }
        }
    }

    /// When [`Hub::tick`] has something to do.
    pub fn next_tick(&self) -> Option<Moment> {
        self.due.first().map(|&(due, _)| due)
    }

    /// The stream's interval between progress messages: up to a tenth longer, by its number.
    fn interval(&self, stream: StreamId) -> Duration {
        let interval = self.config.progress_interval;
        interval + interval / 1_000 * (stream.0.wrapping_mul(37) % 100) as u32
    }

    /// Requests of one stream are answered in order, each when the hub has seen what the store had.
    fn ask(&mut self, stream: StreamId, seen: i64, request: Request) {
        let Some(asked) = self.streams.get_mut(&stream) else { return };
        if seen <= self.revision && asked.deferred.is_empty() {
            return self.answer(stream, request);
        }
        if asked.deferred.is_empty() {
            self.deferred.insert((seen, stream));
        }
        asked.deferred.push_back((seen, request));
    }

    fn answer_deferred(&mut self) {
        while let Some(&(seen, stream)) = self.deferred.first()
            && seen <= self.revision
        {
            self.deferred.pop_first();
            while let Some(asked) = self.streams.get_mut(&stream) {
                match asked.deferred.pop_front() {
                    Some((seen, request)) if seen <= self.revision => self.answer(stream, request),
                    Some((seen, request)) => {
                        asked.deferred.push_front((seen, request));
                        self.deferred.insert((seen, stream));
                        break;
                    }
                    None => break,
                }
            }
        }
    }

    fn answer(&mut self, stream: StreamId, request: Request) {
        match request {
            Request::Create(spec, now) => self.answer_create(stream, spec, now),
            Request::Cancel(id) => {
                if self.forget(stream, id) {
                    let revision = self.revision;
                    let canceled = Delivery::Canceled { id, revision, compact_revision: None };
                    self.tell(stream, canceled);
                }
            }
            Request::Progress => {
                let Some(asked) = self.streams.get(&stream) else { return };
                let started = asked.future.last().is_none_or(|&(start, _)| start <= self.revision);
                let behind = !asked.behind.is_empty() && !Sabotage::WatchProgressAhead.is_on();
                if !asked.watchers.is_empty() && !behind && started {
                    self.tell(stream, Delivery::Progress { id: -1, revision: self.revision });
                }
            }
        }
    }

    fn answer_create(&mut self, stream: StreamId, spec: Spec, now: Moment) {
        let id = match self.number(stream, &spec) {
            Ok(id) => id,
            Err(reason) => {
                return self.tell(stream, Delivery::Refused { reason, revision: self.revision });
            }
        };
        self.tell(stream, Delivery::Created { id, revision: self.revision });
        let mut start = spec.start_revision;
        if start != 0 && start < self.compacted {
            if !Sabotage::WatchLosesCompacted.is_on() {
                return self.cancel_compacted(stream, id);
            }
            start = self.compacted;
        }
        let interval = self.interval(stream);
        let Some(asked) = self.streams.get_mut(&stream) else { return };
        if start > self.revision {
            asked.future.insert((start, id));
        }
        if spec.progress_notify {
            asked.notify.insert(id);
            if asked.progress_due == Moment::ZERO {
                asked.progress_due = now + interval;
                self.due.insert((asked.progress_due, stream));
            }
        }
        let slot = self.watchers.insert(Watcher::new(stream, id, spec));
        asked.watchers.insert(id, slot);
        if start == 0 || start > self.revision {
            self.place(slot, start.max(self.revision + 1), Place::Synced);
        } else {
            self.fall_behind(slot, start);
        }
    }

    /// The new watcher's id: the client's, or the next free one.
    fn number(&mut self, stream: StreamId, spec: &Spec) -> Result<i64, Refusal> {
        let most = self.config.watchers_per_stream_max;
        let asked = self.streams.entry(stream).or_default();
        if let Some(denial) = spec.denied {
            return Err(Refusal::Denied(denial));
        }
        if spec.range.is_empty() {
            return Err(Refusal::EmptyRange);
        }
        if spec.start_revision < 0 {
            return Err(Refusal::Compacted);
        }
        if asked.watchers.len() >= most {
            return Err(Refusal::TooMany(most));
        }
        let of_all = self.config.watchers_max;
        if self.watchers.len() >= of_all
            && asked.watchers.len() >= self.config.watchers_per_stream_min
        {
            return Err(Refusal::TooManyOfAll(of_all));
        }
        if let Some(id) = spec.id.filter(|&id| id != 0) {
            return if asked.watchers.contains_key(&id) {
                Err(Refusal::DuplicateId)
            } else {
                Ok(id)
            };
        }
        while asked.watchers.contains_key(&asked.next_id) {
            asked.next_id += 1;
        }
        asked.next_id += 1;
        Ok(asked.next_id - 1)
    }

    fn cancel_compacted(&mut self, stream: StreamId, id: i64) {
        let compact_revision = Some(self.compacted);
        self.tell(stream, Delivery::Canceled { id, revision: 0, compact_revision });
    }

    /// Removes a watcher from every structure; false when there is none.
    fn forget(&mut self, stream: StreamId, id: i64) -> bool {
        let slots = self.streams.get_mut(&stream).map(|stream| &mut stream.watchers);
        let Some(slot) = slots.and_then(|slots| slots.remove(&id)) else { return false };
        self.place(slot, 0, Place::Nowhere);
        let start = self.watchers.remove(slot).map_or(0, |watcher| watcher.start);
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.behind.remove(&slot);
            stream.notify.remove(&id);
            stream.future.remove(&(start, id));
        }
        true
    }

    /// Moves a watcher between the structures.
    pub(super) fn place(&mut self, slot: Slot, next: i64, place: Place) {
        let Some(watcher) = self.watchers.get_mut(slot) else { return };
        match watcher.place {
            Place::Nowhere => {}
            Place::Synced => self.synced.remove(&watcher.range, slot),
            Place::Ready => {
                self.ready.remove(&(watcher.next, slot));
                if place != Place::Ready {
                    self.behind.remove(&watcher.range, slot);
                }
            }
            Place::Parked => {
                self.parked.remove(&(watcher.next, slot));
            }
        }
        let before = std::mem::replace(&mut watcher.place, place);
        watcher.next = next;
        match place {
            Place::Nowhere => {}
            Place::Synced => self.synced.insert(&watcher.range, slot),
            Place::Ready => {
                self.ready.insert((next, slot));
                if before != Place::Ready {
                    self.behind.insert(&watcher.range, slot);
                }
            }
            Place::Parked => {
                self.parked.insert((next, slot));
            }
        }
        let Some(stream) = self.streams.get_mut(&watcher.stream) else { return };
        match place {
            Place::Ready | Place::Parked => stream.behind.insert(slot),
            Place::Nowhere | Place::Synced => stream.behind.remove(&slot),
        };
    }

    /// From `next` on the watcher needs history.
    fn fall_behind(&mut self, slot: Slot, next: i64) {
        let Some(watcher) = self.watchers.get(slot) else { return };
        let slow = self.is_slow(watcher.stream);
        self.place(slot, next, if slow { Place::Parked } else { Place::Ready });
    }

    /// Who of `index` wants which events of the batch: by stream, watcher, event.
    pub(super) fn matches(
        &self,
        index: &Index,
        batch: &EventBatch,
        admits: impl Fn(&Watcher) -> bool,
    ) -> Vec<Match> {
        let mut matches = Vec::new();
        for (place, event) in batch.events.iter().enumerate() {
            index.matches(&event.kv.key, &mut |slot| {
                if let Some(watcher) = self.watchers.get(slot)
                    && watcher.wants(event)
                    && admits(watcher)
                {
                    let (stream, id) = (watcher.stream, watcher.id);
                    matches.push(Match { stream, id, slot, event: place as u32 });
                }
            });
        }
        matches.sort_unstable();
        matches
    }

    /// Hands a batch to the streams of its matches. Of slices of history, `from` is the first revision.
    pub(super) fn deliver(&mut self, batch: &Arc<EventBatch>, matches: &[Match], from: i64) {
        for of_stream in matches.chunk_by(|one, two| one.stream == two.stream) {
            let stream = of_stream[0].stream;
            let of_watchers = of_stream.chunk_by(|one, two| one.id == two.id);
            if self.is_slow(stream) {
                for of_watcher in of_watchers.filter(|_| !Sabotage::WatchLosesWhenSlow.is_on()) {
                    self.fall_behind(of_watcher[0].slot, batch.revision);
                }
                continue;
            }
            let watchers = of_watchers.filter_map(|of_watcher| self.matched(of_watcher, batch));
            let watchers = watchers.collect();
            self.push(stream, Delivery::Events { batch: Arc::clone(batch), watchers });
            let queued = self.streams.get(&stream).map_or(0, |stream| stream.queued);
            if queued >= self.queue_bytes_max() {
                self.slow_down(stream, from, batch.revision);
            }
        }
    }

    fn matched(&mut self, of_watcher: &[Match], batch: &EventBatch) -> Option<Matched> {
        let watcher = self.watchers.get_mut(of_watcher[0].slot)?;
        watcher.quiet = false;
        let events = match of_watcher.len() == batch.events.len() {
            true => Which::All,
            false => Which::Some(of_watcher.iter().map(|found| found.event).collect()),
        };
        let (prev_kv, fragment) = (watcher.prev_kv, watcher.fragment);
        Some(Matched { id: watcher.id, events, prev_kv, fragment })
    }

    /// Bytes not taken at which a stream is slow: where much waits for all of them, its share of what may.
    fn queue_bytes_max(&self) -> usize {
        let Config { stream_queue_bytes_max: most, queues_bytes_max: all, .. } = self.config;
        if self.queued < all / 2 {
            return most;
        }
        let share = all / 2 / self.streams.len().max(1);
        share.max(self.config.stream_queue_bytes_min).min(most)
    }

    fn is_slow(&self, stream: StreamId) -> bool {
        self.streams.get(&stream).is_some_and(|stream| stream.slow)
    }

    /// A message without events: never held back, but it counts.
    fn tell(&mut self, stream: StreamId, message: Delivery) {
        self.push(stream, message);
        let max = self.queue_bytes_max();
        if self.streams.get(&stream).is_some_and(|told| !told.slow && told.queued >= max) {
            self.slow_down(stream, i64::MAX, self.revision);
        }
    }

    fn push(&mut self, stream: StreamId, delivery: Delivery) {
        if let Some(to) = self.streams.get_mut(&stream) {
            let bytes = delivery.bytes();
            to.queued += bytes;
            self.queued += bytes;
            self.out.push((stream, delivery));
        }
    }
}
