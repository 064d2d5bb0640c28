//! The state of one member: overlay, current generation of the database, and the ways from one to the other.
//!
//! ```text
//!   merge ---> active --seal--> sealed --checkpoint--> LMDB        install: another generation, an empty overlay
//!   (applier)           (applier)       (checkpoint thread)
//! ```
//!
//! Promises: rows and the stamp that counts them become visible together, and durable together; `sealed` is dropped
//! only after its commit; the rename of `CURRENT` is the only switch between generations; a store that is dropped
//! loses exactly its overlay, and can be opened again at once. Knows nothing of: entries, the log, time (it is told).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use super::db::Database;
use super::overlay::Layer;
use super::snapshot::{SnapshotCopy, SnapshotHeader, Stage, Staged};
use super::{Fault, Rows, Stamp, Sweep, View, directory};
use crate::base::{Moment, limits};

/// When a checkpoint is due, and how LMDB is opened.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Overlay at which a seal is due, bytes.
    pub seal_bytes: usize,
    /// Rows at scattered places at which a seal is due.
    pub seal_rows: usize,
    /// Age of the oldest merge at which a seal is due.
    pub seal_age: Duration,
    /// Address space of the map, bytes; also the most the database can hold.
    pub map_bytes: u64,
    /// Views at one time, copies included.
    pub readers: u32,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            seal_bytes: limits::OVERLAY_SEAL_BYTES,
            seal_rows: limits::OVERLAY_SEAL_ROWS,
            seal_age: limits::OVERLAY_SEAL_AGE,
            map_bytes: limits::DB_MAP_BYTES_MIN,
            readers: limits::DB_READERS_MAX,
        }
    }
}

/// Overlay and current generation; shared by applier, readers and checkpoint thread.
#[derive(Debug)]
pub struct Store {
    db_dir: PathBuf,
    config: StoreConfig,
    live: RwLock<Live>,
    generation_next: AtomicU64,
    copy_next: AtomicU64,
}

/// What changes together, under one short lock.
#[derive(Debug)]
struct Live {
    database: Arc<Database>,
    active: Arc<Layer>,
    sealed: Option<Arc<Layer>>,
    applied: Stamp,
    durable: Stamp,
    /// Time of the first merge into `active`.
    active_since: Option<Moment>,
}

impl Live {
    fn new(database: Arc<Database>, stamp: Stamp) -> Self {
        Self {
            database,
            active: Arc::default(),
            sealed: None,
            applied: stamp,
            durable: stamp,
            active_since: None,
        }
    }
}

/// A frozen overlay on its way to LMDB: goes to [`Store::checkpoint`], or the store can never seal again.
#[derive(Debug)]
#[must_use]
pub struct Sealed {
    database: Arc<Database>,
    layer: Arc<Layer>,
    stamp: Stamp,
}

impl Sealed {
    /// What LMDB will hold after the checkpoint.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }
}

/// What a checkpoint did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CheckpointReport {
    /// What LMDB holds now.
    pub stamp: Stamp,
    pub rows: usize,
    /// Bytes of the overlay that were released.
    pub bytes: usize,
    /// A snapshot was installed meanwhile: what was written belongs to the old generation, and counts for nothing.
    pub is_ignored: bool,
}

impl Store {
    /// Writes checkpoint number one and opens it. A member that joins passes no rows and [`Stamp::EMPTY`], and
    /// installs a snapshot over it.
    pub fn create(
        db_dir: &Path,
        config: StoreConfig,
        rows: Rows,
        stamp: Stamp,
    ) -> Result<Arc<Self>, Fault> {
        const FIRST: u64 = 1;
        let part = directory::part_dir(db_dir, FIRST);
        directory::remove(&part)?; // a crash in an earlier create
        fs::create_dir_all(&part).map_err(|error| Fault::io("create", &part, error))?;
        let layer = Layer::default();
        layer.merge(with_stamp(rows, stamp));
        Database::open(&part, FIRST, &config)?.write(&layer.tables())?;
        directory::adopt(db_dir, FIRST)?;
        directory::switch_to(db_dir, FIRST)?;
        Self::open(db_dir, config)
    }

    /// Opens the current generation and removes what a crash left beside it.
    pub fn open(db_dir: &Path, config: StoreConfig) -> Result<Arc<Self>, Fault> {
        let generation = directory::current(db_dir)?.ok_or_else(|| {
            Fault::corrupt("no CURRENT, so no database", db_dir.display().to_string())
        })?;
        directory::remove_leftovers(db_dir, generation)?;
        let dir = directory::generation_dir(db_dir, generation);
        let database = Database::open(&dir, generation, &config)?;
        let stamp = database.stamp(&database.read_txn()?)?;
        Ok(Arc::new(Self {
            db_dir: db_dir.to_owned(),
            config,
            live: RwLock::new(Live::new(Arc::new(database), stamp)),
            generation_next: AtomicU64::new(generation + 1),
            copy_next: AtomicU64::new(1),
        }))
    }

    /// Whether there is a database to open.
    pub fn exists(db_dir: &Path) -> bool {
        matches!(directory::current(db_dir), Ok(Some(_)) | Err(_))
    }

