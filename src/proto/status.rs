//! How a call fails: gRPC's code, etcd's text, and what the caller may do about it.
//!
//! ```text
//!   on the wire: code u16 | retry u8 | text, UTF-8, to the end
//! ```

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// gRPC's status codes, by their numbers.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u16)]
pub enum Code {
    /// No failure.
    Ok = 0,
    /// Somebody did not want it any more.
    Canceled = 1,
    /// Anything else.
    Unknown = 2,
    /// The request is wrong.
    InvalidArgument = 3,
    /// It took too long.
    DeadlineExceeded = 4,
    /// No such thing, as a lease or a member.
    NotFound = 5,
    /// There is one already.
    AlreadyExists = 6,
    /// Who asks may not.
    PermissionDenied = 7,
    /// No space, or too many requests.
    ResourceExhausted = 8,
    /// Not in this state, or not by this member.
    FailedPrecondition = 9,
    /// Overtaken by another one.
    Aborted = 10,
    /// A revision that is compacted, or still to come.
    OutOfRange = 11,
    /// Not served here.
    Unimplemented = 12,
    /// The server is at fault.
    Internal = 13,
    /// No leader, or no server: elsewhere or later it may be done.
    Unavailable = 14,
    /// Bytes are damaged.
    DataLoss = 15,
    /// Who asks is unknown.
    Unauthenticated = 16,
}

impl Code {
    const ALL: [Self; 17] = [
        Self::Ok,
        Self::Canceled,
        Self::Unknown,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::DataLoss,
        Self::Unauthenticated,
    ];

    pub const fn number(self) -> u16 {
        self as u16
    }

    /// A number that is not gRPC's reads as `Unknown`, as gRPC itself does.
    pub fn from_number(number: u16) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or(Self::Unknown)
    }

    /// gRPC's spelling, as Go prints it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Canceled => "Canceled",
            Self::Unknown => "Unknown",
            Self::InvalidArgument => "InvalidArgument",
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::NotFound => "NotFound",
            Self::AlreadyExists => "AlreadyExists",
            Self::PermissionDenied => "PermissionDenied",
            Self::ResourceExhausted => "ResourceExhausted",
            Self::FailedPrecondition => "FailedPrecondition",
            Self::Aborted => "Aborted",
            Self::OutOfRange => "OutOfRange",
            Self::Unimplemented => "Unimplemented",
            Self::Internal => "Internal",
            Self::Unavailable => "Unavailable",
            Self::DataLoss => "DataLoss",
            Self::Unauthenticated => "Unauthenticated",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a caller may conclude from a failure.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum Retry {
    /// Asking again gives the same answer.
    Never = 0,
    /// Nothing happened and nothing will: safe to ask again, anything.
    NotProposed = 1,
    /// It may have happened, or may still: only a read is safe to ask again.
    Ambiguous = 2,
}

impl Retry {
    /// A number of a later protocol reads as `Ambiguous`, the careful one.
    pub const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Never,
            1 => Self::NotProposed,
            _ => Self::Ambiguous,
        }
    }
}

/// The failure of one call or one stream.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{code}: {text}")]
pub struct Status {
    /// gRPC's code.
    pub code: Code,
    /// etcd's text, wherever it has one.
    pub text: String,
    /// What may be concluded.
    pub retry: Retry,
}

impl Status {
    pub fn new(code: Code, text: impl Into<String>, retry: Retry) -> Self {
        Self { code, text: text.into(), retry }
    }

    /// The request itself is wrong: nothing was done, and asking again is no use.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, text, Retry::Never)
    }

    /// This server does not serve the method; `text` says why.
    pub fn unimplemented(text: impl Into<String>) -> Self {
        Self::new(Code::Unimplemented, text, Retry::Never)
    }

    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(3 + self.text.len());
        out.put_u16(self.code.number());
        out.put_u8(self.retry as u8);
        out.put_slice(self.text.as_bytes());
        out.freeze()
    }

    /// Never fails: what cannot be read becomes `Unknown`, ambiguous, with the text that could be read.
    pub fn decode(mut bytes: Bytes) -> Self {
        if bytes.len() < 3 {
            return Self::new(Code::Unknown, "the server's error is cut short", Retry::Ambiguous);
        }
        let code = Code::from_number(bytes.get_u16());
        let retry = Retry::from_number(bytes.get_u8());
        Self::new(code, String::from_utf8_lossy(&bytes), retry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_survives_the_wire() {
        for (number, code) in (0u16..).zip(Code::ALL) {
            assert_eq!(code.number(), number);
            for retry in [Retry::Never, Retry::NotProposed, Retry::Ambiguous] {
                let status = Status::new(code, "etcdserver: no leader", retry);
                assert_eq!(Status::decode(status.encode()), status);
            }
        }
    }

    #[test]
    fn hostile_bytes_read_as_an_ambiguous_unknown() {
        for bytes in [&b""[..], b"\0", b"\0\x0e"] {
            let status = Status::decode(Bytes::copy_from_slice(bytes));
            assert_eq!((status.code, status.retry), (Code::Unknown, Retry::Ambiguous));
        }
        let status = Status::decode(Bytes::from_static(b"\xff\xff\xffbad \xff"));
        assert_eq!((status.code, status.retry), (Code::Unknown, Retry::Ambiguous));
        assert_eq!(status.text, "bad \u{fffd}");
    }
}
