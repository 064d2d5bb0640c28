//! Disk space given back: the live database written once more beside itself, without the pages that hold nothing.
//!
//! ```text
//!   LMDB --compacted copy--> db/<g>.part --> db/<g> --> CURRENT --> live         the old generation goes with its last view
//! ```
//!
//! Only the checkpoint thread writes LMDB, and it is here meanwhile: so the copy lacks nothing when it becomes the
//! live database. Readers read on, the applier merges on, and the next checkpoint waits. LMDB itself gives no page
//! back to the disk.
//!
//! Promises: an attempt that fails leaves everything as it was; a state that was installed meanwhile stays. Knows
//! nothing of: who asked, whether the log could follow (the caller must know that no install is under way in it).

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use super::db::Database;
use super::overlay::Layer;
use super::snapshot::Part;
use super::store::{Store, with_stamp};
use super::{Fault, Rows, Stamp, directory};
use crate::base::{Sabotage, limits};

/// A copy beside the live database. Deleted when dropped, unless switched to.
#[derive(Debug)]
#[must_use]
pub struct Rewritten {
    database: Arc<Database>,
    lineage: u64,
    /// Of the file that was live, and of the copy.
    pub bytes_before: u64,
    pub bytes_after: u64,
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum NotRewritten {
    #[error(
        "the copy needs {needed} bytes on the disk of {place}, and {free} are free: make room there first"
    )]
    NoRoom { place: String, needed: u64, free: u64 },

    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Store {
    /// Writes the copy. Checkpoint thread only.
    pub fn rewrite(&self) -> Result<Rewritten, NotRewritten> {
        let (database, lineage) = {
            let live = self.live();
            (Arc::clone(&live.database), live.lineage)
        };
        let (bytes_before, bytes_used) = database.size()?;
        self.check_room(bytes_used)?;
        let generation = self.next_generation();
        let part = Part(directory::part_dir(&self.db_dir, generation));
        fs::create_dir_all(&part.0).map_err(|error| Fault::io("create", &part.0, error))?;
        let path = part.0.join(directory::DATA_FILE);
        copy(&database, &path)?;
        directory::adopt(&self.db_dir, generation)?;
        let copy = Database::open_aside(&self.db_dir, generation, &self.config)?;
        if Sabotage::AppliedAgainAfterRewrite.is_on() {
            fall_behind(&copy)?;
        }
        let bytes_after = copy.size()?.0;
        Ok(Rewritten { database: Arc::new(copy), lineage, bytes_before, bytes_after })
    }

    /// Makes the copy the live database; false if a snapshot was installed since it was begun. Checkpoint thread
    /// only, and nothing may have been written between. After a fault nobody knows which one a restart opens; both
    /// hold the same.
    pub fn switch(&self, rewritten: Rewritten) -> Result<bool, Fault> {
        let Rewritten { database, lineage, .. } = rewritten;
        let _switching = self.switching();
        if self.live().lineage != lineage {
            return Ok(false);
        }
        database.keep();
        directory::switch_to(&self.db_dir, database.generation())?;
        let old = std::mem::replace(&mut self.live_mut().database, database);
        old.retire();
        Ok(true)
    }

    /// The log must not meet a full disk because of a copy.
    fn check_room(&self, bytes_used: u64) -> Result<(), NotRewritten> {
        let stat = rustix::fs::statvfs(&self.db_dir)
            .map_err(|error| Fault::io("measure", &self.db_dir, error.into()))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        let needed = bytes_used + limits::REWRITE_SPARE_BYTES;
        if free < needed {
            let place = self.db_dir.display().to_string();
            return Err(NotRewritten::NoRoom { place, needed, free });
        }
        Ok(())
    }
}

fn copy(database: &Database, path: &Path) -> Result<(), Fault> {
    let file = File::options().read(true).write(true).create_new(true).open(path);
    let mut file = file.map_err(|error| Fault::io("create", path, error))?;
    database.copy_to(&mut file, path)?;
    file.sync_all().map_err(|error| Fault::io("sync", path, error))
}

/// Takes the index back, and nothing else: as if it had been copied before the rows.
fn fall_behind(copy: &Database) -> Result<(), Fault> {
    let stamp = copy.stamp(&copy.read_txn()?)?;
    let layer = Layer::default();
    layer.merge(with_stamp(Rows::new(), Stamp { applied: stamp.applied - 1, ..stamp }));
    copy.write(&layer.tables()).map(drop)
}

