//! The replicated log as everybody reads it.
//!
//! ```text
//!            base        first              cached from            last
//!   trimmed   |  on the disk: offset slots   |  cached in RAM       |
//!             +------------------------------+----------------------+
//!                  placed (durable) ------------------>|  not yet
//! ```
//!
//! The Raft thread extends it, and what it extended is visible at once, durable or not. The log thread tells where
//! entries came to lie; only then may they leave the cache. Readers on any thread copy what they need under a short
//! lock and read the disk outside it. Promises: an entry that was read is the one that stood at its index when the
//! call began, checked against its own checksum. Knows nothing of: what is durable enough to promise (the driver
//! knows), when to trim.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::disk::DiskFile;
use super::fault::Fault;
use super::terms::Terms;
use super::wal::{Entry, decode_entry, entry_bytes, segment_name};
use crate::base::{Index, Term};

/// One read goes on over this much that is not wanted: headers between batches, entries that were replaced.
const GAP_BYTES_MAX: u32 = 64 * 1024;

/// Where an entry lies; 16 bytes, kept for every entry of the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Slot {
    /// Generation of the segment.
    pub(super) segment: u64,
    pub(super) offset: u32,
    /// Length of the data, bytes.
    pub(super) length: u32,
}

/// One entry and where it lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) index: Index,
    pub(super) term: Term,
    pub(super) slot: Slot,
}

/// Shared by the Raft thread (extends, asks for terms), the log thread (places) and readers.
pub struct Log {
    state: RwLock<State>,
    cache_bytes_max: usize,
}

struct State {
    terms: Terms,
    /// Of the entries behind the base, in order, as far as they are on the disk.
    slots: VecDeque<Slot>,
    /// The newest entries without a gap up to the last one.
    cache: VecDeque<Entry>,
    cache_bytes: usize,
    segments: BTreeMap<u64, Arc<dyn DiskFile>>,
    /// Bytes written to the segments that are still kept.
    bytes_kept: u64,
    /// How often the log was restarted in RAM, and on the disk. While they differ, places on the disk belong to a
    /// log that is gone.
    restarts: u64,
    restarts_on_disk: u64,
}

impl Log {
    /// An empty log behind (`index`, `term`).
    pub(super) fn new(index: Index, term: Term, cache_bytes_max: usize) -> Self {
        let state = State {
            terms: Terms::new(index, term),
            slots: VecDeque::new(),
            cache: VecDeque::new(),
            cache_bytes: 0,
            segments: BTreeMap::new(),
            bytes_kept: 0,
            restarts: 0,
            restarts_on_disk: 0,
        };
        Self { state: RwLock::new(state), cache_bytes_max }
    }

    /// Of the oldest entry, or of the next one when the log is empty.
    pub fn first_index(&self) -> Index {
        self.lock().terms.base().0 + 1
    }

    /// Of the newest entry, or `first_index - 1` when the log is empty.
    pub fn last_index(&self) -> Index {
        self.lock().terms.last().0
    }

    /// From `first_index - 1` to the last entry.
    pub fn term(&self, index: Index) -> Option<Term> {
        self.lock().terms.term(index)
    }

    /// Entries up to here are on the disk; 0 while the disk has not followed a restart.
    pub fn durable_index(&self) -> Index {
        let state = self.lock();
        if state.restarts != state.restarts_on_disk {
            return 0;
        }
        state.terms.base().0 + state.slots.len() as u64
    }

    /// Appends; drops a tail that these entries replace. Entries that are trimmed already are passed over.
    ///
    /// # Panics
    /// If the entries leave a gap behind the last one: a log with a hole must never reach the disk.
    pub fn extend(&self, entries: &[Entry]) {
        let mut state = self.lock_mut();
        for entry in entries {
            if entry.index <= state.terms.base().0 {
                continue;
            }
            let last = state.terms.last().0;
            assert!(entry.index <= last + 1, "entry {} leaves a gap behind {last}", entry.index);
            if entry.index <= last {
                state.truncate(entry.index);
            }
            state.terms.push(entry.term);
            state.cache_bytes += entry.weight();
            state.cache.push_back(entry.clone());
        }
        state.evict(self.cache_bytes_max);
    }

    /// Entries `low..high` without touching the disk, as many as fit `bytes_max` but at least one; none when `low` is
    /// only on the disk, or not in the log.
    pub fn cached(&self, low: Index, high: Index, bytes_max: usize) -> Option<Vec<Entry>> {
        self.lock().cached(low, high, bytes_max)
    }

    /// Entries `low..high`, as many as fit `bytes_max` but at least one; may read the disk, and may return fewer than
    /// would fit. Empty when `low` is not in the log (any more).
    pub fn read(&self, low: Index, high: Index, bytes_max: usize) -> Result<Vec<Entry>, Fault> {
        loop {
            let plan = {
                let state = self.lock();
                if let Some(entries) = state.cached(low, high, bytes_max) {
                    return Ok(entries);
                }
                match state.plan(low, high, bytes_max) {
                    Some(plan) => plan,
                    None => return Ok(Vec::new()),
                }
            };
            match plan.read() {
                Ok(entries) => return Ok(entries),
                // A segment that was trimmed and used anew while we read it is no damage.
                Err(_) if !self.lock().stands(&plan) => {}
                Err(fault) => return Err(fault),
            }
        }
    }

