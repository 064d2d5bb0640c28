//! One entry: envelope, gates, command, outcome.
//!
//! Promises: a function of the caches and rows before it and of the entry; a rejection leaves no row behind.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::alarms;
use super::auth::{self, Asker, AuthNote};
use super::envelope::{self, Command, Envelope};
use super::leases::{self, Lease};
use super::members;
use super::reply::{LeaseNote, Outcome, Rejection, Reply, V2Reply};
use super::shared::{Caches, Change, V2Change};
use super::stop::{Stop, answer};
use super::transaction::Transaction;
use super::{txn, v2, wire};
use crate::base::{LeaseId, MemberId, RequestId, Sabotage, limits};
use crate::mvcc::{EventBatch, Writer};
use crate::proto::etcdserverpb::alarm_request::AlarmAction;
use crate::proto::etcdserverpb::{
    AlarmRequest, AlarmResponse, AlarmType, CompactionRequest, CompactionResponse,
    LeaseGrantRequest, LeaseGrantResponse, LeaseRevokeResponse,
};
use crate::proto::quorate::log::auth_change::Change as AuthKind;
use crate::proto::quorate::log::{
    AuthChange, LeaseCheckpoint, LeaseRevoke, MemberChange, MemberPublish, V2Auth, V2Request,
    V2Sync,
};
use crate::storage::{Batch, Fault, Read, Stamp, Table};

/// Applies `data`; `before` has the entry's index and term already, and the revision before it.
pub(super) fn entry<R: Read>(
    caches: &Caches,
    base: &R,
    before: Stamp,
    data: &[u8],
) -> Result<(Outcome, Change), Fault> {
    let mut entry = Entry::new(caches, base, before);
    if data.is_empty() {
        return Ok(entry.outcome(RequestId::default(), Ok(Reply::Nothing)));
    }
    let envelope = envelope::decode(before.applied, data)?;
    let result = answer(entry.run(&envelope))?;
    if result.is_err() {
        entry = Entry::new(caches, base, before);
    }
    Ok(entry.outcome(envelope.request(), result))
}

/// An entry while it is applied.
struct Entry<'a, R> {
    caches: &'a Caches,
    batch: Batch<'a, R>,
    events: Option<EventBatch>,
    members_changed: Option<MemberChange>,
    compact_to: Option<i64>,
    v2_index: Option<u64>,
    auth: Option<AuthNote>,
    change: Change,
}

impl<'a, R: Read> Entry<'a, R> {
    fn new(caches: &'a Caches, base: &'a R, stamp: Stamp) -> Self {
        let change = Change {
            stamp,
            counts: None,
            leases: Vec::new(),
            members: None,
            alarms: None,
            v2: None,
            v2_auth: None,
            auth: None,
        };
        Self {
            caches,
            batch: Batch::new(base),
            events: None,
            members_changed: None,
            compact_to: None,
            v2_index: None,
            auth: None,
            change,
        }
    }

    fn outcome(self, request: RequestId, result: Result<Reply, Rejection>) -> (Outcome, Change) {
        let outcome = Outcome {
            index: self.change.stamp.applied,
            request,
            result,
            rows: self.batch.into_rows(),
            stamp: self.change.stamp,
            events: self.events,
            members_changed: self.members_changed,
            leases: self.change.leases.clone(),
            compact_to: self.compact_to,
            v2_index: self.v2_index,
            auth: self.auth,
        };
        (outcome, self.change)
    }

