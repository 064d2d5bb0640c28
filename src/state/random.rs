//! Random entries against the promises: same entries, same bytes; a restart changes nothing; the events tell all.

use std::collections::BTreeMap;

use bytes::Bytes;
use fastrand::Rng;

use super::*;
use crate::base::{ClusterId, KeyRange, LeaseId, MemberId, Moment, RequestId, limits};
use crate::mvcc::EventKind;
use crate::proto::etcdserverpb::request_op::Request;
use crate::proto::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, Member, PutRequest,
    RangeRequest, RequestOp, TxnRequest,
};
use crate::proto::mvccpb;
use crate::proto::quorate::log::{LeaseCheckpoint, LeaseRevoke, lease_checkpoint::Remaining};
use crate::storage::{Batch, Nothing, Rows, Stamp, Store, StoreConfig};

type Model = BTreeMap<Bytes, mvccpb::KeyValue>;

/// A machine with its rows in memory.
struct Replica {
    rows: Batch<'static, Nothing>,
    machine: Machine,
}

impl Replica {
    fn new() -> Self {
        let member = Member { id: 1, peer_ur_ls: vec!["http://a:1".into()], ..Member::default() };
        let (first, stamp) = Machine::genesis(ClusterId(1), &[member]);
        let mut rows = Batch::new(&Nothing);
        merge(&mut rows, &first);
        let machine = Machine::load(&rows, stamp).unwrap();
        Self { rows, machine }
    }

    /// Applied and merged, not yet published.
    fn apply(&mut self, data: &[u8]) -> Outcome {
        let index = self.machine.stamp().applied + 1;
        let outcome = self.machine.apply(&self.rows, index, 1, data).unwrap();
        merge(&mut self.rows, &outcome.rows);
        outcome
    }

    fn query(&self, stamp: Stamp) -> Query<&Batch<'static, Nothing>> {
        Query::new(&self.rows, stamp, self.machine.shared())
    }
}

fn merge(store: &mut Batch<'static, Nothing>, rows: &Rows) {
    for ((table, key), value) in rows {
        match value {
            Some(value) => store.put(*table, key.clone(), value.clone()),
            None => store.delete(*table, key.clone()),
        }
    }
}

/// Few keys, so that they meet; most in one crowd, so that chunks of counts split and join.
fn key(rng: &mut Rng) -> Bytes {
    match rng.u32(..4) {
        0 => Bytes::from(format!("k{}", rng.u32(..8))),
        _ => Bytes::from(format!("m{:04}", rng.u32(..3_000))),
    }
}

fn put(rng: &mut Rng) -> PutRequest {
    let ignore_value = rng.u32(..10) == 0;
    let ignore_lease = rng.u32(..10) == 0;
    let value = if ignore_value { String::new() } else { format!("v{}", rng.u32(..1_000)) };
    let lease = if ignore_lease || rng.u32(..6) > 0 { 0 } else { rng.i64(1..12) };
    PutRequest {
        key: key(rng),
        value: value.into(),
        lease,
        prev_kv: true,
        ignore_value,
        ignore_lease,
    }
}

fn delete(rng: &mut Rng) -> DeleteRangeRequest {
    if rng.bool() {
        return DeleteRangeRequest { key: key(rng), ..DeleteRangeRequest::default() };
    }
    let start = rng.u32(..3_000);
    let end = start + if rng.u32(..400) == 0 { 1_000 } else { 5 };
    let bound = |at: u32| Bytes::from(format!("m{at:04}"));
    DeleteRangeRequest { key: bound(start), range_end: bound(end), prev_kv: rng.bool() }
}

fn txn(rng: &mut Rng, depth: usize) -> TxnRequest {
    let compare = (0..rng.usize(..2)).map(|_| Compare {
        result: rng.i32(..4),
        target: rng.i32(..5),
        key: key(rng),
        ..Compare::default()
    });
    let compare = compare.collect();
    let mut branch = || {
        let ops = (0..rng.usize(..4)).map(|_| {
            let request = match rng.u32(..8) {
                0 => Request::RequestDeleteRange(delete(rng)),
                1 | 2 => {
                    Request::RequestRange(RangeRequest { key: key(rng), ..Default::default() })
                }
                3 if depth < 3 => Request::RequestTxn(txn(rng, depth + 1)),
                _ => Request::RequestPut(put(rng)),
            };
            RequestOp { request: Some(request) }
        });
        ops.collect()
    };
    TxnRequest { compare, success: branch(), failure: branch() }
}

