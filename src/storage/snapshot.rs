//! A state as a stream of bytes: taken from one member, received by another, or kept in a file.
//!
//! ```text
//!   copy:   LMDB --copy--> db/copy-<n>.part --> header, bytes ...        deleted when it has been sent
//!   stage:  header, bytes ... --> db/<g>.part/data.mdb --verify--> db/<g>        deleted unless installed
//! ```
//!
//! The stream is an 88 byte [`SnapshotHeader`] and the bytes of a compacted LMDB file (docs/storage.md).
//!
//! Promises: a staged snapshot is whole (length and SHA-256), opens, and its own rows say what its header says.
//! Knows nothing of: who sends it and why.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ring::digest::{Context, SHA256};

use super::db::Database;
use super::view::Layers;
use super::{Fault, Stamp, StoreConfig, View, directory, env};
use crate::base::{Sabotage, limits};

const MAGIC: [u8; 8] = *b"QRTSNAP\n";
const FORMAT: u32 = 1;
/// LMDB's two meta pages, of 4 KiB at the least.
const EMPTY_BYTES: u64 = 8_192;

/// Why a snapshot was not accepted: the attempt failed, this member is as it was.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("not a snapshot: it begins with {0:02x?}")]
    NotASnapshot(Vec<u8>),

    #[error("the snapshot is of format {found}, and this version reads format {expected}")]
    Format { found: u32, expected: u32 },

    #[error(
        "the snapshot's header is damaged: its checksum is {computed:08x} instead of {stored:08x}"
    )]
    Header { stored: u32, computed: u32 },

    #[error("the snapshot has {found} bytes instead of {expected}")]
    Length { found: u64, expected: u64 },

    #[error("the snapshot is damaged: its SHA-256 differs from the header's")]
    Checksum,

    #[error("the snapshot's rows are at {found}, its header says {expected}")]
    Stamp { found: Stamp, expected: Stamp },

    #[error("the snapshot holds no database that can be read: {0}")]
    Content(String),

    #[error(transparent)]
    Fault(#[from] Fault),
}

/// The first bytes of the stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SnapshotHeader {
    pub stamp: Stamp,
    /// Bytes that follow the header.
    pub length: u64,
    pub sha256: [u8; 32],
}

impl SnapshotHeader {
    pub const BYTES: usize = 88;

    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(Self::BYTES);
        bytes.put_slice(&MAGIC);
        bytes.put_u32(FORMAT);
        bytes.put_u64(self.stamp.applied);
        bytes.put_u64(self.stamp.term);
        bytes.put_i64(self.stamp.revision);
        bytes.put_i64(self.stamp.compacted);
        bytes.put_u64(self.length);
        bytes.put_slice(&self.sha256);
        let checksum = crc32c::crc32c(&bytes);
        bytes.put_u32(checksum);
        bytes.freeze()
    }

    /// The header of a database that came without one, as a file: `path` begins with its `length` bytes, whose
    /// checksum the caller has computed.
    pub fn of_data(
        path: &Path,
        length: u64,
        sha256: [u8; 32],
        config: &StoreConfig,
    ) -> Result<Self, SnapshotError> {
        if length < EMPTY_BYTES {
            return Err(SnapshotError::Length { found: length, expected: EMPTY_BYTES });
        }
        let claimed = env::bytes_claimed(path, config).map_err(unreadable)?;
        if claimed > length {
            return Err(SnapshotError::Length { found: length, expected: claimed });
        }
        let stamp = env::stamp_of_file(path, config).map_err(unreadable)?;
        Ok(Self { stamp, length, sha256 })
    }

    /// Reads the header at the beginning of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let not_a_snapshot =
            || SnapshotError::NotASnapshot(bytes.iter().copied().take(16).collect());
        let (head, _) = bytes.split_at_checked(Self::BYTES).ok_or_else(not_a_snapshot)?;
        let mut rest = head.strip_prefix(&MAGIC).ok_or_else(not_a_snapshot)?;
        match rest.get_u32() {
            FORMAT => {}
            found => return Err(SnapshotError::Format { found, expected: FORMAT }),
        }
        let stamp = Stamp {
            applied: rest.get_u64(),
            term: rest.get_u64(),
            revision: rest.get_i64(),
            compacted: rest.get_i64(),
        };
        let length = rest.get_u64();
        let mut sha256 = [0; 32];
        rest.copy_to_slice(&mut sha256);
        let (stored, computed) = (rest.get_u32(), crc32c::crc32c(&head[..Self::BYTES - 4]));
        if stored != computed {
            return Err(SnapshotError::Header { stored, computed });
        }
        Ok(Self { stamp, length, sha256 })
    }
}

