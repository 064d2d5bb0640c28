//! The door to the engine for everybody above it.
//!
//! Cheap to clone. Callbacks run on the engine's threads and must not block; the `async` twins are for those who have
//! a runtime. Every request carries a deadline and is answered exactly once.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use super::error::Error;
use super::hub::WatchStream;
use super::inbox::Refused;
use super::meters::Meters;
use super::readers::LongJob;
use super::shared::{
    ApplierMessage, CheckpointMessage, DriverMessage, Finished, Proposal, ReadDone, Shared,
};
use super::status::{RaftStatus, Status};
use super::waiters::{Applied, Done};
use crate::base::{Clock, ClusterId, Index, MemberId, Moment, RequestId};
use crate::proto::quorate::log::member_change::Kind;
use crate::state::{Asker, Command, Envelope, Query, encode};
use crate::storage::{Fault, SnapshotCopy, Stamp};

/// See the module.
#[derive(Clone)]
pub struct Handle {
    pub(super) shared: Arc<Shared>,
}

impl Handle {
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.clock
    }

    /// This member's id and its cluster's; terms, indexes, sizes.
    pub fn status(&self) -> Result<Status, Fault> {
        let shared = &self.shared;
        let stamp = shared.store.stamp();
        let (db_bytes, in_use, open_reads) = shared.store.size()?;
        Ok(Status {
            cluster: shared.config.cluster,
            member: shared.config.member,
            raft: shared.raft_status(),
            applied: shared.applied(),
            revision: stamp.revision,
            compacted: stamp.compacted,
            db_bytes,
            db_bytes_in_use: in_use + shared.store.overlay_bytes() as u64,
            open_reads,
            fault: shared.fault.get().cloned(),
        })
    }

    pub fn member(&self) -> MemberId {
        self.shared.config.member
    }

    /// This member's cluster.
    pub fn cluster(&self) -> ClusterId {
        self.shared.config.cluster
    }

    /// Raft's side alone; cheap enough for every request.
    pub fn raft(&self) -> RaftStatus {
        self.shared.raft_status()
    }

    /// What is applied here; cheap enough for every request.
    pub fn stamp(&self) -> Stamp {
        self.shared.store.stamp()
    }

    /// Puts `command` into the log; `done` is told what became of it. Returns the name that its entry will carry.
    pub fn submit(&self, command: Command, deadline: Moment, done: Done) -> RequestId {
        self.submit_as(command, 0, deadline, done)
    }

    /// The same for somebody: at apply it is asked once more whether he may.
    pub fn submit_for(
        &self,
        asker: Asker,
        command: Command,
        deadline: Moment,
        done: Done,
    ) -> RequestId {
        self.submit_with(command, 0, asker, deadline, done)
    }

    /// The same for a command that only the leader of `leader_term` may give.
    pub fn submit_as(
        &self,
        command: Command,
        leader_term: u64,
        deadline: Moment,
        done: Done,
    ) -> RequestId {
        self.submit_with(command, leader_term, Asker::member(), deadline, done)
    }

    fn submit_with(
        &self,
        mut command: Command,
        leader_term: u64,
        Asker { user, auth_revision }: Asker,
        deadline: Moment,
        done: Done,
    ) -> RequestId {
        let shared = &self.shared;
        // Held until the entry is queued: a renewal must not slip in between.
        let _renewals_wait = self.begin_record(&mut command);
        let is_priority = is_priority(&command);
        let change = match &command {
            Command::MemberChange(change) if change.kind() != Kind::Update => {
                Some(Box::new(change.clone()))
            }
            _ => None,
        };
        let counter = shared.counter.fetch_add(1, Ordering::Relaxed);
        let request =
            RequestId { member: shared.config.member, nonce: shared.config.boot_nonce, counter };
        let envelope = Envelope {
            proposed_at_ms: shared.clock.wall_ms(),
            user,
            auth_revision,
            ..Envelope::of_leader(request, command, leader_term)
        };
        let data = encode(&envelope);
        let limit = shared.config.request_bytes_max;
        if data.len() > limit {
            done(Err(Error::TooLarge { bytes: data.len(), limit }));
            return request;
        }
        let proposal = Proposal { counter, data, change, is_priority, deadline };
        match shared.driver.push(DriverMessage::Propose(proposal, done)) {
            Ok(()) => {}
            Err(Refused::Full(DriverMessage::Propose(_, done))) => {
                done(Err(Error::TooManyRequests))
            }
            Err(Refused::Closed(DriverMessage::Propose(_, done))) => done(Err(Error::Stopped)),
            Err(_) => {}
        }
        request
    }

    pub async fn propose(&self, command: Command, deadline: Moment) -> Result<Applied, Error> {
        self.propose_as(command, 0, deadline).await
    }

    pub async fn propose_for(
        &self,
        asker: Asker,
        command: Command,
        deadline: Moment,
    ) -> Result<Applied, Error> {
        let (sender, receiver) = oneshot::channel();
        let done = Box::new(move |result| drop(sender.send(result)));
        self.submit_for(asker, command, deadline, done);
        receiver.await.unwrap_or(Err(Error::Stopped))
    }

    pub async fn propose_as(
        &self,
        command: Command,
        leader_term: u64,
        deadline: Moment,
    ) -> Result<Applied, Error> {
        let (sender, receiver) = oneshot::channel();
        let done = Box::new(move |result| drop(sender.send(result)));
        self.submit_as(command, leader_term, deadline, done);
        receiver.await.unwrap_or(Err(Error::Stopped))
    }

    /// A linearizable read: once `done` hears Ok, [`query`](Self::query) sees everything acknowledged before this
    /// call.
    pub fn barrier(&self, deadline: Moment, done: ReadDone) {
        match self.shared.driver.push(DriverMessage::Read { deadline, done }) {
            Ok(()) => {}
            Err(Refused::Full(DriverMessage::Read { done, .. })) => {
                done(Err(Error::TooManyRequests));
            }
            Err(Refused::Closed(DriverMessage::Read { done, .. })) => done(Err(Error::Stopped)),
            Err(_) => {}
        }
    }

    pub async fn read_barrier(&self, deadline: Moment) -> Result<(), Error> {
        let (sender, receiver) = oneshot::channel();
        self.barrier(deadline, Box::new(move |result| drop(sender.send(result))));
        receiver.await.unwrap_or(Err(Error::Stopped))
    }

    /// The read-only door to what this member has applied.
    pub fn query(&self) -> Result<Query, Fault> {
        Ok(Query::of(self.shared.store.view()?, Arc::clone(&self.shared.state)))
    }

    /// Runs `job` on the reader pool; false if there is no room, and the job is dropped.
    pub fn read(&self, job: Box<dyn FnOnce() + Send>) -> bool {
        self.shared.readers.submit(job)
    }

    /// The same for a read that takes long, slice by slice, behind everything short.
    pub fn read_long(&self, job: LongJob) -> bool {
        self.shared.readers.submit_long(job)
    }

    /// A stream of watchers.
    pub fn watch_stream(&self) -> WatchStream {
        WatchStream::open(Arc::clone(&self.shared))
    }

    pub async fn transfer_leader(&self, to: MemberId, deadline: Moment) -> Result<(), Error> {
        let (sender, receiver) = oneshot::channel();
        let done: Finished = Box::new(move |result| drop(sender.send(result)));
        let message = DriverMessage::Transfer { to, deadline, done };
        if self.shared.driver.push(message).is_err() {
            return Err(Error::Stopped);
        }
        receiver.await.unwrap_or(Err(Error::Stopped))
    }

    /// What was counted so far.
    pub fn meters(&self) -> &Meters {
        &self.shared.meters
    }

    /// Commands whose end is not known yet.
    pub fn pending(&self) -> usize {
        self.shared.waiters().len()
    }

    /// Keys at the published revision.
    pub fn key_count(&self) -> u64 {
        self.shared.state.key_count()
    }

    /// Waits until this member has deleted everything that was compacted away up to `revision`.
    pub async fn compacted(&self, revision: i64) -> Result<(), Error> {
        let (sender, receiver) = oneshot::channel();
        let done: Finished = Box::new(move |result| drop(sender.send(result)));
        let message = CheckpointMessage::WhenCompacted { revision, done };
        self.shared.checkpoint.push_internal(message);
        receiver.await.unwrap_or(Err(Error::Stopped))
    }

    /// Waits until the database durably holds everything applied so far.
    pub async fn checkpoint(&self) -> Result<(), Error> {
        let (sender, receiver) = oneshot::channel();
        let done: Finished = Box::new(move |result| drop(sender.send(result)));
        self.shared.applier.push_internal(ApplierMessage::Seal(Some(done)));
        receiver.await.unwrap_or(Err(Error::Stopped))
    }

    /// Gives the disk space back that the database does not use: waits until this member has written it anew. It
    /// serves meanwhile; writes wait when the overlay is full before that is done.
    pub async fn rewrite(&self) -> Result<(), Error> {
        let (sender, receiver) = oneshot::channel();
        self.submit_rewrite(Box::new(move |result| drop(sender.send(result))));
        receiver.await.unwrap_or(Err(Error::Stopped))
    }

    /// The same with a callback.
    pub fn submit_rewrite(&self, done: Finished) {
        self.shared.checkpoint.push_internal(CheckpointMessage::Rewrite(done));
    }

    /// A consistent copy of the checkpointed state; blocks while it is written.
    pub fn snapshot(&self) -> Result<SnapshotCopy, Fault> {
        self.shared.store.copy()
    }

    pub fn applied(&self) -> Index {
        self.shared.applied()
    }

    /// Whether this member's history is known to be another than the cluster's: whoever serves clients refuses them.
    pub fn is_quarantined(&self) -> bool {
        self.shared.state.is_quarantined(self.member())
    }

    /// Until it is, or the engine stops.
    pub async fn quarantined(&self) {
        let mut changed = self.shared.members_version.subscribe();
        while !self.is_quarantined() && !self.is_stopped() && changed.changed().await.is_ok() {}
    }

    /// Changes whenever the members table or an alarm does, and when the engine stops.
    pub fn members_changed(&self) -> tokio::sync::watch::Receiver<u64> {
        self.shared.members_version.subscribe()
    }

    /// Begins a campaign now instead of waiting for the timeout.
    pub fn campaign(&self) {
        self.shared.driver.push_internal(DriverMessage::Campaign);
    }

    /// Everything that waits is answered, nothing is accepted any more, the threads end.
    pub fn stop(&self) {
        self.shared.stop(None);
    }

    pub fn is_stopped(&self) -> bool {
        self.shared.is_stopping()
    }

    /// Why the engine stopped by itself, if it did.
    pub fn fault(&self) -> Option<String> {
        self.shared.fault.get().cloned()
    }
}

/// What must get through when ordinary requests are refused.
fn is_priority(command: &Command) -> bool {
    matches!(
        command,
        Command::LeaseRevoke(_)
            | Command::LeaseCheckpoint(_)
            | Command::Compact(_)
            | Command::Alarm(_)
            | Command::MemberChange(_)
            | Command::MemberPublish(_)
            | Command::V2Sync(_)
    )
}
