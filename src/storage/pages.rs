//! LMDB's file, read page by page without LMDB: what is damaged is found, and named, before LMDB steps on it.
//!
//! LMDB believes its file. A bit that flips in a row is told by the row's checksum, but one in a page's header, in a
//! branch or in the list of free pages ends the process by a signal, hides rows from those who look for them, or has
//! pages overwritten that are in use. So a member reads the whole file when it starts: every page that the newest
//! transaction reaches has its place, its kind and its neighbours' order, is reached once, and counts add up; and every
//! row has its checksum.
//!
//! ```text
//!   page 0, 1     meta: transaction n writes page n % 2          -> two trees
//!   free list     transaction -> pages that it left behind          main     name -> tree of a table
//!   branch        key -> page                                       leaf     key -> value, or the first of a run of pages
//! ```
//!
//! Promises: reads and changes nothing. Wants: one transaction meanwhile at most, that of opening: the next
//! may write over pages that are still to be read. Knows nothing of: rows' meaning, the overlay. Layout: lmdb.h and
//! mdb.c of LMDB 0.9, 64 bits, little endian.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise};

use super::page::{Leaf, Meta, Page, Tree};
use super::{Fault, Stamp, Table, directory, row_sum};

/// Deepest tree that LMDB itself follows.
const DEPTH_MAX: u16 = 32;

/// A generation's file, and what is known of it.
pub(super) struct Pages {
    file: File,
    path: PathBuf,
    page_bytes: usize,
    /// Pages that the newest transaction may reach.
    count: u64,
    /// Pages that something has been found to be.
    seen: Vec<bool>,
}

/// What a walk does with a leaf's entry; `Err` says what is wrong with it.
type Each<'a> = &'a mut dyn FnMut(&mut Pages, &Leaf<'_>) -> Result<(), Wrong>;

/// What is wrong, or that the file could not be read.
enum Wrong {
    Damaged(String),
    Fault(Fault),
}

fn wrong<T>(what: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong::Damaged(what.into()))
}

/// Keys of a page lie at or above the first and below the second; none for no bound.
type Bounds<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// What a tree's record should say.
#[derive(Default)]
struct Tally {
    branches: u64,
    leaves: u64,
    overflows: u64,
    entries: u64,
}

/// A look at a whole file that has begun well: what LMDB needs to open it is sound. The rest may be looked at beside that,
/// as long as nobody writes.
pub struct PageCheck {
    pages: Pages,
    tables: Vec<(Table, Tree)>,
    meta: Meta,
}

/// Begins to look at the generation in `dir`, which nobody has opened: meta pages, the list of tables, the table `meta`.
pub(super) fn begin(dir: &Path) -> Result<PageCheck, Fault> {
    let mut pages = Pages::open(dir.join(directory::DATA_FILE))?;
    let begun = pages.begin();
    let (meta, tables) = begun.map_err(|wrong| pages.fault(wrong))?;
    Ok(PageCheck { pages, tables, meta })
}

impl PageCheck {
    /// Every other page and row.
    pub fn finish(mut self) -> Result<(), Fault> {
        let Self { pages, tables, meta } = &mut self;
        for (table, tree) in std::mem::take(tables) {
            pages.check_table(table, tree).map_err(|wrong| pages.fault(wrong))?;
        }
        let newest = meta.transaction;
        let walked = pages.walk(meta.free, "the list of free pages", &mut |pages, leaf| {
            let value = pages.value(leaf)?;
            pages.free(leaf.key, &value, newest)
        });
        walked.map_err(|wrong| pages.fault(wrong))
    }
}

impl Pages {
    fn open(path: PathBuf) -> Result<Self, Fault> {
        let file = File::open(&path).map_err(|error| Fault::io("open", &path, error))?;
        // In order of the file, and not of the trees. Only a hint.
        let _ = fadvise(&file, 0, None, Advice::WillNeed);
        Ok(Self { file, path, page_bytes: 0, count: 0, seen: Vec::new() })
    }

    fn fault(&self, wrong: Wrong) -> Fault {
        match wrong {
            Wrong::Damaged(what) => Fault::corrupt(what, self.path.display().to_string()),
            Wrong::Fault(fault) => fault,
        }
    }

