//! What readers see: the overlay in front of one LMDB read transaction.
//!
//! ```text
//!   newest   active    rows merged since the last seal; may grow while the view lives
//!            sealed    rows on their way to LMDB
//!   oldest   LMDB      rows as of the transaction, never newer than the view's stamp
//! ```
//!
//! The layers are taken before the transaction is begun, so a row that a checkpoint moves meanwhile is met in both
//! and never in none. A view lives through an install: it keeps reading the generation it was taken from.
//!
//! Promises: rows of versions up to the stamp's revision are all there and do not change; rows of other tables are
//! read-committed. What is merged after the next seal goes to a layer that this view does not have: the applier
//! retakes its view at the start of each turn, and seals between turns. Knows nothing of: what keys mean.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use bytes::Bytes;

use super::db::{Database, ReadTxn};
use super::overlay::{Layer, Newest, Walk};
use super::read::{self, is_inverted};
use super::{Direction, Fault, Read, Row, Stamp, Table};

/// What a view is taken of, as it was under the store's lock.
#[derive(Clone, Debug)]
pub(super) struct Layers {
    pub(super) database: Arc<Database>,
    pub(super) active: Arc<Layer>,
    pub(super) sealed: Option<Arc<Layer>>,
    pub(super) stamp: Stamp,
}

impl Layers {
    /// A database alone, without an overlay.
    pub(super) fn of(database: Arc<Database>, stamp: Stamp) -> Self {
        Self { database, active: Arc::default(), sealed: None, stamp }
    }
}

/// A read-only door to one state; may move between threads, and pins LMDB's pages while it lives.
pub struct View {
    // Dropped before the layers: the database closes when its last holder goes.
    txn: ReadTxn,
    layers: Layers,
}

impl View {
    /// Begins the transaction under `layers`. None when LMDB has overtaken their stamp since they were taken: then
    /// they must be taken again.
    pub(super) fn open(layers: Layers) -> Result<Option<Self>, Fault> {
        let txn = layers.database.read_txn()?;
        let is_overtaken = layers.database.stamp(&txn)?.applied > layers.stamp.applied;
        Ok((!is_overtaken).then_some(Self { txn, layers }))
    }

    /// What was applied when this view was taken.
    pub fn stamp(&self) -> Stamp {
        self.layers.stamp
    }
}

impl Read for View {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        let Layers { database, active, sealed, .. } = &self.layers;
        if let Some(row) = active.get(table, key) {
            return Ok(row);
        }
        if let Some(row) = sealed.as_ref().and_then(|sealed| sealed.get(table, key)) {
            return Ok(row);
        }
        database.get(&self.txn, table, key)
    }

    fn scan(
        &self,
        table: Table,
        low: Bound<&[u8]>,
        high: Bound<&[u8]>,
        direction: Direction,
        each: &mut dyn FnMut(Row<'_>) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        if is_inverted(&low, &high) {
            return Ok(());
        }
        let database = &self.layers.database;
        let walk = |layer| Walk::new(layer, table, low, high, direction);
        let mut active = walk(&self.layers.active);
        let mut sealed = self.layers.sealed.as_deref().map(walk);
        let mut below = database.walk(&self.txn, table, low, high, direction)?;
        let mut row_below = database.row(table, below.next())?;
        loop {
            let keys =
                [active.peek(), sealed.as_ref().and_then(Walk::peek), row_below.map(|row| row.key)];
            let Some(key) = nearest(keys, direction) else {
                return Ok(());
            };
            let [is_active, is_sealed, is_below] = keys.map(|other| other == Some(key));
            let from_active = if is_active { active.next() } else { None };
            let from_sealed = match &mut sealed {
                Some(sealed) if is_sealed => sealed.next(),
                _ => None,
            };
            let flow = match (from_active.or(from_sealed), row_below) {
                (Some((key, Some(value))), _) => each(Row { key: &key, value: &value }),
                (None, Some(row)) => each(row),
                (Some((_, None)), _) | (None, None) => ControlFlow::Continue(()),
            };
            if flow.is_break() {
                return Ok(());
            }
            if is_below {
                row_below = database.row(table, below.next())?;
            }
        }
    }

    fn newest(
        &self,
        table: Table,
        low: &[u8],
        high: &[u8],
        each: &mut dyn FnMut(Row<'_>),
    ) -> Result<bool, Fault> {
        if low >= high {
            return Ok(false);
        }
        let Layers { database, active, sealed, .. } = &self.layers;
        for layer in std::iter::once(active).chain(sealed) {
            match layer.newest(table, low, high, each) {
                Newest::Told => return Ok(true),
                Newest::Deleted => return read::first_of_all(self, table, low, high, each),
                Newest::Unknown => {}
            }
        }
        let (low, high) = (Bound::Included(low), Bound::Excluded(high));
        let mut rows = database.walk(&self.txn, table, low, high, Direction::Ascending)?;
        let found = database.row(table, rows.next())?;
        Ok(found.map(each).is_some())
    }
}

