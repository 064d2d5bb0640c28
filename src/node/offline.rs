//! What can be done to a stopped member's data, or asked of a snapshot's file, without a member: `etcdutl`'s part.

use std::path::{Path, PathBuf};

use super::error::Error;
use super::open::{Opened, open};
use super::restore::{RestoreError, unpacked};
use crate::mvcc;
use crate::storage::{DataDir, DataDirError, Fault, NotRewritten};

/// Why a data directory was left as it is.
#[derive(Debug, thiserror::Error)]
pub enum DefragmentError {
    #[error("{0} holds no member: give the data directory of one")]
    NoMember(PathBuf),
    #[error("{error}; a running member is defragmented by `etcdctl defrag`")]
    InUse { error: DataDirError },
    #[error("{0} was stopped while it took over a snapshot: start the member once, and stop it")]
    Unsettled(PathBuf),
    #[error(transparent)]
    DataDir(DataDirError),
    #[error(transparent)]
    Start(#[from] Error),
    #[error(transparent)]
    NotRewritten(#[from] NotRewritten),
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Rewrites a stopped member's database without its free pages; bytes of its file before and after.
pub fn defragment(data_dir: &Path) -> Result<(u64, u64), DefragmentError> {
    if !DataDir::holds_a_member(data_dir) {
        return Err(DefragmentError::NoMember(data_dir.to_owned()));
    }
    let dir = DataDir::open(data_dir).map_err(|error| match error {
        DataDirError::Locked { .. } => DefragmentError::InUse { error },
        error => DefragmentError::DataDir(error),
    })?;
    let Some(identity) = dir.identity() else {
        return Err(DefragmentError::NoMember(data_dir.to_owned()));
    };
    let opened = open(&dir, identity.cluster, identity.member, None)?;
    if !is_settled(&opened) {
        return Err(DefragmentError::Unsettled(data_dir.to_owned()));
    }
    let rewritten = opened.store.rewrite()?;
    let sizes = (rewritten.bytes_before, rewritten.bytes_after);
    opened.store.switch(rewritten)?;
    Ok(sizes)
}

/// The same of a member that starts, if its file has so many free bytes. What does not work out is told, and tried again
/// by the next start.
pub(super) fn shrink(opened: &Opened, free_bytes_min: u64) -> Result<(), Fault> {
    let (file, used, _) = opened.store.size()?;
    let free = file.saturating_sub(used);
    if free < free_bytes_min || !is_settled(opened) {
        tracing::info!(free, free_bytes_min, "the database is not defragmented");
        return Ok(());
    }
    match opened.store.rewrite() {
        Ok(rewritten) => {
            let (before, after) = (rewritten.bytes_before, rewritten.bytes_after);
            opened.store.switch(rewritten)?;
            tracing::info!(before, after, "defragmented the database");
        }
        Err(NotRewritten::Fault(fault)) => return Err(fault),
        Err(error) => tracing::warn!(%error, "the database is not defragmented"),
    }
    Ok(())
}

/// Until the log begins at an installed snapshot, its mark vouches for that one file alone.
fn is_settled(opened: &Opened) -> bool {
    opened.log.durable_index() >= opened.store.durable().applied
}

/// The history of a snapshot's file, as `endpoint hashkv` has it of a member.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HashedFile {
    pub hash: u32,
    pub revision: i64,
    pub compacted: i64,
}

/// Hashes up to `revision`; 0: to the newest.
pub fn hash_kv(
    file: &Path,
    revision: i64,
    told: &mut dyn FnMut(u64, u64),
) -> Result<HashedFile, RestoreError> {
    let (_part, store) = unpacked(file, told)?;
    let view = store.view()?;
    let stamp = store.stamp();
    let revision = if revision == 0 { stamp.revision } else { revision };
    if !(stamp.compacted..=stamp.revision).contains(&revision) {
        let (compacted, newest) = (stamp.compacted, stamp.revision);
        return Err(RestoreError::Revision { revision, compacted, newest });
    }
    let hash = mvcc::hash(&view, revision, stamp.compacted)?;
    Ok(HashedFile { hash, revision, compacted: stamp.compacted })
}
