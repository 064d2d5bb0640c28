//! What enters the log: checked, within the quota, with the ids and times that apply must not choose.

use bytes::Bytes;

use super::cluster;
use super::header::Change;
use super::service::{Member, checked, decoded};
use crate::api::status;
use crate::base::Moment;
use crate::engine::{Applied, Error, Retry};
use crate::proto::etcdserverpb as pb;
use crate::proto::quorate::log::{LeaseRevoke, MemberChange};
use crate::proto::{Method, Reply, Status};
use crate::state::{Asker, Command, check};

/// A command on its way to the log, and how its answer is written.
pub(super) enum Write {
    Command(Command),
    /// A change of the cluster; a new member's id is drawn from the time when it is submitted.
    Change(Change, cluster::Changing),
}

impl Write {
    pub(super) fn txn(request: pb::TxnRequest) -> Self {
        Self::Command(Command::Txn(request))
    }

    pub(super) fn alarm(request: pb::AlarmRequest) -> Self {
        Self::Command(Command::Alarm(request))
    }

    pub(super) fn decode(method: Method, body: Bytes) -> Result<Self, Status> {
        Ok(Self::Command(match method {
            Method::Put => Command::Put(checked(method, body, check::put)?),
            Method::DeleteRange => {
                Command::DeleteRange(checked(method, body, check::delete_range)?)
            }
            Method::Compact => Command::Compact(checked(method, body, check::compact)?),
            Method::LeaseGrant => Command::LeaseGrant(checked(method, body, check::lease_grant)?),
            Method::LeaseRevoke => {
                let request: pb::LeaseRevokeRequest = decoded(method, body)?;
                Command::LeaseRevoke(LeaseRevoke { ids: vec![request.id], as_of: 0 })
            }
            Method::MemberAdd
            | Method::MemberRemove
            | Method::MemberUpdate
            | Method::MemberPromote => {
                let (change, changing) = cluster::decode(method, body)?;
                return Ok(Self::Change(change, changing));
            }
            other => return Err(status::not_served(other)),
        }))
    }
}

/// When it came, when it must be answered, and who asks.
pub(super) struct Terms {
    pub(super) now: Moment,
    pub(super) deadline: Moment,
    pub(super) asker: Asker,
}

pub(super) fn submit(member: &Member, write: Write, terms: Terms, reply: Reply) {
    let Terms { now, deadline, asker } = terms;
    let command = match write {
        Write::Command(Command::LeaseGrant(request)) => match granted(member, request) {
            Ok(request) => Command::LeaseGrant(request),
            Err(status) => return reply.send(Err(status)),
        },
        Write::Command(command) => command,
        Write::Change(change, changing) => {
            return submit_change(member, (change, changing), asker, deadline, reply);
        }
    };
    if let Err(rejection) = member.quota.admit(&member.handle, &command, now, deadline) {
        return reply.send(Err(status::of_rejection(rejection)));
    }
    if let Command::Compact(request) = &command
        && request.physical
    {
        let revision = request.revision;
        return submit_physical(member, asker, command, revision, deadline, reply);
    }
    let asking = member.clone();
    let done = Box::new(move |result| reply.send(told(&asking, result, Change::No)));
    member.handle.submit_for(asker, command, deadline, done);
}

/// A change of the cluster waits until the one before is through.
fn submit_change(
    member: &Member,
    (change, changing): (Change, cluster::Changing),
    asker: Asker,
    deadline: Moment,
    reply: Reply,
) {
    let wall_ms = member.handle.clock().wall_ms();
    let learners_max = member.config.learners_max;
    let proposed = MemberChange { learners_max, ..changing.command(wall_ms) };
    let member = member.clone();
    tokio::spawn(async move {
        let result = cluster::change(&member.handle, asker, proposed, deadline).await;
        if matches!(change, Change::Promote) {
            let meters = member.handle.meters();
            let counter =
                if result.is_ok() { &meters.promotions } else { &meters.failed_promotions };
            counter.increment();
        }
        reply.send(told(&member, result, change));
    });
}

/// What the client is told.
fn told(member: &Member, result: Result<Applied, Error>, change: Change) -> Result<Bytes, Status> {
    match result {
        Ok(applied) => Ok(member.header.encode(applied, change)),
        Err(error) => {
            if error.retry() == Retry::Ambiguous {
                member.handle.meters().failed_proposals.increment();
            }
            Err(status::of_error(&error))
        }
    }
}

/// The answer of a physical compaction waits until this member has deleted what was compacted.
fn submit_physical(
    member: &Member,
    asker: Asker,
    command: Command,
    revision: i64,
    deadline: Moment,
    reply: Reply,
) {
    let member = member.clone();
    tokio::spawn(async move {
        let handle = &member.handle;
        let outcome = match handle.propose_for(asker, command, deadline).await {
            Ok(applied) => handle.compacted(revision).await.map(|()| applied),
            Err(error) => Err(error),
        };
        reply.send(match outcome {
            Ok(applied) => Ok(member.header.encode(applied, Change::No)),
            Err(error) => Err(status::of_error(&error)),
        });
    });
}

/// A lease's id and its real TTL are chosen before the log: apply must not roll dice.
fn granted(
    member: &Member,
    request: pb::LeaseGrantRequest,
) -> Result<pb::LeaseGrantRequest, Status> {
    let id = match request.id {
        0 => random_id()?,
        chosen => chosen,
    };
    Ok(pb::LeaseGrantRequest { id, ttl: request.ttl.max(member.config.lease_ttl_s_min) })
}

/// Positive, 63 bits.
fn random_id() -> Result<i64, Status> {
    let drawn = getrandom::u64().map_err(|error| {
        let text = format!("quorate: the system gives no random numbers: {error}");
        Status::new(crate::proto::Code::Internal, text, crate::proto::Retry::NotProposed)
    })?;
    // One of 2^63 draws would be 0, which means "choose".
    Ok(i64::try_from(drawn >> 1).unwrap_or(1).max(1))
}
