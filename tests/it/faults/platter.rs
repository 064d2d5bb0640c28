//! A disk that a test has in its hands: a file served through FUSE, which sees every write and every flush.
//!
//! ```text
//!   member -> ext4 -> loop device -> FUSE -> Platter       writes are kept in order, block by block, until a flush
//! ```
//!
//! The loop device makes every flush of the block layer an fsync of its file, so that LMDB's map, O_DSYNC and ext4's
//! journal end here as they would in a disk. A power cut keeps what was flushed, and of what was written since any
//! part in any order: for each block one of its versions. Nothing is accepted after it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, Generation, INodeNo, LockOwner, OpenFlags,
    ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyWrite, Request, WriteFlags,
};

use crate::dice::Dice;

pub(super) const BLOCK_BYTES: usize = 4096;

/// What a disk writes at once, whatever happens.
const SECTOR_BYTES: usize = 512;

/// Versions of one block that wait for a flush; of more, an early one is forgotten.
const VERSIONS_MAX: usize = 8;

type Block = [u8; BLOCK_BYTES];

static ZEROS: Block = [0; BLOCK_BYTES];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mode {
    Works,
    /// Nothing is answered until this changes.
    Hangs,
    /// Reads work, writes and flushes fail.
    Fails,
    /// Without power.
    Dead,
}

/// See the module.
pub(super) struct Platter {
    bytes: u64,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    mode: Mode,
    /// Each life has a file of its own, so that no page cache outlives a power cut.
    life: u64,
    /// Versions of each block, the flushed one first; none is zeros.
    blocks: BTreeMap<u64, Vec<Option<Box<Block>>>>,
    dirty: BTreeSet<u64>,
}

