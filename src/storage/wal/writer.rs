//! The writer of the log; owned by the log turn, one batch at a time.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::super::disk::{Disk, DiskFile};
use super::super::fault::Fault;
use super::super::log::{Log, Placed, Slot};
use super::super::terms::Terms;
use super::format::{BatchWriter, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::record::{Entry, HardState, WalBatch, WalConfig};
use super::segment::{FRESH_SPARE, LARGE_SPARE, Listing, Segment, segment_name, spare_name};
use crate::base::{Index, Term};

/// Trimmed segments kept for reuse.
pub(super) const SPARES_MAX: usize = 2;

/// A segment made for one large batch has a length that is a multiple of this, bytes.
const OWN_LENGTH_BYTES: u64 = 4096;

/// The write-ahead log's writer.
pub struct Wal {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) config: WalConfig,
    pub(super) log: Arc<Log>,
    /// In order; the last one is written to.
    pub(super) segments: VecDeque<Segment>,
    pub(super) spares: Vec<String>,
    /// Of what is on the disk; the log in RAM may be ahead.
    pub(super) terms: Terms,
    pub(super) hard_state: HardState,
    /// Of the next batch.
    pub(super) sequence: u64,
    pub(super) buffer: Vec<u8>,
    /// A write or a sync failed: what the disk holds is not known any more.
    pub(super) failed: bool,
}

impl Wal {
    /// Whether a log was created here.
    pub fn exists(disk: &dyn Disk) -> Result<bool, Fault> {
        Ok(!Listing::read(disk)?.segments.is_empty())
    }

    /// A new log without entries that starts after (index, term). A crash in here leaves no log, or all of it.
    pub fn create(
        disk: Arc<dyn Disk>,
        config: WalConfig,
        log_starts_after: (Index, Term),
        hard_state: HardState,
    ) -> Result<(Self, Arc<Log>), Fault> {
        let listing = Listing::read(disk.as_ref())?;
        if let Some(first) = listing.segments.first() {
            let exists = io::Error::from(io::ErrorKind::AlreadyExists);
            return Err(Fault::io("create the log over", segment_name(*first), exists));
        }
        for spare in &listing.spares {
            disk.remove(spare).map_err(|source| Fault::io("remove", spare, source))?;
        }
        let (index, term) = log_starts_after;
        let log = Arc::new(Log::new(index, term, config.cache_bytes));
        let mut wal = Self {
            disk,
            config,
            log: Arc::clone(&log),
            segments: VecDeque::new(),
            spares: Vec::new(),
            terms: Terms::new(index, term),
            hard_state,
            sequence: 1,
            buffer: Vec::new(),
            failed: false,
        };
        wal.roll(0, false)?;
        wal.tell_bytes_kept();
        Ok((wal, log))
    }

    /// Writes and syncs; what the batch says is durable when this returns, and its entries may leave the cache.
    /// After a fault every call fails.
    pub fn append(&mut self, batch: WalBatch) -> Result<(), Fault> {
        self.check_usable()?;
        if batch.is_empty() {
            return Ok(());
        }
        let result = self.write(&batch);
        self.failed = result.is_err();
        self.log.place(&result?);
        self.tell_bytes_kept();
        Ok(())
    }

    /// Entries up to `to` may go. Segments that hold none but such are put aside and used again.
    pub fn trim(&mut self, to: Index) -> Result<(), Fault> {
        self.check_usable()?;
        let to = to.min(self.terms.last().0);
        self.terms.trim(to);
        let gone = self.segments.iter().take_while(|segment| segment.last_index <= to).count();
        let gone = gone.min(self.segments.len() - 1);
        self.log.trimmed(to, self.segments[gone].generation);
        let result = self.recycle(gone);
        self.failed = result.is_err();
        self.tell_bytes_kept();
        result
    }

    /// A snapshot has been installed: on the disk too, the log is empty behind (`index`, `term`).
    pub fn restart(
        &mut self,
        index: Index,
        term: Term,
        hard_state: HardState,
    ) -> Result<(), Fault> {
        self.check_usable()?;
        self.terms = Terms::new(index, term);
        self.hard_state = hard_state;
        let result = self.roll(0, true).and_then(|()| {
            let segment = &self.segments[self.segments.len() - 1];
            self.log.restarted_on_disk(index, term, segment.generation);
            self.recycle(self.segments.len() - 1)
        });
        self.failed = result.is_err();
        self.tell_bytes_kept();
        result
    }