    fn run(&mut self, envelope: &Envelope) -> Result<Reply, Stop> {
        let stamp = self.change.stamp;
        let is_former = envelope.leader_term != 0 && envelope.leader_term != stamp.term;
        if is_former && !Sabotage::LeaseRevokedByFormerLeader.is_on() {
            return Err(Rejection::OtherTerm.into());
        }
        let Some(command) = &envelope.command else {
            // decode() has refused it.
            return Ok(Reply::Nothing);
        };
        self.caches.alarms.gate(command, &self.caches.members)?;
        self.admit(envelope, command)?;
        if Sabotage::ApplyDependsOnMember.strikes(500) {
            return Err(Rejection::NoSpace.into());
        }
        match command {
            Command::Put(put) => Ok(Reply::Put(self.transact(|txn| txn.put(put))?)),
            Command::DeleteRange(delete) => {
                Ok(Reply::DeleteRange(self.transact(|txn| txn.delete_range(delete))?))
            }
            Command::Txn(request) => Ok(Reply::Txn(self.transact(|txn| txn::write(txn, request))?)),
            Command::Compact(request) => self.compact(*request),
            Command::LeaseGrant(request) => self.grant(*request),
            Command::LeaseRevoke(request) => self.revoke(request, envelope.leader_term != 0),
            Command::LeaseCheckpoint(request) => Ok(self.checkpoint(request)),
            Command::Alarm(request) => Ok(self.alarm(*request)),
            Command::MemberChange(change) => self.change_member(change),
            Command::MemberPublish(publish) => self.publish_member(publish),
            Command::V2(request) => Ok(self.change_tree(request, envelope.proposed_at_ms)?),
            Command::V2Auth(request) => Ok(self.change_auth(request)?),
            Command::V2Sync(sync) => Ok(self.expire_nodes(*sync, envelope.proposed_at_ms)?),
            Command::Auth(request) => self.change_users(request, envelope.proposed_at_ms),
        }
    }

    /// Whether who asked may still do it. What a leader does for all is nobody's wish, and so is what members do for
    /// themselves.
    fn admit(&self, envelope: &Envelope, command: &Command) -> Result<(), Stop> {
        if !self.caches.auth.is_enabled() {
            return Ok(());
        }
        let asker = Asker { user: envelope.user.clone(), auth_revision: envelope.auth_revision };
        let is_login = match command {
            // Who shows a password is nobody yet.
            Command::Auth(request) => matches!(request.change, Some(AuthKind::Login(_))),
            _ => false,
        };
        if is_login || asker.is_member() || envelope.leader_term != 0 {
            return Ok(());
        }
        let lease_keys = |id| leases::keys_of(&self.batch, id);
        self.caches.auth.permits(&asker, command, &lease_keys)
    }

    /// Runs a writing transaction; the revision grows if it changed a key.
    fn transact<T>(
        &mut self,
        job: impl FnOnce(&mut Transaction<'_, 'a, R>) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        let stamp = &mut self.change.stamp;
        let main = stamp.revision + 1;
        let mut transaction = Transaction {
            writer: Writer::new(&mut self.batch, &self.caches.counts, main),
            leases: &self.caches.leases,
            compacted: match Sabotage::TxnReadsCompacted.is_on() {
                true => Stamp::NEVER_COMPACTED,
                false => stamp.compacted,
            },
        };
        let reply = job(&mut transaction)?;
        if let Some((events, counts)) = transaction.writer.finish()? {
            stamp.revision = main;
            self.events = Some(events);
            self.change.counts = Some(counts);
        }
        Ok(reply)
    }

    /// Only publishes: the rows go later, in slices.
    fn compact(&mut self, request: CompactionRequest) -> Result<Reply, Stop> {
        let stamp = &mut self.change.stamp;
        if request.revision <= stamp.compacted {
            return Err(Rejection::Compacted.into());
        }
        if request.revision > stamp.revision {
            return Err(Rejection::FutureRev.into());
        }
        stamp.compacted = request.revision;
        self.compact_to = Some(request.revision);
        Ok(Reply::Compact(CompactionResponse { header: wire::header(stamp.revision) }))
    }

