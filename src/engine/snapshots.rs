//! The snapshot thread's turn: copies of the database for members that the log cannot help any more.
//!
//! Raft's message names the checkpoint it knew of; the copy may be newer, so whoever receives it reads index, term and
//! membership from the copy itself. The header that travels in front is the copy's (length, checksum, stamp), then
//! Raft's message. While it is on its way the log is kept from the copy's index on.

use std::sync::Arc;

use bytes::BytesMut;

use super::shared::{DriverMessage, Shared, SnapshotJob};
use crate::base::Moment;
use crate::storage::Fault;

/// See the module.
pub struct Snapshots {
    shared: Arc<Shared>,
}

impl Snapshots {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// One turn; true if there was anything to do.
    pub fn turn(&mut self, _now: Moment) -> Result<bool, Fault> {
        let jobs = self.shared.snapshots.drain();
        let busy = !jobs.is_empty();
        for job in jobs {
            let to = job.to;
            if let Err(fault) = self.send(job) {
                // The copy is a convenience for another member: that it failed does not harm this one.
                tracing::warn!(peer = %to, %fault, "could not copy the database for a snapshot");
                self.shared.driver.push_internal(DriverMessage::SnapshotSent { to, ok: false });
            }
        }
        Ok(busy)
    }

    fn send(&self, job: SnapshotJob) -> Result<(), Fault> {
        let SnapshotJob { to, message } = job;
        let copy = self.shared.store.copy()?;
        let index = copy.stamp().applied;
        self.shared.driver.push_internal(DriverMessage::SnapshotStarted { to, index });
        tracing::info!(peer = %to, index, bytes = copy.length(), "sending a snapshot");
        let mut header = BytesMut::from(copy.header().encode().as_ref());
        header.extend_from_slice(&message.encode());
        self.shared.outbox.send_snapshot(to, header.freeze(), copy);
        Ok(())
    }
}
