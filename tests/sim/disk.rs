//! A disk in memory that forgets: what was not synced is lost at a crash, whole or in part.
//!
//! Writes go to the page cache and are remembered until a sync. A crash keeps, of what was not synced, whatever its
//! [`Keep`] says. A fuse can be set on the number of operations: the one that burns it is done in part, and from then
//! on nothing works until the crash is taken, so a crash can fall into the middle of a call. A sync that fails
//! forgets the dirty pages but goes on showing them, as Linux does.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use quorate::storage::{Disk, DiskFile};

const SECTOR_BYTES: usize = 512;

/// What survives of the bytes that were written and not synced.
#[derive(Debug)]
pub(crate) enum Keep<'a> {
    Nothing,
    Everything,
    /// The first bytes in the order they were written.
    Bytes(usize),
    /// Sectors and prefixes, drawn from the dice.
    Dice(&'a mut fastrand::Rng),
}

/// Cheap to clone; all clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct SimDisk {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    names: BTreeMap<String, u64>,
    files: BTreeMap<u64, FileBytes>,
    next_file: u64,
    /// Handles of an earlier boot are dead.
    boot: u64,
    capacity: Option<u64>,
    /// Operations until everything fails.
    fuse: Option<u64>,
    failing_syncs: u64,
    /// Of so many syncs one does nothing, and says that it is done.
    lies_every: Option<u64>,
    syncs: u64,
    bytes_written: u64,
    /// What became durable, write by write, until somebody takes it.
    synced: Vec<Vec<u8>>,
    /// What the last sync made durable: file, offset, bytes.
    newest: Vec<(u64, usize, usize)>,
}

/// All that a disk holds durably, as a tool would copy it.
#[derive(Debug)]
pub(crate) struct DiskImage {
    names: BTreeMap<String, u64>,
    files: BTreeMap<u64, FileBytes>,
}

#[derive(Clone, Debug, Default)]
struct FileBytes {
    durable: Vec<u8>,
    cached: Vec<u8>,
    /// Written and not synced, in order.
    dirty: Vec<(usize, Vec<u8>)>,
}

impl SimDisk {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Power is cut and comes back; handles from before are dead. Returns how many files lost bytes in part.
    pub(crate) fn crash(&self, mut keep: Keep<'_>) -> u64 {
        let mut inner = self.lock();
        inner.boot += 1;
        inner.fuse = None;
        inner.failing_syncs = 0;
        inner.files.values_mut().map(|file| u64::from(file.crash(&mut keep))).sum()
    }

    /// The process is killed and started again: the page cache survives, and is still dirty.
    pub(crate) fn restart(&self) {
        let mut inner = self.lock();
        inner.boot += 1;
        inner.fuse = None;
    }

    /// After this many more operations nothing works until the next crash.
    pub(crate) fn burn_after(&self, operations: u64) {
        self.lock().fuse = Some(operations);
    }

    /// No fuse any more, if it has not burnt.
    pub(crate) fn mend(&self) {
        let mut inner = self.lock();
        inner.fuse = inner.fuse.filter(|left| *left == 0);
    }

    /// Whether the fuse has burnt.
    pub(crate) fn is_burnt(&self) -> bool {
        self.lock().fuse == Some(0)
    }

    /// The next syncs fail.
    pub(crate) fn fail_syncs(&self, count: u64) {
        self.lock().failing_syncs = count;
    }

    /// One of so many syncs does nothing, and says that it is done.
    pub(crate) fn lie_every(&self, syncs: Option<u64>) {
        self.lock().lies_every = syncs;
    }

    /// Bytes of all files together; none is without bound.
    pub(crate) fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity = bytes;
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    /// Whether something is written and not synced.
    pub(crate) fn is_dirty(&self) -> bool {
        self.lock().files.values().any(|file| !file.dirty.is_empty())
    }

