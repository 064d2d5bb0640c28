//! What can go wrong between two ends, in words for the one who has to mend it.

#[cfg(feature = "server")]
use std::io;
use std::net::SocketAddr;

use super::CloseCode;

/// A member's transport cannot start.
#[cfg(feature = "server")]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on UDP {address}: {source}{}", bind_advice(source))]
    Bind { address: SocketAddr, source: io::Error },
    #[error("cannot listen on TCP {address}: {source}{}", bind_advice(source))]
    BindTcp { address: SocketAddr, source: io::Error },
    #[error("two listen URLs contradict each other: {0}")]
    Listeners(String),
    #[error(transparent)]
    Url(#[from] super::ParseUrlError),
    #[error(transparent)]
    Tls(#[from] crate::tls::Error),
    #[error("cannot start a transport thread: {0}")]
    Thread(io::Error),
}

#[cfg(feature = "server")]
fn bind_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            " (another process has this port: stop it, or choose other listen URLs; `ss -tulpn` shows it)"
        }
        io::ErrorKind::AddrNotAvailable => {
            " (this machine has no such address: listen on one that `ip address` shows, or on 0.0.0.0)"
        }
        io::ErrorKind::PermissionDenied => " (ports below 1024 need privileges)",
        _ => "",
    }
}

/// Why a connection is no more.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Lost {
    /// The other side closed it, and said why.
    #[error("closed by the other side: {text}")]
    Closed { code: Option<CloseCode>, text: String },
    /// TLS ended it: certificates, or no common protocol.
    #[error("refused in the handshake: {0}")]
    Handshake(String),
    #[error("no answer for too long")]
    TimedOut,
    /// The other side was started anew and knows nothing of it.
    #[error("reset by the other side")]
    Reset,
    /// This side closed it.
    #[error("closed")]
    Here,
    #[error("{0}")]
    Other(String),
}

/// One stream failed; the connection may live on unless it is `Lost`.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum StreamError {
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The sender gave up, with its code.
    #[error("the stream was reset by its sender (code {0})")]
    Reset(u64),
    /// The receiver wants no more, with its code.
    #[error("the stream was stopped by its receiver (code {0})")]
    Stopped(u64),
    #[error("a frame of {bytes} bytes is longer than the {bytes_max} that are allowed here")]
    TooLong { bytes: u64, bytes_max: usize },
    #[error("the stream ended in the middle of a frame")]
    Truncated,
    /// A frame that did not come to its end, for which others needed the room.
    #[error("quorate: too many bytes of messages that do not come to their end")]
    Crowded,
    /// The rest of a frame, or a free stream, did not come in time.
    #[error("too slow: the deadline passed")]
    Slow,
}

/// No connection came to be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DialError {
    #[error("cannot find the address of {host}: {what}")]
    Resolve { host: String, what: String },
    #[error(
        "no answer from {address} over UDP{}",
        if *tcp_answers { ": TCP answers there, UDP does not: is UDP forwarded?" } else { "" }
    )]
    NoAnswer { address: SocketAddr, tcp_answers: bool },
    #[error("{address}: {lost}")]
    Lost { address: SocketAddr, lost: Lost },
    /// We do not accept who answered.
    #[error("{address}: {text}")]
    Refused { address: SocketAddr, code: CloseCode, text: String },
    #[error("{0}")]
    Settings(String),
}

/// What became of an ask.
#[cfg(feature = "server")]
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AskError {
    /// It never left: safe to ask again.
    #[error("not connected to that member")]
    Unreachable,
    /// It never left, because nobody answered the dial: safe to ask again.
    #[error(transparent)]
    Dial(DialError),
    /// It never left, because too many are waiting: safe to ask again, later.
    #[error("too many questions are waiting for that member")]
    Busy,
    /// The other side would not hear it, and has done nothing.
    #[error("refused: {0}")]
    Refused(String),
    /// It left, and no answer came before the connection was lost: it may have been heard.
    #[error("the connection was lost before the answer came")]
    Lost,
    /// It may have been heard.
    #[error("no answer before the deadline")]
    Deadline,
}

/// Why a snapshot did not arrive.
#[cfg(feature = "server")]
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("not connected to that member")]
    Unreachable,
    #[error("another snapshot is on its way to that member")]
    Busy,
    #[error("cannot read the snapshot: {0}")]
    Read(io::Error),
    #[error("the snapshot ended after {sent} of {length} bytes")]
    Short { sent: u64, length: u64 },
    /// The receiver gave up, or made no progress for too long.
    #[error("the transfer failed: {0}")]
    Stream(#[from] StreamError),
}

impl From<quinn::ConnectionError> for Lost {
    fn from(error: quinn::ConnectionError) -> Self {
        use quinn::ConnectionError as Quic;
        match error {
            Quic::ApplicationClosed(close) => Self::Closed {
                code: CloseCode::from_code(close.error_code.into_inner()),
                text: match close.reason.is_empty() {
                    true => format!("code {}", close.error_code),
                    false => String::from_utf8_lossy(&close.reason).into_owned(),
                },
            },
            Quic::ConnectionClosed(close) => match alert(u64::from(close.error_code)) {
                Some(text) => Self::Handshake(text.to_owned()),
                None => Self::Other(close.to_string()),
            },
            Quic::TransportError(error) => match alert(u64::from(error.code)) {
                Some(_) => Self::Handshake(error.reason),
                None => Self::Other(error.to_string()),
            },
            Quic::TimedOut => Self::TimedOut,
            Quic::Reset => Self::Reset,
            Quic::LocallyClosed => Self::Here,
            other => Self::Other(other.to_string()),
        }
    }
}

/// TLS alerts travel as QUIC's codes 0x100 and up (RFC 9001, 4.8; the numbers are RFC 8446's, 6).
fn alert(code: u64) -> Option<&'static str> {
    let number = code.checked_sub(0x100).filter(|number| *number < 0x100)?;
    Some(match number {
        42 => "the certificate is bad (missing name, wrong purpose or signature)",
        43 => "the certificate is not for this purpose, or of a kind that is not supported",
        44 => "the certificate is revoked",
        45 => "the certificate has expired, or is not yet valid",
        46 => "the certificate is not accepted",
        48 => "the certificate is signed by a CA that is not trusted there",
        49 => "access denied",
        51 => "the certificate's signature does not verify there: another CA of the same name?",
        112 => "no certificate for that name",
        116 => "a certificate is required and none was shown",
        120 => "this protocol is not served on that address",
        _ => "TLS failed",
    })
}

impl From<quinn::ConnectionError> for StreamError {
    fn from(error: quinn::ConnectionError) -> Self {
        Self::Lost(error.into())
    }
}

impl From<quinn::WriteError> for StreamError {
    fn from(error: quinn::WriteError) -> Self {
        match error {
            quinn::WriteError::Stopped(code) => Self::Stopped(code.into_inner()),
            quinn::WriteError::ConnectionLost(error) => error.into(),
            other => Self::Lost(Lost::Other(other.to_string())),
        }
    }
}

impl From<quinn::ReadError> for StreamError {
    fn from(error: quinn::ReadError) -> Self {
        match error {
            quinn::ReadError::Reset(code) => Self::Reset(code.into_inner()),
            quinn::ReadError::ConnectionLost(error) => error.into(),
            other => Self::Lost(Lost::Other(other.to_string())),
        }
    }
}
