//! etcd's key-value store as simple as it can be said: every version of every key in a map, for ever.
//!
//! Written from the contract, not from our code: it is what answers are compared with. It keeps what compaction
//! deletes, so that any answer at any revision can be judged later.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate::base::KeyRange;
use quorate::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use quorate::proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use quorate::proto::etcdserverpb::request_op::Request;
use quorate::proto::etcdserverpb::response_op::Response;
use quorate::proto::etcdserverpb::{
    Compare, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, RangeRequest,
    RangeResponse, RequestOp, ResponseHeader, ResponseOp, TxnRequest, TxnResponse,
};
use quorate::proto::mvccpb::KeyValue;
use quorate::state::Rejection;

use crate::alarms::Alarms;

/// One version of a key; a tombstone without a value.
#[derive(Clone, Debug)]
struct Version {
    main: i64,
    create: i64,
    version: i64,
    lease: i64,
    value: Option<Bytes>,
}

/// What one revision did to one key: the key-value (of a delete: key and revision alone), and what was there before.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) is_put: bool,
    pub(crate) kv: KeyValue,
    pub(crate) before: Option<KeyValue>,
}

#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) revision: i64,
    /// -1: never.
    pub(crate) compacted: i64,
    keys: BTreeMap<Bytes, Vec<Version>>,
    /// TTL and recorded remaining seconds, and the index of what last made it new: its grant, or a forgotten record.
    pub(crate) leases: BTreeMap<i64, (i64, i64, u64)>,
    pub(crate) alarms: Alarms,
    pub(crate) changes: BTreeMap<i64, Vec<Change>>,
    /// Changes of the transaction that is being applied.
    pending: Vec<Change>,
}

impl Model {
    pub(crate) fn new() -> Self {
        Self {
            revision: 1,
            compacted: -1,
            keys: BTreeMap::new(),
            leases: BTreeMap::new(),
            alarms: Alarms::default(),
            changes: BTreeMap::new(),
            pending: Vec::new(),
        }
    }

    /// A read outside of transactions, by a member that has applied everything up to `revision`.
    pub(crate) fn range_at(&self, request: &RangeRequest, revision: i64) -> RangeResponse {
        let at = if request.revision <= 0 { revision } else { request.revision };
        self.range(request, at, revision)
    }

    /// What is live at a revision, with tombstones and history out of the way.
    pub(crate) fn live(&self, range: &KeyRange, at: i64) -> Vec<KeyValue> {
        let keys = self.keys.range::<[u8], _>(range.bounds_or_nothing());
        keys.filter_map(|(key, versions)| live(key, versions, at)).collect()
    }

    /// What one revision did, in order.
    pub(crate) fn changes_at(&self, revision: i64) -> Vec<&Change> {
        self.changes.get(&revision).into_iter().flatten().collect()
    }

    /// What is left of it when it was compacted to: the last change of each key.
    pub(crate) fn changes_left(&self, revision: i64) -> Vec<&Change> {
        let mut left = self.changes_at(revision);
        let mut later = BTreeSet::new();
        left.reverse();
        left.retain(|change| later.insert(&change.kv.key));
        left.reverse();
        left
    }

    /// What a watcher is told was there before: etcd looks one revision back, and not at all when a put created the
    /// key. So a key that one transaction changes twice has the same before.
    pub(crate) fn told_before(&self, change: &Change) -> Option<KeyValue> {
        let creates = change.is_put && change.kv.create_revision == change.kv.mod_revision;
        if creates { None } else { self.get(&change.kv.key, change.kv.mod_revision - 1) }
    }

    pub(crate) fn put(&mut self, request: &PutRequest) -> Result<PutResponse, Rejection> {
        self.check_put(request)?;
        let response = self.execute_put(request);
        self.commit();
        Ok(response)
    }

    pub(crate) fn delete(&mut self, request: &DeleteRangeRequest) -> DeleteRangeResponse {
        let response = self.execute_delete(request);
        self.commit();
        response
    }

