//! Opens a log after a stop of any kind: replays it, cuts a torn tail, and refuses what cannot be explained.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::disk::{Disk, DiskFile};
use super::super::fault::Fault;
use super::super::log::{Log, Placed, Slot};
use super::super::terms::Terms;
use super::format::{Record, SEGMENT_HEADER_BYTES, SegmentHeader, decode_records};
use super::record::{HardState, InstallMark, Recovered, TornTail, WalConfig};
use super::scan::Scan;
use super::segment::{LARGE_SPARE, Listing, Segment, read_header, segment_name};
use super::writer::{SPARES_MAX, Wal};
use crate::base::{Index, Sabotage, Term};

impl Wal {
    /// Opens the log of a member whose database holds what is applied up to `applied`, in its `generation`.
    ///
    /// The tail of a batch that was being written is cut. Refused as corrupt: damage before the tail, a cut below a
    /// commit that the log itself knows of, a log that does not contain `applied` and has no install mark of this
    /// generation that says why.
    pub fn open(
        disk: Arc<dyn Disk>,
        config: WalConfig,
        applied: (Index, Term),
        generation: u64,
    ) -> Result<(Self, Arc<Log>, Recovered), Fault> {
        let listing = Listing::read(disk.as_ref())?;
        let (first, sources) = sources(disk.as_ref(), &config, &listing)?;
        let mut replay = Replay::begin(&sources[0].header, config.cache_bytes);
        for pair in sources.windows(2) {
            replay.segment(&pair[0], Some(&pair[1].header))?;
        }
        let last = &sources[sources.len() - 1];
        replay.segment(last, None)?;
        let cut = replay.judge_tail(last)?;
        if Sabotage::LogCutBelowCommit.is_on() {
            replay.forget_behind(applied)?;
        }
        let restart = replay.check_applied(applied, generation)?;
        // Nothing was written so far: what is refused is left as it was found.
        replay.settle_tail(last, cut.as_ref())?;

        let mut hard_state = replay.hard_state;
        hard_state.commit = hard_state.commit.max(applied.0);
        let log = Arc::clone(&replay.log);
        let mut wal = replay.into_wal(disk, config, hard_state);
        wal.clear_away(&listing, first)?;
        if restart.is_some() {
            wal.restart(applied.0, applied.1, hard_state)?;
        }
        let (first_index, last_index) = (log.first_index(), log.last_index());
        let recovered = Recovered { hard_state, first_index, last_index, install: restart, cut };
        Ok((wal, log, recovered))
    }

    /// Removes or keeps as spares what a crash left behind; only now that the log is understood.
    fn clear_away(&mut self, listing: &Listing, first: u64) -> Result<(), Fault> {
        let remove = |name: &str| {
            self.disk
                .remove(name)
                .map_err(|source| Fault::io("remove the log segment", name, source))
        };
        for generation in listing.segments.iter().filter(|generation| **generation < first) {
            remove(&segment_name(*generation))?;
        }
        for name in &listing.spares {
            let failed = |source| Fault::io("open the log segment", name, source);
            let bytes = self.disk.open(name).and_then(|file| file.bytes()).map_err(failed)?;
            // What was being made for one large batch is half of something, whatever its length.
            let is_ordinary = bytes == self.config.segment_bytes && name != LARGE_SPARE;
            if is_ordinary && self.spares.len() < SPARES_MAX {
                self.spares.push(name.clone());
            } else {
                remove(name)?;
            }
        }
        self.tell_bytes_kept();
        Ok(())
    }
}

/// A segment that counts, before it is replayed.
struct Source {
    header: SegmentHeader,
    file: Arc<dyn DiskFile>,
}

/// The segments from the last restart on, without a gap, and the first one's generation.
fn sources(
    disk: &dyn Disk,
    config: &WalConfig,
    listing: &Listing,
) -> Result<(u64, Vec<Source>), Fault> {
    let mut sources: Vec<Source> = Vec::new();
    for &generation in &listing.segments {
        let name = segment_name(generation);
        let file = disk.open(&name).map_err(|source| Fault::io("open", &name, source))?;
        let header = read_header(file.as_ref(), generation, config)?;
        if header.restart {
            sources.clear();
        }
        if let Some(before) = sources.last().map(|source| source.header.generation)
            && before + 1 != generation
        {
            let what = format!("{} is missing", segment_name(before + 1));
            return Err(Fault::corrupt(what, "wal"));
        }
        sources.push(Source { header, file });
    }
    match sources.first() {
        Some(first) => Ok((first.header.generation, sources)),
        None => Err(Fault::corrupt("there is no log segment", "wal")),
    }
}

