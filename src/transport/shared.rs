//! What the endpoints of one member share: who it is, whom it knows, and who is connected.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;

use super::hello::{Hello, PROTOCOL};
use super::peer::{self, Peer};
use super::throttle::Throttle;
use super::{
    ClientInbound, CloseCode, Config, Connection, PeerAddress, PeerInbound, Standing, Url,
};
use crate::base::{MemberId, Moment, limits};

/// A connection that another member dialled.
struct Accepted {
    boot_nonce: u64,
    connection: Connection,
}

pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) inbound: Arc<dyn PeerInbound>,
    pub(super) clients: Arc<dyn ClientInbound>,
    /// The runtime and the socket that members are dialled from.
    pub(super) runtime: Handle,
    pub(super) socket: quinn::Endpoint,
    throttle: Throttle,
    peers: Mutex<BTreeMap<MemberId, Arc<Peer>>>,
    accepted: Mutex<BTreeMap<MemberId, Accepted>>,
}

impl Shared {
    pub(super) fn new(
        config: Config,
        inbound: Arc<dyn PeerInbound>,
        clients: Arc<dyn ClientInbound>,
        runtime: Handle,
        socket: quinn::Endpoint,
    ) -> Arc<Self> {
        Arc::new(Self {
            config,
            inbound,
            clients,
            runtime,
            socket,
            throttle: Throttle::default(),
            peers: Mutex::default(),
            accepted: Mutex::default(),
        })
    }

    pub(super) fn now(&self) -> Moment {
        self.config.clock.now()
    }

    /// What this member says to `to`.
    pub(super) fn hello(&self, to: MemberId) -> Hello {
        Hello {
            protocol: PROTOCOL,
            cluster: self.config.cluster.0,
            from: self.config.member.0,
            name: self.config.name.clone(),
            boot_nonce: self.config.boot_nonce,
            to: to.0,
            urls: self.config.advertise_peer_urls.iter().map(Url::to_string).collect(),
            ..Hello::default()
        }
        .with_versions(self.config.versions)
    }

    /// Whether the complaint named `key` may be logged now.
    pub(super) fn may_complain(&self, key: String) -> bool {
        self.throttle.allows(key, self.now())
    }

    pub(super) fn peer(&self, member: MemberId) -> Option<Arc<Peer>> {
        lock(&self.peers).get(&member).cloned()
    }

    pub(super) fn peers(&self) -> Vec<Arc<Peer>> {
        lock(&self.peers).values().cloned().collect()
    }

    pub(super) fn set_peers(self: &Arc<Self>, wanted: &[PeerAddress]) {
        // The node is asked while nothing is locked here: it may have locks of its own.
        let connected: Vec<MemberId> = lock(&self.accepted).keys().copied().collect();
        let known: Vec<MemberId> = lock(&self.peers).keys().copied().collect();
        let standing = |member: MemberId| self.inbound.standing(member);
        let removed: Vec<MemberId> =
            connected.into_iter().filter(|it| standing(*it) == Standing::Removed).collect();
        let unknown: Vec<MemberId> =
            known.into_iter().filter(|it| standing(*it) == Standing::Unknown).collect();

        let mut peers = lock(&self.peers);
        // One that dialled us and is new to us stays, until it is known to be gone: we may owe it an answer.
        peers.retain(|member, peer| {
            let keep = wanted.iter().any(|address| address.member == *member)
                || (peer.learned && unknown.contains(member));
            if !keep {
                peer.retire();
            }
            keep
        });
        for address in wanted {
            if address.member == self.config.member {
                continue;
            }
            match peers.get(&address.member) {
                Some(peer) => peer.move_to(&address.urls),
                None => {
                    let peer = peer::start(self, address.clone(), false);
                    peers.insert(address.member, peer);
                }
            }
        }
        drop(peers);
        let accepted = lock(&self.accepted);
        for gone in removed.iter().filter_map(|member| accepted.get(member)) {
            gone.connection.close(CloseCode::Removed, REMOVED_TEXT);
        }
    }

    /// A member dialled us and is welcome: the newest connection takes the place of any other, and since it lives, it
    /// can be dialled.
    pub(super) fn accepted(self: &Arc<Self>, theirs: &Hello, connection: &Connection) {
        let member = MemberId(theirs.from);
        let fresh = Accepted { boot_nonce: theirs.boot_nonce, connection: connection.clone() };
        if let Some(old) = lock(&self.accepted).insert(member, fresh) {
            let text = "a newer connection of this member came";
            if old.boot_nonce == theirs.boot_nonce {
                // The same process: it closes the older one itself, when its questions there are answered.
                tokio::spawn(async move {
                    tokio::time::sleep(limits::HANDOVER_MAX).await;
                    old.connection.close(CloseCode::Replaced, text);
                });
            } else {
                if old.connection.lost().is_none() {
                    tracing::info!(%member, "the member was started anew; its old connection is closed");
                }
                old.connection.close(CloseCode::Replaced, text);
            }
        }
        let known = self.peer(member);
        match known {
            Some(peer) => peer.heard(theirs.boot_nonce, self.now()),
            None => self.learn(theirs),
        }
    }

    /// Whether no other connection of this member was accepted since.
    pub(super) fn is_newest(&self, member: MemberId, connection: &Connection) -> bool {
        let accepted = lock(&self.accepted);
        accepted.get(&member).is_some_and(|known| known.connection.id() == connection.id())
    }

    /// A connection that was accepted from this member has ended.
    pub(super) fn departed(&self, member: MemberId, connection: &Connection) {
        let mut accepted = lock(&self.accepted);
        if accepted.get(&member).is_some_and(|known| known.connection.id() == connection.id()) {
            accepted.remove(&member);
        }
    }

    /// A member of this cluster that we do not know: we are behind, and Raft may have to answer it.
    fn learn(self: &Arc<Self>, theirs: &Hello) {
        let member = MemberId(theirs.from);
        let urls: Vec<Url> = theirs.urls.iter().filter_map(|url| url.parse().ok()).collect();
        let mut peers = lock(&self.peers);
        if urls.is_empty() || peers.len() >= limits::MEMBERS_MAX || peers.contains_key(&member) {
            return;
        }
        let peer = peer::start(self, PeerAddress { member, urls }, true);
        peers.insert(member, peer);
    }
}

/// etcd's words for a removed member.
pub(super) const REMOVED_TEXT: &str = "the member has been permanently removed from the cluster";

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
