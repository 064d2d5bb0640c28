//! What clients ask for. Requests are well formed (the front door refuses others before the engine); what apply
//! refuses is among them.

use bytes::Bytes;
use quorate::proto::etcdserverpb::alarm_request::AlarmAction;
use quorate::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use quorate::proto::etcdserverpb::request_op::Request;
use quorate::proto::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmType, CompactionRequest, Compare, DeleteRangeRequest,
    LeaseGrantRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};
use quorate::proto::quorate::log::LeaseRevoke;
use quorate::state::{Command, check};

use crate::dice::Dice;
use crate::model::Model;

/// One operation of a client.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Command(Command),
    /// Behind a read barrier, unless it is serializable.
    Range(RangeRequest),
    ReadTxn(TxnRequest),
    KeepAlive(i64),
    /// Of the v2 tree, behind a barrier likewise.
    Tree(TreeRead),
}

/// A listing of the v2 tree.
#[derive(Clone, Debug)]
pub(crate) struct TreeRead {
    pub(crate) path: String,
    pub(crate) recursive: bool,
    pub(crate) serializable: bool,
}

#[derive(Debug)]
pub(crate) struct Workload {
    values: u64,
    next_lease: i64,
    keys: usize,
    /// Longest lease, seconds.
    ttl_max: u64,
    kinds: Vec<(u32, Kind)>,
    /// Longest of the usual values, bytes; and of a thousand, those that are much longer.
    value_bytes_max: u64,
    long_values: u32,
    /// How far behind the newest revision a compaction goes, at the most.
    compaction_back: u64,
}

const KINDS: &[(u32, Kind)] = &[
    (8, Kind::Delete),
    (14, Kind::Txn),
    (15, Kind::Range),
    (6, Kind::Serializable),
    (3, Kind::ReadTxn),
    (4, Kind::Grant),
    (1, Kind::Revoke),
    (8, Kind::KeepAlive),
    (3, Kind::Compact),
    (1, Kind::Alarm),
];

/// Of a thousand worlds, those that do without one kind of operation.
const LEFT_OUT: u32 = 120;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Put,
    Delete,
    Txn,
    Range,
    Serializable,
    ReadTxn,
    Grant,
    Revoke,
    KeepAlive,
    Compact,
    Alarm,
}

impl Workload {
    pub(crate) fn new(ttl_max: u64, dice: &mut Dice) -> Self {
        let mut kinds = dice.swarm(KINDS, LEFT_OUT);
        // Every world writes.
        kinds.push((80, Kind::Put));
        Self {
            values: 0,
            next_lease: 1,
            keys: [3, 10, 30, 60][dice.below(4)],
            ttl_max,
            kinds,
            value_bytes_max: [20, 150, 150, 600][dice.below(4)],
            long_values: [0, 22, 22, 60][dice.below(4)],
            compaction_back: [3, 60, 60, 400][dice.below(4)],
        }
    }