/// A snapshot that leaves: reads and seeks in the bytes behind the header. Deleted when dropped.
#[derive(Debug)]
pub struct SnapshotCopy {
    header: SnapshotHeader,
    file: File,
    path: PathBuf,
}

impl SnapshotCopy {
    pub(super) fn take(
        database: &Database,
        path: PathBuf,
        config: &StoreConfig,
    ) -> Result<Self, Fault> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path);
        let file = file.map_err(|error| Fault::io("create", &path, error))?;
        let empty = SnapshotHeader { stamp: Stamp::EMPTY, length: 0, sha256: [0; 32] };
        let mut copy = Self { header: empty, file, path };
        // Nobody is to live on what this member should not live on itself.
        database.verify()?;
        database.copy_to(&mut copy.file, &copy.path)?;
        // Asked of the copy itself: LMDB chose the transaction it copied.
        let stamp = env::stamp_of_file(&copy.path, config)?;
        let (length, sha256) =
            digest(&mut copy.file).map_err(|error| Fault::io("read", &copy.path, error))?;
        copy.header = SnapshotHeader { stamp, length, sha256 };
        Ok(copy)
    }

    pub fn header(&self) -> SnapshotHeader {
        self.header
    }

    pub fn stamp(&self) -> Stamp {
        self.header.stamp
    }

    /// Bytes behind the header.
    pub fn length(&self) -> u64 {
        self.header.length
    }

    pub fn sha256(&self) -> [u8; 32] {
        self.header.sha256
    }
}

impl io::Read for SnapshotCopy {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.file.read(buf)
    }
}

impl Seek for SnapshotCopy {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.file.seek(position)
    }
}

impl Drop for SnapshotCopy {
    fn drop(&mut self) {
        remove_or_warn(&self.path);
    }
}

/// A snapshot that arrives. Deleted when dropped before it is finished.
pub struct Stage {
    header: SnapshotHeader,
    config: StoreConfig,
    db_dir: PathBuf,
    generation: u64,
    file: File,
    sum: Context,
    received: u64,
    part: Part,
}

impl Stage {
    pub(super) fn begin(
        db_dir: &Path,
        generation: u64,
        header: SnapshotHeader,
        config: StoreConfig,
    ) -> Result<Self, Fault> {
        let part = Part(directory::part_dir(db_dir, generation));
        fs::create_dir_all(&part.0).map_err(|error| Fault::io("create", &part.0, error))?;
        let path = part.0.join(directory::DATA_FILE);
        let file = File::create(&path).map_err(|error| Fault::io("create", path, error))?;
        let (sum, db_dir) = (Context::new(&SHA256), db_dir.to_owned());
        Ok(Self { header, config, db_dir, generation, file, sum, received: 0, part })
    }

    /// Takes the next piece of the stream.
    pub fn write(&mut self, chunk: &[u8]) -> Result<(), SnapshotError> {
        self.received += chunk.len() as u64;
        if self.received > self.header.length {
            return Err(self.wrong_length());
        }
        self.sum.update(chunk);
        let written = self.file.write_all(chunk);
        Ok(written.map_err(|error| Fault::io("write", self.data_path(), error))?)
    }