    fn grant(&mut self, request: LeaseGrantRequest) -> Result<Reply, Stop> {
        let LeaseGrantRequest { id, ttl } = request;
        if id == 0 {
            return Err(Rejection::LeaseNotFound.into());
        }
        if ttl > limits::LEASE_TTL_S_MAX {
            return Err(Rejection::LeaseTtlTooLarge.into());
        }
        if self.caches.leases.get(id).is_some() {
            return Err(Rejection::LeaseExist.into());
        }
        let index = self.change.stamp.applied;
        let lease = Lease { ttl, remaining: 0, since: index };
        self.batch.put(Table::Leases, leases::lease_row(id), leases::lease_value(lease));
        self.change.leases.push(LeaseNote::Granted { id, ttl, index });
        let header = wire::header(self.change.stamp.revision);
        Ok(Reply::LeaseGrant(LeaseGrantResponse { header, id, ttl, error: String::new() }))
    }

    /// All keys of all the leases go in one revision, sorted. A client is told of a lease that is not there; for the
    /// leader's expiry it has simply gone already, and one that was granted or renewed since the leader looked stays.
    fn revoke(&mut self, request: &LeaseRevoke, by_leader: bool) -> Result<Reply, Stop> {
        let asked: BTreeSet<LeaseId> = request.ids.iter().copied().collect();
        let as_of = request.as_of;
        let known = |id: &LeaseId| self.caches.leases.get(*id).is_some_and(|l| l.is_meant(as_of));
        let (known, unknown): (Vec<LeaseId>, Vec<LeaseId>) = asked.into_iter().partition(known);
        if !by_leader && !unknown.is_empty() {
            return Err(Rejection::LeaseNotFound.into());
        }
        let mut keys: BTreeMap<Bytes, LeaseId> = BTreeMap::new();
        for &id in &known {
            keys.extend(leases::keys_of(&self.batch, id)?.into_iter().map(|key| (key, id)));
        }
        self.transact(|txn| Ok(txn.delete_leased(keys)?))?;
        for id in known {
            self.batch.delete(Table::Leases, leases::lease_row(id));
            self.change.leases.push(LeaseNote::Revoked { id, is_expired: by_leader });
        }
        let header = wire::header(self.change.stamp.revision);
        Ok(Reply::LeaseRevoke(LeaseRevokeResponse { header }))
    }

    /// Leases that are gone, or were renewed by an entry since the leader looked, are skipped.
    fn checkpoint(&mut self, request: &LeaseCheckpoint) -> Reply {
        let index = self.change.stamp.applied;
        for record in &request.leases {
            let lease = self.caches.leases.get(record.id);
            let Some(lease) = lease.filter(|l| l.is_meant(request.as_of)) else { continue };
            let (id, remaining) = (record.id, record.remaining_ttl_s);
            let lease = lease.recorded(remaining, index);
            self.batch.put(Table::Leases, leases::lease_row(id), leases::lease_value(lease));
            self.change.leases.push(LeaseNote::Checkpointed { id, remaining, index });
        }
        Reply::LeaseCheckpoint
    }

    /// A raised alarm that is raised again is answered as if it were new; one that is lowered again, by nothing.
    fn alarm(&mut self, request: AlarmRequest) -> Reply {
        let (member, alarm) = (MemberId(request.member_id), request.alarm());
        let told = match (request.action(), alarm) {
            (AlarmAction::Get, wanted) => self.caches.alarms.list(wanted),
            (_, AlarmType::None) => Vec::new(),
            (AlarmAction::Activate, _) => {
                self.set_alarm(member, alarm, true);
                vec![alarms::message(member, alarm)]
            }
            (AlarmAction::Deactivate, _) if self.set_alarm(member, alarm, false) => {
                vec![alarms::message(member, alarm)]
            }
            (AlarmAction::Deactivate, _) => Vec::new(),
        };
        let header = wire::header(self.change.stamp.revision);
        Reply::Alarm(AlarmResponse { header, alarms: told })
    }

