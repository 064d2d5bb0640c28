//! Why a member stops by itself, told to whoever waits for it.

use std::sync::Arc;

use tokio::sync::watch;

/// A member's end that nobody asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Stopped {
    /// The cluster removed it, for ever.
    Removed,
    /// It met a fault; the text says what to do.
    Fault(String),
}

/// The first reason counts.
#[derive(Clone, Debug)]
pub(super) struct Stopper {
    reason: Arc<watch::Sender<Option<Stopped>>>,
}

impl Stopper {
    pub(super) fn new() -> Self {
        Self { reason: Arc::new(watch::Sender::new(None)) }
    }

    pub(super) fn removed(&self) {
        self.stop(Stopped::Removed);
    }

    pub(super) fn stop(&self, reason: Stopped) {
        self.reason.send_if_modified(|told| {
            let is_first = told.is_none();
            if is_first {
                *told = Some(reason);
            }
            is_first
        });
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.reason.borrow().is_some()
    }

    /// Resolves with the reason; never, if there is none.
    pub(super) async fn stopped(&self) -> Stopped {
        let mut reason = self.reason.subscribe();
        loop {
            if let Some(reason) = reason.borrow_and_update().clone() {
                return reason;
            }
            if reason.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
