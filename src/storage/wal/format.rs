//! The bytes of a segment: one header, then batches. docs/storage.md describes them to a stranger.
//!
//! All numbers are little endian; batches begin at multiples of 8. Nothing here reads a file, and nothing that was
//! read is believed before its checksum.

use bytes::Bytes;

use super::record::{Entry, EntryKind, HardState, InstallMark};
use crate::base::{ClusterId, Index, MemberId, Sabotage, Term};

/// Length of a segment's header, bytes: a sector of its own, so that no later write touches it.
pub(super) const SEGMENT_HEADER_BYTES: u64 = 512;

/// Length of a batch's header, bytes.
pub(super) const BATCH_HEADER_BYTES: usize = 32;

/// Batches begin at multiples of this, bytes.
pub(super) const ALIGN_BYTES: usize = 8;

/// The format that this code writes.
pub(super) const FORMAT_VERSION: u32 = 1;

const SEGMENT_MAGIC: &[u8; 8] = b"QUORATEW";
const BATCH_MAGIC: &[u8; 4] = b"QWB1";
const ENTRY_HEADER_BYTES: usize = 17;
const FLAG_RESTART: u32 = 1;
const FLAG_RECYCLED: u32 = 2;

const KIND_TRUNCATE: u8 = 1;
const KIND_ENTRIES: u8 = 2;
const KIND_HARD_STATE: u8 = 3;
const KIND_INSTALL: u8 = 4;

/// The first 512 bytes of a segment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct SegmentHeader {
    /// Grows by one with each segment of this log.
    pub(super) generation: u64,
    /// Of the first batch in this segment; all batches before it are durable.
    pub(super) first_sequence: u64,
    pub(super) cluster: ClusterId,
    pub(super) member: MemberId,
    pub(super) hard_state: HardState,
    /// The last entry before this segment.
    pub(super) base: (Index, Term),
    /// Older segments are void: the log starts after `base`.
    pub(super) restart: bool,
    /// Behind its batches lie those of the file's earlier life, not zeros.
    pub(super) recycled: bool,
}

/// Why a header is not one.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum BadHeader {
    NotASegment,
    Version(u32),
    Checksum,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SEGMENT_HEADER_BYTES as usize);
        out.extend(SEGMENT_MAGIC);
        out.extend(FORMAT_VERSION.to_le_bytes());
        let restart = if self.restart { FLAG_RESTART } else { 0 };
        let recycled = if self.recycled { FLAG_RECYCLED } else { 0 };
        out.extend((restart | recycled).to_le_bytes());
        let HardState { term, vote, commit } = self.hard_state;
        let (generation, sequence) = (self.generation, self.first_sequence);
        let (cluster, member, base) = (self.cluster.0, self.member.0, self.base);
        let words = [generation, sequence, cluster, member, term, vote, commit, base.0, base.1];
        words.iter().for_each(|word| out.extend(word.to_le_bytes()));
        out.resize(SEGMENT_HEADER_BYTES as usize - 4, 0);
        out.extend(crc32c::crc32c(&out).to_le_bytes());
        out
    }

    /// Of the first 512 bytes of a file.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, BadHeader> {
        let mut cursor = Cursor(bytes);
        if bytes.len() < SEGMENT_HEADER_BYTES as usize || cursor.take(8) != Some(SEGMENT_MAGIC) {
            return Err(BadHeader::NotASegment);
        }
        let version = cursor.u32().unwrap_or_default();
        if version != FORMAT_VERSION {
            return Err(BadHeader::Version(version));
        }
        let body = SEGMENT_HEADER_BYTES as usize - 4;
        if Cursor(&bytes[body..]).u32() != Some(crc32c::crc32c(&bytes[..body])) {
            return Err(BadHeader::Checksum);
        }
        let flags = cursor.u32().unwrap_or_default();
        let mut word = || cursor.u64().unwrap_or_default();
        Ok(Self {
            generation: word(),
            first_sequence: word(),
            cluster: ClusterId(word()),
            member: MemberId(word()),
            hard_state: HardState { term: word(), vote: word(), commit: word() },
            base: (word(), word()),
            restart: flags & FLAG_RESTART != 0,
            recycled: flags & FLAG_RECYCLED != 0,
        })
    }
}

