//! One writing transaction over mvcc, with the keys' leases: what Put, DeleteRange and Revoke do to keys.
//!
//! Promises: a key that is overwritten or deleted leaves its old lease in the same batch. Knows nothing of: compares,
//! and whether the alarms allow it.

use bytes::Bytes;

use super::leases::{Leases, attach_row};
use super::range::{Source, whole_range};
use super::reply::Rejection;
use super::stop::Stop;
use super::wire;
use crate::base::{KeyRange, LeaseId, Sabotage};
use crate::mvcc::{Reader, Version, Whole, Writer};
use crate::proto::etcdserverpb::{
    DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, RangeRequest, RangeResponse,
};
use crate::storage::{Batch, Fault, Read, Table};

pub(super) struct Transaction<'w, 'b, R> {
    pub(super) writer: Writer<'w, 'b, R>,
    pub(super) leases: &'w Leases,
    pub(super) compacted: i64,
}

impl<'b, R: Read> Source for Transaction<'_, 'b, R> {
    type Rows = Batch<'b, R>;

    fn current(&self) -> i64 {
        let changed = i64::from(!self.writer.events().is_empty());
        self.writer.revision() - 1 + changed
    }

    fn compacted(&self) -> i64 {
        self.compacted
    }

    fn reader(&self, revision: i64) -> Reader<'_, Batch<'b, R>> {
        self.writer.reader_at(revision)
    }

    fn whole(&self, range: &KeyRange) -> Option<Whole> {
        self.writer.whole(range)
    }
}

impl<R: Read> Transaction<'_, '_, R> {
    pub(super) fn range(&self, request: &RangeRequest) -> Result<RangeResponse, Stop> {
        whole_range(self, request)
    }

    /// The checks that depend on the state come first, so that a refused put has written nothing.
    pub(super) fn put(&mut self, request: &PutRequest) -> Result<PutResponse, Stop> {
        if request.lease != 0 && self.leases.get(request.lease).is_none() {
            return Err(Rejection::LeaseNotFound.into());
        }
        let keeps = request.ignore_value || request.ignore_lease;
        if keeps && self.writer.reader().find(&request.key)?.is_none() {
            return Err(Rejection::KeyNotFound.into());
        }
        let value = if request.ignore_value { None } else { Some(request.value.clone()) };
        let lease = if request.ignore_lease { None } else { Some(request.lease) };
        let prev = self.writer.put(request.key.clone(), value, lease)?;
        if let Some(lease) = lease {
            self.attach(&request.key, prev.as_ref(), lease);
        }
        let prev = match Sabotage::PrevKvIsTheNewOne.is_on() {
            true => self.writer.reader().find(&request.key)?,
            false => prev,
        };
        let prev_kv = match prev {
            Some(prev) if request.prev_kv => Some(wire::to_wire(self.writer.reader().load(&prev)?)),
            _ => None,
        };
        Ok(PutResponse { header: wire::header(self.writer.revision()), prev_kv })
    }

    pub(super) fn delete_range(
        &mut self,
        request: &DeleteRangeRequest,
    ) -> Result<DeleteRangeResponse, Stop> {
        let range = KeyRange::new(request.key.clone(), request.range_end.clone());
        let deleted = self.delete(&range)?;
        let mut prev_kvs = Vec::new();
        if request.prev_kv {
            for version in &deleted {
                prev_kvs.push(wire::to_wire(self.writer.reader().load(version)?));
            }
        }
        let header = wire::header(self.current());
        Ok(DeleteRangeResponse { header, deleted: deleted.len() as i64, prev_kvs })
    }

    /// Deletes keys that hang on leases which are about to go, in the order given.
    pub(super) fn delete_leased(
        &mut self,
        keys: impl IntoIterator<Item = (Bytes, LeaseId)>,
    ) -> Result<(), Fault> {
        for (key, lease) in keys {
            let deleted = self.delete(&KeyRange::Single(key.clone()))?;
            if deleted.first().is_none_or(|version| version.lease != lease) {
                let what = format!("key {key:?} is said to hang on lease {lease:x}, and does not");
                return Err(Fault::corrupt(what, "table lease_keys"));
            }
        }
        Ok(())
    }

    fn delete(&mut self, range: &KeyRange) -> Result<Vec<Version>, Fault> {
        let deleted = self.writer.delete_range(range)?;
        for version in deleted.iter().filter(|version| version.lease != 0) {
            let row = attach_row(version.lease, &version.key);
            self.writer.batch().delete(Table::LeaseKeys, row);
        }
        Ok(deleted)
    }

    fn attach(&mut self, key: &[u8], prev: Option<&Version>, lease: LeaseId) {
        let before = prev.map_or(0, |prev| prev.lease);
        if before == lease {
            return;
        }
        if before != 0 {
            self.writer.batch().delete(Table::LeaseKeys, attach_row(before, key));
        }
        if lease != 0 {
            self.writer.batch().put(Table::LeaseKeys, attach_row(lease, key), Bytes::new());
        }
    }
}