/// What has been understood so far.
struct Replay {
    log: Arc<Log>,
    terms: Terms,
    hard_state: HardState,
    /// Highest commit that some hard state on the disk vouches for, and where it stands.
    committed: (Index, String),
    mark: Option<InstallMark>,
    sequence: u64,
    segments: VecDeque<Segment>,
    /// The last intact batch of the segment replayed last: offset and bytes.
    newest: Option<(u64, Vec<u8>)>,
}

impl Replay {
    fn begin(header: &SegmentHeader, cache_bytes: usize) -> Self {
        let (index, term) = header.base;
        Self {
            log: Arc::new(Log::new(index, term, cache_bytes)),
            terms: Terms::new(index, term),
            hard_state: header.hard_state,
            committed: (0, String::new()),
            mark: None,
            sequence: header.first_sequence,
            segments: VecDeque::new(),
            newest: None,
        }
    }

    /// Replays one segment up to its end, which `next`, if there is one, tells.
    fn segment(&mut self, source: &Source, next: Option<&SegmentHeader>) -> Result<(), Fault> {
        let generation = source.header.generation;
        let mut offset = SEGMENT_HEADER_BYTES;
        let mut scan = Scan::new(source.file.as_ref(), generation)?;
        self.hard_state = source.header.hard_state;
        self.vouch(generation, 0, self.hard_state.commit);
        self.log.opened(generation, Arc::clone(&source.file));
        self.newest = None;
        self.segments.push_back(Segment {
            generation,
            file: Arc::clone(&source.file),
            bytes: scan.bytes(),
            used: offset,
            last_index: self.terms.last().0,
        });
        while next.is_none_or(|next| self.sequence < next.first_sequence) {
            let Some((header, bytes)) = scan.batch(offset, self.sequence)? else { break };
            let records = decode_records(bytes, &header)
                .ok_or_else(|| damage("a batch says what no log says", generation, offset))?;
            let whole = bytes.len() as u64;
            if next.is_none() {
                self.newest = Some((offset, bytes.to_vec()));
            }
            self.batch(records, generation, offset)?;
            offset += whole;
            self.sequence += 1;
        }
        if let Some(segment) = self.segments.back_mut() {
            segment.used = offset;
        }
        match next {
            Some(next) if next.first_sequence != self.sequence => {
                let what = format!("batch {} is damaged, and later ones exist", self.sequence);
                Err(damage(what, generation, offset))
            }
            Some(next) if next.base != self.terms.last() => {
                let what = format!("this segment begins behind entry {}", next.base.0);
                let what = format!("{what}, and the one before ends at {}", self.terms.last().0);
                Err(damage(what, next.generation, 0))
            }
            _ => Ok(()),
        }
    }

    fn batch(&mut self, records: Vec<Record>, generation: u64, at: u64) -> Result<(), Fault> {
        let install = records.iter().any(|record| matches!(record, Record::Install(_)));
        for record in records {
            match record {
                Record::Truncate { from, term_before } => {
                    self.truncate(from, term_before, generation, at)?;
                }
                Record::Entries { first, term_before, entries } => {
                    let last = self.terms.last();
                    if first > last.0 + 1 {
                        let what = format!("entry {first} follows entry {}", last.0);
                        return Err(damage(what, generation, at));
                    }
                    if first <= last.0 || term_before != last.1 {
                        self.truncate(first, term_before, generation, at)?;
                    }
                    for (index, entry) in (first..).zip(entries) {
                        let slot = Slot {
                            segment: generation,
                            offset: (at + entry.offset as u64) as u32,
                            length: entry.length,
                        };
                        self.log.replayed(Placed { index, term: entry.term, slot });
                        self.terms.push(entry.term);
                    }
                }
                Record::HardState(hard) if install => {
                    self.hard_state = HardState { commit: self.hard_state.commit, ..hard };
                }
                Record::HardState(hard) => {
                    self.hard_state = hard;
                    self.vouch(generation, at, hard.commit);
                }
                Record::Install(mark) => self.mark = Some(mark),
            }
        }
        if let Some(segment) = self.segments.back_mut() {
            segment.last_index = self.terms.last().0;
        }
        Ok(())
    }

