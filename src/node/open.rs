//! Opens a member's data, or makes it: the data directory, the database and the log belong together when this returns.
//!
//! A crash between the steps is repaired by the next start: the identity is written first, the database (checkpoint
//! number one) second, the log third.

use std::path::Path;
use std::sync::Arc;
use std::thread;

use crate::base::{ClusterId, MemberId};
use crate::proto::etcdserverpb::Member;
use crate::state::Machine;
use crate::storage::{
    DataDir, DirDisk, Disk, Fault, HardState, Identity, Log, Rows, Stamp, Store, StoreConfig, Wal,
    WalConfig,
};

use super::error::Error;

/// What the engine is built on.
pub(super) struct Opened {
    pub store: Arc<Store>,
    pub wal: Wal,
    pub log: Arc<Log>,
    pub hard_state: HardState,
}

/// What a new data directory begins with.
pub(super) enum Beginning<'a> {
    /// The founding members.
    Genesis(&'a [Member]),
    /// Nothing: everything comes by snapshot.
    Empty,
}

/// Writes the identity and checkpoint number one, unless they are there.
pub(super) fn begin(
    dir: &mut DataDir,
    identity: &Identity,
    beginning: &Beginning<'_>,
) -> Result<(), Error> {
    dir.write_identity(identity)?;
    if Store::exists(&dir.db_dir()) {
        return Ok(());
    }
    let (rows, stamp) = match beginning {
        Beginning::Genesis(members) => Machine::genesis(identity.cluster, members),
        Beginning::Empty => (Rows::new(), Stamp::EMPTY),
    };
    Store::create(&dir.db_dir(), StoreConfig::default(), rows, stamp)?;
    Ok(())
}

/// Opens what is there, and looks at all of the database while it reads the log: nothing is served of a damaged one.
pub(super) fn open(
    dir: &DataDir,
    cluster: ClusterId,
    member: MemberId,
    quota_bytes: Option<u64>,
) -> Result<Opened, Error> {
    let check = Store::check(&dir.db_dir())?;
    let check = thread::Builder::new()
        .name("check".to_owned())
        .spawn(|| check.finish())
        .map_err(Error::Thread)?;
    let opened = open_unchecked(dir, cluster, member, quota_bytes);
    let is_sound = check.join().unwrap_or_else(|_| {
        Err(Fault::corrupt("pages that end the check of them", dir.db_dir().display().to_string()))
    });
    // Damage may be why the rest could not be opened.
    is_sound?;
    opened
}

fn open_unchecked(
    dir: &DataDir,
    cluster: ClusterId,
    member: MemberId,
    quota_bytes: Option<u64>,
) -> Result<Opened, Error> {
    let config = StoreConfig::for_quota(quota_bytes).staggered(member.0);
    let store = Store::open(&dir.db_dir(), config)?;
    let stamp = store.stamp();
    let disk: Arc<dyn Disk> = Arc::new(DirDisk::new(dir.wal_dir()));
    let config = WalConfig::new(cluster, member);
    if !Wal::exists(disk.as_ref())? {
        check_new(stamp, &dir.wal_dir())?;
        let hard_state = HardState { term: stamp.term, vote: 0, commit: stamp.applied };
        let (wal, log) = Wal::create(disk, config, (stamp.applied, stamp.term), hard_state)?;
        return Ok(Opened { store, wal, log, hard_state });
    }
    let (wal, log, recovered) =
        Wal::open(disk, config, (stamp.applied, stamp.term), store.generation())?;
    if let Some(cut) = &recovered.cut {
        tracing::warn!(
            file = cut.file,
            offset = cut.offset,
            bytes = cut.bytes,
            "cut a write that the last stop interrupted; it was never acknowledged"
        );
    }
    tracing::info!(
        applied = stamp.applied,
        revision = stamp.revision,
        last_index = recovered.last_index,
        "opened the data directory"
    );
    Ok(Opened { store, wal, log, hard_state: recovered.hard_state })
}

/// A database that has lived has a log; without one, votes and acknowledged writes may be gone.
fn check_new(stamp: Stamp, wal_dir: &Path) -> Result<(), Fault> {
    if stamp.applied <= 1 {
        return Ok(());
    }
    let what = format!("no log, and the database has applied {} entries", stamp.applied);
    Err(Fault::corrupt(what, wal_dir.display().to_string()))
}
