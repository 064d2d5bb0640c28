//! One generation of the database: an LMDB environment with the tables in it.
//!
//! LMDB is opened with its defaults, which sync data and meta page at every commit: a commit that returned is
//! durable, and a crash leaves the commit before it. Never NOSYNC, NOMETASYNC or WRITEMAP. Only the checkpoint
//! thread writes; readers never wait for it. Readers are not tied to their threads (`WithoutTls`), so a view may be
//! made here and used there.
//!
//! Promises: a row that is handed out is the one that was written (a checksum behind its value says so; a row that is
//! not damages the database for good); all rows of one `write` or one `sweep` or none of them; the environment is
//! closed, and a retired generation's directory deleted, when the last handle is dropped. Knows nothing of: the
//! overlay, which generation is live.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::ops::{Bound, ControlFlow, Deref};
use std::os::fd::OwnedFd;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use bytes::Bytes;
use heed::types;
use heed::{CommitOrAbort, CompactionOption, MdbError, PutFlags, RoTxn, RwTxn, WithoutTls};

use super::env::{self, Env};
use super::overlay::Tables;
use super::read::is_inverted;
use super::{Direction, Fault, Read, Row, Stamp, StoreConfig, Table, Write, directory, row_sum};
use crate::base::Steady;

/// A piece between LMDB and the file of a copy.
const COPY_BYTES: usize = 256 * 1024;

type Tree = heed::Database<'static, types::Bytes, types::Bytes>;

/// A read transaction, which is counted while it is open.
pub(super) struct ReadTxn {
    txn: RoTxn<'static, WithoutTls>,
    open: Arc<AtomicUsize>,
}

impl Deref for ReadTxn {
    type Target = RoTxn<'static, WithoutTls>;

    fn deref(&self) -> &Self::Target {
        &self.txn
    }
}

impl Drop for ReadTxn {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An open generation.
#[derive(Debug)]
pub(super) struct Database {
    /// None only while it is being dropped.
    env: Option<Env>,
    trees: [Tree; Table::ALL.len()],
    dir: PathBuf,
    generation: u64,
    map_bytes: u64,
    is_retired: AtomicBool,
    open_reads: Arc<AtomicUsize>,
    /// The first row that was not what had been written.
    damage: OnceLock<String>,
}

impl Database {
    /// Opens the environment in the existing directory `dir`, and creates what is missing in it.
    pub(super) fn open(dir: &Path, generation: u64, config: &StoreConfig) -> Result<Self, Fault> {
        let fault = |error| env::fault("open", dir, config.map_bytes, error);
        let env = env::open(dir, config)?;
        let txn = env.write_txn().map_err(fault)?;
        let created = env
            .create_databases_and_commit(txn, |opener, txn| {
                let mut trees = Vec::with_capacity(Table::ALL.len());
                for table in Table::ALL {
                    trees.push(opener.create_database(txn, Some(table.name()))?);
                }
                let trees =
                    <[_; Table::ALL.len()]>::try_from(trees).map_err(|_| MdbError::BadDbi)?;
                Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(trees))
            })
            .map_err(fault)?;
        let trees = created.commit().ok_or_else(|| fault(MdbError::BadDbi.into()))?;
        Ok(Self {
            env: Some(env),
            trees,
            dir: dir.to_owned(),
            generation,
            map_bytes: config.map_bytes,
            is_retired: AtomicBool::new(false),
            open_reads: Arc::default(),
            damage: OnceLock::new(),
        })
    }

