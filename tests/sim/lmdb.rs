//! What a power cut in the middle of an LMDB commit leaves behind; and bits that flip in its file.
//!
//! A commit writes its pages, syncs them, and writes one of the two meta pages through (docs/storage.md: LMDB's default
//! durability). Cut before the sync, any of the new pages may be there and none must; the meta pages are those of the
//! commit before, which uses none of the pages that were written. So: a copy of the file from before, and of what came
//! later a part.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::dice::Dice;

/// Where a meta page holds what, behind the page's header of 16 bytes: LMDB's `MDB_meta` on 64 bits.
const PAGE_BYTES_AT: usize = 40;
const TXN_AT: usize = 144;
const META_PAGES: usize = 2;

/// A database's file at one moment.
#[derive(Debug)]
pub(crate) struct Image {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Image {
    pub(crate) fn take(db_dir: &Path, generation: u64) -> io::Result<Self> {
        let path = db_dir.join(generation.to_string()).join("data.mdb");
        Ok(Self { bytes: fs::read(&path)?, path })
    }

    /// How many commits lie between this image and the file as it is now.
    pub(crate) fn commits_since(&self) -> io::Result<u64> {
        Ok(newest_txn(&fs::read(&self.path)?) - newest_txn(&self.bytes))
    }

    /// Takes back the commit that followed, but for some of its pages; how many of them stay.
    pub(crate) fn tear(&self, dice: &mut Dice) -> io::Result<u64> {
        let mut torn = fs::read(&self.path)?;
        let page_bytes = word(&torn, PAGE_BYTES_AT) as u32 as usize;
        let mut kept = 0;
        for at in (0..torn.len()).step_by(page_bytes) {
            let end = (at + page_bytes).min(torn.len());
            // One throw for every page, so that the dice do not depend on what is in them.
            let stays = dice.in_thousand(500) && at >= META_PAGES * page_bytes;
            let before = self.bytes.get(at..end);
            match before {
                Some(before) if before == &torn[at..end] => {}
                _ if stays => kept += 1,
                Some(before) => torn[at..end].copy_from_slice(before),
                None => torn[at..end].fill(0),
            }
        }
        // The file may not have grown yet.
        let grown = torn[self.bytes.len().min(torn.len())..].iter().any(|byte| *byte != 0);
        if !grown && dice.in_thousand(500) {
            torn.truncate(self.bytes.len());
        }
        fs::write(&self.path, torn)?;
        Ok(kept)
    }
}

/// Flips a bit in a row of the history, in a key `k/..` or the value behind it; none if there is none. Where LMDB keeps
/// its own accounts no bit flips: nobody promises what it does then. The row may be one that is in use no more.
pub(crate) fn flip_row(
    db_dir: &Path,
    generation: u64,
    dice: &mut Dice,
) -> io::Result<Option<(PathBuf, usize)>> {
    let path = db_dir.join(generation.to_string()).join("data.mdb");
    let mut file = fs::read(&path)?;
    let is_row = |at: &usize| match &file[*at..*at + 6] {
        [b'k', b'/', _, _, b'v', digit] => digit.is_ascii_digit(),
        _ => false,
    };
    let rows: Vec<usize> = (0..file.len().saturating_sub(6)).filter(is_row).collect();
    let Some(row) = dice.pick(&rows) else { return Ok(None) };
    let at = row + dice.below(6);
    file[at] ^= 1 << dice.below(8);
    fs::write(&path, file)?;
    Ok(Some((path, at)))
}

fn newest_txn(file: &[u8]) -> u64 {
    let page_bytes = word(file, PAGE_BYTES_AT) as u32 as usize;
    word(file, TXN_AT).max(word(file, page_bytes + TXN_AT))
}

fn word(file: &[u8], at: usize) -> u64 {
    file.get(at..at + 8).map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use quorate::base::Moment;
    use quorate::storage::{Read, Rows, Stamp, Store, StoreConfig, Table};

    use super::*;

    fn rows(n: u64) -> (Rows, Stamp) {
        let stamp = Stamp { applied: n, term: 1, revision: n as i64, compacted: 0 };
        let row = |key: u64| {
            let key = Bytes::copy_from_slice(&(n * 1_000 + key).to_be_bytes());
            ((Table::Keys, key), Some(Bytes::from(vec![n as u8; 100])))
        };
        ((0..300).map(row).collect(), stamp)
    }

    /// Whatever of a commit reached the disk: the one before it is found again, whole.
    #[test]
    fn a_torn_commit_leaves_the_one_before() {
        let config = StoreConfig { map_bytes: 16 << 20, readers: 16, ..StoreConfig::default() };
        let (mut kept, mut dice) = (0, Dice::new(1));
        for _ in 0..30 {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::create(dir.path(), config.clone(), Rows::new(), Stamp::EMPTY);
            let store = store.unwrap();
            for n in 1..=5 {
                let (rows, stamp) = rows(n);
                store.merge(rows, stamp, Moment::ZERO);
                let image = Image::take(dir.path(), store.generation()).unwrap();
                let _ = store.checkpoint(store.seal().unwrap()).unwrap();
                assert_eq!(image.commits_since().unwrap(), 1);
                if n == 5 {
                    drop(store);
                    kept += image.tear(&mut dice).unwrap();
                    break;
                }
            }
            let store = Store::open(dir.path(), config.clone()).unwrap();
            assert_eq!(store.stamp().applied, 4);
            let view = store.view().unwrap();
            for n in 1..=5u64 {
                for key in 0..300 {
                    let found = view.get(Table::Keys, &(n * 1_000 + key).to_be_bytes()).unwrap();
                    assert_eq!(found.is_some(), n < 5, "{n} {key}");
                }
            }
        }
        assert!(kept > 30, "{kept}");
    }
}