impl Platter {
    pub(super) fn new(bytes: u64) -> Self {
        let (blocks, dirty) = (BTreeMap::new(), BTreeSet::new());
        let state = State { mode: Mode::Works, life: 0, blocks, dirty };
        Self { bytes, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// The name of the file that this life has.
    pub(super) fn file_name(&self) -> String {
        format!("disk-{}", self.lock().life)
    }

    pub(super) fn set(&self, mode: Mode) {
        self.lock().mode = mode;
        self.changed.notify_all();
    }

    /// All of these lose their power in one moment; what is left of them is what is there when it comes back.
    pub(super) fn cut(platters: &[Arc<Self>], dice: &mut Dice) {
        // Nobody writes anywhere while all are held.
        let held: Vec<_> = platters.iter().map(|platter| (platter, platter.lock())).collect();
        for (platter, mut state) in held {
            state.mode = Mode::Dead;
            state.lose(dice);
            platter.changed.notify_all();
        }
    }

    /// Power is back: the same bytes, a new file.
    pub(super) fn revive(&self) {
        let mut state = self.lock();
        state.mode = Mode::Works;
        state.life += 1;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while the disk hangs. `ino` may be of an earlier life.
    fn admitted(&self, ino: INodeNo, writes: bool) -> Result<MutexGuard<'_, State>, Errno> {
        let mut state = self.lock();
        while state.mode == Mode::Hangs {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let is_of_this_life = ino == file_of(state.life);
        match state.mode {
            Mode::Works if is_of_this_life => Ok(state),
            Mode::Fails if is_of_this_life && !writes => Ok(state),
            _ => Err(Errno::EIO),
        }
    }

    fn attributes(&self, ino: INodeNo) -> FileAttr {
        let is_root = ino == INodeNo::ROOT;
        FileAttr {
            ino,
            size: if is_root { 0 } else { self.bytes },
            blocks: self.bytes / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_root { FileType::Directory } else { FileType::RegularFile },
            perm: if is_root { 0o755 } else { 0o600 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: BLOCK_BYTES as u32,
            flags: 0,
        }
    }
}

fn file_of(life: u64) -> INodeNo {
    INodeNo(life + 2)
}

impl State {
    fn newest(&self, block: u64) -> &Block {
        let versions = self.blocks.get(&block);
        versions.and_then(|versions| versions.last()?.as_deref()).unwrap_or(&ZEROS)
    }

    fn read(&self, offset: u64, bytes: usize) -> Vec<u8> {
        let mut data = Vec::with_capacity(bytes);
        for (block, from, to) in pieces(offset, bytes) {
            data.extend_from_slice(&self.newest(block)[from..to]);
        }
        data
    }

    fn write(&mut self, offset: u64, mut data: &[u8]) {
        for (block, from, to) in pieces(offset, data.len()) {
            let (piece, rest) = data.split_at(to - from);
            data = rest;
            let mut written = Box::new(*self.newest(block));
            written[from..to].copy_from_slice(piece);
            let is_zeros = *written == ZEROS;
            let versions = self.blocks.entry(block).or_insert_with(|| vec![None]);
            if versions.len() == VERSIONS_MAX {
                versions.remove(1);
            }
            versions.push((!is_zeros).then_some(written));
            self.dirty.insert(block);
        }
    }

    fn flush(&mut self) {
        for block in std::mem::take(&mut self.dirty) {
            let newest = self.blocks.remove(&block).and_then(|mut versions| versions.pop());
            if let Some(newest @ Some(_)) = newest {
                self.blocks.insert(block, vec![newest]);
            }
        }
    }

    /// Of each block that was not flushed, some version stays.
    fn lose(&mut self, dice: &mut Dice) {
        // Now and then nearly nothing arrived, or nearly everything.
        let arrives = [100, 500, 900][dice.below(3)];
        let mut kept = BTreeMap::new();
        for &block in &self.dirty {
            let versions = &self.blocks[&block];
            let draw = |dice: &mut Dice| match dice.in_thousand(arrives) {
                true => dice.between(1, versions.len() as u64 - 1) as usize,
                false => 0,
            };
            let whole = draw(dice);
            let mut found = Box::new(versions[whole].as_deref().copied().unwrap_or(ZEROS));
            // The first block is ext4's superblock, which is believed to be written in one piece.
            if block > 0 && dice.in_thousand(100) {
                for sector in (0..BLOCK_BYTES).step_by(SECTOR_BYTES) {
                    let version = versions[draw(dice)].as_deref().unwrap_or(&ZEROS);
                    let sector = sector..sector + SECTOR_BYTES;
                    found[sector.clone()].copy_from_slice(&version[sector]);
                }
            }
            kept.insert(block, vec![Some(found)]);
        }
        self.blocks.extend(kept);
        self.dirty.clear();
    }
}

/// Block, and from where to where in it.
fn pieces(offset: u64, bytes: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let (size, end) = (BLOCK_BYTES as u64, offset + bytes as u64);
    (offset / size..end.div_ceil(size)).map(move |block| {
        let from = offset.saturating_sub(block * size) as usize;
        let to = (end - block * size).min(size) as usize;
        (block, from, to)
    })
}

/// The file system with the one file.
pub(super) struct Served(pub Arc<Platter>);

/// Nothing of a life's file ever changes but its bytes.
const LASTS: Duration = Duration::from_secs(3_600);

impl Filesystem for Served {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let life = self.0.lock().life;
        match name == OsStr::new(&format!("disk-{life}")) {
            true => reply.entry(&LASTS, &self.0.attributes(file_of(life)), Generation(0)),
            false => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&LASTS, &self.0.attributes(ino));
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let left = self.0.bytes.saturating_sub(offset);
        match self.0.admitted(ino, false) {
            Ok(state) => reply.data(&state.read(offset, u64::from(size).min(left) as usize)),
            Err(errno) => reply.error(errno),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.0.admitted(ino, true) {
            Ok(mut state) => {
                state.write(offset, data);
                reply.written(data.len() as u32);
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        match self.0.admitted(ino, true) {
            Ok(mut state) => {
                state.flush();
                // Answered before the power can go: what was told to be flushed is.
                reply.ok();
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_cut_keeps_what_was_flushed_and_any_part_of_the_rest() {
        let (mut lost, mut kept, mut torn) = (0, 0, 0);
        for seed in 0..300 {
            let platter = Arc::new(Platter::new(1 << 20));
            let mut dice = Dice::new(seed);
            platter.lock().write(100, &[1; 8_192]);
            platter.lock().flush();
            platter.lock().write(4_096, &[2; 4_096]);
            platter.lock().write(4_096, &[3; 4_096]);
            Platter::cut(&[Arc::clone(&platter)], &mut dice);
            assert!(platter.admitted(file_of(0), false).is_err(), "it has no power");
            platter.revive();
            assert!(platter.admitted(file_of(0), true).is_err(), "that file is gone");
            let state = platter.admitted(file_of(1), true).unwrap();
            assert_eq!(state.read(100, 10), [1; 10]);
            assert_eq!(state.read(8_192, 200), [[1; 100], [0; 100]].concat());
            let block = state.read(4_096, 4_096);
            let first = block[0];
            match block.iter().all(|byte| *byte == first) {
                true if first == 1 => lost += 1,
                true => kept += 1,
                false => torn += 1,
            }
        }
        assert!(lost > 50 && kept > 50 && torn > 5, "{lost} {kept} {torn}");
    }
}
