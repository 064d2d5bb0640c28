//! The door of a member's transport: starts its endpoints, and the verbs by which the node drives it.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{AskError, ClientInbound, Error, PeerInbound, SnapshotError, Url, Versions};
use crate::base::{Clock, ClusterId, MemberId, Moment};
use crate::tls::{Doors, Keychain};

/// Streams of messages that do not wait for each other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Class {
    /// Heartbeats and votes.
    Control,
    Append,
}

/// One UDP address and what it lets in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Listener {
    pub address: SocketAddr,
    pub doors: Doors,
}

impl Listener {
    /// The endpoints for `listen-peer-urls` and `listen-client-urls`: one per address, for both where both name it.
    pub fn of(peers: &[Url], clients: &[Url]) -> Result<Vec<Self>, Error> {
        let mut listeners: BTreeMap<SocketAddr, Doors> = BTreeMap::new();
        let all = peers.iter().map(|url| (url, true)).chain(clients.iter().map(|url| (url, false)));
        for (url, for_peers) in all {
            let doors = listeners.entry(url.bind_address()?).or_default();
            let door = if for_peers { &mut doors.peers } else { &mut doors.clients };
            if door.is_some_and(|scheme| scheme != url.scheme) {
                return Err(Error::Listeners(format!("{url} is listed with http and https")));
            }
            *door = Some(url.scheme);
        }
        Ok(listeners.into_iter().map(|(address, doors)| Self { address, doors }).collect())
    }
}

/// What a member's transport is built from.
#[derive(Clone)]
pub struct Config {
    pub cluster: ClusterId,
    pub member: MemberId,
    pub name: String,
    /// Drawn at each start of the process: tells a restart from a second connection.
    pub boot_nonce: u64,
    pub versions: Versions,
    /// `initial-advertise-peer-urls`: where others dial this member.
    pub advertise_peer_urls: Vec<Url>,
    pub listeners: Vec<Listener>,
    pub keychain: Arc<Keychain>,
    pub clock: Arc<dyn Clock>,
    /// Kinds of ask that one who is no member yet may ask.
    pub guest_asks: Vec<u16>,
    /// Messages waiting for one peer and class; `limits::OUTBOX_BYTES_MAX`.
    pub outbox_bytes_max: usize,
}

/// Where a member can be dialled; the URLs are tried in turn.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PeerAddress {
    pub member: MemberId,
    pub urls: Vec<Url>,
}

/// How the connection that we dialled to one member stands.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerStatus {
    pub member: MemberId,
    pub connected: bool,
    /// Since when it is, or is not.
    pub since: Moment,
    pub url: Option<Url>,
    pub rtt: Option<Duration>,
    pub outbox_bytes: usize,
    /// Messages dropped since the start.
    pub dropped: u64,
    /// Why the last dial, or the last connection, failed.
    pub last_error: Option<String>,
}

/// A running transport. Its verbs may be called from any thread and return at once, unless they say otherwise.
pub struct Transport {}

impl Transport {
    /// Binds every listener (an address that cannot be had is the error), then starts a thread for each.
    pub fn start(
        config: Config,
        peers: Arc<dyn PeerInbound>,
        clients: Arc<dyn ClientInbound>,
    ) -> Result<Self, Error> {
        let _ = (config, peers, clients);
        Ok(Self {})
    }

    /// The addresses in use, in the order of `Config::listeners`; a port of 0 has become a real one.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        Vec::new()
    }

    /// The members to be connected to, all of them but this one: new ones are dialled, missing ones dropped, and
    /// those whose standing is `Removed` are told so.
    pub fn set_peers(&self, peers: &[PeerAddress]) {
        let _ = peers;
    }

    /// Puts a message into a member's outbox. False: it was dropped, because the member is not known, not to be
    /// reached, or its outbox is full; Raft repeats what matters.
    pub fn send(&self, to: MemberId, class: Class, message: Bytes) -> bool {
        self.send_all(to, class, vec![message])
    }

    /// The same for many: one lock, one wake-up.
    pub fn send_all(&self, to: MemberId, class: Class, messages: Vec<Bytes>) -> bool {
        let _ = (to, class, messages);
        false
    }

    /// Asks a member and hands the answer to `done`, once, on a transport thread.
    pub fn ask_then(
        &self,
        to: MemberId,
        kind: u16,
        body: Bytes,
        deadline: Moment,
        done: impl FnOnce(Result<Bytes, AskError>) + Send + 'static,
    ) {
        let _ = (to, kind, body, deadline);
        done(Err(AskError::Unreachable));
    }

    /// The same, for tasks of any runtime.
    pub async fn ask(
        &self,
        to: MemberId,
        kind: u16,
        body: Bytes,
        deadline: Moment,
    ) -> Result<Bytes, AskError> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.ask_then(to, kind, body, deadline, move |answer| {
            // The one who asked may have given up.
            let _ = sender.send(answer);
        });
        receiver.await.unwrap_or(Err(AskError::Lost))
    }

    /// Streams `length` bytes from `reader`, behind everything else that goes to this member, and returns when the
    /// member's machine has them all, or at the first failure. Blocks: call it on a thread of its own.
    pub fn send_snapshot(
        &self,
        to: MemberId,
        header: Bytes,
        reader: &mut dyn Read,
        length: u64,
    ) -> Result<(), SnapshotError> {
        let _ = (to, header, reader, length);
        Err(SnapshotError::Unreachable)
    }

    /// One line for each member of the last `set_peers`, by id.
    pub fn status(&self) -> Vec<PeerStatus> {
        Vec::new()
    }

    /// Whether messages can leave for this member now.
    pub fn connected(&self, member: MemberId) -> bool {
        let _ = member;
        false
    }

    /// Closes every connection, tells the other sides, and ends the threads. Blocks for about a second at most.
    pub fn shutdown(&self) {}
}

/// Who asks before it is a member.
#[derive(Clone)]
pub struct Guest {
    pub name: String,
    pub versions: Versions,
    pub keychain: Arc<Keychain>,
    pub clock: Arc<dyn Clock>,
}

/// One ask of one who is no member yet, to whoever lives at `url`. Blocks: it brings its own runtime.
pub fn inquire(
    guest: &Guest,
    url: &Url,
    kind: u16,
    body: Bytes,
    timeout: Duration,
) -> Result<Bytes, AskError> {
    let _ = (guest, url, kind, body, timeout);
    Err(AskError::Unreachable)
}
