//! The service: what each method becomes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::sync::Semaphore;

use super::events::Memo;
use super::header::Header;
use super::reads::{Asked, Read, ReadCall};
use super::writes::Terms;
use super::{cluster, downgrade, leases, maintenance, reads, snapshot, watches, writes};
use crate::api::quota::Quota;
use crate::api::status;
use crate::base::{ClusterId, MemberId, Moment, limits};
use crate::engine::Handle;
use crate::proto::etcdserverpb as pb;
use crate::proto::{Admitted, Call, Caller, Code, Duplex, Item, Method, Retry, Service, Status};
use crate::state::Asker;

/// Snapshots on their way to clients at the same time: each holds a copy of the database.
const SNAPSHOTS_MAX: usize = 2;

/// The version of etcd whose API is served.
pub(in crate::api) const API_VERSION: &str = "3.6.0";

/// Election timeouts without a leader after which streams that require one end (etcd's).
const LEADERLESS_MAX: u32 = 3;

/// Who answers, and with which bounds.
#[derive(Clone, Debug)]
pub struct Config {
    pub cluster: ClusterId,
    pub member: MemberId,
    /// Longest time for one request (etcd's 5 s and two election timeouts); a caller's own deadline may be shorter.
    pub request_timeout: Duration,
    /// Three of them without a leader end the streams that require one.
    pub election_timeout: Duration,
    /// Bytes this member may use; 0 is no quota.
    pub quota_bytes: u64,
    /// Operations in one branch, or compares, of a transaction.
    pub txn_ops_max: usize,
    /// Learners that the cluster may have when this member adds one.
    pub learners_max: u32,
    /// Shorter leases are made this long, seconds.
    pub lease_ttl_s_min: i64,
    /// What Status says: the version of etcd whose API this is, because clients decide by it what they may ask.
    pub version: String,
    /// Watch responses are cut at so many bytes for those who asked for fragments.
    pub fragment_bytes: usize,
}

impl Config {
    pub fn new(cluster: ClusterId, member: MemberId) -> Self {
        Self {
            cluster,
            member,
            request_timeout: Duration::from_secs(7),
            election_timeout: Duration::from_secs(1),
            quota_bytes: limits::QUOTA_BYTES_DEFAULT,
            txn_ops_max: limits::TXN_OPS_MAX,
            learners_max: 1,
            lease_ttl_s_min: 2,
            version: API_VERSION.to_owned(),
            fragment_bytes: limits::FRAME_BYTES_MAX,
        }
    }
}

/// What every request needs; cheap to clone.
#[derive(Clone)]
pub(super) struct Member(Arc<Inner>);

pub(super) struct Inner {
    pub handle: Handle,
    pub config: Config,
    pub header: Header,
    pub quota: Arc<Quota>,
    pub snapshots: Arc<Semaphore>,
    pub events: Memo,
}

impl std::ops::Deref for Member {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// etcd's API on this member.
pub struct Local {
    member: Member,
}

impl Local {
    pub fn new(handle: Handle, config: Config) -> Self {
        let header = Header { cluster: config.cluster, member: config.member };
        let quota = Arc::new(Quota::new(config.quota_bytes, config.member));
        let snapshots = Arc::new(Semaphore::new(SNAPSHOTS_MAX));
        let events = Memo::default();
        let inner = Inner { handle, config, header, quota, snapshots, events };
        Self { member: Member(Arc::new(inner)) }
    }

