//! The connection that this member dials to one other: kept up, written to, and reported.
//!
//! ```text
//!   dial each URL in turn ──► Hello both ways ──► control stream ◄── outbox
//!     ▲                                           append stream  ◄── outbox
//!     └── backoff, or at once when the member dials us ◄── lost
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, Semaphore};
use tokio::task::AbortHandle;

use super::converse::converse;
use super::greet::{Greeted, greet};
use super::outbox::{Outbox, Put};
use super::shared::Shared;
use super::{Class, CloseCode, Connection, DialError, Lost, PeerAddress, PeerStatus, Url};
use crate::base::{Backoff, MemberId, Moment, limits};

/// First byte of a unidirectional stream: what it carries.
pub(super) const STREAM_CONTROL: u8 = 0;
pub(super) const STREAM_APPEND: u8 = 1;
pub(super) const STREAM_SNAPSHOT: u8 = 2;

const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// A connection that lived so long was a good one: the next dial need not wait.
const SETTLED: Duration = Duration::from_secs(5);

/// A dial this young is not begun again because the member showed that it lives.
const DIAL_YOUNG: Duration = Duration::from_millis(200);

pub(super) struct Peer {
    pub(super) member: MemberId,
    /// It introduced itself; the node has not named it.
    pub(super) learned: bool,
    pub(super) asks: Arc<Semaphore>,
    /// One snapshot at a time.
    pub(super) snapshots: Semaphore,
    control: Outbox,
    append: Outbox,
    heard: Notify,
    link: Mutex<Link>,
}

struct Link {
    urls: Vec<Url>,
    connection: Option<Connection>,
    /// Of the process at the other end.
    boot_nonce: u64,
    since: Moment,
    dial_began: Moment,
    url: Option<Url>,
    last_error: Option<String>,
    task: Option<AbortHandle>,
}

/// Begins to dial, and goes on until [`Peer::retire`].
pub(super) fn start(shared: &Arc<Shared>, address: PeerAddress, learned: bool) -> Arc<Peer> {
    let now = shared.now();
    let peer = Arc::new(Peer {
        member: address.member,
        learned,
        asks: Arc::new(Semaphore::new(limits::PEER_ASKS_MAX as usize)),
        snapshots: Semaphore::new(1),
        control: Outbox::new(shared.config.outbox_bytes_max),
        append: Outbox::new(shared.config.outbox_bytes_max),
        heard: Notify::new(),
        link: Mutex::new(Link {
            urls: address.urls,
            connection: None,
            boot_nonce: 0,
            since: now,
            dial_began: now,
            url: None,
            last_error: None,
            task: None,
        }),
    });
    // Before the task runs: what is sent in the meantime waits for the first dial.
    peer.open_outboxes();
    let task = shared.runtime.spawn(keep_connected(Arc::clone(shared), Arc::clone(&peer)));
    peer.link().task = Some(task.abort_handle());
    peer
}

impl Peer {
    pub(super) fn outbox(&self, class: Class) -> &Outbox {
        match class {
            Class::Control => &self.control,
            Class::Append => &self.append,
        }
    }

    /// Whether every message was queued; tells the node of the first that was not, since the outbox was last empty.
    pub(super) fn put(&self, shared: &Shared, class: Class, messages: Vec<Bytes>) -> bool {
        let put = self.outbox(class).put(messages);
        if put == (Put::Full { first: true }) {
            if shared.may_complain(format!("outbox {}", self.member)) {
                let (member, bytes) = (self.member, self.outbox(class).bytes());
                tracing::warn!(%member, bytes, "the outbox of this member is full: messages are dropped");
            }
            shared.inbound.unreachable(self.member);
        }
        put == Put::Queued
    }

    pub(super) fn connection(&self) -> Option<Connection> {
        self.link().connection.clone()
    }

    pub(super) fn status(&self) -> PeerStatus {
        let link = self.link();
        PeerStatus {
            member: self.member,
            connected: link.connection.is_some(),
            since: link.since,
            url: link.url.clone(),
            rtt: link.connection.as_ref().map(Connection::rtt),
            outbox_bytes: self.control.bytes() + self.append.bytes(),
            dropped: self.control.dropped() + self.append.dropped(),
            last_error: link.last_error.clone(),
        }
    }

    /// The member has other URLs from now on; a connection that is none of them is given up.
    pub(super) fn move_to(&self, urls: &[Url]) {
        let mut link = self.link();
        if link.urls == urls {
            return;
        }
        link.urls = urls.to_vec();
        let stays = link.url.as_ref().is_some_and(|url| urls.contains(url));
        if let Some(connection) = link.connection.as_ref().filter(|_| !stays) {
            connection.close(CloseCode::Done, "the member has moved");
        }
        drop(link);
        self.heard.notify_one();
    }

