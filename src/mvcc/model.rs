//! A random walk of the store beside a model that remembers everything: every answer is compared.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;
use prost::Message;

use super::counts::{Counts, Sizes};
use super::*;
use crate::base::{KeyRange, Revision};
use crate::proto::mvccpb;
use crate::storage::{Batch, Direction, Nothing, Read, Rows, Table};

type Store = Batch<'static, Nothing>;

fn merge(store: &mut Store, rows: Rows) {
    for ((table, key), value) in rows {
        match value {
            Some(value) => store.put(table, key, value),
            None => store.delete(table, key),
        }
    }
}

fn copy(store: &Store) -> Store {
    let mut copy = Batch::new(&Nothing);
    for table in Table::ALL {
        store
            .scan(table, Bound::Unbounded, Bound::Unbounded, Direction::Ascending, &mut |row| {
                let (key, value) = (row.key.to_vec(), row.value.to_vec());
                copy.put(table, key, value);
                ControlFlow::Continue(())
            })
            .unwrap();
    }
    copy
}

/// Every version of every key, for ever: main and sub revision, and the key with its value (none: deleted).
#[derive(Default)]
struct Model {
    versions: BTreeMap<Bytes, Vec<(Revision, Option<KeyValue>)>>,
}

impl Model {
    fn get(&self, key: &Bytes, revision: i64) -> Option<&KeyValue> {
        let versions = self.versions.get(key)?;
        versions.iter().rev().find(|(r, _)| r.main <= revision)?.1.as_ref()
    }

    fn range(&self, range: &KeyRange, revision: i64) -> Vec<KeyValue> {
        let inside = self.versions.keys().filter(|key| range.contains(key));
        inside.filter_map(|key| self.get(key, revision).cloned()).collect()
    }

    /// Does one change with the writer and writes down in `after` what it must have done.
    fn change(&self, writer: &mut Writer<'_, '_, Store>, change: Change, after: &mut Self) {
        let main = writer.revision();
        let next = |after: &Self| Revision::new(main, after.versions.len() as u32);
        match change {
            Change::Delete(range) => {
                let deleted = writer.delete_range(&range).unwrap();
                let load = |version| writer.reader().load(version).unwrap();
                let hit = self.range(&range, main);
                assert_eq!(deleted.iter().map(load).collect::<Vec<_>>(), hit);
                for kv in hit {
                    let at = next(after);
                    after.versions.insert(kv.key, vec![(at, None)]);
                }
            }
            Change::Put(key, value, lease) => {
                let prev = writer.put(key.clone(), value.clone(), lease).unwrap();
                let old = self.get(&key, main);
                let prev = prev.map(|version| writer.reader().load(&version).unwrap());
                assert_eq!(prev.as_ref(), old);
                let kept = old.cloned().unwrap_or_default();
                let kv = KeyValue {
                    key: key.clone(),
                    create_revision: old.map_or(main, |old| old.create_revision),
                    mod_revision: main,
                    version: kept.version + 1,
                    value: value.unwrap_or(kept.value),
                    lease: lease.unwrap_or(kept.lease),
                };
                let at = next(after);
                after.versions.insert(key, vec![(at, Some(kv))]);
            }
        }
    }

    /// What a finished compaction at `compacted` leaves, ascending.
    fn retained(&self, compacted: i64, keep_tombstone_at: bool) -> BTreeSet<Revision> {
        let mut kept = BTreeSet::new();
        for versions in self.versions.values() {
            let newest = versions.iter().rev().find(|(r, _)| r.main <= compacted).map(|(r, _)| *r);
            for (revision, kv) in versions {
                let stays = revision.main > compacted
                    || Some(*revision) == newest
                        && (kv.is_some() || keep_tombstone_at && revision.main == compacted);
                if stays {
                    kept.insert(*revision);
                }
            }
        }
        kept
    }

