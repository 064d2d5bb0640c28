//! What a running member does beside serving: keeps the transport's address book, publishes itself, runs the keepers,
//! and notices its own end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::api::Http;
use crate::base::MemberId;
use crate::engine::Handle;
use crate::keepers::{self, Expiry, ManyRevisions, OldRevisions, Recorder, TreeExpiry};
use crate::proto::etcdserverpb::{AlarmType, Member};
use crate::proto::quorate::log::MemberPublish;
use crate::state::{Command, Members};
use crate::transport::{PeerAddress, Transport};

use super::config::{AutoCompaction, Config};
use super::reload::Reloading;
use super::stop::{Stopped, Stopper};

/// Everything the chores need.
#[derive(Clone)]
pub(super) struct Chores {
    pub config: Config,
    pub engine: Handle,
    pub transport: Arc<Transport>,
    pub http: Arc<Http>,
    pub stopper: Stopper,
    pub client_urls: Vec<String>,
    /// Whom to reach while the members table is empty: a joiner's first addresses.
    pub first_peers: Vec<PeerAddress>,
    pub ready: Arc<watch::Sender<bool>>,
    pub reloading: Reloading,
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
/// Between two attempts of a corrupt member to be rid of leadership.
const STAND_ASIDE_AGAIN: Duration = Duration::from_secs(1);
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
                self.compare(),
                self.stand_aside(),
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
        match self.config.auto_compaction {
            None => {}
            Some(AutoCompaction::Time(kept)) => keepers::run(engine, OldRevisions::new(kept)).await,
            Some(AutoCompaction::Revisions(kept)) => {
                keepers::run(engine, ManyRevisions::new(kept)).await;
            }
        }
    }

    async fn compare(&self) {
        if let Some(interval) = self.config.comparisons.interval {
            keepers::compare_histories(self.engine.clone(), interval).await;
        }
    }

    /// A member that is corrupt leads no longer than it takes to find another.
    async fn stand_aside(&self) {
        loop {
            self.engine.quarantined().await;
            if self.engine.is_stopped() {
                return;
            }
            if self.engine.raft().is_leader {
                hand_over(&self.engine, &self.transport, self.config.election_timeout).await;
            }
            tokio::time::sleep(STAND_ASIDE_AGAIN).await;
        }
    }

    /// Whether its history is that of the others, or nobody can tell.
    async fn is_sound(&self) -> bool {
        if !self.config.comparisons.at_start {
            return true;
        }
        match keepers::is_diverged(&self.engine).await {
            Ok(false) => true,
            Ok(true) => {
                let text = "its history is another than that of most members: it is corrupt; run `quorate member \
                            resync` on this machine";
                self.stopper.stop(Stopped::Fault(text.to_owned()));
                false
            }
            Err(why) => {
                tracing::warn!(why, "the history could not be compared with the others'");
                true
            }
        }
    }

    async fn keep_address_book(&self) {
        let mut changed = self.engine.members_changed();
        while !self.engine.is_stopped() {
            changed.borrow_and_update();
            if let Some(members) = self.members() {
                self.transport.set_peers(&self.peers(&members));
                if members.is_removed(self.engine.member()) {
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
        addresses(&members.list(), self.engine.member())
    }

    /// Tells everybody this member's name and client URLs, once it can; then it is ready.
    async fn publish(&self) {
        while !self.engine.is_stopped() {
            if self.is_published() {
                if self.is_sound().await {
                    self.ready.send_replace(true);
                }
                return;
            }
            let can = self
                .members()
                .is_some_and(|members| members.member(self.engine.member()).is_some())
                && self.engine.status().is_ok_and(|status| status.raft.leader.is_some());
            if can {
                let told = Member {
                    id: self.engine.member().0,
                    name: self.config.name.clone(),
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
            members.member(self.engine.member()).is_some_and(|member| {
                member.name == self.config.name && member.client_ur_ls == self.client_urls
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

/// Gives leadership to a voter that is there, and not known to be corrupt.
pub(super) async fn hand_over(engine: &Handle, transport: &Transport, patience: Duration) {
    let Ok(query) = engine.query() else { return };
    let (members, alarms) = (query.members(), query.alarms());
    drop(query);
    let target = members.voters().into_iter().find(|voter| {
        *voter != engine.member()
            && transport.connected(*voter)
            && !alarms.is_raised_by(*voter, AlarmType::Corrupt)
    });
    let Some(target) = target else { return };
    match engine.transfer_leader(target, engine.clock().now() + patience).await {
        Ok(()) => tracing::info!(to = %target, "handed leadership over"),
        Err(error) => tracing::warn!(to = %target, %error, "could not hand leadership over"),
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