    /// The durable bytes of a file.
    pub(crate) fn durable(&self, name: &str) -> Option<Vec<u8>> {
        let inner = self.lock();
        let id = inner.names.get(name)?;
        Some(inner.files[id].durable.clone())
    }

    /// Damages durable bytes; what the page cache holds is damaged with them.
    pub(crate) fn damage(&self, name: &str, offset: usize, bytes: &[u8]) {
        let mut inner = self.lock();
        let id = inner.names[name];
        let file = inner.files.get_mut(&id).expect("a name names a file");
        file.durable[offset..offset + bytes.len()].copy_from_slice(bytes);
        file.cached[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// Flips one bit of what a segment of the log holds durably; which file, and where. The last write that was
    /// synced is spared: whoever reads it could not tell it from a torn one. None if there is nothing to flip.
    pub(crate) fn flip_bit(&self, dice: &mut fastrand::Rng) -> Option<(String, usize)> {
        let mut inner = self.lock();
        let logs: Vec<(String, u64)> = inner
            .names
            .iter()
            .filter(|(name, _)| name.ends_with(".wal"))
            .map(|(name, id)| (name.clone(), *id))
            .collect();
        for _ in 0..20 {
            let (name, id) = dice.choice(&logs)?.clone();
            let spared = inner.newest.clone();
            let file = inner.files.get_mut(&id)?;
            let used = file.durable.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            let at = dice.usize(..used.max(1));
            let is_spared = spared
                .iter()
                .any(|(newest, from, bytes)| *newest == id && (*from..from + bytes).contains(&at));
            if at < used && !is_spared {
                file.durable[at] ^= 1 << dice.u32(..8);
                file.cached.clone_from(&file.durable);
                return Some((name, at));
            }
        }
        None
    }

    /// What became durable since the last call, write by write.
    pub(crate) fn take_synced(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.lock().synced)
    }

    pub(crate) fn image(&self) -> DiskImage {
        let inner = self.lock();
        DiskImage { names: inner.names.clone(), files: inner.files.clone() }
    }

    /// Holds what the image does, as after a crash.
    pub(crate) fn restore(&self, image: DiskImage) {
        let mut inner = self.lock();
        inner.boot += 1;
        inner.fuse = None;
        (inner.names, inner.files) = (image.names, image.files);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }
}

impl Inner {
    /// Counts an operation; whether it still happens. The one that burns the fuse happens in part.
    fn spend(&mut self) -> io::Result<bool> {
        match &mut self.fuse {
            None => Ok(true),
            Some(0) => Err(io::Error::other("the power is gone")),
            Some(left) => {
                *left -= 1;
                Ok(*left > 0)
            }
        }
    }

    fn id(&self, name: &str) -> io::Result<u64> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, name.to_owned());
        self.names.get(name).copied().ok_or_else(missing)
    }

    fn used(&self) -> u64 {
        self.names.values().map(|id| self.files[id].durable.len() as u64).sum()
    }
}

impl FileBytes {
    /// Whether a part of what was not synced was lost, and a part kept.
    fn crash(&mut self, keep: &mut Keep<'_>) -> bool {
        let dirty = std::mem::take(&mut self.dirty);
        let whole: usize = dirty.iter().map(|(_, bytes)| bytes.len()).sum();
        let kept = match keep {
            Keep::Nothing => 0,
            Keep::Everything => self.keep_prefix(&dirty, usize::MAX),
            Keep::Bytes(count) => self.keep_prefix(&dirty, *count),
            Keep::Dice(dice) => match dice.u32(..4) {
                0 => 0,
                1 => self.keep_prefix(&dirty, usize::MAX),
                2 => self.keep_prefix(&dirty, dice.usize(..=whole)),
                _ => self.keep_sectors(&dirty, dice),
            },
        };
        self.cached.clone_from(&self.durable);
        kept > 0 && kept < whole
    }