/// The first 32 bytes of a batch, as read; only its checksum over the body makes it one.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchHeader {
    checksum: u32,
    pub(super) sequence: u64,
    /// Of the body, without header and padding.
    pub(super) body_bytes: usize,
}

impl BatchHeader {
    /// None unless magic and generation are right.
    pub(super) fn decode(bytes: &[u8], generation: u64) -> Option<Self> {
        let mut cursor = Cursor(bytes);
        let magic = cursor.take(4)?;
        let checksum = cursor.u32()?;
        let (of, sequence) = (cursor.u64()?, cursor.u64()?);
        let body_bytes = usize::try_from(cursor.u64()?).ok()?;
        (magic == BATCH_MAGIC && of == generation).then_some(Self {
            checksum,
            sequence,
            body_bytes,
        })
    }

    /// Header, body and padding, bytes; none if that cannot be.
    pub(super) fn whole_bytes(&self) -> Option<usize> {
        self.body_bytes.checked_add(BATCH_HEADER_BYTES)?.checked_next_multiple_of(ALIGN_BYTES)
    }

    /// `bytes` begins with this header and holds the whole body.
    pub(super) fn is_intact(&self, bytes: &[u8]) -> bool {
        let end = BATCH_HEADER_BYTES + self.body_bytes;
        bytes.get(8..end).is_some_and(|sealed| {
            crc32c::crc32c(sealed) == self.checksum || Sabotage::ChecksumIgnored.is_on()
        })
    }
}

/// Builds one batch in one buffer.
#[derive(Debug, Default)]
pub(super) struct BatchWriter {
    out: Vec<u8>,
}

impl BatchWriter {
    /// `recycled` is a buffer of an earlier batch.
    pub(super) fn new(mut recycled: Vec<u8>) -> Self {
        recycled.clear();
        recycled.resize(BATCH_HEADER_BYTES, 0);
        Self { out: recycled }
    }

    /// Entries from `from` on are void; the one before has `term_before`.
    pub(super) fn truncate(&mut self, from: Index, term_before: Term) {
        self.out.push(KIND_TRUNCATE);
        self.words(&[from, term_before]);
    }

    /// Consecutive entries; returns the offset of each in the batch.
    pub(super) fn entries(&mut self, entries: &[Entry], term_before: Term) -> Vec<usize> {
        self.out.push(KIND_ENTRIES);
        let first = entries.first().map_or(0, |entry| entry.index);
        self.words(&[first, term_before, entries.len() as u64]);
        let mut offsets = Vec::with_capacity(entries.len());
        for entry in entries {
            offsets.push(self.out.len());
            self.entry(entry);
        }
        offsets
    }

    /// Checksum, length, term, kind, data; the checksum covers the index too, which is not written.
    fn entry(&mut self, entry: &Entry) {
        let at = self.out.len();
        self.out.extend([0; 4]);
        self.out.extend((entry.data.len() as u32).to_le_bytes());
        self.out.extend(entry.term.to_le_bytes());
        self.out.push(match entry.kind {
            EntryKind::Normal => 0,
            EntryKind::ConfChange => 1,
        });
        self.out.extend(&entry.data);
        let checksum = entry_checksum(entry.index, &self.out[at + 4..]);
        self.out[at..at + 4].copy_from_slice(&checksum.to_le_bytes());
    }

    pub(super) fn hard_state(&mut self, hard: HardState) {
        self.out.push(KIND_HARD_STATE);
        self.words(&[hard.term, hard.vote, hard.commit]);
    }

    pub(super) fn install(&mut self, mark: InstallMark) {
        self.out.push(KIND_INSTALL);
        self.words(&[mark.index, mark.term, mark.generation]);
    }

    fn words(&mut self, words: &[u64]) {
        words.iter().for_each(|word| self.out.extend(word.to_le_bytes()));
    }

    /// Header, body and padding, bytes, as it stands.
    pub(super) fn whole_bytes(&self) -> usize {
        self.out.len().next_multiple_of(ALIGN_BYTES)
    }