fn command(rng: &mut Rng, revision: i64) -> Command {
    match rng.u32(..100) {
        0..=59 => Command::Put(put(rng)),
        60..=64 => Command::DeleteRange(delete(rng)),
        65..=84 => loop {
            let request = txn(rng, 0);
            if check::txn(&request, limits::TXN_OPS_MAX).is_ok() {
                break Command::Txn(request);
            }
        },
        85..=90 => Command::LeaseGrant(LeaseGrantRequest { id: rng.i64(1..12), ttl: 60 }),
        91..=94 => Command::LeaseRevoke(LeaseRevoke { ids: vec![rng.i64(1..12)], as_of: 0 }),
        95..=96 => {
            let record = Remaining { id: rng.i64(1..12), remaining_ttl_s: rng.i64(..50) };
            Command::LeaseCheckpoint(LeaseCheckpoint { leases: vec![record], as_of: 0 })
        }
        _ => {
            let revision = rng.i64(revision * 9 / 10..=revision);
            Command::Compact(CompactionRequest { revision, physical: false })
        }
    }
}

/// What watchers would make of it.
fn follow(model: &mut Model, outcome: &Outcome) {
    for event in outcome.events.iter().flat_map(|batch| &batch.events) {
        let kv = to_wire(event.kv.clone());
        match event.kind {
            EventKind::Put => model.insert(kv.key.clone(), kv),
            EventKind::Delete => model.remove(&kv.key),
        };
    }
}

/// The state is what the events told, at this revision and in a range.
fn assert_is(query: &Query<&Batch<'static, Nothing>>, model: &Model, revision: i64, rng: &mut Rng) {
    let (a, b) = (key(rng), key(rng));
    for (key, range_end) in
        [(Bytes::from("\0"), Bytes::from("\0")), (a.clone().min(b.clone()), a.max(b))]
    {
        let range = KeyRange::new(key.clone(), range_end.clone());
        let wanted: Vec<_> = model.values().filter(|kv| range.contains(&kv.key)).cloned().collect();
        let count_only =
            RangeRequest { key, range_end, revision, count_only: true, ..Default::default() };
        let count = query.range(&count_only).unwrap().unwrap().count;
        assert_eq!(count, wanted.len() as i64, "{range:?} at {revision}");
        let all = RangeRequest { count_only: false, ..count_only };
        assert_eq!(query.range(&all).unwrap().unwrap().kvs, wanted, "{range:?} at {revision}");
    }
}

fn assert_leases_hold(query: &Query<&Batch<'static, Nothing>>, model: &Model) {
    let mut held: BTreeMap<LeaseId, Vec<Bytes>> = BTreeMap::new();
    for kv in model.values().filter(|kv| kv.lease != 0) {
        held.entry(kv.lease).or_default().push(kv.key.clone());
    }
    for (id, _) in query.leases() {
        assert_eq!(query.lease_keys(id).unwrap(), held.remove(&id).unwrap_or_default());
    }
    assert!(held.is_empty(), "keys on leases that are not there: {held:?}");
}

fn run(seed: u64, entries: u64) {
    let mut rng = Rng::with_seed(seed);
    let (mut one, mut two) = (Replica::new(), Replica::new());
    let mut models = BTreeMap::from([(1, Model::new())]);
    let mut model = Model::new();
    let mut keys_max = 0;
    for counter in 1..=entries {
        let before = one.machine.stamp();
        let request = RequestId { member: MemberId(1), nonce: seed, counter };
        let data = encode(&Envelope::new(request, command(&mut rng, before.revision)));
        let outcome = one.apply(&data);
        let same = two.apply(&data);
        assert_eq!(outcome.rows, same.rows, "seed {seed}, entry {counter}");
        assert_eq!((&outcome.result, outcome.stamp), (&same.result, same.stamp));
        two.machine.publish();
        if rng.u32(..20) == 0 {
            two.machine = Machine::load(&two.rows, same.stamp).unwrap();
        }
        follow(&mut model, &outcome);
        keys_max = keys_max.max(model.len());
        if counter % 17 == 0 {
            // Merged, and the caches are one entry behind.
            assert_is(&one.query(outcome.stamp), &model, 0, &mut rng);
        }
        one.machine.publish();
        if counter % 31 == 0 {
            models.insert(outcome.stamp.revision, model.clone());
            models = models.split_off(&outcome.stamp.compacted);
            // An older revision, and a view that is older than the caches.
            let old = *rng.choice(models.keys()).unwrap();
            assert_is(&one.query(outcome.stamp), &models[&old], old, &mut rng);
            let view = Stamp { revision: old, ..outcome.stamp };
            assert_is(&one.query(view), &models[&old], 0, &mut rng);
            assert_leases_hold(&one.query(outcome.stamp), &model);
        }
    }
    let hash = |member: &Replica| member.query(member.machine.stamp()).hash_kv(0).unwrap().unwrap();
    assert_eq!(hash(&one), hash(&two));
    let chunks_split = keys_max > limits::COUNT_CHUNK_KEYS_MAX as usize;
    assert!(
        chunks_split && one.machine.stamp().compacted > 0,
        "seed {seed} does too little: {keys_max} keys"
    );
}

