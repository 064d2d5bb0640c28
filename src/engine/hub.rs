//! The watch thread's turn: events to the hub, deliveries to the streams.
//!
//! The hub decides; this turn reads for it (slices of history, previous values) and moves what it delivers into each
//! stream's port. It may take its time: writers are answered before their events come here, and a slow stream stops
//! only itself.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::shared::{Shared, lock};
use crate::base::Moment;
use crate::mvcc::{EventBatch, History, KeyValue};
use crate::state::Query;
use crate::storage::{Fault, View};
use crate::watch::{Config, Delivery, HistoryWanted, Hub, Spec, StreamId};

pub(super) enum HubMessage {
    Events(Vec<Arc<EventBatch>>),
    Compacted(i64),
    Restarted { revision: i64, compacted: i64 },
    Open(StreamId, Arc<Port>),
    Create { stream: StreamId, spec: Spec, seen: i64 },
    Cancel { stream: StreamId, id: i64 },
    Progress { stream: StreamId, seen: i64 },
    Drained { stream: StreamId, bytes: usize },
    Close(StreamId),
}

/// Previous key-values of a batch, in the order of its events.
pub type Previous = Arc<Vec<Option<KeyValue>>>;

/// One message of a stream; `previous` is there if one of its watchers asked for previous values.
#[derive(Clone, Debug)]
pub struct Delivered {
    pub delivery: Delivery,
    pub previous: Option<Previous>,
}

/// Between the watch thread and a stream's task.
#[derive(Default)]
pub(super) struct Port {
    queue: Mutex<VecDeque<Delivered>>,
    filled: Notify,
    is_full: AtomicBool,
    is_closed: AtomicBool,
}

/// See the module.
pub struct HubTurn {
    shared: Arc<Shared>,
    hub: Hub,
    ports: BTreeMap<StreamId, Arc<Port>>,
    /// A slice of history was read in the last turn: there may be more.
    has_more: bool,
}

impl HubTurn {
    pub(super) fn new(shared: Arc<Shared>, revision: i64, compacted: i64) -> Self {
        let hub = Hub::new(Config::default(), revision, compacted);
        Self { shared, hub, ports: BTreeMap::new(), has_more: false }
    }

    /// Bounds that a simulated world wants small; before the first turn.
    pub fn configure(&mut self, config: Config) {
        self.hub = Hub::new(
            config,
            self.shared.store.stamp().revision,
            self.shared.store.stamp().compacted,
        );
    }

    /// One turn; true if there was anything to do.
    pub fn turn(&mut self, now: Moment) -> Result<bool, Fault> {
        let messages = self.shared.hub.drain();
        let mut busy = !messages.is_empty();
        for message in messages {
            self.handle(message, now);
        }
        self.hub.tick(now);
        self.has_more = false;
        if let Some(wanted) = self.hub.next_slice() {
            self.read_slice(wanted)?;
            self.has_more = true;
            busy = true;
        }
        busy |= self.deliver()?;
        if busy {
            self.count();
        }
        Ok(busy)
    }

    fn count(&self) {
        let (streams, watchers, slow) = self.hub.census();
        let meters = &self.shared.meters;
        meters.watch_streams.set(streams as u64);
        meters.watchers.set(watchers as u64);
        meters.slow_watchers.set(slow as u64);
    }

    /// History is still to be read for somebody.
    pub fn has_work(&self) -> bool {
        self.has_more
    }

    /// When a quiet watcher is to be told the revision.
    pub fn wake_at(&self) -> Option<Moment> {
        self.hub.next_tick()
    }

    fn handle(&mut self, message: HubMessage, now: Moment) {
        match message {
            HubMessage::Events(batches) => {
                for batch in batches {
                    self.hub.publish(batch);
                }
            }
            HubMessage::Compacted(revision) => self.hub.compacted(revision),
            HubMessage::Restarted { revision, compacted } => {
                self.hub.restarted(revision, compacted);
            }
            HubMessage::Open(stream, port) => {
                self.hub.open(stream);
                self.ports.insert(stream, port);
            }
            HubMessage::Create { stream, spec, seen } => self.hub.create(stream, spec, seen, now),
            HubMessage::Cancel { stream, id } => self.hub.cancel(stream, id),
            HubMessage::Progress { stream, seen } => self.hub.progress(stream, seen),
            HubMessage::Drained { stream, bytes } => self.hub.drained(stream, bytes),
            HubMessage::Close(stream) => {
                self.hub.close(stream);
                if let Some(port) = self.ports.remove(&stream) {
                    let left: Vec<Delivered> = std::mem::take(&mut *lock(&port.queue)).into();
                    self.shared.meters.events_dropped.add(events_of(&left));
                }
            }
        }
    }

    fn read_slice(&mut self, wanted: HistoryWanted) -> Result<(), Fault> {
        let HistoryWanted { number, from, to, revisions_max, bytes_max } = wanted;
        let query = self.query()?;
        let history = query.history(from, to, revisions_max, bytes_max)?;
        // Compacted meanwhile: told nothing, and whoever needs it is canceled by the revision that goes with it.
        let nothing = |_| History { batches: Vec::new(), through: from - 1 };
        self.hub.history(number, history.unwrap_or_else(nothing), query.compacted());
        Ok(())
    }