    /// etcd's HashKV, written down a second time, with its protobuf.
    fn hash(&self, revision: i64, compacted: i64) -> u32 {
        let mut changes = BTreeMap::new();
        for (key, versions) in &self.versions {
            changes.extend(versions.iter().map(|(r, kv)| (*r, (key, kv))));
        }
        let mut bytes = b"key".to_vec();
        for at in self.retained(compacted, false).into_iter().filter(|at| at.main <= revision) {
            let (key, kv) = changes[&at];
            bytes.extend(at.main.to_be_bytes());
            bytes.push(b'_');
            bytes.extend(u64::from(at.sub).to_be_bytes());
            let mut message = mvccpb::KeyValue { key: (*key).clone(), ..Default::default() };
            match kv {
                None => bytes.push(b't'),
                Some(kv) => {
                    message.create_revision = kv.create_revision;
                    message.mod_revision = kv.mod_revision;
                    message.version = kv.version;
                    message.value = kv.value.clone();
                    message.lease = kv.lease;
                }
            }
            bytes.extend(message.encode_to_vec());
        }
        crc32c::crc32c(&bytes)
    }
}

enum Change {
    Put(Bytes, Option<Bytes>, Option<i64>),
    Delete(KeyRange),
}

struct World {
    dice: fastrand::Rng,
    store: Store,
    /// The same history, never compacted.
    whole: Store,
    counts: Counts,
    model: Model,
    revision: i64,
    compacted: i64,
    /// An older view, and its revision.
    old_view: (Store, i64),
    /// The index was rebuilt by a walk, which may leave one small chunk at the end.
    rebuilt: bool,
}

const SIZES: Sizes = Sizes { chunk_keys_max: 16, chunk_keys_min: 4, journal_keys_max: 60 };

impl World {
    fn new(seed: u64) -> Self {
        let empty = || Batch::new(&Nothing);
        let counts = Counts::load_sized(&empty(), 1, SIZES).unwrap();
        Self {
            dice: fastrand::Rng::with_seed(seed),
            store: empty(),
            whole: empty(),
            counts,
            model: Model::default(),
            revision: 1,
            compacted: 0,
            old_view: (empty(), 1),
            rebuilt: false,
        }
    }

    fn key(&mut self) -> Bytes {
        if self.dice.u8(0..6) == 0 {
            return Bytes::from_static(self.dice.choice([&b"a"[..], b"hot"]).unwrap());
        }
        let bytes = *b"\0\x01ab\xff";
        (0..self.dice.usize(1..=4)).map(|_| self.dice.choice(bytes).unwrap()).collect()
    }

    fn range(&mut self) -> KeyRange {
        let (one, two) = (self.key(), self.key());
        match self.dice.u8(0..6) {
            0 => KeyRange::Single(one),
            1 => KeyRange::prefix(&one),
            2 => KeyRange::From(one),
            3 => KeyRange::From(Bytes::new()),
            _ => KeyRange::Span { start: one.clone().min(two.clone()), end: one.max(two) },
        }
    }

    fn value(&mut self) -> Bytes {
        let length = if self.dice.u8(..) == 0 { 70_000 + self.dice.usize(..70_000) } else { 3 };
        Bytes::from(vec![self.dice.u8(..); self.dice.usize(..=length)])
    }

    /// One writing transaction of 1 to 4 changes, in a batch that may be dropped.
    fn write(&mut self) {
        let main = self.revision + 1;
        let changes = self.changes(main);
        let dropped = self.dice.u8(0..10) == 0;
        let probe = self.range();
        let mut batch = Batch::new(&self.store);
        let mut writer = Writer::new(&mut batch, &self.counts, main);
        let mut after = Model::default();
        for change in changes {
            self.model.change(&mut writer, change, &mut after);
        }
        self.check_count_inside(&writer, &probe, &after);
        let finished = writer.finish().unwrap();
        if dropped {
            return;
        }
        let Some((events, delta)) = finished else {
            assert!(after.versions.is_empty() && batch.is_empty());
            return;
        };
        assert_eq!(events.events.len(), after.versions.len());
        let rows = batch.into_rows();
        merge(&mut self.whole, rows.clone());
        merge(&mut self.store, rows);
        for (key, versions) in after.versions {
            self.model.versions.entry(key).or_default().extend(versions);
        }
        self.revision = main;
        if self.dice.u8(0..8) == 0 {
            // A view is taken after the merge and before the index is published.
            self.check_count();
        }
        self.counts.commit(delta);
    }

