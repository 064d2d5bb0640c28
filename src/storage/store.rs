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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::db::Database;
use super::env::stamp_of_file;
use super::overlay::Layer;
use super::pages::PageCheck;
use super::snapshot::{SnapshotCopy, SnapshotHeader, Stage, Staged};
use super::view::Layers;
use super::{Fault, Rows, Stamp, StoreConfig, Sweep, View, directory, pages};
use crate::base::{Moment, Sabotage};

/// Overlay and current generation; shared by applier, readers and checkpoint thread.
#[derive(Debug)]
pub struct Store {
    pub(super) db_dir: PathBuf,
    pub(super) config: StoreConfig,
    live: RwLock<Live>,
    /// Held from the look at what is live to the end of a switch: `CURRENT` and `live` go together.
    switching: Mutex<()>,
    generation_next: AtomicU64,
    copy_next: AtomicU64,
}

/// What changes together, under one short lock.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) database: Arc<Database>,
    /// The generation that this state began with: another one after an install, the same after a rewrite.
    pub(super) lineage: u64,
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
            lineage: database.generation(),
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
    lineage: u64,
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
        remove_unnamed(&directory::generation_dir(db_dir, FIRST), &config)?;
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
        let (generation, dir) = directory::named(db_dir)?;
        directory::remove_leftovers(db_dir, generation)?;
        let database = Database::open(&dir, generation, &config)?;
        let stamp = database.stamp(&database.read_txn()?)?.sabotaged();
        Ok(Arc::new(Self {
            db_dir: db_dir.to_owned(),
            config,
            live: RwLock::new(Live::new(Arc::new(database), stamp)),
            switching: Mutex::default(),
            generation_next: AtomicU64::new(generation + 1),
            copy_next: AtomicU64::new(1),
        }))
    }

    /// Begins to read every page and row of the current generation, which nobody has opened, so that no damage is met
    /// later.
    pub fn check(db_dir: &Path) -> Result<PageCheck, Fault> {
        pages::begin(&directory::named(db_dir)?.1)
    }

    /// Whether there is a database to open.
    pub fn exists(db_dir: &Path) -> bool {
        matches!(directory::current(db_dir), Ok(Some(_)) | Err(_))
    }

    /// The state as it is now. A fault when LMDB refuses a reader.
    pub fn view(&self) -> Result<View, Fault> {
        loop {
            if let Some(view) = View::open(self.layers())? {
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

    /// A fault once any reader has met a row that is not what had been written: nothing of this state is to be believed.
    pub fn sound(&self) -> Result<(), Fault> {
        self.live().database.sound()
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

    /// Whether a checkpoint is on its way.
    pub fn is_sealed(&self) -> bool {
        self.live().sealed.is_some()
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
        Some(Sealed { lineage: live.lineage, layer, stamp })
    }

    /// Writes the sealed layer in one durable transaction. Checkpoint thread only.
    pub fn checkpoint(&self, sealed: Sealed) -> Result<CheckpointReport, Fault> {
        let Sealed { lineage, layer, stamp } = sealed;
        let database = self.database_of(lineage);
        if Sabotage::IndexAheadOfData.is_on() {
            layer.merge(with_stamp(Rows::new(), self.stamp()));
        }
        let rows = database.map_or(Ok(0), |database| database.write(&layer.tables()))?;
        let mut live = self.live_mut();
        let is_ignored = live.lineage != lineage;
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

    /// Bytes of LMDB's file, bytes of its pages in use, and reads under way: each keeps the pages that it may look at.
    pub fn size(&self) -> Result<(u64, u64, usize), Fault> {
        let database = Arc::clone(&self.live().database);
        let (file_bytes, used_bytes) = database.size()?;
        Ok((file_bytes, used_bytes, database.open_reads()))
    }

    /// A consistent copy of what is checkpointed, in a file of its own.
    pub fn copy(&self) -> Result<SnapshotCopy, Fault> {
        let database = Arc::clone(&self.live().database);
        let number = self.copy_next.fetch_add(1, Ordering::Relaxed);
        SnapshotCopy::take(&database, directory::copy_file(&self.db_dir, number), &self.config)
    }

    /// Begins to receive a snapshot into the next generation.
    pub fn stage(&self, header: SnapshotHeader) -> Result<Stage, Fault> {
        Stage::begin(&self.db_dir, self.next_generation(), header, self.config.clone())
    }

    /// Makes a staged snapshot the state: `CURRENT` is renamed, the overlay is emptied. Waits for nobody: views go
    /// on reading the old generation, which is deleted with the last of them, and a checkpoint in flight is ignored
    /// when it returns.
    pub fn install(&self, staged: Staged) -> Result<(), Fault> {
        let _switching = self.switching();
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

    fn layers(&self) -> Layers {
        let live = self.live();
        Layers {
            database: Arc::clone(&live.database),
            active: Arc::clone(&live.active),
            sealed: live.sealed.clone(),
            stamp: live.applied,
        }
    }

    /// The live database, unless another state has been installed since that lineage.
    fn database_of(&self, lineage: u64) -> Option<Arc<Database>> {
        let live = self.live();
        (live.lineage == lineage).then(|| Arc::clone(&live.database))
    }

    pub(super) fn next_generation(&self) -> u64 {
        self.generation_next.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn switching(&self) -> MutexGuard<'_, ()> {
        self.switching.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn live(&self) -> RwLockReadGuard<'_, Live> {
        self.live.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn live_mut(&self) -> RwLockWriteGuard<'_, Live> {
        self.live.write().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn with_stamp(mut rows: Rows, stamp: Stamp) -> Rows {
    for (key, value) in stamp.rows() {
        rows.insert((super::Table::Meta, key), Some(value));
    }
    rows
}

/// What a crash leaves between an earlier create and its naming; who has lived was not left by that.
fn remove_unnamed(dir: &Path, config: &StoreConfig) -> Result<(), Fault> {
    let file = dir.join(directory::DATA_FILE);
    let applied = if file.exists() { stamp_of_file(&file, config)?.applied } else { 0 };
    if applied <= 1 {
        return directory::remove(dir);
    }
    let what = format!("no CURRENT beside a database that has applied {applied} entries");
    Err(Fault::corrupt(what, file.display().to_string()))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::ops::{Bound, ControlFlow};
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::base::limits;
    use crate::storage::{Direction, Read, Table, Write};

    fn config() -> StoreConfig {
        StoreConfig { map_bytes: 16 << 20, readers: 16, ..StoreConfig::default() }
    }

    fn stamp(n: u64) -> Stamp {
        Stamp { applied: n, term: 1, revision: i64::try_from(n).unwrap(), compacted: 0 }
    }

    fn row(table: Table, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Rows {
        Rows::from([((table, key.into()), Some(value.into()))])
    }

    /// Entry `n`: one revision, which never changes, and one row that every entry writes again.
    fn entry(n: u64) -> Rows {
        let key = Bytes::copy_from_slice(&n.to_be_bytes());
        let mut rows = row(Table::Revisions, key.clone(), "v");
        rows.extend(row(Table::Leases, "latest", key));
        rows
    }

    fn checkpoint(store: &Store) -> CheckpointReport {
        store.checkpoint(store.seal().unwrap()).unwrap()
    }

    #[test]
    fn a_create_that_was_never_named_is_made_again_and_a_life_is_not() {
        let dir = tempfile::tempdir().unwrap();
        for (n, is_made) in [(1, true), (5, true), (1, false)] {
            let made = Store::create(dir.path(), config(), entry(n), stamp(n)).map(|_| ());
            assert_eq!(made.is_ok(), is_made, "{made:?}");
            fs::remove_file(dir.path().join("CURRENT")).unwrap_or_default();
        }
    }

    #[test]
    fn a_seal_is_due_by_bytes_by_rows_and_by_age() {
        let dir = tempfile::tempdir().unwrap();
        let config = StoreConfig {
            seal_bytes: 1_000,
            seal_rows: 3,
            seal_age: Duration::from_secs(5),
            ..config()
        };
        let store = Store::create(dir.path(), config, Rows::new(), Stamp::EMPTY).unwrap();
        let now = Moment::from_millis(60_000);
        assert!(!store.seal_due(now) && store.seal().is_none());

        store.merge(row(Table::Leases, "a", "1"), stamp(1), now);
        assert!(!store.seal_due(now + Duration::from_secs(4)));
        assert!(store.seal_due(now + Duration::from_secs(5)));
        let sealed = store.seal().unwrap();
        store.merge(row(Table::Leases, "a", vec![0; 1_000]), stamp(2), now);
        assert!(!store.seal_due(now), "one is sealed");
        store.checkpoint(sealed).unwrap();
        assert!(store.seal_due(now), "by bytes");
        checkpoint(&store);

        let mut rows = Rows::new();
        for n in 0..3u8 {
            rows.extend(row(Table::Revisions, vec![n + 1], ""));
        }
        store.merge(rows.clone(), stamp(3), now);
        assert!(!store.seal_due(now), "appended rows share their pages");
        rows.extend(row(Table::Keys, "a", ""));
        rows.extend(row(Table::Keys, "b", ""));
        rows.extend(row(Table::Keys, "c", ""));
        store.merge(rows, stamp(4), now);
        assert!(store.seal_due(now), "by rows");
    }

    #[test]
    fn readers_miss_no_row_while_rows_move_to_the_database() {
        const ENTRIES: u64 = 3_000;
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path(), config(), Rows::new(), stamp(0)).unwrap();
        let is_done = AtomicBool::new(false);
        let check = || {
            let view = store.view().unwrap();
            let end = view.stamp().applied;
            let (low, mut expected) = (Bound::Unbounded, 1);
            let high = end.to_be_bytes();
            view.scan(
                Table::Revisions,
                low,
                Bound::Included(&high),
                Direction::Ascending,
                &mut |row| {
                    assert_eq!(row.key, u64::to_be_bytes(expected));
                    expected += 1;
                    ControlFlow::Continue(())
                },
            )
            .unwrap();
            assert_eq!(expected, end + 1, "a hole, or rows that are missing at the end");
            if end > 0 {
                let latest = view.get(Table::Leases, b"latest").unwrap().unwrap();
                assert!(latest.as_ref() >= high.as_slice(), "older than the stamp");
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !is_done.load(Ordering::Relaxed) {
                        check();
                    }
                });
            }
            let writer = scope.spawn(|| {
                for n in 1..=ENTRIES {
                    store.merge(entry(n), stamp(n), Moment::ZERO);
                    if n % 7 == 0 {
                        checkpoint(&store);
                    }
                }
            });
            let written = writer.join();
            is_done.store(true, Ordering::Relaxed);
            written.unwrap();
        });
        check();
    }

    #[test]
    fn a_checkpoint_between_layers_and_transaction_hides_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path(), config(), entry(1), stamp(1)).unwrap();
        store.merge(entry(2), stamp(2), Moment::ZERO);
        let sealed = store.seal().unwrap();
        store.merge(entry(3), stamp(3), Moment::ZERO);

        // The sealed layer commits: its row is met twice, and handed out once.
        let layers = store.layers();
        store.checkpoint(sealed).unwrap();
        let view = View::open(layers).unwrap().unwrap();
        let mut seen = Vec::new();
        let (low, high) = (Bound::Unbounded, Bound::Unbounded);
        view.scan(Table::Revisions, low, high, Direction::Descending, &mut |row| {
            seen.push(row.key[7]);
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(seen, [3, 2, 1]);

        // What was merged later commits: the layers are too old for this database.
        let layers = store.layers();
        store.merge(entry(4), stamp(4), Moment::ZERO);
        checkpoint(&store);
        assert!(View::open(layers).unwrap().is_none());
        assert_eq!(store.view().unwrap().stamp(), stamp(4));
    }

    #[test]
    fn a_dropped_store_opens_again_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let dirs: Vec<_> = (0..9).map(|n| dir.path().join(n.to_string())).collect();
        let mut stores: Vec<_> = dirs
            .iter()
            .map(|dir| Store::create(dir, config(), Rows::new(), stamp(0)).unwrap())
            .collect();
        for n in 1..=50 {
            for (store, dir) in stores.iter_mut().zip(&dirs) {
                store.merge(entry(n), stamp(n), Moment::ZERO);
                checkpoint(store);
                store.merge(entry(n + 1), stamp(n + 1), Moment::ZERO);
                let parked = dir.join("parked");
                let other = Store::create(&parked, config(), Rows::new(), stamp(0));
                drop(std::mem::replace(store, other.unwrap()));
                *store = Store::open(dir, config()).unwrap();
                assert_eq!((store.stamp(), store.durable()), (stamp(n), stamp(n)));
                fs::remove_dir_all(parked).unwrap();
            }
        }
    }

    #[test]
    fn a_view_keeps_the_database_open_and_a_second_open_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path(), config(), Rows::new(), stamp(0)).unwrap();
        let view = store.view().unwrap();
        drop(store);
        let refused = Store::open(dir.path(), config()).unwrap_err().to_string();
        assert!(refused.starts_with("cannot open in the database"), "{refused}");
        drop(view);
        Store::open(dir.path(), config()).unwrap();
    }

    #[test]
    fn a_full_map_is_a_fault_that_says_what_to_do_and_loses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let small = StoreConfig { map_bytes: 256 << 10, ..config() };
        let store = Store::create(dir.path(), small, entry(1), stamp(1)).unwrap();
        store.merge(row(Table::Keys, "big", vec![0; 300 << 10]), stamp(2), Moment::ZERO);
        let fault = store.checkpoint(store.seal().unwrap()).unwrap_err().to_string();
        assert!(fault.contains("its whole map of 262144 bytes; raise quota"), "{fault}");
        drop(store);
        let store = Store::open(dir.path(), config()).unwrap();
        assert_eq!(store.stamp(), stamp(1));
        store.merge(row(Table::Keys, "big", vec![0; 300 << 10]), stamp(2), Moment::ZERO);
        assert_eq!(checkpoint(&store).stamp, stamp(2));
        let (file_bytes, used_bytes, _) = store.size().unwrap();
        assert!(used_bytes >= 300 << 10 && file_bytes >= used_bytes, "{file_bytes} {used_bytes}");
    }

    #[test]
    fn more_views_than_readers_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let few = StoreConfig { readers: 2, ..config() };
        let store = Store::create(dir.path(), few, Rows::new(), stamp(0)).unwrap();
        let views = [store.view().unwrap(), store.view().unwrap()];
        let refused = store.view().err().unwrap().to_string();
        assert!(refused.contains("MDB_READERS_FULL"), "{refused}");
        drop(views);
        store.view().unwrap();
    }

    #[test]
    fn a_failed_sweep_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path(), config(), entry(1), stamp(1)).unwrap();
        let failed = store.sweep(|sweep| {
            sweep.delete(Table::Leases, b"latest")?;
            assert_eq!(sweep.get(Table::Leases, b"latest")?, None);
            Err::<(), _>(Fault::corrupt("something", "a test"))
        });
        assert!(failed.is_err());
        assert!(store.view().unwrap().get(Table::Leases, b"latest").unwrap().is_some());
    }

    #[test]
    fn a_member_that_joins_takes_a_snapshot_over_its_empty_state() {
        let dir = tempfile::tempdir().unwrap();
        let (theirs, ours) = (dir.path().join("theirs"), dir.path().join("ours"));
        let sender = Store::create(&theirs, config(), Rows::new(), stamp(0)).unwrap();
        for n in 1..=500 {
            sender.merge(entry(n), stamp(n), Moment::ZERO);
        }
        checkpoint(&sender);
        let joiner = Store::create(&ours, config(), Rows::new(), Stamp::EMPTY).unwrap();
        assert_eq!(joiner.stamp().applied, 0);

        let mut copy = sender.copy().unwrap();
        let mut stage = joiner.stage(copy.header()).unwrap();
        let mut bytes = Vec::new();
        copy.read_to_end(&mut bytes).unwrap();
        for chunk in bytes.chunks(limits::SNAPSHOT_CHUNK_BYTES) {
            stage.write(chunk).unwrap();
        }
        joiner.install(stage.finish().unwrap()).unwrap();
        assert_eq!((joiner.stamp(), joiner.durable()), (stamp(500), stamp(500)));
        joiner.merge(entry(501), stamp(501), Moment::ZERO);
        checkpoint(&joiner);
        drop(joiner);
        let joiner = Store::open(&ours, config()).unwrap();
        let latest = joiner.view().unwrap().get(Table::Leases, b"latest").unwrap().unwrap();
        assert_eq!(latest.as_ref(), 501u64.to_be_bytes());
    }
}
