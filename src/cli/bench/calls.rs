//! The calls of a load: put, get, mixed, txn; and the keys that reads need.

use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::cli::exit::Exit;
use crate::client::{Client, Compare, Error, Get, Put, Txn};
use crate::proto::etcdserverpb as pb;

use super::keys::{Dice, Keys};

/// Keys written by one transaction of a preparation, and transactions at the same time.
const PREPARE_KEYS: u64 = 100;
const PREPARE_IN_FLIGHT: usize = 16;

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Put,
    Get { serializable: bool, page: i64 },
    Mixed { serializable: bool, reads: u64 },
    Txn,
}

/// What one call of the load does.
#[derive(Debug)]
pub(super) struct Calls {
    pub kind: Kind,
    pub keys: Keys,
    pub value: Bytes,
    /// Keys taken in order so far.
    pub order: AtomicU64,
}

impl Calls {
    pub(super) async fn call(&self, client: &Client, dice: &mut Dice) -> Result<(), Error> {
        match self.kind {
            Kind::Put => self.put(client, dice).await,
            Kind::Get { serializable, page: 0 } => self.get(client, dice, serializable).await,
            Kind::Get { serializable, page } => {
                let get = client.get(self.keys.prefix.clone()).prefix().limit(page);
                if serializable { get.serializable().await } else { get.await }.map(drop)
            }
            Kind::Mixed { serializable, reads } => {
                if dice.roll().is_multiple_of(reads + 1) {
                    self.put(client, dice).await
                } else {
                    self.get(client, dice, serializable).await
                }
            }
            Kind::Txn => {
                let key = self.key(dice);
                let txn = client
                    .txn()
                    .when(Compare::version(key.clone()).greater(-1))
                    .then(Put::new(key.clone(), self.value.clone()))
                    .otherwise(Get::new(key));
                txn.await.map(drop)
            }
        }
    }

    async fn put(&self, client: &Client, dice: &mut Dice) -> Result<(), Error> {
        client.put(self.key(dice), self.value.clone()).await.map(drop)
    }

    async fn get(&self, client: &Client, dice: &mut Dice, serializable: bool) -> Result<(), Error> {
        let get = client.get(self.key(dice));
        if serializable { get.serializable().await } else { get.await }.map(drop)
    }

    fn key(&self, dice: &mut Dice) -> Bytes {
        self.keys.key(self.keys.pick(&self.order, dice))
    }

    /// Bytes of keys and values that a call writes, on average.
    pub(super) fn written(&self) -> Option<f64> {
        let put = (self.keys.bytes + self.value.len()) as f64;
        match self.kind {
            Kind::Put | Kind::Txn => Some(put),
            Kind::Mixed { reads, .. } => Some(put / (reads + 1) as f64),
            Kind::Get { .. } => None,
        }
    }

    /// Reads want something to read: writes all keys, unless as many are there.
    pub(super) async fn prepare(&self, client: &Client) -> Result<(), Exit> {
        if matches!(self.kind, Kind::Put | Kind::Txn) {
            return Ok(());
        }
        let counted = client.get(self.keys.prefix.clone()).prefix().count_only().await?;
        if counted.count >= i64::try_from(self.keys.count).unwrap_or(i64::MAX) {
            return Ok(());
        }
        eprintln!("writing {} keys first ..", self.keys.count);
        let mut writing: JoinSet<Result<(), Error>> = JoinSet::new();
        for first in (0..self.keys.count).step_by(PREPARE_KEYS as usize) {
            if writing.len() >= PREPARE_IN_FLIGHT {
                joined(writing.join_next().await)?;
            }
            let last = (first + PREPARE_KEYS).min(self.keys.count);
            let put = |number| Put::new(self.keys.key(number), self.value.clone());
            let txn = (first..last).map(put).fold(Txn::new(), Txn::then);
            let client = client.clone();
            writing.spawn(async move { client.send(pb::TxnRequest::from(txn)).await.map(drop) });
        }
        while !writing.is_empty() {
            joined(writing.join_next().await)?;
        }
        Ok(())
    }
}

fn joined(ended: Option<Result<Result<(), Error>, tokio::task::JoinError>>) -> Result<(), Exit> {
    match ended {
        Some(Ok(outcome)) => Ok(outcome?),
        Some(Err(error)) => Err(Exit::error(error.to_string())),
        None => Ok(()),
    }
}