#[test]
fn same_entries_make_the_same_rows_and_a_restart_changes_nothing() {
    for seed in 1..=2 {
        run(seed, 7_000);
    }
}

#[test]
fn over_a_real_store_with_checkpoints_the_rows_are_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let mut in_memory = Replica::new();
    let member = Member { id: 1, peer_ur_ls: vec!["http://a:1".into()], ..Member::default() };
    let (rows, stamp) = Machine::genesis(ClusterId(1), &[member]);
    let config = StoreConfig { map_bytes: 256 << 20, ..StoreConfig::default() };
    let store = Store::create(directory.path(), config, rows, stamp).unwrap();
    let mut machine = Machine::load(&store.view().unwrap(), stamp).unwrap();
    let mut rng = Rng::with_seed(5);
    for counter in 1..=1_500 {
        let revision = machine.stamp().revision;
        let data = encode(&Envelope::new(RequestId::default(), command(&mut rng, revision)));
        let wanted = in_memory.apply(&data);
        in_memory.machine.publish();
        let view = store.view().unwrap();
        let outcome = machine.apply(&view, wanted.index, 1, &data).unwrap();
        assert_eq!((&outcome.rows, &outcome.result), (&wanted.rows, &wanted.result));
        store.merge(outcome.rows, outcome.stamp, Moment::ZERO);
        machine.publish();
        if counter % 100 == 0
            && let Some(sealed) = store.seal()
        {
            store.checkpoint(sealed).unwrap();
        }
        if counter % 400 == 0 {
            machine = Machine::load(&store.view().unwrap(), store.stamp()).unwrap();
        }
    }
    let query = Query::of(store.view().unwrap(), machine.shared());
    let wanted = in_memory.query(in_memory.machine.stamp()).hash_kv(0).unwrap();
    assert_eq!(query.hash_kv(0).unwrap(), wanted);
}

#[test]
fn entries_come_in_order_and_are_published_one_by_one() {
    let mut member = Replica::new();
    assert!(member.machine.apply(&member.rows, 3, 1, &[]).is_err(), "2 is next");
    member.apply(&[]);
    assert!(member.machine.apply(&member.rows, 3, 1, &[]).is_err(), "2 is not published");
    member.machine.publish();
    member.apply(&[]);
}

#[test]
fn while_rows_are_exchanged_counts_are_walked() {
    let mut member = Replica::new();
    let count = |member: &Replica| {
        let all = Bytes::from("\0");
        let key = RangeRequest {
            key: all.clone(),
            range_end: all,
            count_only: true,
            ..Default::default()
        };
        member.query(member.machine.stamp()).range(&key).unwrap().unwrap().count
    };
    for at in 0..10 {
        let put = PutRequest { key: format!("k{at}").into(), ..PutRequest::default() };
        member.apply(&encode(&Envelope::new(RequestId::default(), Command::Put(put))));
        member.machine.publish();
    }
    let old = member.machine.shared();
    member.machine.suspend();
    // Another member's rows, as by a snapshot: the caches here know nothing of them yet.
    let mut other = Replica::new();
    other.apply(&[]);
    other.machine.publish();
    std::mem::swap(&mut member.rows, &mut other.rows);
    assert_eq!(count(&member), 0);
    member.machine.reload(&member.rows, other.machine.stamp()).unwrap();
    assert_eq!(count(&member), 0);
    assert_eq!(old.key_count(), 0, "whoever holds the caches sees the new ones");
    assert_eq!(old.stamp(), other.machine.stamp());
}
