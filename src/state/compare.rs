//! The compares of a transaction: which branch is taken, here and in every transaction inside.
//!
//! Promises: all compares are made against the state before the transaction, before anything is written.

use std::cmp::Ordering;

use super::range::Source;
use crate::base::{KeyRange, Sabotage};
use crate::mvcc::{End, KeyValue, RangeOptions};
use crate::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use crate::proto::etcdserverpb::request_op::Request;
use crate::proto::etcdserverpb::{Compare, RequestOp, TxnRequest};
use crate::storage::Fault;

/// Keys and values of a compared range held at one time, bytes.
const SLICE_BYTES: usize = 1 << 20;

/// Whether the compares hold, of the transaction and of those inside the taken branches, outermost first.
#[derive(Debug)]
pub(super) struct Path(Vec<bool>);

impl Path {
    pub(super) fn new<S: Source>(source: &S, txn: &TxnRequest) -> Result<Self, Fault> {
        let mut path = Self(Vec::new());
        path.walk(source, txn)?;
        Ok(path)
    }

    fn walk<S: Source>(&mut self, source: &S, txn: &TxnRequest) -> Result<(), Fault> {
        let mut succeeded = true;
        for compare in &txn.compare {
            succeeded = succeeded && holds(source, compare)?;
        }
        self.0.push(succeeded);
        for op in branch(txn, succeeded) {
            if let Some(Request::RequestTxn(inner)) = &op.request {
                self.walk(source, inner)?;
            }
        }
        Ok(())
    }

    /// To be followed in the order in which it was made.
    pub(super) fn follow(&self) -> impl Iterator<Item = bool> {
        self.0.iter().copied()
    }
}

/// The operations of the branch that is taken.
pub(super) fn branch(txn: &TxnRequest, succeeded: bool) -> &[RequestOp] {
    if succeeded { &txn.success } else { &txn.failure }
}

/// Every key of the range must satisfy it; without any key, a key of zeros stands for it, and a value never compares.
fn holds<S: Source>(source: &S, compare: &Compare) -> Result<bool, Fault> {
    let by_value = compare.target == CompareTarget::Value as i32;
    let stale = i64::from(Sabotage::TxnComparesStale.is_on());
    let reader = source.reader(source.current() - stale);
    let range = KeyRange::new(compare.key.clone(), compare.range_end.clone());
    let options = RangeOptions {
        keys_only: !by_value,
        bytes_max: Some(SLICE_BYTES),
        ..RangeOptions::default()
    };
    let mut rest = range.clone();
    let mut is_empty = true;
    loop {
        let slice = reader.range(&rest, options)?;
        is_empty = is_empty && slice.kvs.is_empty();
        if !slice.kvs.iter().all(|kv| kv_holds(compare, kv)) {
            return Ok(false);
        }
        match slice.end {
            End::Budget(key) | End::Limit(key) => rest = super::range::from(&range, key),
            End::Complete if is_empty => {
                return Ok(!by_value && kv_holds(compare, &KeyValue::default()));
            }
            End::Complete => return Ok(true),
        }
    }
}

/// A union that is not of the target counts as zero, an unknown target as equal, an unknown result as true.
fn kv_holds(compare: &Compare, kv: &KeyValue) -> bool {
    use TargetUnion as Union;
    let number = |wanted: Option<i64>, found: i64| found.cmp(&wanted.unwrap_or(0));
    let union = compare.target_union.as_ref();
    let order = match CompareTarget::try_from(compare.target) {
        Ok(CompareTarget::Version) => number(
            union.and_then(|union| if let Union::Version(n) = union { Some(*n) } else { None }),
            kv.version,
        ),
        Ok(CompareTarget::Create) => number(
            union.and_then(|u| if let Union::CreateRevision(n) = u { Some(*n) } else { None }),
            kv.create_revision,
        ),
        Ok(CompareTarget::Mod) => number(
            union.and_then(|u| if let Union::ModRevision(n) = u { Some(*n) } else { None }),
            kv.mod_revision,
        ),
        Ok(CompareTarget::Lease) => number(
            union.and_then(|union| if let Union::Lease(n) = union { Some(*n) } else { None }),
            kv.lease,
        ),
        Ok(CompareTarget::Value) => match union {
            Some(Union::Value(wanted)) => kv.value.cmp(wanted),
            _ => kv.value.as_ref().cmp(&[]),
        },
        Err(_) => Ordering::Equal,
    };
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => order.is_eq(),
        Ok(CompareResult::Greater) => order.is_gt(),
        Ok(CompareResult::Less) => order.is_lt(),
        Ok(CompareResult::NotEqual) => order.is_ne(),
        Err(_) => true,
    }
}