    /// What may still be written, for a door that writes by itself.
    pub fn quota(&self) -> Arc<Quota> {
        Arc::clone(&self.member.quota)
    }
}

impl Inner {
    /// When a request that came now must be answered.
    pub(super) fn deadline(&self, now: Moment, deadline_ms: u32) -> Moment {
        let longest = self.config.request_timeout;
        match deadline_ms {
            0 => now + longest,
            ms => now + Duration::from_millis(u64::from(ms)).min(longest),
        }
    }
}

impl Service for Local {
    fn call(&self, caller: &Caller, batch: Vec<Call>) {
        let member = &self.member;
        let now = member.handle.clock().now();
        let raft = member.handle.raft();
        let is_leader_missing = caller.requires_leader && raft.leader.is_none();
        let is_quarantined = member.handle.is_quarantined();
        let asked = match caller.admitted {
            Some(_) => Asked::BySomebody,
            None => Asked::ByAnybody,
        };
        let (mut behind_barrier, mut at_once) = (Vec::new(), Vec::new());
        let mut latest = now;
        for call in batch {
            let Call { method, body, deadline_ms, reply } = call;
            let deadline = member.deadline(now, deadline_ms);
            if raft.is_learner && !is_for_learners(method, &body) {
                reply.send(Err(status::of_learner()));
                continue;
            }
            if is_quarantined && !is_for_quarantined(method) {
                reply.send(Err(status::quarantined()));
                continue;
            }
            if is_leader_missing {
                reply.send(Err(status::no_leader()));
                continue;
            }
            let request = match Request::decode(member, method, body) {
                Ok(request) => request,
                Err(status) => {
                    reply.send(Err(status));
                    continue;
                }
            };
            match request {
                Request::Write(write) => {
                    let terms = Terms { now, deadline, asker: asker(caller) };
                    writes::submit(member, write, terms, reply);
                }
                Request::Read { read, is_linearizable } => {
                    let call = ReadCall::new(read, now, reply);
                    if is_linearizable {
                        latest = latest.max(deadline);
                        behind_barrier.push(call);
                    } else {
                        at_once.push(call);
                    }
                }
                Request::TimeToLive(request) => {
                    let told =
                        leases::time_to_live(member.clone(), asked, request, deadline, reply);
                    tokio::spawn(told);
                }
                Request::Defragment => {
                    tokio::spawn(maintenance::defragment(member.clone(), reply));
                }
                Request::MoveLeader(request) => {
                    tokio::spawn(cluster::move_leader(member.clone(), request, deadline, reply));
                }
            }
        }
        reads::at_once(member, asked, at_once);
        reads::behind_barrier(member, asked, behind_barrier, latest);
    }

    fn open(&self, caller: &Caller, method: Method, first: Bytes, stream: Duplex) {
        let member = self.member.clone();
        let raft = member.handle.raft();
        if raft.is_learner && method != Method::Snapshot {
            tokio::spawn(stream.end(Err(status::of_learner())));
            return;
        }
        if caller.requires_leader && raft.leader.is_none() {
            tokio::spawn(stream.end(Err(status::no_leader())));
            return;
        }
        if member.handle.is_quarantined() {
            tokio::spawn(stream.end(Err(status::quarantined())));
            return;
        }
        let end = ended(&member, caller, &stream);
        match method {
            Method::Watch => {
                tokio::spawn(until(end, watches::serve(member, first, stream)));
            }
            Method::LeaseKeepAlive => {
                tokio::spawn(until(end, leases::keep_alive(member, first, stream)));
            }
            Method::Snapshot => snapshot::send(&member, stream),
            other => {
                tokio::spawn(stream.end(Err(status::not_served(other))));
            }
        }
    }
}

/// Serves until that, whichever comes first.
async fn until(end: impl Future<Output = ()>, serving: impl Future<Output = ()>) {
    tokio::select! {
        () = serving => {}
        () = end => {}
    }
}

/// Ends a stream that requires a leader when there has been none for too long, and any when this member turns out to be
/// corrupt; else it never returns.
fn ended(
    member: &Member,
    caller: &Caller,
    stream: &Duplex,
) -> impl Future<Output = ()> + Send + 'static {
    let (member, answers, requires) = (member.clone(), stream.answers(), caller.requires_leader);
    async move {
        let status = tokio::select! {
            () = leaderless(&member), if requires => status::no_leader(),
            () = member.handle.quarantined() => match member.handle.is_stopped() {
                // A stream ends with the engine by itself, and says so.
                true => return std::future::pending().await,
                false => status::quarantined(),
            },
        };
        // A client that is gone needs no ending.
        let _gone = answers.send(Item::End(Err(status))).await;
    }
}

async fn leaderless(member: &Member) {
    let mut timeouts = 0;
    while timeouts < LEADERLESS_MAX {
        tokio::time::sleep(member.config.election_timeout).await;
        timeouts = if member.handle.raft().leader.is_none() { timeouts + 1 } else { 0 };
    }
}

