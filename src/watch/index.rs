//! Which watchers a key concerns: an ordered map of single keys, and an interval tree of ranges.
//!
//! The tree is a treap over the distinct ranges, each node with the largest end below it, so that a look-up visits about
//! as many nodes as there are distinct ranges around the key, times the depth. Priorities are a hash of a counter: the
//! same calls make the same tree.
//!
//! Promises: a look-up costs time in proportion to its matches. Knows nothing of: what a watcher is (a slot).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::base::KeyRange;

/// A watcher's place in the hub's table.
pub(super) type Slot = u32;

#[derive(Debug, Default)]
pub(super) struct Index {
    singles: BTreeMap<Bytes, BTreeSet<Slot>>,
    ranges: Link,
    drawn: u64,
}

type Link = Option<Box<Node>>;

/// Where a range ends; `Never` sorts last.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum End {
    Before(Bytes),
    Never,
}

impl End {
    fn is_behind(&self, key: &[u8]) -> bool {
        match self {
            Self::Before(end) => key < end.as_ref(),
            Self::Never => true,
        }
    }
}

#[derive(Debug)]
struct Node {
    start: Bytes,
    end: End,
    /// The largest end in this subtree.
    last_end: End,
    priority: u64,
    slots: BTreeSet<Slot>,
    left: Link,
    right: Link,
}

impl Index {
    pub(super) fn insert(&mut self, range: &KeyRange, slot: Slot) {
        match interval(range) {
            None => {
                self.singles.entry(range.start().clone()).or_default().insert(slot);
            }
            Some(interval) => {
                self.drawn += 1;
                insert(&mut self.ranges, interval, scramble(self.drawn), slot);
            }
        }
    }

    pub(super) fn remove(&mut self, range: &KeyRange, slot: Slot) {
        match interval(range) {
            None => {
                let start = range.start();
                if let Some(slots) = self.singles.get_mut(start) {
                    slots.remove(&slot);
                    if slots.is_empty() {
                        self.singles.remove(start);
                    }
                }
            }
            Some(interval) => remove(&mut self.ranges, &interval, slot),
        }
    }

    /// Calls `each` with the watchers of the key, in an order that depends on nothing but the calls before.
    pub(super) fn matches(&self, key: &[u8], each: &mut dyn FnMut(Slot)) {
        self.singles.get(key).into_iter().flatten().for_each(|&slot| each(slot));
        stab(&self.ranges, key, each);
    }
}

/// Start and end of a range; none for a single key.
fn interval(range: &KeyRange) -> Option<(Bytes, End)> {
    match range {
        KeyRange::Single(_) => None,
        KeyRange::Span { start, end } => Some((start.clone(), End::Before(end.clone()))),
        KeyRange::From(start) => Some((start.clone(), End::Never)),
    }
}

