//! What a running member does beside serving: keeps the transport's address book, publishes itself, runs the keepers,
//! and notices its own end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::api::Http;
use crate::base::MemberId;
use crate::engine::Handle;
use crate::keepers::{self, Expiry, ManyRevisions, OldRevisions, Recorder, TreeExpiry};
use crate::proto::etcdserverpb::Member;
use crate::proto::quorate::log::MemberPublish;
use crate::state::{Command, Members};
use crate::transport::{PeerAddress, Transport};

use super::config::AutoCompaction;
use super::reload::Reloading;
use super::stop::{Stopped, Stopper};

/// Everything the chores need.
#[derive(Clone)]
pub(super) struct Chores {
    pub engine: Handle,
    pub transport: Arc<Transport>,
    pub http: Arc<Http>,
    pub stopper: Stopper,
    pub member: MemberId,
    pub name: String,
    pub client_urls: Vec<String>,
    /// Whom to reach while the members table is empty: a joiner's first addresses.
    pub first_peers: Vec<PeerAddress>,
    pub ready: Arc<watch::Sender<bool>>,
    pub reloading: Reloading,
    pub auto_compaction: Option<AutoCompaction>,
}

/// Between two attempts to publish.
const PUBLISH_AGAIN: Duration = Duration::from_millis(200);
const PUBLISH_DEADLINE: Duration = Duration::from_secs(5);
/// Between two looks at what nobody tells.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Between two samples of the round trips to the others, as in etcd.
const ROUND_TRIPS_AGAIN: Duration = Duration::from_secs(4);
/// Between two looks at what comes and goes: etcd forgets its rates after a second in which nothing did.
const TRAFFIC_AGAIN: Duration = Duration::from_secs(1);
/// What a removed member waits before it stops, so that the others hear that it has applied its removal.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Chores {
    /// Until the engine stops.
    pub(super) async fn run(self) {
        let chores = async {
            tokio::join!(
                self.keep_address_book(),
                self.publish(),
                keepers::run(self.engine.clone(), Expiry::default()),
                keepers::run(self.engine.clone(), Recorder::default()),
                keepers::run(self.engine.clone(), TreeExpiry::default()),
                self.compact(),
                self.sample_round_trips(),
                self.look_at_traffic(),
                self.reloading.clone().run(),
            )
        };
        // Chores sleep long: the end of the engine ends them where they are.
        tokio::select! {
            _ = chores => {}
            () = self.engine_stopped() => {}
        }
        self.engine_stopped().await;
        if let Some(fault) = self.engine.fault() {
            self.stopper.stop(Stopped::Fault(fault));
        }
    }

    async fn compact(&self) {
        let engine = self.engine.clone();
        match self.auto_compaction {
            None => {}
            Some(AutoCompaction::Time(kept)) => keepers::run(engine, OldRevisions::new(kept)).await,
            Some(AutoCompaction::Revisions(kept)) => {
                keepers::run(engine, ManyRevisions::new(kept)).await;
            }
        }
    }

    async fn keep_address_book(&self) {
        let mut changed = self.engine.members_changed();
        while !self.engine.is_stopped() {
            changed.borrow_and_update();
            if let Some(members) = self.members() {
                self.transport.set_peers(&self.peers(&members));
                if members.is_removed(self.member) {
                    tokio::time::sleep(LAST_WORDS).await;
                    self.stopper.removed();
                    return;
                }
            }
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    fn members(&self) -> Option<Arc<Members>> {
        match self.engine.query() {
            Ok(query) => Some(query.members()),
            Err(fault) => {
                tracing::warn!(%fault, "cannot read the members");
                None
            }
        }
    }

    fn peers(&self, members: &Members) -> Vec<PeerAddress> {
        if members.is_empty() {
            return self.first_peers.clone();
        }
        addresses(&members.list(), self.member)
    }

    /// Tells everybody this member's name and client URLs, once it can; then it is ready.
    async fn publish(&self) {
        while !self.engine.is_stopped() {
            if self.is_published() {
                self.ready.send_replace(true);
                return;
            }
            let can = self.members().is_some_and(|members| members.member(self.member).is_some())
                && self.engine.status().is_ok_and(|status| status.raft.leader.is_some());
            if can {
                let told = Member {
                    id: self.member.0,
                    name: self.name.clone(),
                    client_ur_ls: self.client_urls.clone(),
                    ..Member::default()
                };
                let command = Command::MemberPublish(MemberPublish { member: Some(told) });
                let deadline = self.engine.clock().now() + PUBLISH_DEADLINE;
                if let Err(error) = self.engine.propose(command, deadline).await {
                    tracing::debug!(%error, "could not publish this member yet");
                }
            }
            if !self.is_published() {
                tokio::time::sleep(PUBLISH_AGAIN).await;
            }
        }
    }

    /// Published, and a leader is known: this member serves.
    fn is_published(&self) -> bool {
        let is_told = self.members().is_some_and(|members| {
            members.member(self.member).is_some_and(|member| {
                member.name == self.name && member.client_ur_ls == self.client_urls
            })
        });
        is_told && self.engine.status().is_ok_and(|status| status.raft.leader.is_some())
    }

    async fn sample_round_trips(&self) {
        while !self.engine.is_stopped() {
            for peer in self.transport.status() {
                if let Some(rtt) = peer.rtt {
                    let meters = self.engine.meters().peer(peer.member);
                    meters.round_trips.observe(rtt);
                    meters.latency.observe(rtt);
                }
            }
            tokio::time::sleep(ROUND_TRIPS_AGAIN).await;
        }
    }

    async fn look_at_traffic(&self) {
        while !self.engine.is_stopped() {
            self.http.look();
            tokio::time::sleep(TRAFFIC_AGAIN).await;
        }
    }

    async fn engine_stopped(&self) {
        while !self.engine.is_stopped() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// Where the members but `own` can be dialled.
pub(super) fn addresses(members: &[Member], own: MemberId) -> Vec<PeerAddress> {
    members
        .iter()
        .filter(|member| member.id != own.0)
        .map(|member| PeerAddress {
            member: MemberId(member.id),
            urls: member.peer_ur_ls.iter().filter_map(|url| url.parse().ok()).collect(),
        })
        .collect()
}
