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
use super::overlay::{Layer, Walk};
use super::read::is_inverted;
use super::{Direction, Fault, Read, Row, Stamp, Table};

/// A read-only door to one state; may move between threads, and pins LMDB's pages while it lives.
pub struct View {
    // Dropped before the database, which closes when its last holder goes.
    txn: ReadTxn,
    database: Arc<Database>,
    active: Arc<Layer>,
    sealed: Option<Arc<Layer>>,
    stamp: Stamp,
}

impl View {
    /// None when LMDB has overtaken `stamp` since the layers were taken: then they must be taken again.
    pub(super) fn open(
        database: Arc<Database>,
        active: Arc<Layer>,
        sealed: Option<Arc<Layer>>,
        stamp: Stamp,
    ) -> Result<Option<Self>, Fault> {
        let txn = database.read_txn()?;
        let below = database.stamp(&txn)?;
        let is_overtaken = below.applied > stamp.applied;
        Ok((!is_overtaken).then_some(Self { txn, database, active, sealed, stamp }))
    }

    /// What was applied when this view was taken.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }
}

impl Read for View {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        if let Some(row) = self.active.get(table, key) {
            return Ok(row);
        }
        if let Some(row) = self.sealed.as_ref().and_then(|sealed| sealed.get(table, key)) {
            return Ok(row);
        }
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
        if is_inverted(&low, &high) {
            return Ok(());
        }
        let walk = |layer| Walk::new(layer, table, low, high, direction);
        let mut active = walk(&self.active);
        let mut sealed = self.sealed.as_deref().map(walk);
        let mut below = self.database.walk(&self.txn, table, low, high, direction)?;
        let mut row_below = self.database.row(below.next())?;
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
                row_below = self.database.row(below.next())?;
            }
        }
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