    /// Opens a complete generation that is not the live one; it goes with its last handle, until it is kept.
    pub(super) fn open_aside(
        db_dir: &Path,
        generation: u64,
        config: &StoreConfig,
    ) -> Result<Self, Fault> {
        let dir = directory::generation_dir(db_dir, generation);
        let database = Self::open(&dir, generation, config)?;
        database.retire();
        Ok(database)
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// The directory goes when the last handle is dropped, unless [`Self::keep`] takes it back.
    pub(super) fn retire(&self) {
        self.is_retired.store(true, Ordering::Release);
    }

    pub(super) fn keep(&self) {
        self.is_retired.store(false, Ordering::Release);
    }

    pub(super) fn read_txn(&self) -> Result<ReadTxn, Fault> {
        let begun = self.env().clone().static_read_txn();
        let txn = begun.map_err(|error| self.fault("begin a read", error))?;
        self.open_reads.fetch_add(1, Ordering::Relaxed);
        Ok(ReadTxn { txn, open: Arc::clone(&self.open_reads) })
    }

    /// Read transactions that are open.
    pub(super) fn open_reads(&self) -> usize {
        self.open_reads.load(Ordering::Relaxed)
    }

    pub(super) fn get(
        &self,
        txn: &RoTxn<'_, WithoutTls>,
        table: Table,
        key: &[u8],
    ) -> Result<Option<Bytes>, Fault> {
        if key.is_empty() {
            return Ok(None); // LMDB has no empty keys, and refuses to look for one
        }
        let value =
            self.tree(table).get(txn, key).map_err(|error| self.fault("read a row", error))?;
        let Some(value) = value else { return Ok(None) };
        Ok(Some(Bytes::copy_from_slice(self.verified(table, key, value)?)))
    }

    fn verified<'v>(&self, table: Table, key: &[u8], value: &'v [u8]) -> Result<&'v [u8], Fault> {
        row_sum::verified(table, key, value).ok_or_else(|| {
            let _ = self.damage.set(row_sum::damage(table, &key.escape_ascii().to_string()));
            self.sound().err().unwrap_or_else(|| Fault::corrupt("a row", self.place()))
        })
    }

    /// Whether every row that was read so far is what had been written.
    pub(super) fn sound(&self) -> Result<(), Fault> {
        match self.damage.get() {
            None => Ok(()),
            Some(what) => Err(Fault::corrupt(what, self.place())),
        }
    }

    fn place(&self) -> String {
        self.dir.join(directory::DATA_FILE).display().to_string()
    }

    /// The rows between the bounds, borrowed from the map.
    pub(super) fn walk<'t>(
        &self,
        txn: &'t RoTxn<'_, WithoutTls>,
        table: Table,
        low: Bound<&[u8]>,
        high: Bound<&[u8]>,
        direction: Direction,
    ) -> Result<DbWalk<'t>, Fault> {
        let low = match low {
            Bound::Included([]) | Bound::Excluded([]) => Bound::Unbounded,
            low => low,
        };
        if is_inverted(&low, &high) || matches!(high, Bound::Included([]) | Bound::Excluded([])) {
            return Ok(DbWalk::Nothing);
        }
        let (tree, range) = (self.tree(table), (low, high));
        let rows = match direction {
            Direction::Ascending => tree.range(txn, &range).map(DbWalk::Up),
            Direction::Descending => tree.rev_range(txn, &range).map(DbWalk::Down),
        };
        rows.map_err(|error| self.fault("begin a scan", error))
    }

    /// What a walk found in a table; a row that LMDB could not read, or that is not what was written, is a fault of
    /// this database.
    pub(super) fn row<'t>(
        &self,
        table: Table,
        found: Option<Found<'t>>,
    ) -> Result<Option<Row<'t>>, Fault> {
        match found {
            None => Ok(None),
            Some(Ok((key, value))) => {
                Ok(Some(Row { key, value: self.verified(table, key, value)? }))
            }
            Some(Err(error)) => Err(self.fault("scan", error)),
        }
    }

    /// The stamp that `txn` sees, in the format this binary reads.
    pub(super) fn stamp(&self, txn: &ReadTxn) -> Result<Stamp, Fault> {
        let meta = self.tree(Table::Meta);
        let row = |key| meta.get(txn, key).map_err(|error| self.fault("read the stamp", error));
        Stamp::of_stored(row(Stamp::FORMAT_KEY)?, row(Stamp::KEY)?, &self.dir)
    }

    /// Writes all rows in one durable transaction; returns how many.
    pub(super) fn write(&self, tables: &Tables) -> Result<usize, Fault> {
        let fault = |error| self.fault("write a checkpoint", error);
        let mut txn = self.env().write_txn().map_err(fault)?;
        let (mut written, mut buffer) = (0, Vec::new());
        for table in Table::ALL {
            let tree = self.tree(table);
            let rows = &tables[table as usize];
            let mut last = None;
            if table.is_append_only() && !rows.is_empty() {
                last = tree.last(&txn).map_err(fault)?.map(|(key, _)| key.to_vec());
            }
            for (key, value) in rows {
                // Appending fills pages to the brim, where a put in the middle would split them in halves.
                let at_end = table.is_append_only()
                    && last.as_ref().is_none_or(|last| key.as_ref() > last.as_slice());
                let value =
                    value.as_deref().map(|value| row_sum::stored(table, key, value, &mut buffer));
                match value {
                    Some(value) if at_end => {
                        tree.put_with_flags(&mut txn, PutFlags::APPEND, key, value)
                    }
                    Some(value) => tree.put(&mut txn, key, value),
                    None => tree.delete(&mut txn, key).map(|_| ()),
                }
                .map_err(fault)?;
            }
            written += rows.len();
        }
        txn.commit().map_err(fault)?;
        Ok(written)
    }

    /// One durable transaction for `job`; nothing is changed when it fails.
    pub(super) fn sweep<T>(
        &self,
        job: impl FnOnce(&mut Sweep<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let fault = |error| self.fault("sweep", error);
        let txn = self.env().write_txn().map_err(fault)?;
        let mut sweep = Sweep { database: self, txn };
        let done = job(&mut sweep)?;
        sweep.txn.commit().map_err(fault)?;
        Ok(done)
    }

    /// Reads every row: a fault if one is not what was written, or missing.
    pub(super) fn verify(&self) -> Result<(), Fault> {
        let txn = self.read_txn()?;
        for table in Table::ALL {
            let (low, high) = (Bound::Unbounded, Bound::Unbounded);
            let mut rows = self.walk(&txn, table, low, high, Direction::Ascending)?;
            let mut found = 0;
            while self.row(table, rows.next())?.is_some() {
                found += 1;
            }
            let counted = self.tree(table).len(&txn);
            let expected = counted.map_err(|error| self.fault("count rows", error))?;
            if found != expected {
                let name = table.name();
                let what = format!("table {name} has {found} rows instead of {expected}");
                let _ = self.damage.set(what);
            }
        }
        self.sound()
    }

    /// Bytes of the file, and bytes of its pages that hold rows.
    pub(super) fn size(&self) -> Result<(u64, u64), Fault> {
        let fault = |error| self.fault("measure", error);
        let file_bytes = self.env().real_disk_size().map_err(fault)?;
        let txn = self.env().read_txn().map_err(fault)?;
        let mut used_bytes = 0;
        for tree in &self.trees {
            let stat = tree.stat(&txn).map_err(fault)?;
            let pages = stat.branch_pages + stat.leaf_pages + stat.overflow_pages;
            used_bytes += pages as u64 * u64::from(stat.page_size);
        }
        Ok((file_bytes, used_bytes))
    }

    /// Writes a consistent copy of what is committed now to `file`: compacted, or page by page if LMDB finds pages
    /// that belong to nobody (which only the compacting copy minds).
    pub(super) fn copy_to(&self, file: &mut File, path: &Path) -> Result<(), Fault> {
        let copied = match self.copy_steadily(file, CompactionOption::Enabled) {
            Err(heed::Error::Mdb(MdbError::Incompatible)) => {
                file.set_len(0)
                    .and_then(|()| io::Seek::rewind(file))
                    .map_err(|error| Fault::io("write", path, error))?;
                self.copy_steadily(file, CompactionOption::Disabled)
            }
            copied => copied,
        };
        copied.map_err(|error| match error {
            heed::Error::Io(error) => Fault::io("write", path, error),
            error => self.fault("copy", error),
        })
    }

    /// LMDB writes as fast as it reads, so it writes to a pipe.
    fn copy_steadily(&self, file: &File, option: CompactionOption) -> heed::Result<()> {
        let (mut reader, writer) = io::pipe()?;
        thread::scope(|scope| {
            let written = scope.spawn(move || {
                let mut buffer = BufWriter::with_capacity(COPY_BYTES, Steady::new(file));
                io::copy(&mut reader, &mut buffer).and_then(|_| buffer.flush())
            });
            let mut writer = File::from(OwnedFd::from(writer));
            let copied = self.env().copy_to_file(&mut writer, option);
            // The end, for who reads it.
            drop(writer);
            // Of a disk that failed LMDB saw a pipe that broke.
            written.join().unwrap_or_else(|panic| resume_unwind(panic))?;
            copied
        })
    }

    fn tree(&self, table: Table) -> Tree {
        self.trees[table as usize]
    }

    fn env(&self) -> &Env {
        self.env.as_ref().expect("the environment is taken only by drop")
    }

    fn fault(&self, action: &'static str, error: heed::Error) -> Fault {
        env::fault(action, &self.dir, self.map_bytes, error)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Transactions hold the environment too, and each of their owners holds this database: the last one is here.
        drop(self.env.take());
        if self.is_retired.load(Ordering::Acquire)
            && let Err(error) = fs::remove_dir_all(&self.dir)
        {
            tracing::warn!(dir = %self.dir.display(), %error, "cannot delete an old database");
        }
    }
}

