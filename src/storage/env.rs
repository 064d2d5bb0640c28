//! LMDB environments: opening them, and what their refusals mean. The only file with `unsafe` in it.
//!
//! Knows nothing of: tables, transactions, who reads.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use heed::types::Bytes;
use heed::{CommitOrAbort, EnvFlags, EnvOpenOptions, MdbError, WithoutTls};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::{Fault, Stamp, StoreConfig, Table};

pub(super) type Env = heed::Env<WithoutTls>;

/// LMDB refuses a map that is no multiple of the machine's page; this is one of every page in use.
const MAP_STEP_BYTES: u64 = 64 * 1024;

/// LMDB's file of readers: a slot of a cache line each, behind a head of a few hundred bytes.
const LOCK_FILE: &str = "lock.mdb";
const READER_SLOT_BYTES: u64 = 64;
const LOCK_HEAD_BYTES: u64 = 4_096;

/// With less room than this left, bytes, a write that failed for no other reason did so for want of it.
const FULL_BYTES: u64 = 1 << 20;

/// The environment in the directory `dir`, created if there is none.
pub(super) fn open(dir: &Path, config: &StoreConfig) -> Result<Env, Fault> {
    reserve_lock_file(dir, config)?;
    let env = open_with(dir, config, EnvFlags::empty());
    env.map_err(|error| fault("open", dir, config.map_bytes, error))
}

/// Gives a new file of readers its blocks on the disk. LMDB only sets its length and writes it through a map, so that
/// a full disk would end this process by a signal instead of a message.
fn reserve_lock_file(dir: &Path, config: &StoreConfig) -> Result<(), Fault> {
    let path = dir.join(LOCK_FILE);
    if path.metadata().is_ok_and(|meta| meta.len() > 0) {
        return Ok(()); // reserved when it was made; and closing a file of readers in use would drop its locks
    }
    let bytes = u64::from(config.readers) * READER_SLOT_BYTES + LOCK_HEAD_BYTES;
    let file = File::options().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(|error| Fault::io("create", &path, error))?;
    match fallocate(file, FallocateFlags::KEEP_SIZE, 0, bytes) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(error) => Err(Fault::io("reserve", path, error.into())),
    }
}

/// What the rows inside the snapshot file `path` say of themselves.
pub(super) fn stamp_of_file(path: &Path, config: &StoreConfig) -> Result<Stamp, Fault> {
    let fault = |error| fault("open", path, config.map_bytes, error);
    let flags = EnvFlags::NO_SUB_DIR | EnvFlags::READ_ONLY | EnvFlags::NO_LOCK;
    let env = open_with(path, config, flags).map_err(fault)?;
    let txn = env.read_txn().map_err(fault)?;
    let opened = env
        .open_databases_and_commit(txn, |opener, txn| {
            let meta = opener.open_database::<Bytes, Bytes>(txn, Some(Table::Meta.name()))?;
            Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(meta))
        })
        .map_err(fault)?;
    let Some(Some(meta)) = opened.commit() else {
        return Err(Fault::corrupt("no table meta", path.display().to_string()));
    };
    let txn = env.read_txn().map_err(fault)?;
    let format = meta.get(&txn, Stamp::FORMAT_KEY).map_err(fault)?;
    let stamp = meta.get(&txn, Stamp::KEY).map_err(fault)?;
    Stamp::of_stored(format, stamp, path)
}

/// The bytes of all pages that the snapshot file `path` says it has: a shorter file must not be read as a map.
pub(super) fn bytes_claimed(path: &Path, config: &StoreConfig) -> Result<u64, Fault> {
    let fault = |error| fault("open", path, config.map_bytes, error);
    let flags = EnvFlags::NO_SUB_DIR | EnvFlags::READ_ONLY | EnvFlags::NO_LOCK;
    let env = open_with(path, config, flags).map_err(fault)?;
    let page_bytes = u64::from(env.unnamed_database_stat().page_size);
    Ok((env.info().last_page_number as u64 + 1) * page_bytes)
}

/// The colour and the words of what LMDB refused.
pub(super) fn fault(
    action: &'static str,
    path: &Path,
    map_bytes: u64,
    error: heed::Error,
) -> Fault {
    match error {
        heed::Error::Io(source) => Fault::io(action, path, told(source, path)),
        heed::Error::Mdb(MdbError::MapFull) => Fault::MapFull { path: path.to_owned(), map_bytes },
        heed::Error::Mdb(
            error @ (MdbError::Corrupted
            | MdbError::Invalid
            | MdbError::PageNotFound
            | MdbError::Panic
            | MdbError::VersionMismatch),
        ) => Fault::corrupt(format!("LMDB says {error}"), path.display().to_string()),
        error => Fault::Database { action, path: path.to_owned(), source: Box::new(error) },
    }
}

/// LMDB calls a write that ended short an input/output error. Where no room is left, that is what it was.
fn told(source: io::Error, path: &Path) -> io::Error {
    let is_full = || {
        let stat = rustix::fs::statvfs(path);
        stat.is_ok_and(|stat| stat.f_bavail.saturating_mul(stat.f_frsize) < FULL_BYTES)
    };
    let is_io = source.raw_os_error() == Some(Errno::IO.raw_os_error());
    if is_io && is_full() { Errno::NOSPC.into() } else { source }
}

#[expect(
    unsafe_code,
    reason = "LMDB maps a file, and nobody but the operating system can promise it stays"
)]
fn open_with(path: &Path, config: &StoreConfig, flags: EnvFlags) -> heed::Result<Env> {
    let map_bytes = config.map_bytes.max(1).next_multiple_of(MAP_STEP_BYTES);
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options
        .map_size(usize::try_from(map_bytes).unwrap_or(usize::MAX / 2))
        .max_readers(config.readers)
        .max_dbs(Table::ALL.len() as u32);
    // SAFETY: the file lies in the data directory, which one process holds locked (0700) and nobody else writes, or
    // is a snapshot beside it that is not written any more; heed refuses a second environment on the same path. The
    // flags are none (default sync, no WRITEMAP), or read-only without a lock on a file that only this call uses.
    unsafe {
        options.flags(flags);
        options.open(path)
    }
}