    pub(crate) fn txn(&mut self, request: &TxnRequest) -> Result<TxnResponse, Rejection> {
        let mut path = Vec::new();
        self.choose(request, &mut path);
        // One pass in the order of the operations: the first that cannot be done is what the client hears.
        for op in taken(request, &mut path.iter().copied()) {
            match op {
                Request::RequestPut(put) => self.check_txn_put(put)?,
                Request::RequestRange(range) => {
                    check_revision(range.revision, self.revision, self.compacted)?;
                }
                _ => {}
            }
        }
        let mut response = match self.execute(request, &mut path.iter().copied()) {
            Ok(response) => response,
            Err(rejection) => {
                self.undo();
                return Err(rejection);
            }
        };
        response.header = header(self.current());
        self.commit();
        Ok(response)
    }

    /// A transaction of ranges alone, at a revision, by a member that knows of this compaction.
    pub(crate) fn read_txn_at(
        &self,
        request: &TxnRequest,
        revision: i64,
        compacted: i64,
    ) -> Result<TxnResponse, Rejection> {
        let succeeded = request.compare.iter().all(|compare| self.holds(compare, revision));
        let branch = if succeeded { &request.success } else { &request.failure };
        let answer = |op: &RequestOp| {
            let Some(Request::RequestRange(range)) = &op.request else {
                unreachable!("the workload reads with ranges alone")
            };
            check_revision(range.revision, revision, compacted)?;
            let response = Response::ResponseRange(self.range_at(range, revision));
            Ok(ResponseOp { response: Some(response) })
        };
        let responses = branch.iter().map(answer).collect::<Result<_, Rejection>>()?;
        Ok(TxnResponse { header: header(revision), succeeded, responses })
    }

    pub(crate) fn compact(&mut self, revision: i64) -> Result<(), Rejection> {
        if revision <= self.compacted {
            return Err(Rejection::Compacted);
        }
        if revision > self.revision {
            return Err(Rejection::FutureRev);
        }
        self.compacted = revision;
        Ok(())
    }

    pub(crate) fn grant(&mut self, id: i64, ttl: i64, index: u64) -> Result<(), Rejection> {
        if self.leases.contains_key(&id) {
            return Err(Rejection::LeaseExist);
        }
        self.leases.insert(id, (ttl, 0, index));
        Ok(())
    }

    /// By a leader, who had applied `as_of`: leases that are gone already are passed over, and those that were granted
    /// or renewed since.
    pub(crate) fn revoke(
        &mut self,
        ids: &[i64],
        by_leader: bool,
        as_of: u64,
    ) -> Result<(), Rejection> {
        let asked: BTreeSet<i64> = ids.iter().copied().collect();
        let known: BTreeSet<i64> =
            asked.iter().copied().filter(|id| self.is_meant(*id, as_of)).collect();
        if known != asked && !by_leader {
            return Err(Rejection::LeaseNotFound);
        }
        let live = self.live(&KeyRange::From(Bytes::new()), i64::MAX);
        for kv in live.into_iter().filter(|kv| known.contains(&kv.lease)) {
            self.execute_delete(&DeleteRangeRequest { key: kv.key, ..Default::default() });
        }
        self.leases.retain(|id, _| !known.contains(id));
        self.commit();
        Ok(())
    }

    /// 0 is whatever lease has the id.
    fn is_meant(&self, id: i64, as_of: u64) -> bool {
        self.leases.get(&id).is_some_and(|lease| as_of == 0 || lease.2 <= as_of)
    }

    /// By the entry at `index`: 0 seconds forget the record, and that renews the lease.
    pub(crate) fn record(&mut self, id: i64, remaining_s: i64, as_of: u64, index: u64) {
        if self.is_meant(id, as_of)
            && let Some(lease) = self.leases.get_mut(&id)
        {
            lease.1 = remaining_s;
            if remaining_s == 0 {
                lease.2 = index;
            }
        }
    }

    /// The revision that a read inside the transaction sees.
    fn current(&self) -> i64 {
        self.revision + i64::from(!self.pending.is_empty())
    }