type Found<'t> = heed::Result<(&'t [u8], &'t [u8])>;

/// Rows between two bounds of one table.
pub(super) enum DbWalk<'t> {
    Nothing,
    Up(heed::RoRange<'t, types::Bytes, types::Bytes>),
    Down(heed::RoRevRange<'t, types::Bytes, types::Bytes>),
}

impl<'t> Iterator for DbWalk<'t> {
    type Item = Found<'t>;

    fn next(&mut self) -> Option<Found<'t>> {
        match self {
            Self::Nothing => None,
            Self::Up(rows) => rows.next(),
            Self::Down(rows) => rows.next(),
        }
    }
}

/// A writing transaction on what is checkpointed, for compaction: the overlay is neither seen nor touched.
///
/// Only rows that apply never writes again may be changed here: a newer row in the overlay would undo it.
pub struct Sweep<'a> {
    database: &'a Database,
    txn: RwTxn<'a>,
}

impl Read for Sweep<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        self.database.get(&self.txn, table, key)
    }

    fn scan(
        &self,
        table: Table,
        low: Bound<&[u8]>,
        high: Bound<&[u8]>,
        direction: Direction,
        each: &mut dyn FnMut(Row<'_>) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        let mut rows = self.database.walk(&self.txn, table, low, high, direction)?;
        while let Some(row) = self.database.row(table, rows.next())? {
            if each(row).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// Panics for the rows of the stamp, which belong to the seal alone.
impl Write for Sweep<'_> {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        assert!(!Stamp::owns(table, key), "a sweep never writes the stamp");
        let mut buffer = Vec::new();
        let value = row_sum::stored(table, key, value, &mut buffer);
        let put = self.database.tree(table).put(&mut self.txn, key, value);
        put.map_err(|error| self.database.fault("sweep", error))
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), Fault> {
        assert!(!Stamp::owns(table, key), "a sweep never deletes the stamp");
        let deleted = self.database.tree(table).delete(&mut self.txn, key);
        deleted.map(|_| ()).map_err(|error| self.database.fault("sweep", error))
    }
}
