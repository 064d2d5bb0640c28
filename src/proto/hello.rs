//! What both ends say first, and what they may say later about the connection itself.
//!
//! The client's first bidirectional stream is the control stream. It carries frames
//! `length u32 | kind u8 | body`, where `length` counts the kind and the body:
//!
//! ```text
//!   client -> server   Hello, then SetToken at any time
//!   server -> client   Hello, then GoAway at most once
//! ```
//!
//! The dialler's TLS stack believes the connection is up before the server has judged the certificate: only the
//! server's Hello means that it is.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;

use super::frame::{FrameError, at_least};

/// The version of the protocol described in docs/protocol.md.
pub const PROTOCOL_VERSION: u32 = 1;

/// What a proxy calls itself to members begins with this: who asks there is not whoever is connected.
pub const PROXY_CLIENT: &str = "quorate-proxy/";

/// Longest control frame, bytes; a Hello is a few dozen, a token a few hundred.
pub const CONTROL_BYTES_MAX: usize = 16 * 1024;

/// The client's first words.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ClientHello {
    /// Versions it speaks, best first.
    #[prost(uint32, repeated, tag = "1")]
    pub versions: Vec<u32>,
    /// A name for logs, such as `quorate-cli/0.1.0`.
    #[prost(string, tag = "2")]
    pub client: String,
    /// An authentication token; empty without one.
    #[prost(string, tag = "3")]
    pub token: String,
    /// What is asked here is answered only by a member that knows a leader: etcd's metadata `hasleader`.
    #[prost(bool, tag = "4")]
    pub requires_leader: bool,
    /// It asks for others, who bring tokens of their own: its certificate is nobody's name.
    #[prost(bool, tag = "5")]
    pub for_others: bool,
}

/// The server's answer, with its limits.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ServerHello {
    #[prost(uint32, tag = "1")]
    pub version: u32,
    #[prost(uint64, tag = "2")]
    pub cluster_id: u64,
    #[prost(uint64, tag = "3")]
    pub member_id: u64,
    /// Requests that may be unanswered on the connection.
    #[prost(uint32, tag = "4")]
    pub in_flight_max: u32,
    /// Longest frame the server reads, bytes after its length field.
    #[prost(uint32, tag = "5")]
    pub frame_bytes_max: u32,
    /// Bidirectional streams the client may have open.
    #[prost(uint32, tag = "6")]
    pub streams_max: u32,
    /// The server's version, for logs.
    #[prost(string, tag = "7")]
    pub server: String,
}

/// A new token for the calls that follow.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct SetToken {
    #[prost(string, tag = "1")]
    pub token: String,
}

/// The server will close soon: what was asked is still answered, new requests belong to another endpoint.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct GoAway {
    /// For people.
    #[prost(string, tag = "1")]
    pub text: String,
}

/// One frame of the control stream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Control {
    ClientHello(ClientHello),
    ServerHello(ServerHello),
    SetToken(SetToken),
    GoAway(GoAway),
    /// Of a later version; to be ignored.
    Unknown(u8),
}

impl Control {
    pub fn encode(&self) -> Bytes {
        let (kind, body) = match self {
            Self::ClientHello(hello) => (1, hello.encode_to_vec()),
            Self::ServerHello(hello) => (2, hello.encode_to_vec()),
            Self::SetToken(token) => (3, token.encode_to_vec()),
            Self::GoAway(away) => (4, away.encode_to_vec()),
            Self::Unknown(kind) => (*kind, Vec::new()),
        };
        let mut out = BytesMut::with_capacity(5 + body.len());
        out.put_u32(u32::try_from(body.len() + 1).unwrap_or(u32::MAX));
        out.put_u8(kind);
        out.put_slice(&body);
        out.freeze()
    }

    /// One whole frame, without its length.
    pub fn parse(mut frame: Bytes) -> Result<Self, FrameError> {
        at_least(&frame, 1)?;
        let kind = frame.get_u8();
        let control = match kind {
            1 => ClientHello::decode(frame).map(Self::ClientHello),
            2 => ServerHello::decode(frame).map(Self::ServerHello),
            3 => SetToken::decode(frame).map(Self::SetToken),
            4 => GoAway::decode(frame).map(Self::GoAway),
            other => Ok(Self::Unknown(other)),
        };
        control.map_err(|_| FrameError::Malformed("control message"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_frames_survive_the_wire() {
        let frames = [
            Control::ClientHello(ClientHello {
                versions: vec![PROTOCOL_VERSION],
                client: "test".to_owned(),
                token: String::new(),
                requires_leader: true,
                for_others: true,
            }),
            Control::ServerHello(ServerHello {
                version: PROTOCOL_VERSION,
                cluster_id: u64::MAX,
                member_id: 7,
                in_flight_max: 1024,
                frame_bytes_max: 2 << 20,
                streams_max: 64,
                server: "0.1.0".to_owned(),
            }),
            Control::SetToken(SetToken { token: "simple.1".to_owned() }),
            Control::GoAway(GoAway { text: "stopping".to_owned() }),
            Control::Unknown(99),
        ];
        for control in frames {
            let mut bytes = control.encode();
            assert_eq!(bytes.get_u32() as usize, bytes.len());
            assert_eq!(Control::parse(bytes), Ok(control));
        }
    }

    #[test]
    fn hostile_control_frames_are_errors() {
        assert!(matches!(Control::parse(Bytes::new()), Err(FrameError::TooShort { .. })));
        let garbage = Bytes::from_static(b"\x01\xff\xff");
        assert!(matches!(Control::parse(garbage), Err(FrameError::Malformed(_))));
    }
}
