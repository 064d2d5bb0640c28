//! The frames of the native protocol; integers are big endian. Pure: bytes in, frames out.
//!
//! ```text
//!   a client's bidirectional stream begins with   method u16      0: a unary stream, 0xff00: HTTP/1.1, else the method
//!   unary, request     length u32 | id u64 | method u16 | flags u8 | deadline ms u32 | body
//!   unary, answer      length u32 | id u64 | flags u8 | body
//!   moved answer       on a stream of its own from the server:  id u64 | length u64 | body
//!   method's stream    length u32 | flags u8 | body
//! ```
//!
//! `length` counts what follows it. What is encoded here begins with it; what is parsed here is one whole frame
//! without it, cut from its stream (and held against a maximum) by whoever reads.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::method::Method;
use super::status::Status;

/// The opening word of a unary stream.
pub const UNARY_STREAM: u16 = 0;

/// The opening word of a stream that carries HTTP/1.1 as it is, without frames: no method will ever have this number.
pub const HTTP_STREAM: u16 = 0xff00;

/// Bytes of a request frame before its body, after its length.
const REQUEST_HEAD: usize = 15;
/// Bytes of an answer frame before its body, after its length.
const ANSWER_HEAD: usize = 9;
/// Bytes in front of a moved answer's body.
pub const MOVED_HEAD: usize = 16;

const FLAG_CANCEL: u8 = 1;
const FLAG_ERROR: u8 = 1;
const FLAG_MOVED: u8 = 2;

/// Bytes that are no frame; the connection cannot go on.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FrameError {
    #[error("a frame of {length} bytes where at least {min} are needed")]
    TooShort { length: usize, min: usize },
    #[error("a frame that is no {0}")]
    Malformed(&'static str),
}

pub(super) fn at_least(frame: &Bytes, min: usize) -> Result<(), FrameError> {
    if frame.len() < min {
        return Err(FrameError::TooShort { length: frame.len(), min });
    }
    Ok(())
}

fn put_length(out: &mut BytesMut, length: usize) {
    // Bodies are bounded far below 4 GiB by every reader; a longer one is refused there.
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
}

/// What a client sends on a unary stream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Request {
    Call {
        /// Unique among the unanswered calls of the connection.
        id: u64,
        /// Kept as a number: an unknown one is answered, not refused.
        method: u16,
        /// Time the caller waits, milliseconds; 0 leaves it to the server.
        deadline_ms: u32,
        body: Bytes,
    },
    /// No answer to `id` is wanted; a write may still happen.
    Cancel { id: u64 },
}

impl Request {
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Call { id, method, deadline_ms, body } => {
                encode_call(out, *id, *method, *deadline_ms, body);
            }
            Self::Cancel { id } => {
                put_length(out, REQUEST_HEAD);
                out.put_u64(*id);
                out.put_u16(0);
                out.put_u8(FLAG_CANCEL);
                out.put_u32(0);
            }
        }
    }

    pub fn parse(mut frame: Bytes) -> Result<Self, FrameError> {
        at_least(&frame, REQUEST_HEAD)?;
        let id = frame.get_u64();
        let method = frame.get_u16();
        let flags = frame.get_u8();
        let deadline_ms = frame.get_u32();
        if flags & FLAG_CANCEL != 0 {
            return Ok(Self::Cancel { id });
        }
        Ok(Self::Call { id, method, deadline_ms, body: frame })
    }
}

/// A call's frame without building a [`Request`].
pub fn encode_call(out: &mut BytesMut, id: u64, method: u16, deadline_ms: u32, body: &[u8]) {
    out.reserve(4 + REQUEST_HEAD + body.len());
    put_length(out, REQUEST_HEAD + body.len());
    out.put_u64(id);
    out.put_u16(method);
    out.put_u8(0);
    out.put_u32(deadline_ms);
    out.put_slice(body);
}

/// What a server sends on a unary stream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    Message {
        id: u64,
        body: Bytes,
    },
    Error {
        id: u64,
        status: Status,
    },
    /// The message comes on a unidirectional stream of its own.
    Moved {
        id: u64,
    },
}

impl Answer {
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Message { id, body } => put_answer(out, *id, 0, body),
            Self::Error { id, status } => put_answer(out, *id, FLAG_ERROR, &status.encode()),
            Self::Moved { id } => put_answer(out, *id, FLAG_MOVED, &[]),
        }
    }

    pub fn parse(mut frame: Bytes) -> Result<Self, FrameError> {
        at_least(&frame, ANSWER_HEAD)?;
        let id = frame.get_u64();
        Ok(match frame.get_u8() {
            0 => Self::Message { id, body: frame },
            FLAG_ERROR => Self::Error { id, status: Status::decode(frame) },
            FLAG_MOVED => Self::Moved { id },
            _ => return Err(FrameError::Malformed("answer of this version")),
        })
    }
}

fn put_answer(out: &mut BytesMut, id: u64, flags: u8, body: &[u8]) {
    out.reserve(4 + ANSWER_HEAD + body.len());
    put_length(out, ANSWER_HEAD + body.len());
    out.put_u64(id);
    out.put_u8(flags);
    out.put_slice(body);
}

/// The head of a moved answer's stream: which call it answers, and how many bytes follow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MovedHead {
    pub id: u64,
    pub length: u64,
}

impl MovedHead {
    pub fn encode(self) -> [u8; MOVED_HEAD] {
        let mut out = [0; MOVED_HEAD];
        out[..8].copy_from_slice(&self.id.to_be_bytes());
        out[8..].copy_from_slice(&self.length.to_be_bytes());
        out
    }

    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
        (bytes.len() >= MOVED_HEAD).then(|| Self { id: bytes.get_u64(), length: bytes.get_u64() })
    }
}