    /// What is left to look at: nothing of a database of another format, which is refused by whoever opens it.
    fn begin(&mut self) -> Result<(Meta, Vec<(Table, Tree)>), Wrong> {
        let mut meta = self.newest_meta()?;
        let mut tables = Vec::new();
        self.walk(meta.main, "the list of tables", &mut |_, leaf| {
            let name = Table::ALL.into_iter().find(|table| table.name().as_bytes() == leaf.key);
            match (name, leaf.tree()) {
                (Some(table), Some(tree)) => tables.push((table, tree)),
                _ => return wrong(format!("an unknown table {}", leaf.key.escape_ascii())),
            }
            Ok(())
        })?;
        if let Some(at) = tables.iter().position(|(table, _)| *table == Table::Meta) {
            let (table, tree) = tables.remove(at);
            if !self.check_table(table, tree)? {
                tables.clear();
                meta.free.root = None;
                meta.free.depth = 0;
                meta.free.counts = [0; 4];
            }
        }
        Ok((meta, tables))
    }

    /// False if its rows are of another format.
    fn check_table(&mut self, table: Table, tree: Tree) -> Result<bool, Wrong> {
        let (mut is_ours, mut damaged) = (true, None);
        self.walk(tree, &format!("table {}", table.name()), &mut |pages, leaf| {
            let stored = pages.value(leaf)?;
            if table == Table::Meta && leaf.key == Stamp::FORMAT_KEY {
                is_ours = Stamp::is_ours(&stored);
            }
            if row_sum::verified(table, leaf.key, &stored).is_none() {
                damaged = Some(leaf.key.escape_ascii().to_string());
            }
            Ok(())
        })?;
        match damaged.filter(|_| is_ours) {
            Some(key) => wrong(row_sum::damage(table, &key)),
            None => Ok(is_ours),
        }
    }

    /// Transaction n writes page n % 2, so the two are neighbours: a number that jumped is a bit that flipped.
    fn newest_meta(&mut self) -> Result<Meta, Wrong> {
        let mut head = [0; Meta::BYTES];
        self.read(&mut head, 0)?;
        self.page_bytes = Meta::page_bytes(&head).map_or_else(wrong, Ok)?;
        let mut metas = Vec::new();
        for number in 0..2 {
            self.read(&mut head, number * self.page_bytes as u64)?;
            match Meta::parse(&head, number) {
                Ok(meta) => metas.push(meta),
                Err(what) => return wrong(format!("meta page {number} {what}")),
            }
        }
        let (one, other) = (metas[0].transaction, metas[1].transaction);
        let are_neighbours = one.abs_diff(other) == 1 && one.is_multiple_of(2);
        if (one, other) != (0, 0) && !are_neighbours {
            return wrong(format!("meta pages of transactions {one} and {other}"));
        }
        let newest = metas.swap_remove(usize::from(other > one));
        // The file may end before the last page: LMDB does not write pages that are free when they are its last ones.
        self.count = newest.last_page.saturating_add(1);
        // Two pages are meta pages.
        if self.count < 2 || self.count > newest.map_bytes / self.page_bytes as u64 {
            let last = newest.last_page;
            return wrong(format!("a last page {last}, which cannot be in the map"));
        }
        self.seen = vec![false; usize::try_from(self.count).unwrap_or(usize::MAX)];
        self.seen[..2].fill(true);
        Ok(newest)
    }

    /// Every page and entry of a tree, and its record's numbers.
    fn walk(&mut self, tree: Tree, name: &str, each: Each<'_>) -> Result<(), Wrong> {
        let mut tally = Tally::default();
        let walked = match tree.root {
            None if tree.depth == 0 => Ok(()),
            Some(root) if (1..=DEPTH_MAX).contains(&tree.depth) => {
                let mut walk = Walk { each, tree, tally: &mut tally };
                self.page(&mut walk, root, 1, (None, None))
            }
            _ => wrong(format!("a depth of {}", tree.depth)),
        };
        let found = [tally.branches, tally.leaves, tally.overflows, tally.entries];
        let walked = walked.and_then(|()| match found == tree.counts {
            true => Ok(()),
            false => wrong(format!("{found:?} pages and rows instead of {:?}", tree.counts)),
        });
        walked.map_err(|wrong| match wrong {
            Wrong::Damaged(what) => Wrong::Damaged(format!("{what}, in {name}")),
            fault @ Wrong::Fault(_) => fault,
        })
    }

