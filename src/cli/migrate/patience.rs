//! Clusters that are away for a moment are asked again, for a while; and what else a call may end with.

use std::time::Duration;

use tokio::time::sleep;

use crate::base::{Backoff, Clock, Moment, SystemClock};
use crate::cli::exit::Exit;
use crate::client::Error;
use crate::proto::Code;

/// So long a cluster may be away: elections and restarts of members are shorter. Whoever wants to wait longer starts the
/// command again, as systemd does.
const AWAY_MAX: Duration = Duration::from_secs(60);

const WAIT_FIRST: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(2);

/// Why a step was not done.
#[derive(Debug)]
pub(super) enum Failure {
    /// The source has forgotten the revision that is read: begin again with a newer one.
    Compacted,
    /// A lease has ended at the destination that lives at the source: its keys went with it.
    LeaseGone,
    Exit(Exit),
}

impl From<Exit> for Failure {
    fn from(exit: Exit) -> Self {
        Self::Exit(exit)
    }
}

/// For one call.
pub(super) struct Patience {
    clock: SystemClock,
    /// Since the first failure.
    until: Option<Moment>,
    backoff: Backoff,
}

impl Patience {
    pub(super) fn new() -> Self {
        let backoff = Backoff::new(WAIT_FIRST, WAIT_MAX);
        Self { clock: SystemClock::new(), until: None, backoff }
    }

    /// Whether to ask again, which is to be done at once: it has waited.
    pub(super) async fn bears(&mut self, error: &Error) -> bool {
        let now = self.clock.now();
        let until = *self.until.get_or_insert(now + AWAY_MAX);
        let wait = self.backoff.next_wait();
        if !is_passing(error) || now + wait > until {
            return false;
        }
        tracing::debug!(%error, "asking again");
        sleep(wait).await;
        true
    }
}

/// A call that may be made twice, until it succeeds or patience ends.
pub(super) async fn patiently<T>(
    mut call: impl AsyncFnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    let mut patience = Patience::new();
    loop {
        match call().await {
            Ok(answer) => return Ok(answer),
            Err(error) if patience.bears(&error).await => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether the same may be answered otherwise in a moment.
fn is_passing(error: &Error) -> bool {
    match error {
        Error::Connect { .. } | Error::Lost { .. } | Error::Timeout { .. } => true,
        Error::Server { status, .. } => {
            let is_busy = status.text.ends_with("too many requests");
            matches!(status.code, Code::Unavailable | Code::DeadlineExceeded) || is_busy
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::proto::{Retry, Status};

    use super::*;

    #[test]
    fn refusals_are_not_asked_again() {
        let server = |code, text: &str| Error::Server {
            endpoint: "http://a".into(),
            status: Status::new(code, text.to_owned(), Retry::Ambiguous),
        };
        assert!(is_passing(&server(Code::Unavailable, "etcdserver: no leader")));
        let exhausted = |text| is_passing(&server(Code::ResourceExhausted, text));
        assert!(exhausted("etcdserver: too many requests"));
        assert!(!exhausted("etcdserver: mvcc: database space exceeded"));
        assert!(!is_passing(&server(Code::PermissionDenied, "etcdserver: permission denied")));
        assert!(!is_passing(&Error::Closed));
    }
}