    /// The bytes to write.
    pub(super) fn seal(mut self, generation: u64, sequence: u64) -> Vec<u8> {
        let end = self.out.len();
        let body = (end - BATCH_HEADER_BYTES) as u64;
        self.out[..4].copy_from_slice(BATCH_MAGIC);
        self.out[8..16].copy_from_slice(&generation.to_le_bytes());
        self.out[16..24].copy_from_slice(&sequence.to_le_bytes());
        self.out[24..32].copy_from_slice(&body.to_le_bytes());
        let checksum = crc32c::crc32c(&self.out[8..end]);
        self.out[4..8].copy_from_slice(&checksum.to_le_bytes());
        self.out.resize(end.next_multiple_of(ALIGN_BYTES), 0);
        self.out
    }
}

/// One thing that a batch says, as replayed.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Record {
    Truncate { from: Index, term_before: Term },
    Entries { first: Index, term_before: Term, entries: Vec<EntryAt> },
    HardState(HardState),
    Install(InstallMark),
}

/// An entry without its data.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct EntryAt {
    /// From the batch's first byte.
    pub(super) offset: usize,
    pub(super) length: u32,
    pub(super) term: Term,
}

/// The records of an intact batch, in order; none if they are no records, which no checksum error explains.
pub(super) fn decode_records(batch: &[u8], header: &BatchHeader) -> Option<Vec<Record>> {
    let end = BATCH_HEADER_BYTES + header.body_bytes;
    let whole = batch.get(..end)?;
    let mut cursor = Cursor(whole.get(BATCH_HEADER_BYTES..)?);
    let mut records = Vec::new();
    while let Some(kind) = cursor.u8() {
        records.push(match kind {
            KIND_TRUNCATE => Record::Truncate { from: cursor.u64()?, term_before: cursor.u64()? },
            KIND_ENTRIES => {
                let (first, term_before) = (cursor.u64()?, cursor.u64()?);
                let count = cursor.u64()?;
                let mut entries = Vec::new();
                for index in first..first.checked_add(count)? {
                    let offset = end - cursor.0.len();
                    let (term, _, data) = borrow_entry(index, cursor.0)?;
                    let length = u32::try_from(data.len()).ok()?;
                    cursor.take(entry_bytes(data.len()))?;
                    entries.push(EntryAt { offset, length, term });
                }
                Record::Entries { first, term_before, entries }
            }
            KIND_HARD_STATE => Record::HardState(HardState {
                term: cursor.u64()?,
                vote: cursor.u64()?,
                commit: cursor.u64()?,
            }),
            KIND_INSTALL => Record::Install(InstallMark {
                index: cursor.u64()?,
                term: cursor.u64()?,
                generation: cursor.u64()?,
            }),
            _ => return None,
        });
    }
    Some(records)
}

/// Length of an entry with data of `length`, bytes.
pub(in crate::storage) const fn entry_bytes(length: usize) -> usize {
    ENTRY_HEADER_BYTES + length
}

/// The entry at the start of `bytes`, if it is the one of this index and undamaged.
pub(in crate::storage) fn decode_entry(index: Index, bytes: &[u8]) -> Option<Entry> {
    let (term, kind, data) = borrow_entry(index, bytes)?;
    Some(Entry { term, index, kind, data: Bytes::copy_from_slice(data) })
}

fn borrow_entry(index: Index, bytes: &[u8]) -> Option<(Term, EntryKind, &[u8])> {
    let mut cursor = Cursor(bytes);
    let checksum = cursor.u32()?;
    let length = cursor.u32()? as usize;
    let term = cursor.u64()?;
    let kind = match cursor.u8()? {
        0 => EntryKind::Normal,
        1 => EntryKind::ConfChange,
        _ => return None,
    };
    let data = cursor.take(length)?;
    let sealed = &bytes[4..entry_bytes(length)];
    let is_whole = entry_checksum(index, sealed) == checksum || Sabotage::ChecksumIgnored.is_on();
    is_whole.then_some((term, kind, data))
}

fn entry_checksum(index: Index, sealed: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&index.to_le_bytes()), sealed)
}

/// Reads forward; every step may find the bytes at an end.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|byte| byte[0])
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }
}