    /// The member dialled us: if we are not connected to that very process, now is the time to be.
    pub(super) fn heard(&self, boot_nonce: u64, now: Moment) {
        let link = self.link();
        match &link.connection {
            Some(_) if link.boot_nonce == boot_nonce => {}
            Some(connection) => connection.close(CloseCode::Done, "the member was started anew"),
            None if now.since(link.dial_began) < DIAL_YOUNG => {}
            None => self.heard.notify_one(),
        }
    }

    /// The end: nothing is dialled or sent any more.
    pub(super) fn retire(&self) {
        let mut link = self.link();
        if let Some(task) = link.task.take() {
            task.abort();
        }
        if let Some(connection) = link.connection.take() {
            connection.close(CloseCode::Done, "not a member any more");
        }
        self.control.shut();
        self.append.shut();
    }

    pub(super) fn up(&self, greeted: &Greeted, url: &Url, now: Moment) {
        let mut link = self.link();
        link.connection = Some(greeted.connection.clone());
        link.boot_nonce = greeted.theirs.boot_nonce;
        link.url = Some(url.clone());
        link.since = now;
        link.last_error = None;
    }

    fn down(&self, error: String, now: Moment) {
        self.control.shut();
        self.append.shut();
        let mut link = self.link();
        if link.connection.take().is_some() {
            link.since = now;
        }
        link.last_error = Some(error);
    }

    fn open_outboxes(&self) {
        self.control.open();
        self.append.open();
    }

    /// The URL of the n-th attempt.
    fn url(&self, attempt: usize, now: Moment) -> Option<Url> {
        let mut link = self.link();
        link.dial_began = now;
        let count = link.urls.len().max(1);
        link.urls.get(attempt % count).cloned()
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn keep_connected(shared: Arc<Shared>, peer: Arc<Peer>) {
    let mut backoff = Backoff::new(BACKOFF_FIRST, BACKOFF_MAX);
    let mine = shared.hello(peer.member);
    let mut attempt = 0;
    loop {
        peer.open_outboxes();
        let Some(url) = peer.url(attempt, shared.now()) else {
            peer.down("the member has no peer URL yet".into(), shared.now());
            peer.heard.notified().await;
            continue;
        };
        let config = &shared.config;
        let dialled = tokio::select! {
            dialled = greet(&shared.socket, &config.names, &config.keychain, config.clock.as_ref(), &mine, &url) => dialled,
            () = peer.heard.notified() => continue,
        };
        match dialled {
            Ok(greeted) => {
                let began = shared.now();
                peer.up(&greeted, &url, began);
                tracing::info!(member = %peer.member, %url, "connected to the member");
                shared.inbound.connected(peer.member);
                let lost = converse(&shared, &peer, &mine, greeted, &url).await;
                peer.down(lost.to_string(), shared.now());
                report_loss(&shared, &peer, &lost);
                if shared.now().since(began) >= SETTLED {
                    backoff.reset();
                }
            }
            Err(error) => {
                attempt += 1;
                peer.down(error.to_string(), shared.now());
                report_failure(&shared, &peer, &url, &error);
            }
        }
        shared.inbound.unreachable(peer.member);
        tokio::select! {
            () = tokio::time::sleep(backoff.next_wait()) => {}
            () = peer.heard.notified() => {}
        }
    }
}

fn report_loss(shared: &Shared, peer: &Peer, lost: &Lost) {
    let member = peer.member;
    match lost {
        Lost::Closed { code: Some(CloseCode::Removed), .. } => shared.inbound.removed(),
        Lost::Closed { code: Some(CloseCode::Replaced), .. } => {
            if shared.may_complain(format!("replaced at {member}")) {
                tracing::warn!(
                    %member,
                    "another process connected to this member with our id: is this member running twice?"
                );
            }
        }
        other => tracing::info!(%member, reason = %other, "lost the connection to the member"),
    }
}

fn report_failure(shared: &Shared, peer: &Peer, url: &Url, error: &DialError) {
    let code = match error {
        DialError::Lost { lost: Lost::Closed { code, .. }, .. } => *code,
        DialError::Refused { code, .. } => Some(*code),
        _ => None,
    };
    if code == Some(CloseCode::Removed) && matches!(error, DialError::Lost { .. }) {
        shared.inbound.removed();
    }
    let member = peer.member;
    // Somebody who was not there, and now refuses us, is told of at once.
    if shared.may_complain(format!("dial {member} {url} {code:?}")) {
        tracing::warn!(%member, %url, reason = %error, "cannot connect to the member; trying on");
    }
}