    fn commit(&mut self) {
        if !self.pending.is_empty() {
            self.revision += 1;
            self.changes.insert(self.revision, std::mem::take(&mut self.pending));
        }
    }

    fn get(&self, key: &[u8], at: i64) -> Option<KeyValue> {
        let (key, versions) = self.keys.get_key_value(key)?;
        live(key, versions, at)
    }

    fn check_put(&self, put: &PutRequest) -> Result<(), Rejection> {
        if put.lease != 0 && !self.leases.contains_key(&put.lease) {
            return Err(Rejection::LeaseNotFound);
        }
        self.check_kept(put)
    }

    fn check_txn_put(&self, put: &PutRequest) -> Result<(), Rejection> {
        self.check_kept(put)?;
        self.check_put(put)
    }

    fn check_kept(&self, put: &PutRequest) -> Result<(), Rejection> {
        let keeps = put.ignore_value || put.ignore_lease;
        let missing = keeps && self.get(&put.key, i64::MAX).is_none();
        if missing { Err(Rejection::KeyNotFound) } else { Ok(()) }
    }

    /// Nothing of the transaction that is being applied has happened.
    fn undo(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            if let Some(versions) = self.keys.get_mut(&change.kv.key) {
                versions.retain(|version| version.main <= self.revision);
            }
        }
    }

    /// One thing can go wrong after the checks: a delete without an end takes the key whose value or lease a later put
    /// keeps. etcd's server stops there, at every start again; here the transaction is refused.
    fn execute(
        &mut self,
        txn: &TxnRequest,
        path: &mut dyn Iterator<Item = bool>,
    ) -> Result<TxnResponse, Rejection> {
        let succeeded = path.next().expect("a branch was chosen");
        let branch = if succeeded { &txn.success } else { &txn.failure };
        let mut responses = Vec::new();
        for op in branch {
            let response = match op.request.as_ref().expect("the workload leaves none empty") {
                Request::RequestPut(put) => {
                    self.check_kept(put)?;
                    Response::ResponsePut(self.execute_put(put))
                }
                Request::RequestDeleteRange(delete) => {
                    Response::ResponseDeleteRange(self.execute_delete(delete))
                }
                Request::RequestRange(range) => {
                    let current = self.current();
                    let at = if range.revision <= 0 { current } else { range.revision };
                    Response::ResponseRange(self.range(range, at, current))
                }
                Request::RequestTxn(inner) => Response::ResponseTxn(self.execute(inner, path)?),
            };
            responses.push(ResponseOp { response: Some(response) });
        }
        Ok(TxnResponse { header: Some(ResponseHeader::default()), succeeded, responses })
    }

    fn execute_put(&mut self, put: &PutRequest) -> PutResponse {
        let main = self.revision + 1;
        let before = self.get(&put.key, i64::MAX);
        let kept = before.clone().unwrap_or_default();
        let value = if put.ignore_value { kept.value } else { put.value.clone() };
        let lease = if put.ignore_lease { kept.lease } else { put.lease };
        let (create, version) =
            before.as_ref().map_or((main, 1), |kv| (kv.create_revision, kv.version + 1));
        let new = Version { main, create, version, lease, value: Some(value) };
        let kv = new.kv(&put.key).expect("it has a value");
        self.keys.entry(put.key.clone()).or_default().push(new);
        self.pending.push(Change { is_put: true, kv, before: before.clone() });
        PutResponse { header: header(main), prev_kv: before.filter(|_| put.prev_kv) }
    }

    fn execute_delete(&mut self, delete: &DeleteRangeRequest) -> DeleteRangeResponse {
        let range = KeyRange::new(delete.key.clone(), delete.range_end.clone());
        let main = self.revision + 1;
        let gone = self.live(&range, i64::MAX);
        for kv in &gone {
            let tombstone = Version { main, create: 0, version: 0, lease: 0, value: None };
            self.keys.entry(kv.key.clone()).or_default().push(tombstone);
            let key = kv.key.clone();
            let told = KeyValue { key, mod_revision: main, ..KeyValue::default() };
            self.pending.push(Change { is_put: false, kv: told, before: Some(kv.clone()) });
        }
        let header = header(self.current());
        let deleted = gone.len() as i64;
        let prev_kvs = if delete.prev_kv { gone } else { Vec::new() };
        DeleteRangeResponse { header, deleted, prev_kvs }
    }

    /// All compares first, inner ones too, against the state before.
    fn choose(&self, txn: &TxnRequest, path: &mut Vec<bool>) {
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare, i64::MAX));
        path.push(succeeded);
        for op in if succeeded { &txn.success } else { &txn.failure } {
            if let Some(Request::RequestTxn(inner)) = &op.request {
                self.choose(inner, path);
            }
        }
    }

    fn holds(&self, compare: &Compare, at: i64) -> bool {
        let range = KeyRange::new(compare.key.clone(), compare.range_end.clone());
        let found = self.live(&range, at);
        if found.is_empty() {
            let absent = KeyValue::default();
            return compare.target() != CompareTarget::Value && kv_holds(compare, &absent);
        }
        found.iter().all(|kv| kv_holds(compare, kv))
    }

    fn range(&self, request: &RangeRequest, at: i64, current: i64) -> RangeResponse {
        let range = KeyRange::new(request.key.clone(), request.range_end.clone());
        let mut kvs = self.live(&range, at);
        let count = kvs.len() as i64;
        let limit = if request.limit > 0 { request.limit as usize } else { usize::MAX };
        let mut more = false;
        if request.count_only {
            kvs.clear();
        } else {
            let within =
                |n: i64, min: i64, max: i64| (min == 0 || n >= min) && (max == 0 || n <= max);
            let (target, order) = (request.sort_target(), request.sort_order());
            let filters = [
                request.min_mod_revision,
                request.max_mod_revision,
                request.min_create_revision,
                request.max_create_revision,
            ];
            if order == SortOrder::None && filters == [0; 4] {
                // etcd fetches one more than the limit in key order before it sorts.
                kvs.truncate(limit.saturating_add(1));
            }
            kvs.retain(|kv| {
                within(kv.mod_revision, filters[0], filters[1])
                    && within(kv.create_revision, filters[2], filters[3])
            });
            kvs.sort_by(|a, b| {
                let order = match target {
                    SortTarget::Key => a.key.cmp(&b.key),
                    SortTarget::Version => a.version.cmp(&b.version),
                    SortTarget::Create => a.create_revision.cmp(&b.create_revision),
                    SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
                    SortTarget::Value => a.value.cmp(&b.value),
                };
                if request.sort_order() == SortOrder::Descend { order.reverse() } else { order }
            });
            more = kvs.len() > limit;
            kvs.truncate(limit);
            if request.keys_only {
                kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
            }
        }
        RangeResponse { header: header(current), kvs, more, count }
    }
}