    pub(crate) fn draw(&mut self, model: &Model, dice: &mut Dice) -> Op {
        // What is raised is soon lowered: an alarm stops most of the work.
        if let Some(raised) = model.alarms.first()
            && dice.in_thousand(150)
        {
            return lower(raised);
        }
        let kind = dice.weighted(&self.kinds);
        match kind {
            Kind::Put => Op::Command(Command::Put(self.put(model, dice))),
            Kind::Delete => Op::Command(Command::DeleteRange(self.delete(dice))),
            Kind::Txn => self.txn(model, dice),
            Kind::Range => Op::Range(self.range(model, dice)),
            Kind::Serializable => {
                Op::Range(RangeRequest { serializable: true, ..self.range(model, dice) })
            }
            Kind::ReadTxn => self.read_txn(model, dice),
            Kind::Grant => {
                // An id that was used before may come again.
                let id = match dice.in_thousand(200) {
                    true => dice.between(1, self.next_lease as u64) as i64,
                    false => self.next_lease,
                };
                self.next_lease = self.next_lease.max(id + 1);
                let ttl = dice.between(1, self.ttl_max) as i64;
                Op::Command(Command::LeaseGrant(LeaseGrantRequest { id, ttl }))
            }
            Kind::Revoke => {
                let ids = vec![self.lease(model, dice)];
                Op::Command(Command::LeaseRevoke(LeaseRevoke { ids, as_of: 0 }))
            }
            Kind::KeepAlive => Op::KeepAlive(self.lease(model, dice)),
            Kind::Compact => {
                let back = dice.between(0, self.compaction_back) as i64 - 2;
                let revision = (model.revision - back).max(0);
                let request = CompactionRequest { revision, physical: false };
                Op::Command(Command::Compact(request))
            }
            Kind::Alarm if dice.in_thousand(300) => {
                let alarm = [AlarmType::Nospace, AlarmType::Corrupt][dice.below(2)] as i32;
                // 0 is nobody.
                let (action, member_id) = (AlarmAction::Activate as i32, dice.between(0, 2));
                Op::Command(Command::Alarm(AlarmRequest { action, member_id, alarm }))
            }
            Kind::Alarm => self.read_txn(model, dice),
        }
    }

    /// A living lease mostly; sometimes one that is gone or never was.
    fn lease(&self, model: &Model, dice: &mut Dice) -> i64 {
        let living: Vec<i64> = model.leases.keys().copied().collect();
        match dice.pick(&living) {
            Some(&id) if !dice.in_thousand(100) => id,
            _ => dice.between(1, self.next_lease as u64 + 1) as i64,
        }
    }

    fn key(&self, dice: &mut Dice) -> Bytes {
        Bytes::from(format!("k/{:02}", dice.below(self.keys)))
    }

    /// A key, a span, everything from a key on, or all.
    fn key_range(&self, dice: &mut Dice) -> (Bytes, Bytes) {
        let all = Bytes::from_static(b"\0");
        match dice.below(8) {
            0..=3 => (self.key(dice), Bytes::new()),
            4 | 5 => (self.key(dice), self.key(dice)),
            6 => (self.key(dice), all),
            _ => (all.clone(), all),
        }
    }

    fn value(&mut self, dice: &mut Dice) -> Bytes {
        self.values += 1;
        let length = match dice.in_thousand(self.long_values) {
            true if dice.in_thousand(100) => dice.between(60_000, 140_000),
            true => dice.between(1_000, 10_000),
            false => dice.between(0, self.value_bytes_max),
        };
        let mut value = format!("v{}", self.values).into_bytes();
        value.resize(value.len() + length as usize, b'.');
        Bytes::from(value)
    }

    fn put(&mut self, model: &Model, dice: &mut Dice) -> PutRequest {
        let mut put = PutRequest {
            key: self.key(dice),
            value: self.value(dice),
            prev_kv: dice.in_thousand(300),
            ..PutRequest::default()
        };
        if dice.in_thousand(60) {
            (put.ignore_value, put.value) = (true, Bytes::new());
        }
        if dice.in_thousand(60) {
            put.ignore_lease = true;
        } else if dice.in_thousand(200) {
            put.lease = self.lease(model, dice);
        }
        put
    }

    fn delete(&self, dice: &mut Dice) -> DeleteRangeRequest {
        let (key, range_end) = match dice.below(10) {
            0 => self.key_range(dice),
            1 | 2 => (self.key(dice), self.key(dice)),
            _ => (self.key(dice), Bytes::new()),
        };
        DeleteRangeRequest { key, range_end, prev_kv: dice.in_thousand(300) }
    }

