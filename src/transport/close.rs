//! Why one side closed a connection: the application codes of QUIC's CONNECTION_CLOSE, fixed for ever.

use quinn::VarInt;

/// What a close code says; the text that travels with it says the particulars.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub enum CloseCode {
    /// Nothing more to say: a client is done, a member stops in good order.
    Done = 0,
    /// Bytes that the protocol does not allow.
    Protocol = 1,
    /// The certificate does not allow this protocol, or none was shown, or it has ended since.
    NotAdmitted = 2,
    OtherCluster = 3,
    /// Another member lives at this address.
    OtherMember = 4,
    /// The caller was removed from the cluster, for ever.
    Removed = 5,
    Incompatible = 6,
    /// A newer connection of the same member took this one's place.
    Replaced = 7,
    /// A bound is reached; later may be better.
    Busy = 8,
    /// A deadline passed: for Hello, or for the rest of a frame.
    Slow = 9,
}

impl CloseCode {
    pub(super) fn code(self) -> VarInt {
        VarInt::from_u32(self as u32)
    }

    /// None for a code that this version does not know.
    pub fn from_code(code: u64) -> Option<Self> {
        use CloseCode::{
            Busy, Done, Incompatible, NotAdmitted, OtherCluster, OtherMember, Protocol, Removed,
            Replaced, Slow,
        };
        [
            Done,
            Protocol,
            NotAdmitted,
            OtherCluster,
            OtherMember,
            Removed,
            Incompatible,
            Replaced,
            Busy,
            Slow,
        ]
        .into_iter()
        .find(|known| u64::from(*known as u32) == code)
    }
}