    /// Verifies what has arrived, makes it durable and opens it.
    pub fn finish(self) -> Result<Staged, SnapshotError> {
        let (path, expected) = (self.data_path(), self.header.stamp);
        if self.received != self.header.length {
            return Err(self.wrong_length());
        }
        let is_whole = self.sum.finish().as_ref() == self.header.sha256;
        if !is_whole && !Sabotage::SnapshotUnverified.is_on() {
            return Err(SnapshotError::Checksum);
        }
        self.file.sync_all().map_err(|error| Fault::io("sync", &path, error))?;
        drop(self.file);
        if self.header.length < EMPTY_BYTES {
            return Err(SnapshotError::Length { found: self.received, expected: EMPTY_BYTES });
        }
        let claimed = env::bytes_claimed(&path, &self.config).map_err(unreadable)?;
        if claimed > self.header.length {
            return Err(SnapshotError::Length { found: self.header.length, expected: claimed });
        }
        let found = env::stamp_of_file(&path, &self.config).map_err(unreadable)?;
        if found != expected {
            return Err(SnapshotError::Stamp { found, expected });
        }
        directory::adopt(&self.db_dir, self.generation)?;
        let database = Database::open_aside(&self.db_dir, self.generation, &self.config)?;
        Ok(Staged { database: Arc::new(database), stamp: expected })
    }

    fn data_path(&self) -> PathBuf {
        self.part.0.join(directory::DATA_FILE)
    }

    fn wrong_length(&self) -> SnapshotError {
        SnapshotError::Length { found: self.received, expected: self.header.length }
    }
}

/// A verified generation beside the current one. Deleted when dropped, unless installed.
#[derive(Debug)]
#[must_use]
pub struct Staged {
    database: Arc<Database>,
    stamp: Stamp,
}

impl Staged {
    /// What the install mark in the log must name.
    pub fn generation(&self) -> u64 {
        self.database.generation()
    }

    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// What it holds, before it is installed.
    pub fn view(&self) -> Result<View, Fault> {
        let view = View::open(Layers::of(Arc::clone(&self.database), self.stamp))?;
        view.ok_or_else(|| Fault::corrupt("a stamp that is not its own", "a staged snapshot"))
    }

    pub(super) fn adopt(self) -> (Arc<Database>, Stamp) {
        self.database.keep();
        (self.database, self.stamp)
    }
}

/// What is wrong with a file that arrived whole: no reason for this member to stop.
fn unreadable(fault: Fault) -> SnapshotError {
    match fault {
        Fault::Corrupt { what, .. } => SnapshotError::Content(what),
        fault => SnapshotError::Content(fault.to_string()),
    }
}

/// A directory that goes away unless it was renamed.
pub(super) struct Part(pub(super) PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        remove_or_warn(&self.0);
    }
}

fn remove_or_warn(path: &Path) {
    if let Err(error) = directory::remove(path) {
        tracing::warn!(%error, "a piece of a snapshot stays until the next start");
    }
}

/// Length and SHA-256 of the whole file; leaves the file at its beginning.
fn digest(file: &mut File) -> io::Result<(u64, [u8; 32])> {
    file.rewind()?;
    let (mut sum, mut length) = (Context::new(&SHA256), 0);
    let mut buf = vec![0; limits::SNAPSHOT_CHUNK_BYTES];
    loop {
        let read = file.read(&mut buf)?;
        if read == 0 {
            break;
        }
        sum.update(&buf[..read]);
        length += read as u64;
    }
    file.rewind()?;
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(sum.finish().as_ref());
    Ok((length, sha256))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_88_bytes_and_these() {
        let header = SnapshotHeader {
            stamp: Stamp { applied: 1, term: 2, revision: 3, compacted: 4 },
            length: 5,
            sha256: [6; 32],
        };
        let bytes = header.encode();
        let words: Vec<u64> = bytes[12..52]
            .chunks(8)
            .map(|word| u64::from_be_bytes(word.try_into().unwrap()))
            .collect();
        assert_eq!(&bytes[..12], b"QRTSNAP\n\0\0\0\x01");
        assert_eq!(words, [1, 2, 3, 4, 5]);
        assert_eq!((&bytes[52..84], bytes.len()), ([6; 32].as_slice(), SnapshotHeader::BYTES));
        assert_eq!(SnapshotHeader::decode(&bytes).unwrap(), header);
        assert!(SnapshotHeader::decode(&bytes[..87]).is_err());
    }
}