/// Whom the service that knows users found to ask.
fn asker(caller: &Caller) -> Asker {
    let admitted = caller.admitted.clone();
    admitted.map_or_else(Asker::default, |Admitted { user, auth_revision }| Asker {
        user,
        auth_revision,
    })
}

/// A request whose shape is right.
enum Request {
    Write(writes::Write),
    Read { read: Read, is_linearizable: bool },
    TimeToLive(pb::LeaseTimeToLiveRequest),
    MoveLeader(pb::MoveLeaderRequest),
    Defragment,
}

impl Request {
    fn decode(member: &Member, method: Method, body: Bytes) -> Result<Self, Status> {
        let read = |read, is_linearizable| Self::Read { read, is_linearizable };
        Ok(match method {
            Method::Range => {
                let request = checked(method, body, crate::state::check::range)?;
                let is_linearizable = !request.serializable;
                read(Read::range(request), is_linearizable)
            }
            Method::Txn => {
                let ops_max = member.config.txn_ops_max;
                let within = |request: &_| crate::state::check::txn(request, ops_max);
                let request = checked(method, body, within)?;
                if crate::state::check::is_read_only(&request) {
                    let is_linearizable = crate::state::check::needs_barrier(&request);
                    read(Read::Txn(request), is_linearizable)
                } else {
                    Self::Write(writes::Write::txn(request))
                }
            }
            Method::LeaseLeases => read(Read::Leases, false),
            Method::MemberList => {
                let request: pb::MemberListRequest = decoded(method, body)?;
                read(Read::Members, request.linearizable)
            }
            Method::Status => read(Read::Status, false),
            Method::HashKv => {
                let request: pb::HashKvRequest = decoded(method, body)?;
                read(Read::hash_kv(request.revision), false)
            }
            Method::Alarm => {
                let request: pb::AlarmRequest = decoded(method, body)?;
                match request.action() {
                    pb::alarm_request::AlarmAction::Get => {
                        read(Read::Alarms(request.alarm()), true)
                    }
                    _ => Self::Write(writes::Write::alarm(request)),
                }
            }
            Method::Hash => {
                let _: pb::HashRequest = decoded(method, body)?;
                read(Read::hash(), false)
            }
            Method::Defragment => {
                let _: pb::DefragmentRequest = decoded(method, body)?;
                Self::Defragment
            }
            Method::LeaseTimeToLive => Self::TimeToLive(decoded(method, body)?),
            Method::MoveLeader => Self::MoveLeader(decoded(method, body)?),
            Method::Downgrade => {
                let request: pb::DowngradeRequest = decoded(method, body)?;
                downgrade::check(&request, &member.config.version)?;
                read(Read::Downgrade, true)
            }
            other => Self::Write(writes::Write::decode(other, body)?),
        })
    }
}

/// Decodes, and checks the shape.
pub(super) fn checked<M: Message + Default>(
    method: Method,
    body: Bytes,
    check: impl FnOnce(&M) -> Result<(), crate::state::check::Malformed>,
) -> Result<M, Status> {
    let request: M = decoded(method, body)?;
    check(&request).map_err(|malformed| status::of_malformed(&malformed))?;
    Ok(request)
}

pub(super) fn decoded<M: Message + Default>(method: Method, body: Bytes) -> Result<M, Status> {
    M::decode(body).map_err(|error| status::unreadable(method, &error))
}

/// etcd lets a learner answer these, and a serializable Range.
fn is_for_learners(method: Method, body: &Bytes) -> bool {
    match method {
        Method::Status => true,
        Method::Range => {
            pb::RangeRequest::decode(body.clone()).is_ok_and(|request| request.serializable)
        }
        _ => false,
    }
}

/// Who repairs the cluster asks these of a member that is corrupt; it tells nobody its keys.
fn is_for_quarantined(method: Method) -> bool {
    matches!(
        method,
        Method::Status
            | Method::Alarm
            | Method::Hash
            | Method::HashKv
            | Method::MoveLeader
            | Method::MemberList
            | Method::MemberAdd
            | Method::MemberRemove
            | Method::MemberUpdate
            | Method::MemberPromote
    )
}

/// Too many of something at once; later is better.
pub(super) fn busy(text: &str) -> Status {
    Status::new(Code::ResourceExhausted, text, Retry::NotProposed)
}