    /// A snapshot takes the log's place: empty behind (`index`, `term`), at once in RAM; the disk follows with
    /// [`Wal::restart`](super::Wal::restart).
    pub fn restart(&self, index: Index, term: Term) {
        let mut state = self.lock_mut();
        state.restarts += 1;
        state.clear(index, term);
    }

    /// Bytes that the log takes on the disk, spare segments not counted.
    pub fn bytes_kept(&self) -> u64 {
        self.lock().bytes_kept
    }

    /// A segment that entries may come to lie in.
    pub(super) fn opened(&self, segment: u64, file: Arc<dyn DiskFile>) {
        self.lock_mut().segments.insert(segment, file);
    }

    pub(super) fn set_bytes_kept(&self, bytes: u64) {
        self.lock_mut().bytes_kept = bytes;
    }

    /// These entries are durable. Those that were replaced meanwhile are passed over.
    pub(super) fn place(&self, placed: &[Placed]) {
        let mut state = self.lock_mut();
        if state.restarts != state.restarts_on_disk {
            return;
        }
        let base = state.terms.base().0;
        for entry in placed {
            if entry.index <= base || state.terms.term(entry.index) != Some(entry.term) {
                continue;
            }
            let position = (entry.index - base - 1) as usize;
            if let Some(slot) = state.slots.get_mut(position) {
                *slot = entry.slot;
            } else if position == state.slots.len() {
                state.slots.push_back(entry.slot);
            }
        }
        state.evict(self.cache_bytes_max);
    }

    /// Replayed at open: an entry that lies on the disk and is not cached.
    pub(super) fn replayed(&self, placed: Placed) {
        let mut state = self.lock_mut();
        if placed.index <= state.terms.last().0 {
            state.truncate(placed.index);
        }
        state.terms.push(placed.term);
        state.slots.push_back(placed.slot);
    }

    /// Replayed at open: entries from `from` on are dropped; the entry before them has `term_before`, even if what
    /// this log knows begins later.
    pub(super) fn replayed_truncation(&self, from: Index, term_before: Term) {
        let mut state = self.lock_mut();
        if from <= state.terms.base().0 {
            state.clear(from - 1, term_before);
        } else {
            state.truncate(from);
        }
    }

    /// Entries up to `to` leave, with the segments older than `segment`.
    pub(super) fn trimmed(&self, to: Index, segment: u64) {
        let mut state = self.lock_mut();
        let before = state.terms.base().0;
        state.terms.trim(to);
        let gone = (state.terms.base().0 - before) as usize;
        let slots = gone.min(state.slots.len());
        state.slots.drain(..slots);
        while state.cache.front().is_some_and(|entry| entry.index <= to) {
            state.uncache_front();
        }
        state.segments = state.segments.split_off(&segment);
    }

    /// The disk has followed a restart; if RAM was not restarted first, it follows now.
    pub(super) fn restarted_on_disk(&self, index: Index, term: Term, segment: u64) {
        let mut state = self.lock_mut();
        if state.restarts == state.restarts_on_disk {
            state.restarts += 1;
            state.clear(index, term);
        }
        state.restarts_on_disk += 1;
        state.segments = state.segments.split_off(&segment);
    }