    /// Changes that touch no key twice, as a checked request would.
    fn changes(&mut self, main: i64) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut used: BTreeSet<Bytes> = BTreeSet::new();
        for _ in 0..self.dice.usize(1..=4) {
            let delete = self.dice.u8(0..10) < 2;
            let range = if delete { self.range() } else { KeyRange::Single(self.key()) };
            let hit = self.model.range(&range, main);
            let few = hit.len() < 12 || self.dice.u8(0..8) == 0;
            if !few || used.iter().any(|key| range.contains(key)) {
                continue;
            }
            used.extend(hit.into_iter().map(|kv| kv.key));
            used.insert(range.start().clone());
            let value = (self.dice.u8(0..8) > 0).then(|| self.value());
            let lease = (self.dice.u8(0..4) > 0).then(|| self.dice.i64(-1..3));
            changes.push(if delete {
                Change::Delete(range)
            } else {
                Change::Put(range.start().clone(), value, lease)
            });
        }
        changes
    }

    /// What the transaction itself counts, its own changes included and not.
    fn check_count_inside(&self, writer: &Writer<'_, '_, Store>, probe: &KeyRange, after: &Model) {
        let live = |key: &Bytes| match after.versions.get(key) {
            Some(versions) => versions[0].1.is_some(),
            None => self.model.get(key, self.revision).is_some(),
        };
        let keys: BTreeSet<&Bytes> =
            self.model.versions.keys().chain(after.versions.keys()).collect();
        let expected = keys.iter().filter(|key| probe.contains(key) && live(key)).count();
        let counted = writer.reader().count(probe, writer.whole(probe)).unwrap();
        assert_eq!(counted, expected as u64, "{probe:?} inside a transaction");
        let before = self.model.range(probe, self.revision).len() as u64;
        let counted = writer.reader_at(self.revision).count(probe, writer.whole(probe)).unwrap();
        assert_eq!(counted, before, "{probe:?} before the transaction, inside it");
    }

    fn compact(&mut self) {
        if self.dice.u8(0..4) == 0 && self.revision > self.compacted {
            self.compacted = self.dice.i64(self.compacted.max(self.revision - 30)..=self.revision);
        }
        if self.compacted == 0 {
            return;
        }
        let target = match self.dice.u8(0..3) {
            0 => self.dice.i64(compaction(&self.store).unwrap().0.max(1)..=self.compacted),
            _ => self.compacted,
        };
        for _ in 0..self.dice.usize(1..5) {
            let mut batch = Batch::new(&self.store);
            let budget = self.dice.usize(1..40);
            let progress = compact_slice(&mut batch, target, budget).unwrap();
            assert!(progress.visited <= budget);
            if self.dice.u8(0..4) == 0 {
                continue; // crashed before the commit
            }
            let rows = batch.into_rows();
            merge(&mut self.store, rows);
            if progress.done && target == self.compacted {
                self.check_rows();
            }
        }
    }

    /// After a finished compaction the tables hold what must be kept, and nothing else.
    fn check_rows(&self) {
        let kept = self.model.retained(self.compacted, true);
        let mut seen = BTreeSet::new();
        let mut index = BTreeSet::new();
        let all = (Bound::Unbounded, Bound::Unbounded);
        self.store
            .scan(Table::Revisions, all.0, all.1, Direction::Ascending, &mut |row| {
                seen.insert(format::split_revision_row(row.key).unwrap().0);
                ControlFlow::Continue(())
            })
            .unwrap();
        self.store
            .scan(Table::Keys, all.0, all.1, Direction::Ascending, &mut |row| {
                index.insert(format::split_key_row(row.key).unwrap().1);
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(seen, kept);
        assert_eq!(index, kept);
    }

    fn readable(&mut self, newest: i64) -> i64 {
        let oldest = self.compacted.max(1).min(newest);
        if self.dice.bool() { newest } else { self.dice.i64(oldest..=newest) }
    }

    fn check_count(&mut self) {
        let (range, revision) = (self.range(), self.readable(self.revision));
        let expected = self.model.range(&range, revision).len() as u64;
        let whole = self.counts.whole(&range, self.revision);
        let reader = Reader::at(&self.store, revision);
        let counted = reader.count(&range, whole.clone()).unwrap();
        assert_eq!(counted, expected, "{range:?} at {revision} of {}, {whole:?}", self.revision);
        assert_eq!(reader.count_walk(&range).unwrap(), expected);
    }

    /// A reader whose view is older than the index.
    fn check_old_view(&mut self) {
        let newest = self.old_view.1;
        if newest < self.compacted || self.dice.u8(0..10) == 0 {
            self.old_view = (copy(&self.store), self.revision);
            return;
        }
        let (range, revision) = (self.range(), self.readable(newest));
        let expected = self.model.range(&range, revision).len() as u64;
        let whole = self.counts.whole(&range, newest);
        let counted = Reader::at(&self.old_view.0, revision).count(&range, whole).unwrap();
        assert_eq!(counted, expected, "{range:?} at {revision}, view {newest}");
    }

    fn check_range(&mut self) {
        let (range, revision) = (self.range(), self.readable(self.revision));
        let keys_only = self.dice.bool();
        let expected = self.model.range(&range, revision);
        let reader = Reader::at(&self.store, revision);
        let mut rest = Some(range.clone());
        let mut kvs = Vec::new();
        while let Some(range) = rest.take() {
            let mut maybe = |max| self.dice.bool().then(|| self.dice.usize(1..max));
            let options = RangeOptions {
                limit: maybe(5),
                keys_only,
                bytes_max: maybe(20),
                visits_max: maybe(8),
            };
            let slice = reader.range(&range, options).unwrap();
            assert!(options.limit.is_none_or(|limit| slice.kvs.len() <= limit));
            kvs.extend(slice.kvs);
            let (end, limited) = match slice.end {
                End::Complete => break,
                End::Limit(key) => (key, true),
                End::Budget(key) => (key, false),
            };
            assert!(kvs.last().is_none_or(|kv| kv.key < end));
            assert!(!limited || self.model.get(&end, revision).is_some(), "{end:?} is live");
            rest = Some(match range {
                KeyRange::Span { end: high, .. } => KeyRange::Span { start: end, end: high },
                _ => KeyRange::From(end),
            });
        }
        let valued =
            |kv: KeyValue| if keys_only { KeyValue { value: Bytes::new(), ..kv } } else { kv };
        assert_eq!(kvs, expected.into_iter().map(valued).collect::<Vec<_>>(), "{range:?}");
        let key = self.key();
        let got = Reader::at(&self.store, revision).get(&key).unwrap();
        assert_eq!(got.as_ref(), self.model.get(&key, revision));
    }

    fn check_history(&mut self) {
        let from = self.dice.i64(self.compacted.max(1)..=self.revision);
        let to = self.dice.i64(from..=self.revision);
        let (revisions, bytes) = (self.dice.usize(1..20), self.dice.usize(1..200));
        let mut told = BTreeMap::new();
        let mut next = from;
        while next <= to {
            let history = history(&self.store, next, to, revisions, bytes).unwrap();
            assert!(history.batches.len() <= revisions && history.through >= next);
            for batch in history.batches {
                assert!(next <= batch.revision && batch.revision <= history.through);
                for (sub, event) in batch.events.into_iter().enumerate() {
                    told.insert(Revision::new(batch.revision, sub as u32), event);
                }
            }
            next = history.through + 1;
        }
        // At the compacted revision itself only what is still there can be told.
        for (key, versions) in &self.model.versions {
            let mut prev = None;
            for (revision, kv) in versions {
                if (from.max(self.compacted + 1)..=to).contains(&revision.main) {
                    let event = told.remove(revision).unwrap();
                    assert_eq!(event.prev, prev, "{revision}");
                    assert_eq!(event.kind == EventKind::Delete, kv.is_none());
                    let deleted = KeyValue {
                        key: key.clone(),
                        mod_revision: revision.main,
                        ..KeyValue::default()
                    };
                    assert_eq!(event.kv, kv.clone().unwrap_or(deleted));
                }
                prev = kv.is_some().then_some(*revision);
            }
        }
        assert!(told.keys().all(|revision| revision.main == self.compacted), "{told:?}");
    }

    fn check_hash(&mut self) {
        let revision = self.readable(self.revision);
        let expected = self.model.hash(revision, self.compacted);
        assert_eq!(hash(&self.whole, revision, self.compacted).unwrap(), expected);
        let mut hasher = Hasher::new(revision, self.compacted);
        while !hasher.slice(&self.store, self.dice.usize(1..50)).unwrap() {}
        assert_eq!(hasher.value(), expected, "at {revision}, compacted {}", self.compacted);
    }

    /// The chunks sum up, keep their bounds, and are what the table holds.
    fn check_chunks(&self) {
        let chunks: Vec<(Bytes, u32)> =
            self.counts.chunks().map(|(first, keys)| (first.clone(), keys)).collect();
        for (at, (first, keys)) in chunks.iter().enumerate() {
            let range = match chunks.get(at + 1) {
                Some((end, _)) => KeyRange::Span { start: first.clone(), end: end.clone() },
                None => KeyRange::From(first.clone()),
            };
            assert_eq!(self.model.range(&range, self.revision).len(), *keys as usize);
            assert!(*keys <= SIZES.chunk_keys_max);
            if let Some((_, next)) = chunks.get(at + 1) {
                let small = (*keys).min(*next) < SIZES.chunk_keys_min;
                let fits = keys + next <= SIZES.chunk_keys_max;
                assert!(!(small && fits) || self.rebuilt, "{chunks:?}");
            }
        }
        let loaded = Counts::load_sized(&self.store, self.revision, SIZES).unwrap();
        let rows: Vec<(Bytes, u32)> =
            loaded.chunks().map(|(first, keys)| (first.clone(), keys)).collect();
        assert!(rows == chunks || self.revision == 1);
    }
}

#[test]
fn a_random_walk_agrees_with_a_model_that_remembers_everything() {
    for seed in 0..8 {
        let mut world = World::new(seed);
        let mut chunks_most = 0;
        for step in 0..700 {
            world.write();
            world.compact();
            world.check_count();
            world.check_old_view();
            world.check_range();
            if step % 10 == 0 {
                world.check_history();
                world.check_hash();
                world.check_chunks();
            }
            if world.dice.u8(0..100) == 0 {
                world.counts = Counts::load_sized(&world.store, world.revision, SIZES).unwrap();
            }
            chunks_most = chunks_most.max(world.counts.chunks().count());
        }
        assert!(chunks_most > 5, "seed {seed} has seen {chunks_most} chunks at most");
    }
}

#[test]
fn a_missing_table_of_counts_is_rebuilt_and_saved() {
    let mut world = World::new(7);
    for _ in 0..100 {
        world.write();
    }
    let mut bare = Rows::new();
    world
        .store
        .scan(Table::Counts, Bound::Unbounded, Bound::Unbounded, Direction::Ascending, &mut |row| {
            bare.insert((Table::Counts, Bytes::copy_from_slice(row.key)), None);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(!bare.is_empty());
    merge(&mut world.store, bare);
    world.rebuilt = true;
    world.counts = Counts::load_sized(&world.store, world.revision, SIZES).unwrap();
    assert_eq!(
        world.counts.total() as usize,
        world.model.range(&KeyRange::prefix(b""), i64::MAX).len()
    );
    let before = world.revision;
    while world.revision == before {
        world.write();
    }
    world.check_chunks();
}
