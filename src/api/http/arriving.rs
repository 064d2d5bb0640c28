//! A message on its way: while it is long and not whole it counts, and may have to make room for those of others.

use std::net::SocketAddr;
use std::sync::Arc;

use super::session::Session;
use crate::base::limits;
use crate::proto::{Code, Retry, Status};
use crate::transport::{Bound, Bounds, Held, Origin};

/// What one request, or one stream, has on its way.
pub(super) struct Arriving {
    bounds: Arc<Bounds>,
    /// None for a caller inside this process, who is trusted.
    remote: Option<SocketAddr>,
    held: Option<Held<Origin>>,
}

impl Arriving {
    pub(super) fn of(session: &Session) -> Self {
        let bounds = Arc::clone(&session.shared.config.bounds);
        Self { bounds, remote: session.caller.address, held: None }
    }

    /// It is going to have so many bytes.
    pub(super) fn expect(&mut self, bytes: usize) {
        if let Some(remote) = self.remote
            && bytes > limits::UNFINISHED_FREE_BYTES
            && self.held.is_none()
        {
            // Nobody is turned away where the oldest goes.
            self.held = self.bounds.unfinished.enter(remote.into(), bytes).ok();
        }
    }

    /// It is whole.
    pub(super) fn whole(&mut self) {
        self.held = None;
    }

    /// What reads on, unless it has to make room.
    pub(super) async fn read<T>(
        &self,
        reading: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        tokio::select! {
            biased;
            () = self.crowded_out() => Err(refused(Bound::Unfinished)),
            read = reading => read,
        }
    }

    /// Waits until it has to make room.
    pub(super) async fn crowded_out(&self) {
        let (Some(held), Some(remote)) = (&self.held, self.remote) else {
            return std::future::pending().await;
        };
        held.shown_out().await;
        self.bounds.refuse(Bound::Unfinished, remote);
    }
}

/// What a call is told that had to make room for others.
pub(super) fn refused(bound: Bound) -> Status {
    Status::new(Code::ResourceExhausted, bound.text(), Retry::NotProposed)
}