    fn page(
        &mut self,
        walk: &mut Walk<'_, '_>,
        number: u64,
        level: u16,
        bounds: Bounds<'_>,
    ) -> Result<(), Wrong> {
        self.claim(number..number.saturating_add(1))?;
        let mut bytes = vec![0; self.page_bytes];
        self.read(&mut bytes, number * self.page_bytes as u64)?;
        let is_leaf = level == walk.tree.depth;
        let page = match Page::parse(&bytes, number, is_leaf) {
            Ok(page) => page,
            Err(what) => return wrong(format!("page {number} {what}")),
        };
        if let Some(at) = page.out_of_order(walk.tree.order, bounds) {
            return wrong(format!("entry {at} of page {number} is out of order"));
        }
        if is_leaf {
            walk.tally.leaves += 1;
            walk.tally.entries += page.len() as u64;
            for at in 0..page.len() {
                let leaf = page.leaf(at);
                walk.tally.overflows += self.claim_run(&leaf)?;
                (walk.each)(self, &leaf)?;
            }
            return Ok(());
        }
        walk.tally.branches += 1;
        for at in 0..page.len() {
            // LMDB never looks at the first key of a branch: everything below the second is there.
            let low = if at == 0 { bounds.0 } else { Some(page.key(at)) };
            let high = if at + 1 < page.len() { Some(page.key(at + 1)) } else { bounds.1 };
            self.page(walk, page.child(at), level + 1, (low, high))?;
        }
        Ok(())
    }

    /// These pages belong to somebody, and to nobody else.
    fn claim(&mut self, pages: Range<u64>) -> Result<(), Wrong> {
        if pages.start < 2 || pages.end > self.count || pages.is_empty() {
            return wrong(format!("a page {} of {}", pages.start, self.count));
        }
        for number in pages {
            let seen = &mut self.seen[number as usize];
            if std::mem::replace(seen, true) {
                return wrong(format!("page {number} is in use twice"));
            }
        }
        Ok(())
    }

    /// The pages that hold a long value; how many.
    fn claim_run(&mut self, leaf: &Leaf<'_>) -> Result<u64, Wrong> {
        let Some(first) = leaf.run() else { return Ok(0) };
        let mut head = [0; Page::HEAD_BYTES];
        if first >= self.count {
            return wrong(format!("a page {first} of {}", self.count));
        }
        self.read(&mut head, first * self.page_bytes as u64)?;
        let needed = (Page::HEAD_BYTES + leaf.length).div_ceil(self.page_bytes) as u64;
        match Page::run_length(&head, first).filter(|length| *length >= needed) {
            Some(length) => {
                self.claim(first..first.saturating_add(length))?;
                Ok(length)
            }
            None => wrong(format!("page {first} is not the first of {needed}")),
        }
    }

    /// The value that an entry stands for; its pages have been claimed.
    fn value<'v>(&self, leaf: &Leaf<'v>) -> Result<std::borrow::Cow<'v, [u8]>, Wrong> {
        let Some(first) = leaf.run() else { return Ok(leaf.value.into()) };
        let mut bytes = vec![0; leaf.length];
        self.read(&mut bytes, first * self.page_bytes as u64 + Page::HEAD_BYTES as u64)?;
        Ok(bytes.into())
    }

    /// An entry of the free list: how many pages, and which.
    fn free(&mut self, key: &[u8], value: &[u8], newest: u64) -> Result<(), Wrong> {
        let Ok(transaction) = key.try_into().map(u64::from_le_bytes) else {
            return wrong(format!("a key of {} bytes", key.len()));
        };
        if transaction > newest {
            return wrong(format!("pages of transaction {transaction}, the newest is {newest}"));
        }
        let words: Vec<u64> =
            value.chunks_exact(8).map(|word| u64::from_le_bytes(copied(word))).collect();
        let listed = words
            .split_first()
            .and_then(|(count, pages)| pages.get(..usize::try_from(*count).unwrap_or(usize::MAX)));
        let Some(listed) = listed else { return wrong("a list that is too short") };
        listed.iter().try_for_each(|page| self.claim(*page..page.saturating_add(1)))
    }

    fn read(&self, bytes: &mut [u8], at: u64) -> Result<(), Wrong> {
        self.file.read_exact_at(bytes, at).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Wrong::Damaged(format!("an end before byte {at}")),
            _ => Wrong::Fault(Fault::io("read", &self.path, error)),
        })
    }
}

/// One walk's constant things.
struct Walk<'a, 'e> {
    each: Each<'e>,
    tree: Tree,
    tally: &'a mut Tally,
}