    fn query(&self) -> Result<Query, Fault> {
        Ok(Query::of(self.shared.store.view()?, Arc::clone(&self.shared.state)))
    }

    fn deliver(&mut self) -> Result<bool, Fault> {
        let deliveries = self.hub.take_deliveries();
        if deliveries.is_empty() {
            return Ok(false);
        }
        let mut previous = PreviousValues::default();
        let mut touched: BTreeMap<StreamId, Vec<Delivered>> = BTreeMap::new();
        let mut events = 0;
        for (stream, delivery) in deliveries {
            events += delivery.events();
            let previous = previous.of(&delivery, || self.query())?;
            touched.entry(stream).or_default().push(Delivered { delivery, previous });
        }
        self.shared.meters.events_queued.add(events);
        for (stream, deliveries) in touched {
            if let Some(port) = self.ports.get(&stream) {
                port.is_full.store(self.hub.is_full(stream), Ordering::Release);
                lock(&port.queue).extend(deliveries);
                port.filled.notify_one();
            } else {
                self.shared.meters.events_dropped.add(events_of(&deliveries));
            }
        }
        Ok(true)
    }
}

impl Drop for HubTurn {
    /// The engine stops: every stream's task is woken to find out.
    fn drop(&mut self) {
        for port in self.ports.values() {
            port.is_closed.store(true, Ordering::Release);
            port.filled.notify_one();
        }
    }
}

/// Looked up once per batch, however many streams want them, and only if one does.
#[derive(Default)]
struct PreviousValues {
    query: Option<Query<View>>,
    /// By revision.
    known: BTreeMap<i64, Previous>,
}

impl PreviousValues {
    fn of(
        &mut self,
        delivery: &Delivery,
        query: impl FnOnce() -> Result<Query<View>, Fault>,
    ) -> Result<Option<Previous>, Fault> {
        let Delivery::Events { batch, watchers } = delivery else { return Ok(None) };
        if !watchers.iter().any(|watcher| watcher.prev_kv) {
            return Ok(None);
        }
        if let Some(previous) = self.known.get(&batch.revision) {
            return Ok(Some(Arc::clone(previous)));
        }
        if self.query.is_none() {
            self.query = Some(query()?);
        }
        let Some(query) = &self.query else { return Ok(None) };
        let previous = Arc::new(query.previous(batch)?);
        self.known.insert(batch.revision, Arc::clone(&previous));
        Ok(Some(previous))
    }
}

/// The door to the watchers of one client stream. Dropped, it ends them all.
pub struct WatchStream {
    shared: Arc<Shared>,
    id: StreamId,
    port: Arc<Port>,
}

impl WatchStream {
    pub(super) fn open(shared: Arc<Shared>) -> Self {
        let id = StreamId(shared.watch_streams.fetch_add(1, Ordering::Relaxed));
        let port = Arc::new(Port::default());
        shared.hub.push_internal(HubMessage::Open(id, Arc::clone(&port)));
        Self { shared, id, port }
    }

    /// Creates a watcher; answered by `Created` or `Refused`.
    pub fn create(&self, spec: Spec) {
        let seen = self.seen();
        self.shared.hub.push_internal(HubMessage::Create { stream: self.id, spec, seen });
    }

    pub fn cancel(&self, id: i64) {
        self.shared.hub.push_internal(HubMessage::Cancel { stream: self.id, id });
    }

    /// Asks for a progress message of the whole stream; there is none unless all its watchers are synced.
    pub fn progress(&self) {
        let seen = self.seen();
        self.shared.hub.push_internal(HubMessage::Progress { stream: self.id, seen });
    }

    /// Whoever reads the client's requests waits with the next one while this holds.
    pub fn is_full(&self) -> bool {
        self.port.is_full.load(Ordering::Acquire)
    }

    /// Waits until there is something to [`take`](Self::take). False when the engine stops.
    pub async fn filled(&self) -> bool {
        loop {
            if !lock(&self.port.queue).is_empty() {
                return true;
            }
            if self.shared.is_stopping() || self.port.is_closed.load(Ordering::Acquire) {
                return false;
            }
            // A wake-up between the look and this line is kept for us: nobody else waits here.
            self.port.filled.notified().await;
        }
    }

    /// Everything that is there now, in order.
    pub fn take(&self) -> Option<Vec<Delivered>> {
        let deliveries: Vec<Delivered> = std::mem::take(&mut *lock(&self.port.queue)).into();
        if deliveries.is_empty() {
            return None;
        }
        let bytes = deliveries.iter().map(|delivered| delivered.delivery.bytes()).sum();
        self.shared.meters.events_taken.add(events_of(&deliveries));
        self.port.is_full.store(false, Ordering::Release);
        self.shared.hub.push_internal(HubMessage::Drained { stream: self.id, bytes });
        Some(deliveries)
    }

    fn seen(&self) -> i64 {
        self.shared.store.stamp().revision
    }
}

fn events_of(deliveries: &[Delivered]) -> u64 {
    deliveries.iter().map(|delivered| delivered.delivery.events()).sum()
}

impl Drop for WatchStream {
    fn drop(&mut self) {
        self.shared.hub.push_internal(HubMessage::Close(self.id));
    }
}
