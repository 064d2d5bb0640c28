//! One page of LMDB's file, as bytes: what [`pages`](super::pages) needs to know of it.
//!
//! ```text
//!   page     number (8) pad (2) kind (2) lower (2) upper (2)    offsets of entries (2 each) .. lower  free  upper .. entries
//!   entry    length or child, low (2) high (2)   flags or child's top (2)   length of the key (2)   key   value
//!   a run's first page    number (8) pad (2) kind (2) pages (4)    the value, over all of them
//! ```
//!
//! Promises: a page that is taken has its entries inside it, one behind the other, and nothing else is. Knows nothing
//! of: other pages, files.

use std::cmp::Ordering;

const BRANCH: u16 = 1;
const LEAF: u16 = 2;
const RUN: u16 = 4;
const META: u16 = 8;

const MAGIC: u32 = 0xBEEF_C0DE;
const VERSION: u32 = 1;

/// Flags of entries of leaves.
const IN_RUN: u16 = 1;
const IS_TREE: u16 = 2;

/// Flags of a tree: keys are numbers of this machine.
const NUMBERS: u16 = 8;
/// Of an environment, kept beside the flags of its free list: it is a file, and not a directory.
const NO_SUB_DIR: u16 = 0x4000;

const HEAD_BYTES: usize = 16;
const ENTRY_BYTES: usize = 8;
const TREE_BYTES: usize = 48;

fn u16_at(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at) as u16) | u32::from(u16_at(bytes, at + 2) as u16) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// How a tree's keys are ordered.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    Bytes,
    /// Eight bytes each, little endian.
    Numbers,
}

impl Order {
    fn compare(self, left: &[u8], right: &[u8]) -> Ordering {
        match self {
            Self::Bytes => left.cmp(right),
            Self::Numbers => left.iter().rev().cmp(right.iter().rev()),
        }
    }
}

/// A tree's record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tree {
    pub order: Order,
    pub depth: u16,
    /// Branch pages, leaf pages, pages of runs, entries.
    pub counts: [u64; 4],
    /// None for an empty one.
    pub root: Option<u64>,
}

impl Tree {
    /// None if its flags are not those of a tree of ours.
    fn parse(bytes: &[u8], order: Order, other_flags: u16) -> Option<Self> {
        let expected = if matches!(order, Order::Numbers) { NUMBERS } else { 0 };
        if u16_at(bytes, 4) as u16 & !other_flags != expected {
            return None;
        }
        let root = u64_at(bytes, 40);
        Some(Self {
            order,
            depth: u16_at(bytes, 6) as u16,
            counts: [u64_at(bytes, 8), u64_at(bytes, 16), u64_at(bytes, 24), u64_at(bytes, 32)],
            root: (root != u64::MAX).then_some(root),
        })
    }
}

/// What a transaction left behind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meta {
    pub transaction: u64,
    pub map_bytes: u64,
    pub last_page: u64,
    pub free: Tree,
    pub main: Tree,
}

impl Meta {
    pub(super) const BYTES: usize = Page::HEAD_BYTES + 24 + 2 * TREE_BYTES + 16;

    /// What the first one says.
    pub(super) fn page_bytes(head: &[u8; Self::BYTES]) -> Result<usize, String> {
        let bytes = u32_at(head, Page::HEAD_BYTES + 24) as usize;
        let is_usual = bytes.is_power_of_two() && (512..=32_768).contains(&bytes);
        if is_usual { Ok(bytes) } else { Err(format!("pages of {bytes} bytes")) }
    }

    pub(super) fn parse(head: &[u8; Self::BYTES], number: u64) -> Result<Self, String> {
        let (page, meta) = head.split_at(Page::HEAD_BYTES);
        if u64_at(page, 0) != number || u16_at(page, 10) as u16 != META {
            return Err("has another page's head".to_owned());
        }
        let (magic, version) = (u32_at(meta, 0), u32_at(meta, 4));
        if magic != MAGIC || version != VERSION {
            return Err(format!("is none of LMDB's format {VERSION}"));
        }
        let (free, rest) = meta[24..].split_at(TREE_BYTES);
        let (main, rest) = rest.split_at(TREE_BYTES);
        let address = u64_at(meta, 8);
        let free = Tree::parse(free, Order::Numbers, NO_SUB_DIR).filter(|_| address == 0);
        let main = Tree::parse(main, Order::Bytes, 0);
        let (Some(free), Some(main)) = (free, main) else {
            return Err("has flags that nobody gave it".to_owned());
        };
        let (last_page, transaction) = (u64_at(rest, 0), u64_at(rest, 8));
        Ok(Self { transaction, map_bytes: u64_at(meta, 16), last_page, free, main })
    }
}

/// An entry of a leaf.
pub(super) struct Leaf<'p> {
    pub key: &'p [u8],
    /// What stands in the page: the value, or the number of the first page of its run.
    pub value: &'p [u8],
    /// Of the value, bytes.
    pub length: usize,
    flags: u16,
}