fn copied(word: &[u8]) -> [u8; 8] {
    let mut copy = [0; 8];
    copy.copy_from_slice(word);
    copy
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::ops::{Bound, ControlFlow};
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::base::Moment;
    use crate::storage::{Direction, Read, Rows, Store, StoreConfig};

    fn config() -> StoreConfig {
        StoreConfig { map_bytes: 16 << 20, readers: 16, ..StoreConfig::default() }
    }

    fn check(db_dir: &Path) -> Result<(), Fault> {
        Store::check(db_dir).and_then(PageCheck::finish)
    }

    fn merge(store: &Store, table: Table, keys: Range<u32>, value: Option<&[u8]>) {
        let value = value.map(Bytes::copy_from_slice);
        let row = |key: u32| {
            let key = Bytes::from(format!("{key:06} and what makes it longer").into_bytes());
            ((table, key), value.clone())
        };
        let stamp = Stamp { applied: store.stamp().applied + 1, term: 1, ..Stamp::EMPTY };
        store.merge(keys.map(row).collect(), stamp, Moment::ZERO);
        let _report = store.checkpoint(store.seal().unwrap()).unwrap();
    }

    /// Branches, runs of pages and free ones.
    fn filled(dir: &Path) -> Arc<Store> {
        let store = Store::create(dir, config(), Rows::new(), Stamp::EMPTY).unwrap();
        merge(&store, Table::Keys, 0..700, Some(b"short"));
        merge(&store, Table::Revisions, 0..6, Some(&[7; 9_000]));
        merge(&store, Table::Leases, 0..300, Some(&[8; 100]));
        merge(&store, Table::Leases, 100..300, None);
        store
    }

    fn rows(store: &Store) -> Vec<(Table, Vec<u8>, Vec<u8>)> {
        let mut rows = Vec::new();
        let view = store.view().unwrap();
        for table in Table::ALL {
            let all = (Bound::Unbounded, Bound::Unbounded);
            view.scan(table, all.0, all.1, Direction::Ascending, &mut |row| {
                rows.push((table, row.key.to_vec(), row.value.to_vec()));
                ControlFlow::Continue(())
            })
            .unwrap();
        }
        for (table, key, value) in &rows {
            assert_eq!(view.get(*table, key).unwrap().as_deref(), Some(value.as_slice()));
        }
        rows
    }

    /// Many bits of the two metas, some of each page's head and first entries, and a few of everything else.
    fn places(bytes: &[u8]) -> Vec<usize> {
        let mut places = Vec::new();
        for page in 0..bytes.len() / 4_096 {
            let dense = if page < 2 { Meta::BYTES } else { 40 };
            let (dense, rest) = (0..dense * 8, dense * 8..4_096 * 8);
            let rest = rest.step_by(9_973).skip(page % 3);
            places.extend(
                dense
                    .step_by(if page < 2 { 7 } else { 43 })
                    .chain(rest)
                    .map(|bit| page * 4_096 * 8 + bit),
            );
        }
        places
    }

    #[test]
    fn whatever_bit_flips_is_found_or_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = filled(dir.path());
        let before = rows(&store);
        drop(store);
        check(dir.path()).unwrap();
        let path = dir.path().join("1/data.mdb");
        let whole = fs::read(&path).unwrap();
        let (mut found, mut harmless) = (0, 0);
        for bit in places(&whole) {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, flipped).unwrap();
            match check(dir.path()) {
                Err(fault) => {
                    let text = fault.to_string();
                    assert!(text.contains("1/data.mdb; re-sync"), "bit {bit}: {text}");
                    found += 1;
                }
                Ok(()) => {
                    let store = Store::open(dir.path(), config()).unwrap();
                    assert_eq!(rows(&store), before, "bit {bit}");
                    // Pages that are free are taken by whoever writes.
                    merge(&store, Table::Alarms, 0..40, Some(b"x"));
                    merge(&store, Table::Alarms, 0..40, None);
                    let kept = rows(&store);
                    assert_eq!(kept.len(), before.len(), "bit {bit}");
                    harmless += 1;
                }
            }
        }
        assert!(found > harmless && harmless > 0, "{found} found, {harmless} harmless");
    }

    #[test]
    fn databases_that_lived_are_sound() {
        let dir = tempfile::tempdir().unwrap();
        let store = filled(dir.path());
        for round in 0..30_u32 {
            let at = round * 97 % 500;
            merge(
                &store,
                Table::Keys,
                at..at + 150,
                (!round.is_multiple_of(3)).then_some(b"other"),
            );
            merge(&store, Table::Revisions, at..at + 3, Some(&vec![1; 300 * round as usize]));
            check(dir.path()).unwrap();
        }
        let copy = store.rewrite().unwrap();
        assert!(store.switch(copy).unwrap());
        check(dir.path()).unwrap();
    }

    #[test]
    fn a_generation_that_is_not_there_is_damage_and_nothing_is_deleted_for_it() {
        let dir = tempfile::tempdir().unwrap();
        drop(filled(dir.path()));
        fs::write(dir.path().join("CURRENT"), "quorate db 1\ngeneration 3\n").unwrap();
        for fault in [check(dir.path()).err(), Store::open(dir.path(), config()).err()] {
            let text = fault.unwrap().to_string();
            assert!(text.starts_with("generation 3, which is not there, in "), "{text}");
        }
        assert!(dir.path().join("1/data.mdb").exists());
    }
}
