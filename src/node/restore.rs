//! A fresh cluster out of a snapshot's file, offline: a data directory that `serve` starts from.
//!
//! ```text
//!   file --verify--> <data-dir>.part/db --new members, cluster id, stamp--> checkpoint --> a log behind it
//!                                                         everything synced --rename--> <data-dir>
//! ```
//!
//! Promises: a file that is damaged in one bit is refused by name, unless its checksum is not to be looked at; the data
//! directory appears when it is whole; every member restored from one file with one initial cluster has the same
//! state. Knows nothing of: running members.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::ops::{Bound, ControlFlow};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::digest::{Context, SHA256};

use super::bootstrap;
use super::config::Roster;
use super::error::Error;
use super::founding;
use super::wal_place::place_log;
use crate::base::{ClusterId, MemberId, Moment, limits};
use crate::discovery::Resolver;
use crate::state::Machine;
use crate::storage::{
    DataDir, DataDirError, DirDisk, Direction, Fault, HardState, Identity, Read, Rows,
    SnapshotError, SnapshotHeader, Stamp, Store, StoreConfig, Table, Wal, WalConfig,
};
use crate::transport::Url;

/// A saved file has whole blocks of data ...
const BLOCK_BYTES: u64 = 512;
/// ... and the SHA-256 of them behind.
const CHECKSUM_BYTES: u64 = 32;

/// What to restore, and as whom.
#[derive(Clone, Debug)]
pub struct Restore {
    pub file: PathBuf,
    /// Must not exist, or be empty.
    pub data_dir: PathBuf,
    /// Where its log is put, if not into `data_dir`.
    pub wal_dir: Option<PathBuf>,
    pub name: String,
    /// The members that found the cluster anew; the same for each of them.
    pub roster: Roster,
    pub advertise_peer_urls: Vec<Url>,
    /// The checksum at the file's end may be missing or wrong, as in a copy of a data directory's file.
    pub skip_hash_check: bool,
    /// Added to the newest revision, so that it is above every one that a client has seen.
    pub bump_revision: i64,
    /// History up to the newest revision is gone: whoever watches from before is told so.
    pub mark_compacted: bool,
}

/// What came of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Restored {
    pub cluster: ClusterId,
    pub member: MemberId,
    pub stamp: Stamp,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SnapshotContent {
    /// CRC-32C over all rows: equal for equal states.
    pub hash: u32,
    pub stamp: Stamp,
    /// Rows of all tables.
    pub rows: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Why a file was not restored, or not read.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },

    #[error("cannot use {path}: {source}")]
    Snapshot { path: PathBuf, source: SnapshotError },

    #[error(
        "snapshot missing hash but --skip-hash-check=false: {path} does not end with a checksum; was it copied whole?"
    )]
    MissingHash { path: PathBuf },

    #[error("{path} is damaged: its SHA-256 is not the one at its end; take another copy of it")]
    WrongHash { path: PathBuf },

    #[error(
        "data-dir {path:?} not empty or could not be read: give the restored member a --data-dir of its own"
    )]
    NotEmpty { path: PathBuf },

    #[error("{path} is in the way: an interrupted restore left it; remove it first")]
    InTheWay { path: PathBuf },

    #[error("--bump-revision {by} is too much: the newest revision is {revision}")]
    Bump { by: i64, revision: i64 },

    #[error(
        "revision {revision} is not in the file: it has those from {compacted}, its last compaction, to {newest}"
    )]
    Revision { revision: i64, compacted: i64, newest: i64 },

    #[error("cannot put the log into {}: {source}", path.display())]
    WalDir { path: PathBuf, source: io::Error },

    #[error(transparent)]
    Start(#[from] Error),
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Restores one member; `told` hears how many bytes of how many have been read.
pub fn restore(plan: &Restore, told: &mut dyn FnMut(u64, u64)) -> Result<Restored, RestoreError> {
    let resolve: bootstrap::Resolve<'_> = &founding::resolve(Resolver::system());
    let own = bootstrap::own_entry(&plan.roster, &plan.name, &plan.advertise_peer_urls, resolve)?;
    let place = bootstrap::found(&plan.roster, own);
    if fs::read_dir(&plan.data_dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(RestoreError::NotEmpty { path: plan.data_dir.clone() });
    }
    let part = Part::beside(&plan.data_dir)?;
    if let Some(wal_dir) = &plan.wal_dir {
        if fs::read_dir(wal_dir).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(RestoreError::NotEmpty { path: wal_dir.clone() });
        }
        let failed = |source| RestoreError::WalDir { path: wal_dir.clone(), source };
        place_log(&part.0, wal_dir).map_err(failed)?;
    }
    let mut dir = DataDir::open(&part.0)?;
    let (cluster, member) = (place.cluster, place.member);
    dir.write_identity(&Identity { cluster, member, name: plan.name.clone() })?;
    let store = unpack(&plan.file, &dir.db_dir(), plan.skip_hash_check, told)?;
    let stamp = plan.stamp(store.stamp())?;
    let rows = Machine::found_again(&store.view()?, cluster, &place.members)?;
    store.merge(rows, stamp, Moment::ZERO);
    if let Some(sealed) = store.seal() {
        store.checkpoint(sealed)?;
    }
    drop(store);
    let hard_state = HardState { term: stamp.term, vote: 0, commit: stamp.applied };
    let disk = Arc::new(DirDisk::new(dir.wal_dir()));
    let begun = (stamp.applied, stamp.term);
    Wal::create(disk, WalConfig::new(cluster, member), begun, hard_state)?;
    drop(dir);
    part.adopt(&plan.data_dir)?;
    Ok(Restored { cluster, member, stamp })
}