impl Version {
    fn kv(&self, key: &Bytes) -> Option<KeyValue> {
        Some(KeyValue {
            key: key.clone(),
            create_revision: self.create,
            mod_revision: self.main,
            version: self.version,
            value: self.value.clone()?,
            lease: self.lease,
        })
    }
}

fn live(key: &Bytes, versions: &[Version], at: i64) -> Option<KeyValue> {
    let seen = versions.partition_point(|version| version.main <= at);
    versions[..seen].last()?.kv(key)
}

/// What a range inside a transaction may ask for: 0 is the current revision, and anything else is compared with where
/// history begins. That is -1 until something is compacted, so that -1 passes, and is read as the current one.
fn check_revision(asked: i64, current: i64, compacted: i64) -> Result<(), Rejection> {
    match asked {
        0 => Ok(()),
        _ if asked > current => Err(Rejection::FutureRev),
        _ if asked < compacted => Err(Rejection::Compacted),
        _ => Ok(()),
    }
}

pub(crate) fn header(revision: i64) -> Option<ResponseHeader> {
    Some(ResponseHeader { revision, ..ResponseHeader::default() })
}

/// The operations of the chosen branches that are no transactions.
fn taken<'a>(txn: &'a TxnRequest, path: &mut dyn Iterator<Item = bool>) -> Vec<&'a Request> {
    let succeeded = path.next().expect("a branch was chosen");
    let mut ops = Vec::new();
    for op in if succeeded { &txn.success } else { &txn.failure } {
        match op.request.as_ref().expect("the workload leaves none empty") {
            Request::RequestTxn(inner) => ops.extend(taken(inner, path)),
            op => ops.push(op),
        }
    }
    ops
}