    fn lock(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn clear(&mut self, index: Index, term: Term) {
        self.terms = Terms::new(index, term);
        self.slots.clear();
        self.cache.clear();
        self.cache_bytes = 0;
    }

    /// Drops entries from `from` on, which lies behind the base.
    fn truncate(&mut self, from: Index) {
        self.terms.truncate(from);
        self.slots.truncate((from - self.terms.base().0 - 1) as usize);
        while self.cache.back().is_some_and(|entry| entry.index >= from) {
            if let Some(entry) = self.cache.pop_back() {
                self.cache_bytes -= entry.weight();
            }
        }
    }

    fn uncache_front(&mut self) {
        if let Some(entry) = self.cache.pop_front() {
            self.cache_bytes -= entry.weight();
        }
    }

    /// Lets the oldest cached entries go that are on the disk.
    fn evict(&mut self, bytes_max: usize) {
        let on_disk = self.terms.base().0 + self.slots.len() as u64;
        while self.cache_bytes > bytes_max
            && self.cache.front().is_some_and(|entry| entry.index <= on_disk)
        {
            self.uncache_front();
        }
    }

    fn cached(&self, low: Index, high: Index, bytes_max: usize) -> Option<Vec<Entry>> {
        let from = low.checked_sub(self.cache.front()?.index)?;
        let wanted = usize::try_from(high.saturating_sub(low)).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let mut entries = Vec::new();
        for entry in self.cache.iter().skip(usize::try_from(from).ok()?).take(wanted) {
            bytes += entry.weight();
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            entries.push(entry.clone());
        }
        (!entries.is_empty()).then_some(entries)
    }

    /// What one read of one segment brings: entries from `low` on that lie in the same file, in order.
    fn plan(&self, low: Index, high: Index, bytes_max: usize) -> Option<Plan> {
        let base = self.terms.base().0;
        let from = usize::try_from(low.checked_sub(base + 1)?).ok()?;
        let first = *self.slots.get(from)?;
        let file = Arc::clone(self.segments.get(&first.segment)?);
        let wanted = usize::try_from(high.saturating_sub(low)).unwrap_or(usize::MAX);
        let mut plan = Plan { file, low, slots: Vec::new(), terms: Vec::new() };
        let mut bytes = 0;
        let mut end = first.offset;
        for (index, slot) in (low..).zip(self.slots.iter().skip(from)).take(wanted) {
            bytes += slot.length as usize + Entry::OVERHEAD_BYTES;
            let follows = slot.segment == first.segment
                && slot.offset >= end
                && slot.offset - end <= GAP_BYTES_MAX;
            if !plan.slots.is_empty() && (bytes > bytes_max || !follows) {
                break;
            }
            end = slot.offset + slot.length;
            plan.slots.push(*slot);
            plan.terms.push(self.terms.term(index)?);
        }
        (!plan.slots.is_empty()).then_some(plan)
    }

    /// Whether the planned entries still lie where the plan says.
    fn stands(&self, plan: &Plan) -> bool {
        let from = plan.low.checked_sub(self.terms.base().0 + 1).map(|from| from as usize);
        from.is_some_and(|from| {
            plan.slots.iter().enumerate().all(|(i, slot)| self.slots.get(from + i) == Some(slot))
        })
    }
}

/// One read of the disk, decided under the lock and done outside it.
struct Plan {
    file: Arc<dyn DiskFile>,
    low: Index,
    slots: Vec<Slot>,
    terms: Vec<Term>,
}

impl Plan {
    fn read(&self) -> Result<Vec<Entry>, Fault> {
        let (first, last) = (self.slots[0], self.slots[self.slots.len() - 1]);
        let name = segment_name(first.segment);
        let start = u64::from(first.offset);
        let end = u64::from(last.offset) + entry_bytes(last.length as usize) as u64;
        let mut bytes = vec![0; (end - start) as usize];
        self.file
            .read_at(&mut bytes, start)
            .map_err(|source| Fault::io("read the log segment", &name, source))?;
        let mut entries = Vec::with_capacity(self.slots.len());
        for ((index, slot), term) in (self.low..).zip(&self.slots).zip(&self.terms) {
            let from = (slot.offset - first.offset) as usize;
            let entry = decode_entry(index, &bytes[from..])
                .filter(|entry| entry.term == *term && entry.data.len() == slot.length as usize)
                .ok_or_else(|| {
                    Fault::corrupt(
                        format!("entry {index} fails its checksum"),
                        format!("{name} at offset {}", slot.offset),
                    )
                })?;
            entries.push(entry);
        }
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use bytes::Bytes;

    use super::*;
    use crate::base::{ClusterId, MemberId};
    use crate::storage::{DirDisk, HardState, Wal, WalBatch, WalConfig};

    fn entry(index: Index) -> Entry {
        let data = Bytes::from(vec![index as u8; (index * 37 % 500) as usize]);
        Entry { term: 1, index, data, ..Entry::default() }
    }

    #[test]
    fn readers_see_whole_entries_while_segments_are_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = WalConfig::new(ClusterId(1), MemberId(1));
        config.segment_bytes = 8192;
        config.cache_bytes = 2000;
        let disk = Arc::new(DirDisk::new(dir.path()));
        let (mut wal, log) = Wal::create(disk, config, (1, 1), HardState::default()).unwrap();
        let (done, log) = (AtomicBool::new(false), &log);
        thread::scope(|scope| {
            for seed in 0..2 {
                let done = &done;
                scope.spawn(move || {
                    let mut dice = fastrand::Rng::with_seed(seed);
                    let mut read = 0;
                    while !done.load(Ordering::Relaxed) || read == 0 {
                        let low = dice.u64(log.first_index()..=log.last_index() + 1);
                        for found in log.read(low, low + 30, dice.usize(..5000)).unwrap() {
                            assert_eq!(found, entry(found.index));
                            read += 1;
                        }
                    }
                });
            }
            let mut next = 2;
            for round in 0..400 {
                let entries: Vec<Entry> = (next..next + 1 + round % 5).map(entry).collect();
                next += entries.len() as u64;
                log.extend(&entries);
                wal.append(WalBatch { entries, ..WalBatch::default() }).unwrap();
                if round % 7 == 0 {
                    wal.trim(next.saturating_sub(60)).unwrap();
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        assert!(log.first_index() > 1_000);
    }
}
