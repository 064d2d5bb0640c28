//! Reads: one barrier for a batch, then the reader pool, in slices so that no read holds a view or a thread for long.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;

use super::downgrade;
use super::service::Member;
use crate::api::status;
use crate::base::Moment;
use crate::engine::LongJob;
use crate::proto::etcdserverpb::{self as pb, request_op::Request};
use crate::proto::{Outcome, Reply, Status};
use crate::state::{Budget, ContentRun, HashRun, Query, RangeRun, Rejection};

/// The first slice of a Range, which most are answered by.
const QUICK_SLICE: Budget = Budget { bytes_max: 16 * 1024, visits_max: 500 };
/// A further one: about what 2 ms of a reader thread buy.
const SLICE: Budget = Budget { bytes_max: 256 * 1024, visits_max: 10_000 };
/// The same for HashKV and Hash, rows.
const HASH_ROWS: usize = 10_000;
/// After this the rest of a batch goes behind the others that wait for a reader.
const TURN: Duration = Duration::from_millis(1);

/// What is read.
pub(super) enum Read {
    Range(Box<RangeRun>),
    /// Of ranges alone.
    Txn(pb::TxnRequest),
    Leases,
    Members,
    Alarms(pb::AlarmType),
    Status,
    /// That no downgrade is under way.
    Downgrade,
    HashKv(Box<HashRun>),
    Hash(Box<ContentRun>),
}

impl Read {
    pub(super) fn range(request: pb::RangeRequest) -> Self {
        Self::Range(Box::new(RangeRun::new(request)))
    }

    pub(super) fn hash() -> Self {
        Self::Hash(Box::default())
    }

    pub(super) fn hash_kv(revision: i64) -> Self {
        Self::HashKv(Box::new(HashRun::new(revision)))
    }
}

/// A read and its way back. Dropped unread, it says that there was no room.
pub(super) struct ReadCall {
    read: Read,
    came: Moment,
    reply: Option<Reply>,
}

impl ReadCall {
    pub(super) fn new(read: Read, came: Moment, reply: Reply) -> Self {
        Self { read, came, reply: Some(reply) }
    }

    /// How long a Range took, as far as this member has to do with it.
    fn measure(&self, member: &Member, now: Moment, is_ok: bool) {
        if matches!(self.read, Read::Range(_)) {
            let meters = member.handle.meters();
            let times = if is_ok { &meters.range_times } else { &meters.failed_range_times };
            times.observe(now.since(self.came));
        }
    }

    /// It is known from the beginning that it may take long, and comes in no slices.
    fn is_long(&self) -> bool {
        match &self.read {
            Read::HashKv(_) | Read::Hash(_) | Read::Leases => true,
            Read::Range(run) => run.counts_the_past(),
            Read::Txn(request) => reads_ranges(request),
            _ => false,
        }
    }

    fn is_wanted(&self) -> bool {
        self.reply.as_ref().is_some_and(Reply::is_wanted)
    }

    fn answer(&mut self, outcome: Outcome) {
        if let Some(reply) = self.reply.take() {
            reply.send(outcome);
        }
    }
}

impl Drop for ReadCall {
    fn drop(&mut self) {
        self.answer(Err(status::no_room()));
    }
}

fn reads_ranges(txn: &pb::TxnRequest) -> bool {
    let is_range = |op: &pb::RequestOp| match &op.request {
        Some(Request::RequestRange(range)) => !range.range_end.is_empty(),
        _ => false,
    };
    txn.compare.iter().any(|compare| !compare.range_end.is_empty())
        || txn.success.iter().chain(&txn.failure).any(is_range)
}

/// What this member has now.
pub(super) fn at_once(member: &Member, asked: Asked, calls: Vec<ReadCall>) {
    if !calls.is_empty() {
        enqueue(member, asked, calls.into());
    }
}

/// What the cluster has now: the barrier is shared by the batch.
pub(super) fn behind_barrier(
    member: &Member,
    asked: Asked,
    calls: Vec<ReadCall>,
    deadline: Moment,
) {
    if calls.is_empty() {
        return;
    }
    let reading = member.clone();
    member.handle.barrier(
        deadline,
        Box::new(move |passed| match passed {
            Ok(()) => enqueue(&reading, asked, calls.into()),
            Err(error) => {
                for mut call in calls {
                    call.answer(Err(status::of_error(&error)));
                }
            }
        }),
    );
}

fn enqueue(member: &Member, asked: Asked, calls: VecDeque<ReadCall>) {
    let reading = member.clone();
    // Without room the calls are dropped, and say so.
    member.handle.read(Box::new(move || turn(&reading, asked, calls)));
}

/// Whether somebody asked, or whoever.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Asked {
    /// The service that knows users found out whom.
    BySomebody,
    /// Nobody was asked for a user.
    ByAnybody,
}

impl Asked {
    /// Users may be asked for since it came: then what is seen now is not for it.
    pub(super) fn look(self, member: &Member) -> Result<(), Status> {
        match self == Self::ByAnybody && member.handle.auth().is_enabled() {
            true => Err(status::of_rejection(Rejection::UserEmpty)),
            false => Ok(()),
        }
    }
}