#[cfg(test)]
mod tests {
    use std::ops::{Bound, ControlFlow};

    use bytes::Bytes;

    use super::*;
    use crate::base::Moment;
    use crate::storage::{Direction, Read, StoreConfig, Table, View};

    const ROWS: u64 = 2_000;

    fn config() -> StoreConfig {
        StoreConfig { map_bytes: 64 << 20, readers: 16, ..StoreConfig::default() }
    }

    fn stamp(n: u64) -> Stamp {
        Stamp { applied: n, term: 1, ..Stamp::EMPTY }
    }

    fn merge(store: &Store, n: u64, value: Option<usize>) {
        let value = value.map(|bytes| Bytes::from(vec![7; bytes]));
        let key = Bytes::copy_from_slice(&n.to_be_bytes());
        let applied = store.stamp().applied + 1;
        store.merge(Rows::from([((Table::Leases, key), value)]), stamp(applied), Moment::ZERO);
    }

    fn checkpoint(store: &Store) {
        let _report = store.checkpoint(store.seal().unwrap()).unwrap();
    }

    fn rows(view: &View) -> u64 {
        let (all, mut rows) = ((Bound::Unbounded, Bound::Unbounded), 0);
        view.scan(Table::Leases, all.0, all.1, Direction::Ascending, &mut |row| {
            assert!(row.value.iter().all(|byte| *byte == 7));
            rows += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
        rows
    }

    /// Most of it deleted again: a large file that holds little.
    fn hollow(dir: &Path) -> Arc<Store> {
        let store = Store::create(dir, config(), Rows::new(), stamp(0)).unwrap();
        for n in 0..ROWS {
            merge(&store, n, Some(3_000));
        }
        checkpoint(&store);
        for n in 10..ROWS {
            merge(&store, n, None);
        }
        checkpoint(&store);
        store
    }

    fn generations(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_file_shrinks_while_views_and_the_overlay_live_on() {
        let dir = tempfile::tempdir().unwrap();
        let store = hollow(dir.path());
        let old_view = store.view().unwrap();
        merge(&store, ROWS, Some(10));
        let sealed = store.seal().unwrap();
        merge(&store, ROWS + 1, Some(10));

        let (file_bytes, ..) = store.size().unwrap();
        let rewritten = store.rewrite().unwrap();
        merge(&store, ROWS + 2, Some(10));
        assert_eq!(rewritten.bytes_before, file_bytes);
        assert!(rewritten.bytes_after * 10 < file_bytes, "{rewritten:?}");
        assert!(store.switch(rewritten).unwrap());
        assert!(store.size().unwrap().0 * 10 < file_bytes);
        // The old view sees what was merged into the layer that it holds.
        assert_eq!((rows(&store.view().unwrap()), rows(&old_view)), (13, 11));
        assert_eq!(generations(dir.path()), ["1", "2", "CURRENT"], "a view holds the old one");
        drop(old_view);
        assert_eq!(generations(dir.path()), ["2", "CURRENT"]);

        // What was sealed before goes to what is live now.
        let report = store.checkpoint(sealed).unwrap();
        assert!(!report.is_ignored);
        checkpoint(&store);
        drop(store);
        let store = Store::open(dir.path(), config()).unwrap();
        assert_eq!((rows(&store.view().unwrap()), store.generation()), (13, 2));
    }

    #[test]
    fn a_copy_that_is_not_switched_to_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = hollow(dir.path());
        drop(store.rewrite().unwrap());
        assert_eq!(generations(dir.path()), ["1", "CURRENT"]);
    }

    #[test]
    fn what_was_installed_meanwhile_stays() {
        let dir = tempfile::tempdir().unwrap();
        let store = hollow(dir.path());
        let other = hollow(&dir.path().join("other"));
        let rewritten = store.rewrite().unwrap();
        let mut copy = other.copy().unwrap();
        let mut stage = store.stage(copy.header()).unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut copy, &mut bytes).unwrap();
        stage.write(&bytes).unwrap();
        store.install(stage.finish().unwrap()).unwrap();
        assert!(!store.switch(rewritten).unwrap());
        assert_eq!(store.generation(), 3);
        assert_eq!(generations(dir.path()), ["3", "CURRENT", "other"]);
    }
}