    /// The state as it is now. A fault when LMDB refuses a reader.
    pub fn view(&self) -> Result<View, Fault> {
        loop {
            let (database, active, sealed, stamp) = {
                let live = self.live();
                let layers = (Arc::clone(&live.active), live.sealed.clone());
                (Arc::clone(&live.database), layers.0, layers.1, live.applied)
            };
            if let Some(view) = View::open(database, active, sealed, stamp)? {
                return Ok(view);
            }
        }
    }

    /// What is applied, overlay included.
    pub fn stamp(&self) -> Stamp {
        self.live().applied
    }

    /// What LMDB holds durably.
    pub fn durable(&self) -> Stamp {
        self.live().durable
    }

    pub fn generation(&self) -> u64 {
        self.live().database.generation()
    }

    /// Makes the rows of whole entries visible together with the stamp that counts them. Applier only.
    pub fn merge(&self, rows: Rows, stamp: Stamp, now: Moment) {
        let mut live = self.live_mut();
        live.active.merge(rows);
        live.applied = stamp;
        live.active_since.get_or_insert(now);
    }

    /// Memory of both layers, bytes.
    pub fn overlay_bytes(&self) -> usize {
        let live = self.live();
        live.active.bytes() + live.sealed.as_ref().map_or(0, |sealed| sealed.bytes())
    }

    /// Whether the active layer is large or old enough, and nothing is sealed.
    pub fn seal_due(&self, now: Moment) -> bool {
        let live = self.live();
        let Some(since) = live.active_since else {
            return false;
        };
        live.sealed.is_none()
            && (live.active.bytes() >= self.config.seal_bytes
                || live.active.scattered_rows() >= self.config.seal_rows
                || now.since(since) >= self.config.seal_age)
    }

    /// Freezes the active layer and writes the stamp into it; none if nothing was merged or a layer is still sealed.
    /// Applier only, between turns.
    pub fn seal(&self) -> Option<Sealed> {
        let mut live = self.live_mut();
        live.active_since.filter(|_| live.sealed.is_none())?;
        live.active_since = None;
        let stamp = live.applied;
        live.active.merge(with_stamp(Rows::new(), stamp));
        let layer = std::mem::take(&mut live.active);
        live.sealed = Some(Arc::clone(&layer));
        Some(Sealed { database: Arc::clone(&live.database), layer, stamp })
    }

    /// Writes the sealed layer in one durable transaction. Checkpoint thread only.
    pub fn checkpoint(&self, sealed: Sealed) -> Result<CheckpointReport, Fault> {
        let Sealed { database, layer, stamp } = sealed;
        let rows = database.write(&layer.tables())?;
        let mut live = self.live_mut();
        let is_ignored = !Arc::ptr_eq(&live.database, &database);
        if !is_ignored {
            live.durable = stamp;
            live.sealed = None;
        }
        drop(live); // the rows are freed after the lock
        Ok(CheckpointReport { stamp, rows, bytes: layer.bytes(), is_ignored })
    }

    /// Runs `job` in one durable transaction on what is checkpointed; nothing is changed when it fails. Never
    /// touches the stamp. Checkpoint thread only: another writer waits, and a checkpoint inside `job` would wait
    /// for itself.
    pub fn sweep<T>(
        &self,
        job: impl FnOnce(&mut Sweep<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let database = Arc::clone(&self.live().database);
        database.sweep(job)
    }

    /// Bytes of LMDB's file, and bytes of its pages in use.
    pub fn size(&self) -> Result<(u64, u64), Fault> {
        let database = Arc::clone(&self.live().database);
        database.size()
    }

    /// A consistent copy of what is checkpointed, in a file of its own.
    pub fn copy(&self) -> Result<SnapshotCopy, Fault> {
        let database = Arc::clone(&self.live().database);
        let number = self.copy_next.fetch_add(1, Ordering::Relaxed);
        SnapshotCopy::take(&database, directory::copy_file(&self.db_dir, number), &self.config)
    }

    /// Begins to receive a snapshot into the next generation.
    pub fn stage(&self, header: SnapshotHeader) -> Result<Stage, Fault> {
        let generation = self.generation_next.fetch_add(1, Ordering::Relaxed);
        Stage::begin(&self.db_dir, generation, header, self.config.clone())
    }

    /// Makes a staged snapshot the state: `CURRENT` is renamed, the overlay is emptied. Waits for nobody: views go
    /// on reading the old generation, which is deleted with the last of them, and a checkpoint in flight is ignored
    /// when it returns.
    pub fn install(&self, staged: Staged) -> Result<(), Fault> {
        directory::switch_to(&self.db_dir, staged.generation())?;
        let (database, stamp) = staged.adopt();
        let old = std::mem::replace(&mut *self.live_mut(), Live::new(database, stamp));
        old.database.retire();
        Ok(())
    }

    /// Deletes a staged snapshot; the same as dropping it.
    pub fn discard(&self, staged: Staged) {
        drop(staged);
    }

    fn live(&self) -> RwLockReadGuard<'_, Live> {
        self.live.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn live_mut(&self) -> RwLockWriteGuard<'_, Live> {
        self.live.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn with_stamp(mut rows: Rows, stamp: Stamp) -> Rows {
    for (key, value) in stamp.rows() {
        rows.insert((super::Table::Meta, key), Some(value));
    }
    rows
}