/// What travels on a method's own stream, in both directions.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StreamFrame {
    Message(Bytes),
    /// The last frame of a server: how the stream ended. A client ends with the end of its stream.
    End(Result<(), Status>),
}

impl StreamFrame {
    /// What stands before a message of `length` bytes that follows by itself.
    pub fn encode_head(length: usize, out: &mut BytesMut) {
        put_length(out, 1 + length);
        out.put_u8(0);
    }

    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Message(body) => put_stream(out, 0, body),
            Self::End(Ok(())) => put_stream(out, FLAG_ERROR, &[]),
            Self::End(Err(status)) => put_stream(out, FLAG_ERROR, &status.encode()),
        }
    }

    pub fn parse(mut frame: Bytes) -> Result<Self, FrameError> {
        at_least(&frame, 1)?;
        Ok(match frame.get_u8() {
            0 => Self::Message(frame),
            FLAG_ERROR if frame.is_empty() => Self::End(Ok(())),
            FLAG_ERROR => Self::End(Err(Status::decode(frame))),
            _ => return Err(FrameError::Malformed("stream frame of this version")),
        })
    }
}

/// Flags and body of a stream frame.
fn put_stream(out: &mut BytesMut, flags: u8, body: &[u8]) {
    out.reserve(5 + body.len());
    put_length(out, 1 + body.len());
    out.put_u8(flags);
    out.put_slice(body);
}

/// What a client's bidirectional stream is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Opening {
    Unary,
    Method(Method),
    Http,
    /// A method this binary does not know.
    Unknown(u16),
}

impl Opening {
    pub const fn from_number(number: u16) -> Self {
        if number == UNARY_STREAM {
            return Self::Unary;
        }
        if number == HTTP_STREAM {
            return Self::Http;
        }
        match Method::from_number(number) {
            Some(method) => Self::Method(method),
            None => Self::Unknown(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::status::{Code, Retry};
    use super::*;

    /// One encoded frame, its length checked and taken off.
    fn framed(encode: impl FnOnce(&mut BytesMut)) -> Bytes {
        let mut out = BytesMut::new();
        encode(&mut out);
        assert_eq!(out.get_u32() as usize, out.len());
        out.freeze()
    }

    #[test]
    fn requests_survive_the_wire() {
        let call = Request::Call {
            id: u64::MAX - 1,
            method: Method::Put.number(),
            deadline_ms: 5_000,
            body: Bytes::from_static(b"body"),
        };
        for request in [call, Request::Cancel { id: 7 }] {
            let frame = framed(|out| request.encode(out));
            assert_eq!(Request::parse(frame), Ok(request));
        }
    }

    #[test]
    fn answers_survive_the_wire() {
        let status = Status::new(Code::Unavailable, "etcdserver: no leader", Retry::NotProposed);
        for answer in [
            Answer::Message { id: 1, body: Bytes::new() },
            Answer::Message { id: 2, body: Bytes::from_static(b"x") },
            Answer::Error { id: 3, status },
            Answer::Moved { id: 4 },
        ] {
            let frame = framed(|out| answer.encode(out));
            assert_eq!(Answer::parse(frame), Ok(answer));
        }
    }

    #[test]
    fn stream_frames_survive_the_wire() {
        for item in [
            StreamFrame::Message(Bytes::new()),
            StreamFrame::Message(Bytes::from_static(b"event")),
            StreamFrame::End(Ok(())),
            StreamFrame::End(Err(Status::unimplemented("no"))),
        ] {
            let frame = framed(|out| item.encode(out));
            assert_eq!(StreamFrame::parse(frame), Ok(item));
        }
    }

    #[test]
    fn the_bytes_of_a_call_stay_what_they_are() {
        let mut out = BytesMut::new();
        encode_call(&mut out, 2, Method::Put.number(), 1_000, b"ab");
        let expected = [
            0, 0, 0, 17, // length
            0, 0, 0, 0, 0, 0, 0, 2, // id
            0, 2, // method
            0, // flags
            0, 0, 3, 232, // deadline
            b'a', b'b',
        ];
        assert_eq!(out[..], expected);
    }

    #[test]
    fn hostile_frames_are_errors() {
        for length in 0..15 {
            let frame = Bytes::from(vec![0; length]);
            assert_eq!(Request::parse(frame), Err(FrameError::TooShort { length, min: 15 }));
        }
        let answer = Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0, 1, 200]);
        assert!(matches!(Answer::parse(answer), Err(FrameError::Malformed(_))));
        assert!(matches!(Answer::parse(Bytes::new()), Err(FrameError::TooShort { .. })));
        let stream = Bytes::from_static(&[200]);
        assert!(matches!(StreamFrame::parse(stream), Err(FrameError::Malformed(_))));
        assert!(matches!(StreamFrame::parse(Bytes::new()), Err(FrameError::TooShort { .. })));
    }

    #[test]
    fn random_bytes_never_panic() {
        let mut dice = fastrand::Rng::with_seed(1);
        for _ in 0..20_000 {
            let frame: Bytes = (0..dice.usize(0..40)).map(|_| dice.u8(..)).collect();
            let _ = Request::parse(frame.clone());
            let _ = Answer::parse(frame.clone());
            let _ = StreamFrame::parse(frame.clone());
            let _ = super::super::hello::Control::parse(frame.clone());
            let _ = MovedHead::decode(&frame);
        }
    }

    #[test]
    fn a_moved_head_is_sixteen_bytes() {
        let head = MovedHead { id: 9, length: 1 << 40 };
        assert_eq!(MovedHead::decode(&head.encode()), Some(head));
        assert_eq!(MovedHead::decode(&head.encode()[..15]), None);
    }
}