    /// Whether anything changed.
    fn set_alarm(&mut self, member: MemberId, alarm: AlarmType, raised: bool) -> bool {
        let alarms = self.change.alarms.as_ref().unwrap_or(&self.caches.alarms);
        let mut changed = alarms.clone();
        if !changed.set(member, alarm, raised) {
            return false;
        }
        match raised {
            true => self.batch.put(Table::Alarms, alarms::to_row(member, alarm), Bytes::new()),
            false => self.batch.delete(Table::Alarms, alarms::to_row(member, alarm)),
        }
        self.change.alarms = Some(changed);
        true
    }

    fn change_member(&mut self, change: &MemberChange) -> Result<Reply, Stop> {
        let mut changed = self.caches.members.as_ref().clone();
        let (id, member) = changed.change(change)?;
        let (key, value) = members::to_row(id, member.as_ref());
        self.batch.put(Table::Members, key, value);
        if changed.is_removed(id) {
            // What was wrong with it is over: nobody could lower it by a name that is nobody's.
            for alarm in [AlarmType::Nospace, AlarmType::Corrupt] {
                self.set_alarm(id, alarm, false);
            }
        }
        let members = changed.list();
        self.change.members = Some(changed);
        self.members_changed = Some(change.clone());
        Ok(Reply::Members { member, members })
    }

    fn publish_member(&mut self, publish: &MemberPublish) -> Result<Reply, Stop> {
        let mut changed = self.caches.members.as_ref().clone();
        let told = publish.member.clone().unwrap_or_default();
        let (id, member) = changed.publish(&told)?;
        let (key, value) = members::to_row(id, Some(&member));
        self.batch.put(Table::Members, key, value);
        self.change.members = Some(changed);
        Ok(Reply::Published)
    }

    /// An error of the tree is its answer: it changed nothing.
    fn change_tree(&mut self, request: &V2Request, now_ms: i64) -> Result<Reply, Fault> {
        let method = request.method();
        let (result, index) = match v2::apply(&mut self.batch, request, now_ms)? {
            Ok((event, done)) => {
                let index = done.index;
                self.tree_changed(done)?;
                (Ok(event), index)
            }
            Err(error) => {
                let index = error.index;
                (Err(error), index)
            }
        };
        Ok(Reply::V2(Box::new(V2Reply { method, result, index })))
    }

    /// A refusal is its answer likewise.
    fn change_auth(&mut self, request: &V2Auth) -> Result<Reply, Fault> {
        let told = match v2::change_auth(&mut self.batch, &self.caches.v2_auth, request) {
            Ok(changed) => {
                let done = v2::pass(&mut self.batch, changed.steps)?;
                self.tree_changed(done)?;
                self.change.v2_auth = Some(changed.auth);
                Ok(changed.told)
            }
            Err(refused) => Err(refused),
        };
        Ok(Reply::V2Auth(Box::new(told)))
    }

    fn change_users(&mut self, request: &AuthChange, at_ms: i64) -> Result<Reply, Stop> {
        let changed = auth::change(&mut self.batch, &self.caches.auth, request, at_ms)?;
        self.change.auth = changed.auth;
        self.auth = changed.note;
        Ok(Reply::Auth)
    }

    fn expire_nodes(&mut self, sync: V2Sync, now_ms: i64) -> Result<Reply, Fault> {
        let done = v2::expire(&mut self.batch, sync.time_ms, now_ms)?;
        let expired = done.told.len();
        // Rows may have gone without an event: what expires next is looked for anew in any case.
        self.tree_changed(done)?;
        Ok(Reply::V2Synced(expired))
    }

    fn tree_changed(&mut self, done: v2::Done) -> Result<(), Fault> {
        self.v2_index = Some(done.index).filter(|_| !done.told.is_empty());
        let next_expiry_ms = v2::next_expiry(&self.batch)?;
        self.change.v2 = Some(V2Change { told: done.told, next_expiry_ms });
        Ok(())
    }
}