fn kv_holds(compare: &Compare, kv: &KeyValue) -> bool {
    let order = match compare.target_union.as_ref().expect("the workload says with what") {
        TargetUnion::Version(n) => kv.version.cmp(n),
        TargetUnion::CreateRevision(n) => kv.create_revision.cmp(n),
        TargetUnion::ModRevision(n) => kv.mod_revision.cmp(n),
        TargetUnion::Value(value) => kv.value.cmp(value),
        TargetUnion::Lease(n) => kv.lease.cmp(n),
    };
    match compare.result() {
        CompareResult::Equal => order.is_eq(),
        CompareResult::Greater => order.is_gt(),
        CompareResult::Less => order.is_lt(),
        CompareResult::NotEqual => order.is_ne(),
    }
}

/// A map panics on bounds the wrong way round; etcd answers with nothing.
trait BoundsOrNothing {
    fn bounds_or_nothing(&self) -> (std::ops::Bound<&[u8]>, std::ops::Bound<&[u8]>);
}

impl BoundsOrNothing for KeyRange {
    fn bounds_or_nothing(&self) -> (std::ops::Bound<&[u8]>, std::ops::Bound<&[u8]>) {
        use std::ops::Bound;
        if self.is_empty() {
            (Bound::Included(b"\0"), Bound::Excluded(b"\0"))
        } else {
            self.bounds()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &'static str, value: &'static str) -> PutRequest {
        PutRequest { key: key.into(), value: value.into(), ..PutRequest::default() }
    }

    #[test]
    fn versions_stay_readable_at_their_revisions() {
        let mut model = Model::new();
        model.put(&put("a", "1")).unwrap();
        model.put(&put("a", "2")).unwrap();
        let request = DeleteRangeRequest { key: "a".into(), prev_kv: true, ..Default::default() };
        let response = model.delete(&request);
        assert_eq!((response.deleted, response.prev_kvs[0].version), (1, 2));
        let nothing = model.delete(&request);
        assert_eq!((nothing.header, nothing.deleted), (header(4), 0));
        let at = |revision| {
            let request = RangeRequest { key: "a".into(), revision, ..RangeRequest::default() };
            model.range_at(&request, 4).kvs.first().map(|kv| kv.value.clone())
        };
        assert_eq!((at(2), at(3), at(4)), (Some("1".into()), Some("2".into()), None));
        let range = KeyRange::From(Bytes::from("b"));
        assert!(model.live(&range, 3).is_empty());
    }

    #[test]
    fn a_transaction_reads_its_own_writes_one_revision_on() {
        let mut model = Model::new();
        let range = RangeRequest { key: "a".into(), ..RangeRequest::default() };
        let op = |request| RequestOp { request: Some(request) };
        let txn = TxnRequest {
            success: vec![
                op(Request::RequestRange(range.clone())),
                op(Request::RequestPut(put("a", "1"))),
                op(Request::RequestRange(range)),
            ],
            ..TxnRequest::default()
        };
        let response = model.txn(&txn).unwrap();
        let counts: Vec<(i64, i64)> = response
            .responses
            .iter()
            .filter_map(|op| match op.response.as_ref().unwrap() {
                Response::ResponseRange(range) => {
                    Some((range.count, range.header.as_ref().unwrap().revision))
                }
                _ => None,
            })
            .collect();
        assert_eq!(counts, [(0, 1), (1, 2)]);
        assert_eq!((model.revision, response.header), (2, header(2)));
        assert_eq!(model.changes[&2].len(), 1);
    }
}
