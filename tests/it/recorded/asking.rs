//! One client's operations: what it draws, and how a member's answer becomes a note.
//!
//! Every command is unique in its bytes, so that the committed log tells whose it is: values are numbered, and a
//! deletion's end is (no key lies between a key and that key with a zero byte and anything behind it).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use quorate::client::{Client, Error, Retry};
use quorate::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use quorate::proto::etcdserverpb::request_op::Request;
use quorate::proto::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest,
    PutRequest, RangeRequest, RequestOp, ResponseHeader, TxnRequest,
};
use quorate::proto::quorate::log::LeaseRevoke;
use quorate::state::{Command, Rejection, Reply};

use super::recorder::{Answer, Recorder};
use crate::dice::Dice;
use crate::workload::Op;

/// Keys that everybody fights for.
const KEYS: usize = 10;

/// Between two operations of one client: what is wanted is concurrency, not a large log.
const REST_MS: (u64, u64) = (1, 8);

/// Revisions of history that compaction leaves.
const HISTORY_KEPT: i64 = 60;

/// Everything that this workload writes.
pub(super) const PREFIX: &str = "k/";

/// What apply may answer to the operations below.
const REJECTIONS: [Rejection; 6] = [
    Rejection::Compacted,
    Rejection::FutureRev,
    Rejection::NoSpace,
    Rejection::LeaseNotFound,
    Rejection::LeaseExist,
    Rejection::KeyNotFound,
];

/// One of the clients.
pub(super) struct Asker {
    pub number: u64,
    pub client: Client,
    pub recorder: Arc<Recorder>,
    pub dice: Dice,
    count: i64,
    leases: Vec<i64>,
    /// The last modification of some key that it has seen.
    seen: (Bytes, i64),
}

impl Asker {
    pub(super) fn new(number: u64, client: Client, recorder: Arc<Recorder>, dice: Dice) -> Self {
        let seen = (key(0), 0);
        Self { number, client, recorder, dice, count: 0, leases: Vec::new(), seen }
    }

    pub(super) async fn run(mut self, running: Arc<AtomicBool>) {
        while running.load(Ordering::Relaxed) {
            let op = self.draw();
            let answer = ask(&self.recorder, &self.client, op).await;
            self.learn(&answer);
            let rest = self.dice.between(REST_MS.0, REST_MS.1);
            tokio::time::sleep(Duration::from_millis(rest)).await;
        }
    }

    fn learn(&mut self, answer: &Answer) {
        match answer {
            Answer::Range(range) => {
                if let Some(kv) = range.kvs.first() {
                    self.seen = (kv.key.clone(), kv.mod_revision);
                }
            }
            Answer::Reply { reply: Reply::LeaseGrant(grant), .. } => self.leases.push(grant.id),
            Answer::KeptAlive { ttl_s: 0, .. } | Answer::Rejected(Rejection::LeaseNotFound) => {
                self.leases.clear();
            }
            _ => {}
        }
    }

    fn draw(&mut self) -> Op {
        let drawn = self.dice.below(100);
        match drawn {
            0..=37 => Op::Command(Command::Put(self.put())),
            38..=49 => self.swap(),
            50..=57 => Op::Command(Command::DeleteRange(self.delete())),
            58..=76 => Op::Range(self.range()),
            77..=84 => Op::Range(RangeRequest { serializable: true, ..self.range() }),
            85..=87 => {
                let behind = self.dice.between(0, 100) as i64;
                let revision = (self.recorder.revision() - behind).max(1);
                Op::Range(RangeRequest { revision, ..self.range() })
            }
            88..=90 => Op::ReadTxn(TxnRequest {
                compare: vec![self.unchanged()],
                success: vec![wrap(Request::RequestRange(self.range()))],
                failure: vec![wrap(Request::RequestRange(self.range()))],
            }),
            91 | 92 => self.grant(),
            93 => match self.leases.pop() {
                Some(id) => {
                    Op::Command(Command::LeaseRevoke(LeaseRevoke { ids: vec![id], as_of: 0 }))
                }
                None => self.grant(),
            },
            94..=97 => match self.leases.last() {
                Some(&id) => Op::KeepAlive(id),
                None => self.grant(),
            },
            _ if self.number == 0 => self.compact(),
            _ => Op::Range(self.range()),
        }
    }

    fn key(&mut self) -> Bytes {
        key(self.dice.below(KEYS))
    }

    fn next(&mut self) -> i64 {
        self.count += 1;
        self.count
    }

    fn unique(&mut self) -> String {
        let count = self.next();
        format!("{}-{count}", self.number)
    }

    fn put(&mut self) -> PutRequest {
        let mut value = self.unique().into_bytes();
        let filling = match self.dice.below(60) {
            0 => self.dice.between(4_000, 40_000),
            _ => self.dice.between(0, 200),
        };
        value.push(b' ');
        value.resize(value.len() + filling as usize, b'.');
        let lease = match self.dice.below(5) {
            0 => self.leases.last().copied().unwrap_or(0),
            _ => 0,
        };
        let prev_kv = self.dice.in_thousand(300);
        PutRequest { key: self.key(), value: value.into(), lease, prev_kv, ..PutRequest::default() }
    }