    /// Entries from `from` on are void, and the one before has `term_before`: the log may begin later than that,
    /// when the segments that held its beginning were trimmed.
    fn truncate(
        &mut self,
        from: Index,
        term_before: Term,
        generation: u64,
        at: u64,
    ) -> Result<(), Fault> {
        if from <= self.committed.0 {
            let what = format!("entry {from} is replaced, and it was committed");
            return Err(damage(what, generation, at));
        }
        let before = from - 1;
        if before < self.terms.base().0 {
            self.terms = Terms::new(before, term_before);
        } else if self.terms.term(before) == Some(term_before) {
            self.terms.truncate(from);
        } else {
            let what = format!("entry {from} follows one of term {term_before}, and there is none");
            return Err(damage(what, generation, at));
        }
        self.log.replayed_truncation(from, term_before);
        for segment in &mut self.segments {
            segment.last_index = segment.last_index.min(before);
        }
        Ok(())
    }

    /// Drops what is not applied, as if nothing of it were committed.
    fn forget_behind(&mut self, applied: (Index, Term)) -> Result<(), Fault> {
        if self.terms.last().0 <= applied.0 || self.terms.term(applied.0) != Some(applied.1) {
            return Ok(());
        }
        self.hard_state.commit = applied.0;
        self.committed.0 = applied.0;
        self.truncate(applied.0 + 1, applied.1, 0, 0)
    }

    fn vouch(&mut self, generation: u64, at: u64, commit: Index) {
        if commit > self.committed.0 {
            self.committed = (commit, place(generation, at));
        }
    }

    /// The log ends here. What stands behind the end is a torn batch, if anything; everything else is damage.
    fn judge_tail(&mut self, last: &Source) -> Result<Option<TornTail>, Fault> {
        let generation = last.header.generation;
        let offset = self.segments.back().map_or(SEGMENT_HEADER_BYTES, |segment| segment.used);
        let mut scan = Scan::new(last.file.as_ref(), generation)?;
        if let Some(later) = scan.later_batch(offset, self.sequence)?
            && !Sabotage::DamageTakenForTornTail.is_on()
        {
            let what = format!("batch {} is damaged, and a later one is at {later}", self.sequence);
            return Err(damage(what, generation, offset));
        }
        if self.terms.last().0 < self.committed.0 {
            let (commit, witness) = &self.committed;
            let what = format!("the log ends at entry {}", self.terms.last().0);
            let what = format!("{what}, and {commit} was committed as {witness} says");
            return Err(damage(what, generation, offset));
        }
        let bytes = scan.torn_bytes(offset, !last.header.recycled)?;
        let torn = TornTail { file: segment_name(generation), offset, bytes };
        Ok((bytes > 0).then_some(torn))
    }

    /// Wipes a torn batch, and writes the newest one once more before the sync: after an fdatasync that failed, the
    /// page cache may call clean what never reached the disk.
    fn settle_tail(&self, last: &Source, cut: Option<&TornTail>) -> Result<(), Fault> {
        let name = segment_name(last.header.generation);
        let failed = |source| Fault::io("write the log segment", &name, source);
        if let Some(torn) = cut {
            let zeros = vec![0; torn.bytes as usize];
            last.file.write_at(&zeros, torn.offset).map_err(failed)?;
        }
        if let Some((at, bytes)) = &self.newest {
            last.file.write_at(bytes, *at).map_err(failed)?;
        }
        last.file.sync_data().map_err(failed)
    }

    /// Whether the log goes on from what is applied; if not, the mark that says why it is to be restarted there.
    fn check_applied(
        &self,
        applied: (Index, Term),
        generation: u64,
    ) -> Result<Option<InstallMark>, Fault> {
        let (index, term) = applied;
        let found = self.terms.term(index);
        if found == Some(term) {
            return Ok(None);
        }
        let wanted = InstallMark { index, term, generation };
        if self.mark == Some(wanted) {
            return Ok(self.mark);
        }
        let (base, last) = (self.terms.base().0, self.terms.last().0);
        let has = match found {
            Some(found) => format!("has term {found} there"),
            None if index < base => format!("begins behind entry {base}"),
            None => format!("ends at entry {last}"),
        };
        let what =
            format!("the database has applied entry {index} of term {term}, and the log {has}");
        let (generation, used) =
            self.segments.back().map_or((0, 0), |segment| (segment.generation, segment.used));
        Err(damage(what, generation, used))
    }

    fn into_wal(self, disk: Arc<dyn Disk>, config: WalConfig, hard_state: HardState) -> Wal {
        Wal {
            disk,
            config,
            log: self.log,
            segments: self.segments,
            spares: Vec::new(),
            terms: self.terms,
            hard_state,
            sequence: self.sequence,
            buffer: Vec::new(),
            failed: false,
        }
    }
}

fn place(generation: u64, offset: u64) -> String {
    format!("{} at offset {offset}", segment_name(generation))
}

fn damage(what: impl Into<String>, generation: u64, offset: u64) -> Fault {
    Fault::corrupt(what, place(generation, offset))
}