impl Leaf<'_> {
    /// The first page of the value's run.
    pub(super) fn run(&self) -> Option<u64> {
        (self.flags == IN_RUN).then(|| u64_at(self.value, 0))
    }

    /// If it stands for one.
    pub(super) fn tree(&self) -> Option<Tree> {
        let is_tree = self.flags == IS_TREE && self.length == TREE_BYTES;
        is_tree.then(|| Tree::parse(self.value, Order::Bytes, 0)).flatten()
    }
}

/// A branch or a leaf.
pub(super) struct Page<'p> {
    bytes: &'p [u8],
    len: usize,
}

impl<'p> Page<'p> {
    pub(super) const HEAD_BYTES: usize = HEAD_BYTES;

    /// A page whose entries can be asked for; or what is wrong with it.
    pub(super) fn parse(bytes: &'p [u8], number: u64, is_leaf: bool) -> Result<Self, String> {
        let (kind, name) = if is_leaf { (LEAF, "leaf") } else { (BRANCH, "branch") };
        if u64_at(bytes, 0) != number || u16_at(bytes, 10) as u16 != kind {
            return Err(format!("is no {name}, or another page"));
        }
        let (lower, upper) = (u16_at(bytes, 12), u16_at(bytes, 14));
        let is_bounded = Self::HEAD_BYTES < lower && lower <= upper && upper <= bytes.len();
        if !is_bounded || !lower.is_multiple_of(2) || !upper.is_multiple_of(2) {
            return Err(format!("has its free room from {lower} to {upper}"));
        }
        let page = Self { bytes, len: (lower - Self::HEAD_BYTES) / 2 };
        let mut room = bytes.len() - upper;
        for at in 0..page.len {
            let start = page.start(at);
            let size = (upper..=bytes.len() - ENTRY_BYTES)
                .contains(&start)
                .then(|| page.size(at, is_leaf))
                .flatten()
                .filter(|size| start.is_multiple_of(2) && start + size <= bytes.len());
            let left = size.and_then(|size| room.checked_sub(size.next_multiple_of(2)));
            room = left.ok_or_else(|| format!("has its entry {at} outside of it"))?;
        }
        // Entries stand close together: two at one place leave room.
        if room == 0 { Ok(page) } else { Err(format!("has {room} bytes that are no entry's")) }
    }

    fn start(&self, at: usize) -> usize {
        u16_at(self.bytes, Self::HEAD_BYTES + 2 * at)
    }

    /// Bytes of an entry whose first ones are in the page; none if it says what none of ours is.
    fn size(&self, at: usize, is_leaf: bool) -> Option<usize> {
        let start = self.start(at);
        let head = ENTRY_BYTES + u16_at(self.bytes, start + 6);
        if !is_leaf {
            return Some(head);
        }
        match u16_at(self.bytes, start + 4) as u16 {
            0 | IS_TREE => Some(head + u32_at(self.bytes, start) as usize),
            IN_RUN => Some(head + 8),
            _ => None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn key(&self, at: usize) -> &'p [u8] {
        let start = self.start(at) + ENTRY_BYTES;
        &self.bytes[start..start + u16_at(self.bytes, start - 2)]
    }

    pub(super) fn child(&self, at: usize) -> u64 {
        let start = self.start(at);
        u64::from(u32_at(self.bytes, start)) | (u16_at(self.bytes, start + 4) as u64) << 32
    }

    pub(super) fn leaf(&self, at: usize) -> Leaf<'p> {
        let (start, key) = (self.start(at), self.key(at));
        let flags = u16_at(self.bytes, start + 4) as u16;
        let length = u32_at(self.bytes, start) as usize;
        let value = start + ENTRY_BYTES + key.len();
        let stands_here = if flags == IN_RUN { 8 } else { length };
        Leaf { key, value: &self.bytes[value..value + stands_here], length, flags }
    }

    /// The first entry that does not follow the one before it, or lies outside of the bounds. A branch's first key is
    /// nobody's.
    pub(super) fn out_of_order(
        &self,
        order: Order,
        (low, high): (Option<&[u8]>, Option<&[u8]>),
    ) -> Option<usize> {
        let is_branch = u16_at(self.bytes, 10) as u16 == BRANCH;
        let first = usize::from(is_branch);
        (first..self.len).find(|&at| {
            let key = self.key(at);
            let follows = match at == first {
                false => order.compare(self.key(at - 1), key).is_lt(),
                true => low.is_none_or(|low| order.compare(low, key).is_le()),
            };
            let is_below = high.is_none_or(|high| order.compare(key, high).is_lt());
            let is_number = !matches!(order, Order::Numbers) || key.len() == 8;
            !follows || !is_below || !is_number
        })
    }

    /// Pages of the run that begins with this head, if one does.
    pub(super) fn run_length(head: &[u8; HEAD_BYTES], number: u64) -> Option<u64> {
        let is_run = u64_at(head, 0) == number && u16_at(head, 10) as u16 == RUN;
        is_run.then(|| u64::from(u32_at(head, 12)))
    }
}
