//! The state machine, owned by the applier: genesis, loading, one entry at a time, publishing.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use bytes::Bytes;

use super::apply;
use super::members::{self, Members};
use super::reply::Outcome;
use super::shared::{Caches, Change, Shared};
use crate::base::{ClusterId, Index, MemberId, Revision, Term};
use crate::proto::etcdserverpb::Member;
use crate::storage::{Direction, Fault, Read, Rows, Stamp, Table};

/// Row of table `meta`: the cluster's id (8 BE).
const CLUSTER: &[u8] = b"cluster";

/// The deterministic state. Its rows are in storage; it holds the caches and how far it has come.
#[derive(Debug)]
pub struct Machine {
    shared: Arc<Shared>,
    stamp: Stamp,
    cluster: ClusterId,
    /// What the last entry changes in the caches, until its rows are merged.
    unpublished: Option<Change>,
}

impl Machine {
    /// Checkpoint number one (index 1, term 1, revision 1): a pure function of the initial cluster, so the same bytes
    /// on every member.
    pub fn genesis(cluster: ClusterId, members: &[Member]) -> (Rows, Stamp) {
        let mut rows = Rows::new();
        let id = Bytes::copy_from_slice(&cluster.0.to_be_bytes());
        rows.insert((Table::Meta, Bytes::from_static(CLUSTER)), Some(id));
        for member in members {
            let (key, value) = members::to_row(MemberId(member.id), Some(member));
            rows.insert((Table::Members, key), Some(value));
        }
        let revision = Revision::EMPTY_STORE;
        (rows, Stamp { applied: 1, term: 1, revision, ..Stamp::EMPTY })
    }

    /// What changes in the rows of `read` when their state founds another cluster: its id, and its members in place of
    /// those that were. Keys and leases stay.
    pub fn found_again<R: Read>(
        read: &R,
        cluster: ClusterId,
        members: &[Member],
    ) -> Result<Rows, Fault> {
        let mut rows = Rows::new();
        let all = (Bound::Unbounded, Bound::Unbounded);
        read.scan(Table::Members, all.0, all.1, Direction::Ascending, &mut |row| {
            rows.insert((Table::Members, Bytes::copy_from_slice(row.key)), None);
            ControlFlow::Continue(())
        })?;
        rows.extend(Self::genesis(cluster, members).0);
        Ok(rows)
    }

    /// The machine of the rows in `read`, which stand at `stamp`.
    pub fn load<R: Read>(read: &R, stamp: Stamp) -> Result<Self, Fault> {
        let shared = Arc::new(Shared::new(Caches::load(read, stamp)?));
        Ok(Self { shared, stamp, cluster: read_cluster(read)?, unpublished: None })
    }

    /// Counts are walked from now on: the rows are about to be exchanged (a snapshot is installed), and [`reload`]
    /// follows.
    ///
    /// [`reload`]: Self::reload
    pub fn suspend(&mut self) {
        self.shared.suspend();
    }

    /// Everything anew from exchanged rows; whoever holds the [`Shared`] sees them.
    pub fn reload<R: Read>(&mut self, read: &R, stamp: Stamp) -> Result<(), Fault> {
        let caches = Caches::load(read, stamp)?;
        self.cluster = read_cluster(read)?;
        self.shared.replace(caches);
        self.stamp = stamp;
        self.unpublished = None;
        Ok(())
    }

    /// The rows that make this member, as a voter, the only one, and remove all others for ever.
    pub fn rows_of_one(&self, member: MemberId) -> Rows {
        let rows = self.members().list().into_iter().map(|known| {
            let id = MemberId(known.id);
            let alone = Member { is_learner: false, ..known };
            let (key, value) = members::to_row(id, (id == member).then_some(&alone));
            ((Table::Members, key), Some(value))
        });
        rows.collect()
    }

    /// The caches that readers use.
    pub fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// What is applied, published or not.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// Applies the next entry on top of `base`: `data` is an [`encode`](super::encode)d envelope (of a conf change:
    /// its context), or empty for the entry of a new leader. Merge the outcome's rows and stamp, then
    /// [`publish`](Self::publish), then tell anybody that the index is applied; only then may the next entry come.
    pub fn apply<R: Read>(
        &mut self,
        base: &R,
        index: Index,
        term: Term,
        data: &[u8],
    ) -> Result<Outcome, Fault> {
        if index != self.stamp.applied + 1 || self.unpublished.is_some() {
            let what = format!("entry {index} came after {} was applied", self.stamp.applied);
            return Err(Fault::corrupt(what, "the order of entries"));
        }
        let (outcome, change) = {
            let caches = self.shared.read();
            let before = Stamp { applied: index, term, ..self.stamp };
            apply::entry(&caches, base, before, data)?
        };
        self.stamp = outcome.stamp;
        self.unpublished = Some(change);
        Ok(outcome)
    }

    /// The rows of the last outcome are merged: readers may see what it changed beside them.
    pub fn publish(&mut self) {
        if let Some(change) = self.unpublished.take() {
            self.shared.publish(change);
        }
    }

    /// The published members.
    pub fn members(&self) -> Arc<Members> {
        self.shared.members()
    }
}

fn read_cluster<R: Read>(read: &R) -> Result<ClusterId, Fault> {
    let Some(row) = read.get(Table::Meta, CLUSTER)? else {
        // A member that joins: everything comes by snapshot.
        return Ok(ClusterId::default());
    };
    let bytes = row.as_ref().try_into();
    let bytes =
        bytes.map_err(|_| Fault::corrupt("a cluster id that cannot be read", "table meta"))?;
    Ok(ClusterId(u64::from_be_bytes(bytes)))
}