/// The finalizer of splitmix64.
fn scramble(number: u64) -> u64 {
    let mut hash = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

impl Node {
    fn update(&mut self) {
        let below = [&self.left, &self.right].into_iter().flatten().map(|node| &node.last_end);
        self.last_end = below.chain([&self.end]).max().cloned().unwrap_or(End::Never);
    }
}

fn insert(link: &mut Link, interval: (Bytes, End), priority: u64, slot: Slot) {
    let Some(node) = link else {
        let (start, end) = interval;
        let (last_end, slots) = (end.clone(), BTreeSet::from([slot]));
        let node = Node { start, end, last_end, priority, slots, left: None, right: None };
        *link = Some(Box::new(node));
        return;
    };
    match (&interval.0, &interval.1).cmp(&(&node.start, &node.end)) {
        std::cmp::Ordering::Equal => {
            node.slots.insert(slot);
        }
        std::cmp::Ordering::Less => {
            insert(&mut node.left, interval, priority, slot);
            node.update();
            if node.left.as_ref().is_some_and(|left| left.priority > node.priority) {
                rotate_right(link);
            }
        }
        std::cmp::Ordering::Greater => {
            insert(&mut node.right, interval, priority, slot);
            node.update();
            if node.right.as_ref().is_some_and(|right| right.priority > node.priority) {
                rotate_left(link);
            }
        }
    }
}

/// The left child becomes the parent.
fn rotate_right(link: &mut Link) {
    let Some(mut parent) = link.take() else { return };
    if let Some(mut child) = parent.left.take() {
        parent.left = child.right.take();
        parent.update();
        child.right = Some(parent);
        child.update();
        *link = Some(child);
    } else {
        *link = Some(parent);
    }
}

/// The right child becomes the parent.
fn rotate_left(link: &mut Link) {
    let Some(mut parent) = link.take() else { return };
    if let Some(mut child) = parent.right.take() {
        parent.right = child.left.take();
        parent.update();
        child.left = Some(parent);
        child.update();
        *link = Some(child);
    } else {
        *link = Some(parent);
    }
}

fn remove(link: &mut Link, interval: &(Bytes, End), slot: Slot) {
    let Some(node) = link else { return };
    match (&interval.0, &interval.1).cmp(&(&node.start, &node.end)) {
        std::cmp::Ordering::Equal => {
            node.slots.remove(&slot);
            if node.slots.is_empty() {
                let (left, right) = (node.left.take(), node.right.take());
                *link = join(left, right);
            }
            return;
        }
        std::cmp::Ordering::Less => remove(&mut node.left, interval, slot),
        std::cmp::Ordering::Greater => remove(&mut node.right, interval, slot),
    }
    node.update();
}

/// One tree of two, everything in `left` before everything in `right`.
fn join(left: Link, right: Link) -> Link {
    match (left, right) {
        (None, link) | (link, None) => link,
        (Some(mut left), Some(mut right)) => Some(if left.priority > right.priority {
            left.right = join(left.right.take(), Some(right));
            left.update();
            left
        } else {
            right.left = join(Some(left), right.left.take());
            right.update();
            right
        }),
    }
}

/// Reports the ranges that contain the key; returns the nodes it looked at.
fn stab(link: &Link, key: &[u8], each: &mut dyn FnMut(Slot)) -> usize {
    let Some(node) = link else { return 0 };
    if !node.last_end.is_behind(key) {
        return 1;
    }
    let mut looked_at = 1 + stab(&node.left, key, each);
    if node.start.as_ref() <= key {
        if node.end.is_behind(key) {
            node.slots.iter().for_each(|&slot| each(slot));
        }
        looked_at += stab(&node.right, key, each);
    }
    looked_at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(index: &Index, key: &[u8]) -> BTreeSet<Slot> {
        let mut slots = BTreeSet::new();
        index.matches(key, &mut |slot| assert!(slots.insert(slot), "{slot} twice"));
        slots
    }

    #[test]
    fn it_finds_what_a_walk_over_all_ranges_finds() {
        let mut dice = fastrand::Rng::with_seed(1);
        let mut index = Index::default();
        let mut all: BTreeMap<Slot, KeyRange> = BTreeMap::new();
        let key = |dice: &mut fastrand::Rng| -> Bytes {
            (0..dice.usize(1..4)).map(|_| dice.u8(b'a'..=b'd')).collect()
        };
        for step in 0..4_000 {
            let (one, two) = (key(&mut dice), key(&mut dice));
            let range = match dice.u8(0..4) {
                0 => KeyRange::Single(one),
                1 => KeyRange::From(one),
                2 => KeyRange::prefix(&one),
                _ => KeyRange::Span { start: one, end: two },
            };
            index.insert(&range, step);
            all.insert(step, range);
            if dice.u8(0..3) > 0 {
                let gone = *all.keys().nth(dice.usize(..all.len())).unwrap();
                index.remove(&all.remove(&gone).unwrap(), gone);
            }
            let key = key(&mut dice);
            let expected: BTreeSet<Slot> =
                all.iter().filter(|(_, range)| range.contains(&key)).map(|(s, _)| *s).collect();
            assert_eq!(found(&index, &key), expected);
        }
        for (slot, range) in all {
            index.remove(&range, slot);
        }
        assert!(index.ranges.is_none() && index.singles.is_empty());
    }

    #[test]
    fn a_look_up_does_not_walk_over_strangers() {
        let mut index = Index::default();
        for slot in 0..100_000 {
            index.insert(&KeyRange::Single(Bytes::from(format!("single/{slot:06}"))), slot);
            index.insert(&KeyRange::prefix(format!("own/{slot:06}/").as_bytes()), slot);
        }
        for slot in 100_000..110_000 {
            index.insert(&KeyRange::prefix(b"shared/"), slot);
        }
        assert_eq!(found(&index, b"single/000007"), BTreeSet::from([7]));
        assert_eq!(found(&index, b"shared/x").len(), 10_000);
        for key in ["own/050000/x", "shared/x", "single/000007", "zzz", ""] {
            let looked_at = stab(&index.ranges, key.as_bytes(), &mut |_| ());
            assert!(looked_at < 150, "{looked_at} of 100,001 ranges for {key}");
        }
    }
}
