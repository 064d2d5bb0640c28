//! Watchers that are behind: slices of history, shared, and in turn.

use std::collections::VecDeque;
use std::sync::Arc;

use super::delivery::batch_bytes;
use super::hub::{HistoryWanted, Hub};
use super::index::Slot;
use super::spec::{Config, StreamId};
use super::watcher::Place;
use crate::base::Sabotage;
use crate::mvcc::{EventBatch, History};

/// The last batches published, without a gap, up to the hub's revision.
#[derive(Debug, Default)]
pub(super) struct Recent {
    batches: VecDeque<Arc<EventBatch>>,
    bytes: usize,
}

impl Recent {
    pub(super) fn push(&mut self, batch: &Arc<EventBatch>, config: &Config) {
        self.bytes += batch_bytes(batch);
        self.batches.push_back(Arc::clone(batch));
        while self.bytes > config.recent_bytes_max
            || self.batches.len() > config.recent_revisions_max
        {
            self.drop_oldest();
        }
    }

    /// What was compacted, and what was compacted to, is told as the store still tells it.
    pub(super) fn compacted(&mut self, revision: i64) {
        while self.batches.front().is_some_and(|oldest| oldest.revision <= revision) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.batches.pop_front() {
            self.bytes -= batch_bytes(&oldest);
        }
    }

    /// Everything from `from` on; none when that is not all there.
    fn since(&self, from: i64) -> Option<Vec<Arc<EventBatch>>> {
        let first = self.batches.front()?.revision;
        let skipped = usize::try_from(from - first).ok()?;
        Some(self.batches.iter().skip(skipped).map(Arc::clone).collect())
    }
}

impl Hub {
    /// The next slice of history that somebody must read, one at a time. Watchers that are nearly there are served
    /// here, from what was published last. The far behind and the nearly there take turns.
    pub fn next_slice(&mut self) -> Option<HistoryWanted> {
        while self.reading.is_none() {
            let ahead = self.ready.range((self.served_to + 1, 0)..).next();
            let from = ahead.or_else(|| self.ready.first())?.0;
            if let Some(batches) = self.recent.since(from) {
                self.serve(from, batches, self.revision);
                continue;
            }
            self.reads += 1;
            self.reading = Some(HistoryWanted {
                number: self.reads,
                from,
                to: self.revision,
                revisions_max: self.config.catchup_revisions_max,
                bytes_max: self.config.catchup_bytes_max,
            });
            return self.reading;
        }
        None
    }

    /// The slice with this number, as it was read; `compacted` is that of the view it was read in (a compaction may
    /// have overtaken the request). An answer to a request that a restart has overtaken is dropped.
    pub fn history(&mut self, number: u64, history: History, compacted: i64) {
        let Some(wanted) = self.reading.take_if(|wanted| wanted.number == number) else { return };
        self.compacted(compacted);
        let batches = history.batches.into_iter().map(Arc::new).collect();
        self.serve(wanted.from, batches, history.through.min(self.revision));
    }

    /// Delivers the revisions `from..=through` to the watchers whose next one is among them.
    fn serve(&mut self, from: i64, batches: Vec<Arc<EventBatch>>, through: i64) {
        if through < from {
            return;
        }
        for batch in batches.iter().filter(|batch| batch.revision <= through) {
            let matches = self.matches(&self.behind, batch, |watcher| {
                from <= watcher.next && watcher.next <= batch.revision
            });
            self.deliver(batch, &matches, from);
        }
        let served = self.ready.range((from, 0)..(through + 1, 0));
        let served: Vec<Slot> = served.map(|&(_, slot)| slot).collect();
        for slot in served {
            self.advance(slot, through + 1, Place::Ready);
        }
        self.served_to = through + 1;
    }

    /// The stream is full after `revision`; its watchers that were served from `from` on go on behind it.
    pub(super) fn slow_down(&mut self, stream: StreamId, from: i64, revision: i64) {
        let Some(full) = self.streams.get_mut(&stream) else { return };
        full.slow = true;
        for slot in full.behind.clone() {
            let Some(watcher) = self.watchers.get(slot) else { continue };
            let served = from <= watcher.next && watcher.next <= revision;
            let again = i64::from(Sabotage::WatchRepeatsAfterPause.is_on());
            let next = if served { revision + 1 - again } else { watcher.next };
            self.advance(slot, next, Place::Parked);
        }
    }

    /// Synced when nothing is left, else to `place`.
    fn advance(&mut self, slot: Slot, next: i64, place: Place) {
        let place = if next > self.revision { Place::Synced } else { place };
        self.place(slot, next, place);
    }
}