/// The key that comes first in `direction`.
fn nearest(keys: [Option<&[u8]>; 3], direction: Direction) -> Option<&[u8]> {
    let keys = keys.into_iter().flatten();
    match direction {
        Direction::Ascending => keys.min(),
        Direction::Descending => keys.max(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::base::Moment;
    use crate::storage::Batch;
    use crate::storage::{Rows, Store, StoreConfig};

    type Model = BTreeMap<Bytes, Bytes>;

    fn key(dice: &mut fastrand::Rng) -> Bytes {
        Bytes::from(format!("{:02}", dice.u32(0..60)))
    }

    fn bound(dice: &mut fastrand::Rng) -> Bound<Bytes> {
        match dice.u32(0..4) {
            0 => Bound::Unbounded,
            1 => Bound::Excluded(key(dice)),
            _ => Bound::Included(key(dice)),
        }
    }

    /// Every scan and every get of `view` says what the ordered map says.
    fn compare(view: &View, model: &Model, dice: &mut fastrand::Rng) {
        let (low, high) = (bound(dice), bound(dice));
        let range = (low.as_ref().map(Bytes::as_ref), high.as_ref().map(Bytes::as_ref));
        let is_within = |key: &Bytes| std::ops::RangeBounds::<[u8]>::contains(&range, key.as_ref());
        let mut expected: Vec<(Bytes, Bytes)> = model
            .iter()
            .filter(|(key, _)| is_within(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        for direction in [Direction::Ascending, Direction::Descending] {
            let mut seen = Vec::new();
            view.scan(Table::Leases, range.0, range.1, direction, &mut |row| {
                seen.push((Bytes::copy_from_slice(row.key), Bytes::copy_from_slice(row.value)));
                ControlFlow::Continue(())
            })
            .unwrap();
            assert_eq!(seen, expected, "{range:?} {direction:?}");
            expected.reverse();
        }
        let key = key(dice);
        assert_eq!(view.get(Table::Leases, &key).unwrap(), model.get(&key).cloned());
    }

    #[test]
    fn a_view_says_what_an_ordered_map_says_wherever_its_rows_are() {
        let dir = tempfile::tempdir().unwrap();
        let config = StoreConfig { map_bytes: 16 << 20, readers: 8, ..StoreConfig::default() };
        let mut stamp = Stamp::EMPTY;
        let store = Store::create(dir.path(), config, Rows::new(), stamp).unwrap();
        let (mut model, mut sealed) = (Model::new(), None);
        let mut dice = fastrand::Rng::with_seed(23);
        for step in 0..1_500 {
            match dice.u32(0..10) {
                0 => sealed = store.seal().or(sealed),
                1 => drop(sealed.take().map(|sealed| store.checkpoint(sealed).unwrap())),
                _ => {
                    let mut rows = Rows::new();
                    for _ in 0..dice.u32(1..4) {
                        let (key, value) = (key(&mut dice), Bytes::from(format!("{step}")));
                        let value = dice.bool().then_some(value);
                        match &value {
                            Some(value) => model.insert(key.clone(), value.clone()),
                            None => model.remove(&key),
                        };
                        rows.insert((Table::Leases, key), value);
                    }
                    stamp.applied += 1;
                    store.merge(rows, stamp, Moment::ZERO);
                }
            }
            let view = store.view().unwrap();
            assert_eq!(view.stamp(), stamp);
            compare(&view, &model, &mut dice);
        }
    }

    #[test]
    fn the_newest_row_is_the_first_one_wherever_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let config = StoreConfig { map_bytes: 16 << 20, readers: 8, ..StoreConfig::default() };
        let mut stamp = Stamp::EMPTY;
        let store = Store::create(dir.path(), config, Rows::new(), stamp).unwrap();
        let mut sealed = None;
        let mut dice = fastrand::Rng::with_seed(5);
        // What is written later stands first, as the versions of a key do.
        let row = |key: u32, step: u64| format!("{key}{:05}", 99_999 - step);
        let mut written = Vec::new();
        for step in 1..3_000 {
            let change = match dice.u32(0..12) {
                0 => {
                    sealed = store.seal().or(sealed);
                    None
                }
                1 => {
                    if let Some(sealed) = sealed.take() {
                        store.checkpoint(sealed).unwrap();
                    }
                    None
                }
                // Any of them may be taken away again, in any layer.
                2..=5 if !written.is_empty() => {
                    Some((written.swap_remove(dice.usize(..written.len())), None))
                }
                _ => {
                    let row = Bytes::from(row(dice.u32(0..6), step));
                    written.push(row.clone());
                    Some((row.clone(), Some(row)))
                }
            };
            if let Some((row, value)) = change {
                stamp.applied += 1;
                store.merge(Rows::from([((Table::Keys, row), value)]), stamp, Moment::ZERO);
            }
            let view = store.view().unwrap();
            let mut batch = Batch::new(&view);
            if let Some(row) = written.first().filter(|_| dice.bool()) {
                batch.delete(Table::Keys, row.clone());
            }
            let key = dice.u32(0..7);
            let (low, high) = (row(key, dice.u64(0..=step)), format!("{key}:"));
            same_first_row(&view, low.as_bytes(), high.as_bytes());
            same_first_row(&batch, low.as_bytes(), high.as_bytes());
        }
    }

    fn same_first_row(read: &impl Read, low: &[u8], high: &[u8]) {
        let range = (Bound::Included(low), Bound::Excluded(high));
        let first = read.first(Table::Keys, range.0, range.1, Direction::Ascending).unwrap();
        let mut newest = None;
        let found = read.newest(Table::Keys, low, high, &mut |row| {
            let copy = Bytes::copy_from_slice;
            newest = Some((copy(row.key), copy(row.value)));
        });
        assert_eq!((newest.clone(), found.unwrap()), (first, newest.is_some()));
    }

    #[test]
    fn a_view_moves_between_threads() {
        fn is_send<T: Send>() {}
        is_send::<View>();
    }
}