/// One turn of a reader thread on one view; what has not begun waits for another turn, and what is long goes on behind
/// everything short, each with a fresh view.
fn turn(member: &Member, asked: Asked, mut calls: VecDeque<ReadCall>) {
    let query = member.handle.query().map_err(|fault| status::of_fault(&fault));
    // Behind the view, which is then one of before.
    let query = match query.and_then(|query| asked.look(member).map(|()| query)) {
        Ok(query) => query,
        Err(status) => {
            for mut call in calls {
                call.answer(Err(status.clone()));
            }
            return;
        }
    };
    let clock = member.handle.clock();
    let began = clock.now();
    let mut now = began;
    let term = member.handle.raft().term;
    while let Some(mut call) = calls.pop_front() {
        let quick = if call.is_long() {
            None
        } else {
            read(member, &query, term, &mut call.read, QUICK_SLICE)
        };
        match quick {
            Some(outcome) => {
                call.measure(member, now, outcome.is_ok());
                call.answer(outcome);
            }
            None => {
                let reading = member.clone();
                // Without room the call is dropped, and says so.
                member.handle.read_long(LongJob::new(move || go_on(reading, asked, call)));
            }
        }
        now = clock.now();
        if !calls.is_empty() && now.since(began) >= TURN {
            drop(query);
            return enqueue(member, asked, calls);
        }
    }
}

/// One slice of a long read.
fn go_on(member: Member, asked: Asked, mut call: ReadCall) -> Option<LongJob> {
    if !call.is_wanted() {
        return None;
    }
    let query = member.handle.query().map_err(|fault| status::of_fault(&fault));
    let query = query.and_then(|query| asked.look(&member).map(|()| query));
    let outcome = match query {
        Ok(query) => read(&member, &query, member.handle.raft().term, &mut call.read, SLICE),
        Err(status) => Some(Err(status)),
    };
    let Some(outcome) = outcome else {
        return Some(LongJob::new(move || go_on(member, asked, call)));
    };
    call.measure(&member, member.handle.clock().now(), outcome.is_ok());
    call.answer(outcome);
    None
}

/// The answer, or none when there is more to read.
fn read(
    member: &Member,
    query: &Query,
    term: u64,
    read: &mut Read,
    slice: Budget,
) -> Option<Outcome> {
    let header = member.header;
    match read {
        Read::Range(run) => match query.range_slice(run, slice) {
            Ok(Ok(None)) => None,
            Ok(Ok(Some(mut response))) => {
                member.handle.meters().ranges.increment();
                response.header = header.complete(response.header.take(), query.revision(), term);
                Some(Ok(encoded(&response)))
            }
            Ok(Err(rejection)) => Some(Err(status::of_rejection(rejection))),
            Err(fault) => Some(Err(status::of_fault(&fault))),
        },
        Read::Txn(request) => Some(match query.txn(request) {
            Ok(Ok(mut response)) => {
                response.header = header.complete(response.header.take(), query.revision(), term);
                Ok(encoded(&response))
            }
            Ok(Err(rejection)) => Err(status::of_rejection(rejection)),
            Err(fault) => Err(status::of_fault(&fault)),
        }),
        Read::Leases => {
            let leases = query.leases().into_iter().map(|(id, _)| pb::LeaseStatus { id }).collect();
            let header = header.at(query.revision(), term);
            Some(Ok(encoded(&pb::LeaseLeasesResponse { header, leases })))
        }
        Read::Members => {
            let members = query.members().list();
            let header = header.of_cluster(term);
            Some(Ok(encoded(&pb::MemberListResponse { header, members })))
        }
        Read::Alarms(wanted) => {
            let alarms = query.alarms().list(*wanted);
            let header = header.at(query.revision(), term);
            Some(Ok(encoded(&pb::AlarmResponse { header, alarms })))
        }
        Read::Status => Some(status_of(member, query)),
        Read::Downgrade => {
            let version = downgrade::cluster_version(&member.config.version).to_owned();
            let header = header.at(query.revision(), term);
            Some(Ok(encoded(&pb::DowngradeResponse { header, version })))
        }
        Read::HashKv(run) => match query.hash_slice(run, HASH_ROWS) {
            Ok(Ok(None)) => None,
            Ok(Ok(Some(hash))) => Some(Ok(encoded(&pb::HashKvResponse {
                header: header.at(query.revision(), term),
                hash: hash.hash,
                compact_revision: hash.compact_revision,
                hash_revision: hash.hash_revision,
            }))),
            Ok(Err(rejection)) => Some(Err(status::of_rejection(rejection))),
            Err(fault) => Some(Err(status::of_fault(&fault))),
        },
        Read::Hash(run) => match query.content_slice(run, HASH_ROWS) {
            Ok(None) => None,
            Ok(Some(hash)) => {
                let header = header.at(query.revision(), term);
                Some(Ok(encoded(&pb::HashResponse { header, hash })))
            }
            Err(fault) => Some(Err(status::of_fault(&fault))),
        },
    }
}

/// What this member says of itself, with or without a leader.
fn status_of(member: &Member, query: &Query) -> Outcome {
    let status = member.handle.status().map_err(|fault| status::of_fault(&fault))?;
    let raft = &status.raft;
    let mut errors = Vec::new();
    if raft.leader.is_none() {
        errors.push("etcdserver: no leader".to_owned());
    }
    for alarm in query.alarms().list(pb::AlarmType::None) {
        let kind = alarm.alarm().as_str_name();
        errors.push(format!("memberID:{} alarm:{kind} ", alarm.member_id));
    }
    errors.extend(status.fault.clone());
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    Ok(encoded(&pb::StatusResponse {
        header: member.header.at(query.revision(), raft.term),
        version: member.config.version.clone(),
        db_size: bytes(status.db_bytes),
        leader: raft.leader.map_or(0, |leader| leader.0),
        raft_index: raft.commit,
        raft_term: raft.term,
        raft_applied_index: status.applied,
        errors,
        db_size_in_use: bytes(status.db_bytes_in_use),
        is_learner: raft.is_learner,
        storage_version: member.config.version.clone(),
        db_size_quota: bytes(member.quota.limit()),
        downgrade_info: Some(pb::DowngradeInfo::default()),
    }))
}

fn encoded(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}