    /// Makes a zeroed segment ready while there is nothing else to do, so that no batch waits for it.
    pub fn prepare(&mut self) -> Result<(), Fault> {
        self.check_usable()?;
        if !self.spares.is_empty() {
            return Ok(());
        }
        let result = self.create_spare(FRESH_SPARE, self.config.segment_bytes);
        self.failed = result.is_err();
        result.map(|_| self.spares.push(FRESH_SPARE.to_owned()))
    }

    fn check_usable(&self) -> Result<(), Fault> {
        if !self.failed {
            return Ok(());
        }
        let stopped =
            io::Error::other("an earlier write failed, and what is on the disk since is not known");
        Err(Fault::io("write the log segment", self.active_name(), stopped))
    }

    fn active_name(&self) -> String {
        segment_name(self.segments.back().map_or(0, |segment| segment.generation))
    }

    pub(super) fn tell_bytes_kept(&self) {
        self.log.set_bytes_kept(self.segments.iter().map(|segment| segment.used).sum());
    }

    /// One write and one sync; where the entries came to lie.
    fn write(&mut self, batch: &WalBatch) -> Result<Vec<Placed>, Fault> {
        let (writer, offsets) = self.encode(batch)?;
        let whole = writer.whole_bytes() as u64;
        if self.segments.back().is_none_or(|active| active.used + whole > active.bytes) {
            self.roll(whole, false)?;
        }
        let sequence = self.sequence;
        let active = self.segments.back_mut().ok_or_else(no_segment)?;
        let (at, generation) = (active.used, active.generation);
        let bytes = writer.seal(generation, sequence);
        let failed = |source| Fault::io("write the log segment", segment_name(generation), source);
        active.file.write_at(&bytes, at).map_err(failed)?;
        active.file.sync_data().map_err(failed)?;
        active.used += bytes.len() as u64;
        self.buffer = bytes;
        self.sequence += 1;
        self.note(batch);
        let placed = |(entry, offset): (&Entry, usize)| Placed {
            index: entry.index,
            term: entry.term,
            slot: Slot {
                segment: generation,
                offset: (at + offset as u64) as u32,
                length: entry.data.len() as u32,
            },
        };
        Ok(batch.entries.iter().zip(offsets).map(placed).collect())
    }

    /// The batch's bytes, unsealed, and the offset of each entry in them.
    fn encode(&mut self, batch: &WalBatch) -> Result<(BatchWriter, Vec<usize>), Fault> {
        let mut writer = BatchWriter::new(std::mem::take(&mut self.buffer));
        let mut offsets = Vec::new();
        let mut last = self.terms.last().0;
        if let Some(from) = batch.truncate_from.filter(|from| *from <= last) {
            writer.truncate(from, self.term_before(from)?);
            last = from - 1;
        }
        if let Some(first) = batch.entries.first() {
            if first.index > last + 1 {
                let what = format!("entry {} would leave a gap behind {last}", first.index);
                return Err(Fault::corrupt(what, "a batch of the log"));
            }
            offsets = writer.entries(&batch.entries, self.term_before(first.index)?);
        }
        if let Some(hard) = batch.hard_state {
            writer.hard_state(hard);
        }
        if let Some(mark) = batch.install {
            writer.install(mark);
        }
        if writer.whole_bytes() as u64 + SEGMENT_HEADER_BYTES > u64::from(u32::MAX) {
            let long = io::Error::from(io::ErrorKind::FileTooLarge);
            return Err(Fault::io("write a batch of over 4 GiB to", self.active_name(), long));
        }
        Ok((writer, offsets))
    }