    fn keep_prefix(&mut self, dirty: &[(usize, Vec<u8>)], mut count: usize) -> usize {
        let mut kept = 0;
        for (offset, bytes) in dirty {
            let part = bytes.len().min(count);
            self.durable[*offset..offset + part].copy_from_slice(&bytes[..part]);
            count -= part;
            kept += part;
        }
        kept
    }

    /// Any set of sectors, in any order: the disk reorders as it likes between two syncs.
    fn keep_sectors(&mut self, dirty: &[(usize, Vec<u8>)], dice: &mut fastrand::Rng) -> usize {
        let mut kept = 0;
        for (offset, bytes) in dirty {
            let mut at = *offset;
            let end = offset + bytes.len();
            while at < end {
                let next = ((at / SECTOR_BYTES + 1) * SECTOR_BYTES).min(end);
                if dice.bool() {
                    self.durable[at..next].copy_from_slice(&bytes[at - offset..next - offset]);
                    kept += next - at;
                }
                at = next;
            }
        }
        kept
    }
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().names.keys().cloned().collect())
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut inner = self.lock();
        let whole = inner.spend()?;
        if inner.names.contains_key(name) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, name.to_owned()));
        }
        let room = inner.capacity.map_or(bytes, |capacity| capacity.saturating_sub(inner.used()));
        let made = if whole { bytes.min(room) } else { bytes / 2 };
        let id = inner.next_file;
        inner.next_file += 1;
        inner.names.insert(name.to_owned(), id);
        let zeros = vec![0; made as usize];
        let file = FileBytes { durable: zeros.clone(), cached: zeros, dirty: Vec::new() };
        inner.files.insert(id, file);
        if made < bytes {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(Arc::new(SimFile { disk: self.clone(), id, boot: inner.boot }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let inner = self.lock();
        Ok(Arc::new(SimFile { disk: self.clone(), id: inner.id(name)?, boot: inner.boot }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.lock();
        let id = inner.id(from)?;
        // Interrupted, it has happened or not; half of it does not exist.
        let happens = inner.spend()? || id.is_multiple_of(2);
        if happens {
            inner.names.remove(from);
            if let Some(gone) = inner.names.insert(to.to_owned(), id) {
                inner.files.remove(&gone);
            }
        }
        if inner.fuse == Some(0) { Err(io::Error::other("the power went")) } else { Ok(()) }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.lock();
        let id = inner.id(name)?;
        if inner.spend()? {
            inner.names.remove(name);
            inner.files.remove(&id);
            return Ok(());
        }
        Err(io::Error::other("the power went"))
    }
}

struct SimFile {
    disk: SimDisk,
    id: u64,
    boot: u64,
}

impl SimFile {
    fn with<T>(&self, work: impl FnOnce(&mut Inner, u64) -> io::Result<T>) -> io::Result<T> {
        let mut inner = self.disk.lock();
        if inner.boot != self.boot {
            return Err(io::Error::other("a handle from before the crash"));
        }
        work(&mut inner, self.id)
    }
}

fn file(inner: &mut Inner, id: u64) -> io::Result<&mut FileBytes> {
    inner.files.get_mut(&id).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
}

impl DiskFile for SimFile {
    fn bytes(&self) -> io::Result<u64> {
        self.with(|inner, id| Ok(file(inner, id)?.cached.len() as u64))
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.with(|inner, id| {
            let from = offset as usize;
            let bytes = file(inner, id)?.cached.get(from..from + buf.len());
            buf.copy_from_slice(
                bytes.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?,
            );
            Ok(())
        })
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.with(|inner, id| {
            let whole = inner.spend()?;
            inner.bytes_written += buf.len() as u64;
            let file = file(inner, id)?;
            let from = offset as usize;
            let count = if whole { buf.len() } else { buf.len() / 2 };
            let end = from + count;
            if from + buf.len() > file.cached.len() {
                return Err(io::Error::other("a write beyond the file's end"));
            }
            file.cached[from..end].copy_from_slice(&buf[..count]);
            file.dirty.push((from, buf[..count].to_vec()));
            if whole { Ok(()) } else { Err(io::Error::other("the power went")) }
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|inner, id| {
            let whole = inner.spend()?;
            if inner.failing_syncs > 0 {
                inner.failing_syncs -= 1;
                // The pages count as clean from now on, and what they show never reaches the disk.
                file(inner, id)?.dirty.clear();
                return Err(io::Error::other("the disk says it could not write"));
            }
            if !whole {
                return Err(io::Error::other("the power went"));
            }
            inner.syncs += 1;
            if inner.lies_every.is_some_and(|every| inner.syncs.is_multiple_of(every)) {
                return Ok(());
            }
            let file = file(inner, id)?;
            let dirty = std::mem::take(&mut file.dirty);
            for (offset, bytes) in &dirty {
                file.durable[*offset..offset + bytes.len()].copy_from_slice(bytes);
            }
            if !dirty.is_empty() {
                inner.newest =
                    dirty.iter().map(|(offset, bytes)| (id, *offset, bytes.len())).collect();
                inner.synced.extend(dirty.into_iter().map(|(_, bytes)| bytes));
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(disk: &SimDisk, name: &str) -> Vec<u8> {
        let file = disk.open(name).unwrap();
        let mut bytes = vec![0; file.bytes().unwrap() as usize];
        file.read_at(&mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn what_was_synced_survives_and_nothing_else_must() {
        let disk = SimDisk::new();
        let file = disk.create("a", 8).unwrap();
        file.write_at(b"sync", 0).unwrap();
        file.sync_data().unwrap();
        file.write_at(b"lost", 4).unwrap();
        assert_eq!(read(&disk, "a"), b"synclost");
        assert_eq!(disk.crash(Keep::Bytes(2)), 1);
        assert_eq!(read(&disk, "a"), b"synclo\0\0");
        assert!(file.write_at(b"x", 0).is_err(), "a handle from before the crash is dead");
    }

    #[test]
    fn a_failed_sync_shows_what_it_lost_until_the_crash() {
        let disk = SimDisk::new();
        let file = disk.create("a", 4).unwrap();
        file.write_at(b"gone", 0).unwrap();
        disk.fail_syncs(1);
        assert!(file.sync_data().is_err());
        file.sync_data().unwrap();
        assert_eq!(read(&disk, "a"), b"gone");
        disk.crash(Keep::Everything);
        assert_eq!(read(&disk, "a"), [0; 4]);
    }

    #[test]
    fn a_bit_flips_anywhere_but_in_what_was_synced_last() {
        let disk = SimDisk::new();
        let file = disk.create("1.wal", 64).unwrap();
        let written = [7; 32];
        file.write_at(&written[..20], 0).unwrap();
        file.sync_data().unwrap();
        file.write_at(&written[20..], 20).unwrap();
        file.sync_data().unwrap();
        assert_eq!(disk.take_synced(), [written[..20].to_vec(), written[20..].to_vec()]);
        let image = disk.image();
        let mut dice = fastrand::Rng::with_seed(1);
        for _ in 0..50 {
            let (name, at) = disk.flip_bit(&mut dice).unwrap();
            assert!(name == "1.wal" && at < 20, "{name} {at}");
        }
        assert_ne!(read(&disk, "1.wal")[..20], written[..20]);
        assert_eq!(read(&disk, "1.wal")[20..32], written[20..]);
        disk.restore(image);
        assert_eq!(read(&disk, "1.wal")[..32], written);
    }

    #[test]
    fn a_burnt_fuse_stops_everything_in_the_middle() {
        let disk = SimDisk::new();
        let file = disk.create("a", 4).unwrap();
        disk.burn_after(2);
        file.write_at(b"ab", 0).unwrap();
        assert!(file.write_at(b"cd", 2).is_err());
        assert!(file.sync_data().is_err() && disk.create("b", 1).is_err());
        disk.crash(Keep::Everything);
        assert_eq!(read(&disk, "a"), b"abc\0");
    }
}
