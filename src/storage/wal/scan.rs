//! Reads a segment's batches in order, and looks behind a bad one.

use super::super::disk::DiskFile;
use super::super::fault::Fault;
use super::format::{ALIGN_BYTES, BATCH_HEADER_BYTES, BatchHeader};
use super::segment::segment_name;

/// Files are read in pieces of at least this many bytes.
const WINDOW_BYTES: u64 = 256 * 1024;

/// One segment, read forward through a window.
pub(super) struct Scan<'a> {
    file: &'a dyn DiskFile,
    generation: u64,
    bytes: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl<'a> Scan<'a> {
    pub(super) fn new(file: &'a dyn DiskFile, generation: u64) -> Result<Self, Fault> {
        let bytes = file.bytes().map_err(|source| failed(generation, source))?;
        Ok(Self { file, generation, bytes, window: Vec::new(), window_at: 0 })
    }

    /// Length of the file.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The intact batch of this sequence at `offset`, with its header; none if something else is there.
    pub(super) fn batch(
        &mut self,
        offset: u64,
        sequence: u64,
    ) -> Result<Option<(BatchHeader, &[u8])>, Fault> {
        let Some(header) = self.header(offset)?.filter(|header| header.sequence == sequence) else {
            return Ok(None);
        };
        let Some(whole) = self.whole(offset, &header)? else { return Ok(None) };
        Ok(header.is_intact(whole).then_some((header, whole)))
    }

    /// Where, behind `offset`, an intact batch of a sequence above `sequence` begins.
    pub(super) fn later_batch(&mut self, offset: u64, sequence: u64) -> Result<Option<u64>, Fault> {
        let mut at = offset + ALIGN_BYTES as u64;
        while at < self.bytes {
            if let Some(header) = self.header(at)?
                && header.sequence > sequence
                && let Some(whole) = self.whole(at, &header)?
                && header.is_intact(whole)
            {
                return Ok(Some(at));
            }
            at += ALIGN_BYTES as u64;
        }
        Ok(None)
    }

    /// How much behind `offset` a batch that was being written may have touched: what its header claims, or, if that
    /// did not arrive and `zeroed` says that the file held zeros, up to the last byte that is none.
    pub(super) fn torn_bytes(&mut self, offset: u64, zeroed: bool) -> Result<u64, Fault> {
        let rest = self.bytes.saturating_sub(offset);
        if let Some(header) = self.header(offset)? {
            return Ok(header.whole_bytes().map_or(rest, |whole| (whole as u64).min(rest)));
        }
        let mut torn = 0;
        let mut at = offset;
        while zeroed && at < self.bytes {
            let count = WINDOW_BYTES.min(self.bytes - at);
            let piece = self.piece(at, count)?.unwrap_or_default();
            if let Some(last) = piece.iter().rposition(|&byte| byte != 0) {
                torn = at + last as u64 + 1 - offset;
            }
            at += count;
        }
        Ok(torn)
    }

    fn header(&mut self, offset: u64) -> Result<Option<BatchHeader>, Fault> {
        let generation = self.generation;
        let bytes = self.piece(offset, BATCH_HEADER_BYTES as u64)?;
        Ok(bytes.and_then(|bytes| BatchHeader::decode(bytes, generation)))
    }

    fn whole(&mut self, offset: u64, header: &BatchHeader) -> Result<Option<&[u8]>, Fault> {
        match header.whole_bytes() {
            Some(count) => self.piece(offset, count as u64),
            None => Ok(None),
        }
    }

    /// These bytes of the file; none if it ends before.
    fn piece(&mut self, offset: u64, count: u64) -> Result<Option<&[u8]>, Fault> {
        let Some(end) = offset.checked_add(count).filter(|end| *end <= self.bytes) else {
            return Ok(None);
        };
        if offset < self.window_at || end > self.window_at + self.window.len() as u64 {
            let ahead = WINDOW_BYTES.max(count).min(self.bytes - offset);
            self.window.resize(ahead as usize, 0);
            self.window_at = offset;
            self.file
                .read_at(&mut self.window, offset)
                .map_err(|source| failed(self.generation, source))?;
        }
        let from = (offset - self.window_at) as usize;
        Ok(Some(&self.window[from..from + count as usize]))
    }
}

fn failed(generation: u64, source: std::io::Error) -> Fault {
    Fault::io("read the log segment", segment_name(generation), source)
}
