//! What a member cannot go on from: the disk failed, or what it holds cannot be believed.

use std::io;
use std::path::PathBuf;

/// A fault stops the thread that met it; the node drains and prints this text, which says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A system call on a file failed. Never retried: after a failed fsync nobody knows what is on the disk.
    #[error(
        "cannot {action} {path}: {source}; free or replace the disk and start again: what was acknowledged is on a majority's disks"
    )]
    Io { action: &'static str, path: PathBuf, source: io::Error },

    /// LMDB refused.
    #[error("cannot {action} in the database {path}: {source}")]
    Database {
        action: &'static str,
        path: PathBuf,
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// LMDB has no address left: quota, which is asked before the log, should have come first.
    #[error(
        "the database {path} fills its whole map of {map_bytes} bytes; raise quota-backend-bytes (the map is four times the quota, at least 64 GiB) and start again, then compact"
    )]
    MapFull { path: PathBuf, map_bytes: u64 },

    /// Bytes that another version of this program wrote.
    #[error(
        "{place} is of format {found}, and this version reads format {expected}; start the version that wrote it, or restore a snapshot"
    )]
    Format { place: String, found: u32, expected: u32 },

    /// Bytes that fail their checksum or contradict each other.
    #[error(
        "{what} in {place}; re-sync this member from the others with `quorate member resync`, or restore a snapshot where there are none"
    )]
    Corrupt { what: String, place: String },

    /// Files that belong to another cluster, another member or another version of this program.
    #[error(
        "{place} is {what}; start this member on its own data directory, with the version that wrote it"
    )]
    Foreign { what: String, place: String },

    /// A committed entry that this binary does not understand: a newer one wrote it.
    #[error(
        "cannot apply entry {index}: {what}; start this member with the version that the others run"
    )]
    Unknown { index: u64, what: String },
}

impl Fault {
    pub fn io(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io { action, path: path.into(), source }
    }

    pub fn corrupt(what: impl Into<String>, place: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into(), place: place.into() }
    }
}