    fn delete(&mut self) -> DeleteRangeRequest {
        let key = self.key();
        let range_end = [key.as_ref(), b"\0", self.unique().as_bytes()].concat().into();
        DeleteRangeRequest { key, range_end, prev_kv: self.dice.in_thousand(300) }
    }

    /// A key, or all.
    fn range(&mut self) -> RangeRequest {
        match self.dice.below(3) {
            0 => everything(),
            _ => RangeRequest { key: self.key(), ..RangeRequest::default() },
        }
    }

    fn unchanged(&self) -> Compare {
        let (key, revision) = self.seen.clone();
        Compare {
            key,
            target: CompareTarget::Mod as i32,
            result: CompareResult::Equal as i32,
            target_union: Some(TargetUnion::ModRevision(revision)),
            ..Compare::default()
        }
    }

    /// Compare and swap of what it saw last, and what is there if somebody was quicker.
    fn swap(&mut self) -> Op {
        let compare = self.unchanged();
        let put = PutRequest { key: compare.key.clone(), ..self.put() };
        let range = RangeRequest { key: compare.key.clone(), ..RangeRequest::default() };
        Op::Command(Command::Txn(TxnRequest {
            compare: vec![compare],
            success: vec![wrap(Request::RequestPut(put))],
            failure: vec![wrap(Request::RequestRange(range))],
        }))
    }

    fn grant(&mut self) -> Op {
        let id = (self.number as i64 + 1) * 1_000_000 + self.next();
        let ttl = self.dice.between(2, 6) as i64;
        Op::Command(Command::LeaseGrant(LeaseGrantRequest { id, ttl }))
    }

    /// Only one of the clients: a revision is compacted by one command.
    fn compact(&mut self) -> Op {
        let revision = self.recorder.revision() - HISTORY_KEPT;
        if revision <= self.recorder.compacted.fetch_max(revision.max(1), Ordering::Relaxed) {
            return Op::Range(self.range());
        }
        Op::Command(Command::Compact(CompactionRequest { revision, physical: false }))
    }
}

pub(super) fn everything() -> RangeRequest {
    let range_end = quorate::client::prefix_end(PREFIX.as_bytes());
    RangeRequest { key: PREFIX.into(), range_end, ..RangeRequest::default() }
}

fn key(number: usize) -> Bytes {
    Bytes::from(format!("{PREFIX}{number:02}"))
}

fn wrap(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

/// Asks, writes down what came back, and returns it.
pub(super) async fn ask(recorder: &Recorder, client: &Client, op: Op) -> Answer {
    let operation = recorder.invoked(op.clone());
    let is_command = matches!(op, Op::Command(_));
    let answer = match send(client, op).await {
        Ok(answer) => answer,
        Err(error) => refused(&error, is_command),
    };
    recorder.returned(operation, answer.clone());
    answer
}

async fn send(client: &Client, op: Op) -> Result<Answer, Error> {
    macro_rules! command {
        ($request:expr, $reply:path) => {{
            let mut response = client.send($request).await?;
            let revision = bare(&mut response.header);
            Answer::Reply { reply: $reply(response), revision }
        }};
    }
    Ok(match op {
        Op::Command(Command::Put(request)) => command!(request, Reply::Put),
        Op::Command(Command::DeleteRange(request)) => command!(request, Reply::DeleteRange),
        Op::Command(Command::Txn(request)) => command!(request, Reply::Txn),
        Op::Command(Command::Compact(request)) => command!(request, Reply::Compact),
        Op::Command(Command::LeaseGrant(request)) => command!(request, Reply::LeaseGrant),
        Op::Command(Command::LeaseRevoke(request)) => {
            command!(LeaseRevokeRequest { id: request.ids[0] }, Reply::LeaseRevoke)
        }
        Op::Command(other) => unreachable!("nobody draws {other:?}"),
        Op::Range(request) => {
            let mut response = client.send(request).await?;
            bare(&mut response.header);
            Answer::Range(response)
        }
        Op::ReadTxn(request) => {
            let mut response = client.send(request).await?;
            bare(&mut response.header);
            Answer::Txn(response)
        }
        Op::KeepAlive(id) => {
            let response = client.lease_renew(id).await?;
            let term = response.header.map_or(0, |header| header.raft_term);
            Answer::KeptAlive { ttl_s: response.ttl, term }
        }
        Op::Tree(_) => unreachable!("our own protocol has no v2 tree"),
    })
}

/// Leaves the revision alone, and returns it.
fn bare(header: &mut Option<ResponseHeader>) -> i64 {
    let revision = header.as_ref().map_or(0, |header| header.revision);
    *header = Some(ResponseHeader { revision, ..ResponseHeader::default() });
    revision
}

fn refused(error: &Error, is_command: bool) -> Answer {
    let text = error.text();
    let rejection = REJECTIONS.into_iter().find(|rejection| rejection.to_string() == text);
    match (rejection, error.retry()) {
        (Some(rejection), _) => Answer::Rejected(rejection),
        (None, Retry::NotProposed) => Answer::NotProposed,
        (None, Retry::Ambiguous) => Answer::Ambiguous,
        // A read that failed says nothing.
        (None, Retry::Never) if !is_command => Answer::Ambiguous,
        (None, Retry::Never) => panic!("nobody expects this answer: {error}"),
    }
}
