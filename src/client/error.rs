//! Why a call of the client failed, where, and what may be done about it.

use std::sync::Arc;
use std::time::Duration;

use crate::proto::{Code, Retry, Status};

/// Everything that can go wrong; [`Error::retry`] says whether the same call may be made again.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// An endpoint that is no URL, a certificate that cannot be read.
    #[error("{0}")]
    Config(String),

    /// No endpoint answered; each with its reason.
    #[error("no endpoint could be reached: {}", tried.join("; "))]
    Connect {
        /// `endpoint: reason`, for each.
        tried: Vec<String>,
    },

    /// The server answered with an error.
    #[error("{text} ({endpoint})", text = status.text)]
    Server {
        /// Its URL.
        endpoint: Arc<str>,
        /// What it said: etcd's text, gRPC's code.
        status: Status,
    },

    /// The connection ended before the answer.
    #[error("the connection to {endpoint} was lost: {reason}{}", ambiguity(*retry))]
    Lost {
        /// The URL of the server.
        endpoint: Arc<str>,
        /// Why, for people.
        reason: Arc<str>,
        /// Ambiguous if the request may have left.
        retry: Retry,
    },

    /// The call's own deadline passed.
    #[error("no answer from {endpoint} within {after:?}{}", ambiguity(*retry))]
    Timeout {
        /// The URL of the server that was waited for.
        endpoint: Arc<str>,
        /// The time for a call.
        after: Duration,
        /// Ambiguous for a write.
        retry: Retry,
    },

    /// A watch cannot go on from where it was: the history up to `compact_revision` is gone.
    #[error(
        "revisions before {compact_revision} have been compacted: read the keys again and watch from there"
    )]
    Compacted {
        /// The first revision that can still be watched.
        compact_revision: i64,
    },

    /// The server ended a watch, or refused to create it.
    #[error("the watch was canceled: {reason}")]
    WatchCanceled {
        /// The server's text.
        reason: String,
    },

    /// A lease that was kept alive is gone, or can no longer be relied on.
    #[error(
        "lease {id:x} is gone: it expired, was revoked, or could not be renewed in its time; grant a new one and put its keys again"
    )]
    LeaseGone {
        /// The lease.
        id: i64,
    },

    /// A lock or a leadership that was held before: its lease ended, or somebody deleted its key.
    #[error(
        "{key} is not held any more: its lease ended, or somebody deleted it; stop what it protected, and ask for it again with a new session"
    )]
    NotHeld {
        /// `name/<lease>`, as text.
        key: String,
    },

    /// The server said something that the protocol does not know.
    #[error("{endpoint} does not speak this protocol: {what}")]
    Protocol {
        /// The URL of the server.
        endpoint: Arc<str>,
        /// What it said.
        what: String,
    },

    /// Bytes that are not what their checksum says.
    #[error("{0}")]
    Corrupt(String),

    /// The client was closed.
    #[error("the client is closed")]
    Closed,
}

fn ambiguity(retry: Retry) -> &'static str {
    match retry {
        Retry::Ambiguous => " (it may or may not have been done)",
        Retry::Never | Retry::NotProposed => "",
    }
}

impl Error {
    /// gRPC's code for it.
    pub fn code(&self) -> Code {
        match self {
            Self::Server { status, .. } => status.code,
            Self::Config(_) => Code::InvalidArgument,
            Self::Connect { .. } | Self::Lost { .. } => Code::Unavailable,
            Self::Timeout { .. } => Code::DeadlineExceeded,
            Self::Compacted { .. } => Code::OutOfRange,
            Self::WatchCanceled { .. } | Self::Closed => Code::Canceled,
            Self::LeaseGone { .. } => Code::NotFound,
            Self::NotHeld { .. } => Code::FailedPrecondition,
            Self::Protocol { .. } => Code::Internal,
            Self::Corrupt(_) => Code::DataLoss,
        }
    }

    /// What happened to the request: nothing will ever come of it (`NotProposed`), nobody knows (`Ambiguous`), or
    /// asking again is no use (`Never`).
    pub fn retry(&self) -> Retry {
        match self {
            Self::Server { status, .. } => status.retry,
            Self::Lost { retry, .. } | Self::Timeout { retry, .. } => *retry,
            Self::Connect { .. } => Retry::NotProposed,
            Self::Config(_)
            | Self::Compacted { .. }
            | Self::WatchCanceled { .. }
            | Self::LeaseGone { .. }
            | Self::NotHeld { .. }
            | Self::Protocol { .. }
            | Self::Corrupt(_)
            | Self::Closed => Retry::Never,
        }
    }

    /// The endpoint that failed, when one did.
    pub fn endpoint(&self) -> Option<&str> {
        match self {
            Self::Server { endpoint, .. }
            | Self::Lost { endpoint, .. }
            | Self::Timeout { endpoint, .. }
            | Self::Protocol { endpoint, .. } => Some(endpoint),
            _ => None,
        }
    }

    /// The message without the endpoint; for a server's error, exactly etcd's text.
    pub fn text(&self) -> String {
        match self {
            Self::Server { status, .. } => status.text.clone(),
            other => other.to_string(),
        }
    }
}