    /// Term of the entry before one that is about to be written.
    fn term_before(&self, index: Index) -> Result<Term, Fault> {
        let base = self.terms.base().0;
        let what = if index <= self.hard_state.commit {
            format!("entry {index} would be replaced, and it was committed")
        } else {
            match index.checked_sub(1).and_then(|before| self.terms.term(before)) {
                Some(term) => return Ok(term),
                None => format!("entry {index} would be written over a log trimmed to {base}"),
            }
        };
        Err(Fault::corrupt(what, "a batch of the log"))
    }

    /// Keeps account of a batch that is on the disk.
    fn note(&mut self, batch: &WalBatch) {
        let first = batch.entries.first().map(|entry| entry.index);
        if let Some(cut) = batch.truncate_from.into_iter().chain(first).min() {
            self.terms.truncate(cut);
            for segment in &mut self.segments {
                segment.last_index = segment.last_index.min(cut - 1);
            }
        }
        batch.entries.iter().for_each(|entry| self.terms.push(entry.term));
        if let Some(active) = self.segments.back_mut() {
            active.last_index = self.terms.last().0;
        }
        if let Some(hard) = batch.hard_state {
            // The commit of a snapshot counts once the database is switched.
            let commit = match batch.install {
                Some(_) => self.hard_state.commit,
                None => hard.commit,
            };
            self.hard_state = HardState { commit, ..hard };
        }
    }

    /// Goes on in another segment with room for `batch_bytes`: its header is durable before its name is.
    fn roll(&mut self, batch_bytes: u64, restart: bool) -> Result<(), Fault> {
        let generation = self.segments.back().map_or(1, |active| active.generation + 1);
        let needed = SEGMENT_HEADER_BYTES + batch_bytes;
        let name = segment_name(generation);
        let ordinary = needed <= self.config.segment_bytes;
        let spare = if ordinary { self.spares.pop() } else { None };
        let recycled = spare.as_ref().is_some_and(|spare| spare != FRESH_SPARE);
        let (spare, file) = match spare {
            Some(spare) => {
                let file = self.disk.open(&spare);
                (spare.clone(), file.map_err(|source| Fault::io("open", &spare, source))?)
            }
            None => {
                let own = needed.next_multiple_of(OWN_LENGTH_BYTES);
                let (name, bytes) = match ordinary {
                    true => (FRESH_SPARE, self.config.segment_bytes),
                    false => (LARGE_SPARE, own),
                };
                (name.to_owned(), self.create_spare(name, bytes)?)
            }
        };
        let header = SegmentHeader {
            generation,
            first_sequence: self.sequence,
            cluster: self.config.cluster,
            member: self.config.member,
            hard_state: self.hard_state,
            base: self.terms.last(),
            restart,
            recycled,
        };
        let failed = |source| Fault::io("begin the log segment", &name, source);
        file.write_at(&header.encode(), 0).map_err(failed)?;
        file.sync_data().map_err(failed)?;
        self.disk.rename(&spare, &name).map_err(failed)?;
        let bytes = file.bytes().map_err(failed)?;
        self.log.opened(generation, Arc::clone(&file));
        let last_index = self.terms.last().0;
        let used = SEGMENT_HEADER_BYTES;
        self.segments.push_back(Segment { generation, file, bytes, used, last_index });
        Ok(())
    }

    fn create_spare(&self, name: &str, bytes: u64) -> Result<Arc<dyn DiskFile>, Fault> {
        self.disk
            .create(name, bytes)
            .map_err(|source| Fault::io("make the log segment", name, source))
    }

    /// Puts the oldest `count` segments aside, oldest first, so that no crash leaves a gap.
    fn recycle(&mut self, count: usize) -> Result<(), Fault> {
        for _ in 0..count {
            let Some(segment) = self.segments.pop_front() else { break };
            let name = segment_name(segment.generation);
            if segment.bytes == self.config.segment_bytes && self.spares.len() < SPARES_MAX {
                let spare = spare_name(segment.generation);
                self.disk
                    .rename(&name, &spare)
                    .map_err(|source| Fault::io("put aside the log segment", &name, source))?;
                self.spares.push(spare);
            } else {
                self.disk
                    .remove(&name)
                    .map_err(|source| Fault::io("remove the log segment", &name, source))?;
            }
        }
        Ok(())
    }
}

fn no_segment() -> Fault {
    Fault::corrupt("the log has no segment", "wal")
}