impl Restore {
    fn stamp(&self, found: Stamp) -> Result<Stamp, RestoreError> {
        let by = self.bump_revision;
        let revision = found.revision.checked_add(by).filter(|_| by >= 0);
        let revision = revision.ok_or(RestoreError::Bump { by, revision: found.revision })?;
        let compacted = if self.mark_compacted { revision } else { found.compacted };
        Ok(Stamp { revision, compacted, ..found })
    }
}

/// Reads the whole of a file, as [`restore`] would.
pub fn inspect(
    file: &Path,
    told: &mut dyn FnMut(u64, u64),
) -> Result<SnapshotContent, RestoreError> {
    let (_part, store) = unpacked(file, told)?;
    let view = store.view()?;
    let (mut hash, mut rows) = (0, 0);
    // The count index is derived from the others.
    for table in Table::ALL.into_iter().filter(|table| *table != Table::Counts) {
        let all = (Bound::Unbounded, Bound::Unbounded);
        view.scan(table, all.0, all.1, Direction::Ascending, &mut |row| {
            hash = crc32c::crc32c_append(hash, row.key);
            hash = crc32c::crc32c_append(hash, row.value);
            rows += 1;
            ControlFlow::Continue(())
        })?;
    }
    let metadata = fs::metadata(file);
    let failed = |source| RestoreError::Read { path: file.to_owned(), source };
    Ok(SnapshotContent { hash, stamp: store.stamp(), rows, bytes: metadata.map_err(failed)?.len() })
}

/// The file's database, in a folder for temporary files that goes with the first of the two.
pub(super) fn unpacked(
    file: &Path,
    told: &mut dyn FnMut(u64, u64),
) -> Result<(Part, Arc<Store>), RestoreError> {
    let name = format!("quorate-snapshot-{}", std::process::id());
    let part = Part::beside(&std::env::temp_dir().join(name))?;
    let store = unpack(file, &part.0.join("db"), false, told)?;
    Ok((part, store))
}

/// The file's database below `db_dir`, verified: data in whole blocks, and its SHA-256.
fn unpack(
    path: &Path,
    db_dir: &Path,
    skip_hash_check: bool,
    told: &mut dyn FnMut(u64, u64),
) -> Result<Arc<Store>, RestoreError> {
    let unreadable = |source| RestoreError::Read { path: path.to_owned(), source };
    let refused = |source| RestoreError::Snapshot { path: path.to_owned(), source };
    let bytes = fs::metadata(path).map_err(unreadable)?.len();
    let has_checksum = bytes % BLOCK_BYTES == CHECKSUM_BYTES;
    let length = if has_checksum { bytes - CHECKSUM_BYTES } else { bytes };
    let mut sum = Context::new(&SHA256);
    let mut end = read_pieces(path, length, &mut |piece, done| {
        sum.update(piece);
        told(done / 2, length);
        Ok(())
    })?;
    let sum = sum.finish();
    if !skip_hash_check {
        if !has_checksum {
            return Err(RestoreError::MissingHash { path: path.to_owned() });
        }
        let mut found = Vec::new();
        end.read_to_end(&mut found).map_err(unreadable)?;
        if sum.as_ref() != found {
            return Err(RestoreError::WrongHash { path: path.to_owned() });
        }
    }
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(sum.as_ref());
    let config = StoreConfig::for_quota(Some(length));
    let header = SnapshotHeader::of_data(path, length, sha256, &config).map_err(refused)?;
    let store = Store::create(db_dir, config, Rows::new(), Stamp::EMPTY)?;
    let mut stage = store.stage(header)?;
    read_pieces(path, length, &mut |piece, done| {
        told(length / 2 + done / 2, length);
        stage.write(piece).map_err(refused)
    })?;
    let staged = stage.finish().map_err(refused)?;
    store.install(staged)?;
    Ok(store)
}

/// Takes a piece, and how many bytes have been read with it.
type Taker<'a> = dyn FnMut(&[u8], u64) -> Result<(), RestoreError> + 'a;

/// Hands out the first `length` bytes of a file; gives back the file where they end.
fn read_pieces(path: &Path, length: u64, each: &mut Taker<'_>) -> Result<File, RestoreError> {
    let unreadable = |source| RestoreError::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(unreadable)?;
    let mut piece = vec![0; limits::SNAPSHOT_CHUNK_BYTES];
    let mut done = 0;
    while done < length {
        let left = length - done;
        let most = usize::try_from(left).map_or(piece.len(), |left| left.min(piece.len()));
        let read = file.read(&mut piece[..most]).map_err(unreadable)?;
        if read == 0 {
            return Err(unreadable(io::ErrorKind::UnexpectedEof.into()));
        }
        done += read as u64;
        each(&piece[..read], done)?;
    }
    Ok(file)
}

/// A directory on its way; deleted unless it was adopted.
pub(super) struct Part(PathBuf);

impl Part {
    fn beside(path: &Path) -> Result<Self, RestoreError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".part");
        let path = PathBuf::from(name);
        if path.exists() {
            return Err(RestoreError::InTheWay { path });
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let made = parent.map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::create_dir(&path));
        made.map_err(|error| Fault::io("create", &path, error))?;
        Ok(Self(path))
    }

    fn adopt(self, path: &Path) -> Result<(), Fault> {
        let failed = |error| Fault::io("rename the restored directory to", path, error);
        fs::rename(&self.0, path).map_err(failed)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or_else(|| Path::new("."));
        File::open(parent).and_then(|dir| dir.sync_all()).map_err(failed)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Renamed: then there is nothing to delete.
        let _ = fs::remove_dir_all(&self.0);
    }
}
