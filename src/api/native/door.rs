//! What the endpoint hands connections to, and how it stops.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::connection;
use crate::base::{ClusterId, MemberId, limits};
use crate::proto::Service;
use crate::transport::{Bounds, ClientConnection, ClientInbound, CloseCode, TcpInbound};

/// Who the server is, and its bounds; tests want some of them small.
#[derive(Clone, Debug)]
pub struct Config {
    pub cluster: ClusterId,
    pub member: MemberId,
    /// Unanswered requests of one connection.
    pub in_flight_max: u32,
    /// Longest frame read.
    pub frame_bytes_max: usize,
    /// Streams one client may have open.
    pub streams_max: u32,
    /// Longest answer that stays on its unary stream.
    pub inline_bytes_max: usize,
    /// Answers written and not taken, at which a unary stream is no longer read.
    pub unsent_bytes_max: usize,
    /// What strangers may take, of all wires together.
    pub bounds: Arc<Bounds>,
}

impl Config {
    pub fn new(cluster: ClusterId, member: MemberId) -> Self {
        Self {
            cluster,
            member,
            in_flight_max: limits::CONNECTION_IN_FLIGHT_MAX,
            frame_bytes_max: limits::FRAME_BYTES_MAX,
            streams_max: limits::CONNECTION_STREAMS_MAX,
            inline_bytes_max: limits::ANSWER_INLINE_BYTES_MAX,
            unsent_bytes_max: limits::STREAM_UNSENT_BYTES_MAX,
            bounds: Bounds::new(),
        }
    }
}

/// How far a stop has come.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Phase {
    Serving,
    /// What was asked is answered; what comes is refused.
    Draining,
    /// The grace is over.
    Closing,
}

/// Waits until the stop has come so far.
pub(super) async fn reached(phase: &mut watch::Receiver<Phase>, at_least: Phase) {
    // The door is gone: so is the process.
    let _gone = phase.wait_for(|phase| *phase >= at_least).await.is_ok();
}

/// What connections share.
pub(super) struct Door {
    pub service: Arc<dyn Service>,
    pub config: Config,
    /// Who takes streams that speak HTTP.
    pub http: OnceLock<Arc<dyn TcpInbound>>,
    pub phase: watch::Sender<Phase>,
    /// Connections being served.
    pub open: watch::Sender<usize>,
}

/// The native door of one member, for all its endpoints.
pub struct Native {
    door: Arc<Door>,
}

impl Native {
    pub fn new(service: Arc<dyn Service>, config: Config) -> Self {
        let phase = watch::Sender::new(Phase::Serving);
        let open = watch::Sender::new(0);
        let http = OnceLock::new();
        Self { door: Arc::new(Door { service, config, http, phase, open }) }
    }

    /// From now on streams that speak HTTP are handed to `http`; the first call counts.
    pub fn lead_http_to(&self, http: Arc<dyn TcpInbound>) {
        let _ = self.door.http.set(http);
    }

    /// Tells every client to go elsewhere, lets what was asked be answered for at most `grace`, then closes.
    pub async fn drain(&self, grace: Duration) {
        self.door.phase.send_replace(Phase::Draining);
        let mut open = self.door.open.subscribe();
        // The sender lives in `self`: only the time can run out.
        if timeout(grace, open.wait_for(|open| *open == 0)).await.is_err() {
            self.door.phase.send_replace(Phase::Closing);
        }
    }

    /// Clients connected now.
    pub fn connections(&self) -> usize {
        *self.door.open.borrow()
    }
}

impl ClientInbound for Native {
    fn connection(&self, incoming: ClientConnection) {
        if *self.door.phase.borrow() != Phase::Serving {
            incoming.connection.close(CloseCode::Done, "this server is stopping");
            return;
        }
        self.door.open.send_modify(|open| *open += 1);
        let door = Arc::clone(&self.door);
        tokio::spawn(async move {
            connection::serve(&door, incoming).await;
            door.open.send_modify(|open| *open -= 1);
        });
    }
}