    pub(crate) fn range(&self, model: &Model, dice: &mut Dice) -> RangeRequest {
        let (key, range_end) = self.key_range(dice);
        let mut range = RangeRequest { key, range_end, ..RangeRequest::default() };
        let some_revision = |dice: &mut Dice| dice.between(1, model.revision as u64 + 1) as i64;
        match dice.below(10) {
            0 | 1 => range.limit = dice.between(1, 8) as i64,
            2 => range.count_only = true,
            3 => range.keys_only = true,
            4 => {
                range.sort_order = dice.below(3) as i32;
                range.sort_target = dice.below(5) as i32;
                range.limit = dice.between(0, 6) as i64;
            }
            5 => range.min_mod_revision = some_revision(dice),
            6 => range.max_create_revision = some_revision(dice),
            _ => {}
        }
        if dice.in_thousand(250) {
            let back = dice.between(0, 80) as i64;
            range.revision = (model.revision + 1 - back).max(0);
        }
        range
    }

    fn compare(&mut self, model: &Model, dice: &mut Dice) -> Compare {
        let key = self.key(dice);
        let range_end = if dice.in_thousand(100) { self.key(dice) } else { Bytes::new() };
        let near = dice.between(0, model.revision as u64) as i64;
        let (target, union) = match dice.below(5) {
            0 => (CompareTarget::Version, TargetUnion::Version(dice.between(0, 3) as i64)),
            1 => (CompareTarget::Create, TargetUnion::CreateRevision(near)),
            2 => (CompareTarget::Mod, TargetUnion::ModRevision(near)),
            3 => (CompareTarget::Value, TargetUnion::Value(Bytes::from(format!("v{near}")))),
            _ => (CompareTarget::Lease, TargetUnion::Lease(dice.between(0, 3) as i64)),
        };
        let result = [
            CompareResult::Equal,
            CompareResult::Greater,
            CompareResult::Less,
            CompareResult::NotEqual,
        ][dice.below(4)];
        Compare {
            result: result as i32,
            target: target as i32,
            key,
            range_end,
            target_union: Some(union),
        }
    }

    fn branch(&mut self, model: &Model, depth: u32, dice: &mut Dice) -> Vec<RequestOp> {
        let count = dice.below(4);
        let op = |request| RequestOp { request: Some(request) };
        (0..count)
            .map(|_| match dice.below(10) {
                0..=4 => op(Request::RequestPut(self.put(model, dice))),
                5 => op(Request::RequestDeleteRange(self.delete(dice))),
                6 if depth > 0 => op(Request::RequestTxn(self.txn_request(model, depth - 1, dice))),
                _ => {
                    let mut range = self.range(model, dice);
                    if dice.in_thousand(30) {
                        range.revision = -1;
                    }
                    op(Request::RequestRange(range))
                }
            })
            .collect()
    }

    fn txn_request(&mut self, model: &Model, depth: u32, dice: &mut Dice) -> TxnRequest {
        let compares = dice.below(3);
        TxnRequest {
            compare: (0..compares).map(|_| self.compare(model, dice)).collect(),
            success: self.branch(model, depth, dice),
            failure: self.branch(model, depth, dice),
        }
    }

    fn txn(&mut self, model: &Model, dice: &mut Dice) -> Op {
        let txn = self.txn_request(model, 2, dice);
        if check::txn(&txn, quorate::base::limits::TXN_OPS_MAX).is_err()
            || check::is_read_only(&txn)
        {
            return Op::Command(Command::Put(self.put(model, dice)));
        }
        Op::Command(Command::Txn(txn))
    }

    fn read_txn(&mut self, model: &Model, dice: &mut Dice) -> Op {
        let range = |workload: &Self, dice: &mut Dice| {
            let revision = -i64::from(dice.in_thousand(100));
            let range = RangeRequest { revision, ..workload.range(model, dice) };
            RequestOp { request: Some(Request::RequestRange(range)) }
        };
        Op::ReadTxn(TxnRequest {
            compare: vec![self.compare(model, dice)],
            success: (0..2).map(|_| range(self, dice)).collect(),
            failure: vec![range(self, dice)],
        })
    }
}

/// The alarm is over.
pub(crate) fn lower(raised: AlarmMember) -> Op {
    let AlarmMember { member_id, alarm } = raised;
    let action = AlarmAction::Deactivate as i32;
    Op::Command(Command::Alarm(AlarmRequest { action, member_id, alarm }))
}
