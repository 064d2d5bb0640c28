//! The frames of the native protocol; integers are big endian. Pure: bytes in, frames out.
//!
//! ```text
//!   a client's bidirectional stream begins with   method u16      0: a unary stream, else the method it carries
//!   unary, request     length u32 | id u64 | method u16 | flags u8 | deadline ms u32 | body
//!   unary, answer      length u32 | id u64 | flags u8 | body
//!   moved answer       on a stream of its own from the server:  id u64 | length u64 | body
//!   method's stream    length u32 | flags u8 | body
//! ```
//!
//! `length` counts what follows it. It is checked against a maximum, and nothing is set aside for bytes that have not
//! come: whoever reads hands in the bytes it has, and an incomplete frame stays in the buffer.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::method::Method;
use super::status::Status;

/// The opening word of a unary stream.
pub const UNARY_STREAM: u16 = 0;

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
    #[error("a frame of {length} bytes where at most {max} are allowed")]
    TooLong { length: usize, max: usize },
    #[error("a frame of {length} bytes where at least {min} are needed")]
    TooShort { length: usize, min: usize },
    #[error("a frame that is no {0}")]
    Malformed(&'static str),
}

/// Takes the bytes of one frame, without its length, off the front of `buffer`.
pub(super) fn take_frame(
    buffer: &mut BytesMut,
    min: usize,
    max: usize,
) -> Result<Option<Bytes>, FrameError> {
    let Some((head, _)) = buffer.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*head) as usize;
    if length > max {
        return Err(FrameError::TooLong { length, max });
    }
    if length < min {
        return Err(FrameError::TooShort { length, min });
    }
    if buffer.len() < 4 + length {
        return Ok(None);
    }
    buffer.advance(4);
    Ok(Some(buffer.split_to(length).freeze()))
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

    /// Takes one whole frame off the front of `buffer`; none while it is incomplete.
    pub fn decode(buffer: &mut BytesMut, max: usize) -> Result<Option<Self>, FrameError> {
        let Some(mut frame) = take_frame(buffer, REQUEST_HEAD, max)? else {
            return Ok(None);
        };
        let id = frame.get_u64();
        let method = frame.get_u16();
        let flags = frame.get_u8();
        let deadline_ms = frame.get_u32();
        if flags & FLAG_CANCEL != 0 {
            return Ok(Some(Self::Cancel { id }));
        }
        Ok(Some(Self::Call { id, method, deadline_ms, body: frame }))
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

    /// Takes one whole frame off the front of `buffer`; none while it is incomplete.
    pub fn decode(buffer: &mut BytesMut, max: usize) -> Result<Option<Self>, FrameError> {
        let Some(mut frame) = take_frame(buffer, ANSWER_HEAD, max)? else {
            return Ok(None);
        };
        let id = frame.get_u64();
        Ok(Some(match frame.get_u8() {
            0 => Self::Message { id, body: frame },
            FLAG_ERROR => Self::Error { id, status: Status::decode(frame) },
            FLAG_MOVED => Self::Moved { id },
            _ => return Err(FrameError::Malformed("answer of this version")),
        }))
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
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Message(body) => put_stream(out, 0, body),
            Self::End(Ok(())) => put_stream(out, FLAG_ERROR, &[]),
            Self::End(Err(status)) => put_stream(out, FLAG_ERROR, &status.encode()),
        }
    }

    /// Takes one whole frame off the front of `buffer`; none while it is incomplete.
    pub fn decode(buffer: &mut BytesMut, max: usize) -> Result<Option<Self>, FrameError> {
        let Some(mut frame) = take_frame(buffer, 1, max)? else {
            return Ok(None);
        };
        Ok(Some(match frame.get_u8() {
            0 => Self::Message(frame),
            FLAG_ERROR if frame.is_empty() => Self::End(Ok(())),
            FLAG_ERROR => Self::End(Err(Status::decode(frame))),
            _ => return Err(FrameError::Malformed("stream frame of this version")),
        }))
    }
}

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
    /// A method this binary does not know.
    Unknown(u16),
}

impl Opening {
    pub const fn from_number(number: u16) -> Self {
        if number == UNARY_STREAM {
            return Self::Unary;
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

    /// Feeds `bytes` one by one; the frame must appear with the last one and not before.
    fn feed<T>(
        bytes: &[u8],
        mut decode: impl FnMut(&mut BytesMut) -> Result<Option<T>, FrameError>,
    ) -> T {
        let mut buffer = BytesMut::new();
        for (at, &byte) in bytes.iter().enumerate() {
            buffer.put_u8(byte);
            let frame = decode(&mut buffer).unwrap();
            assert_eq!(frame.is_some(), at + 1 == bytes.len());
            if let Some(frame) = frame {
                assert!(buffer.is_empty());
                return frame;
            }
        }
        unreachable!("the last byte returns");
    }

    fn encoded(encode: impl FnOnce(&mut BytesMut)) -> BytesMut {
        let mut out = BytesMut::new();
        encode(&mut out);
        out
    }

    #[test]
    fn requests_survive_being_cut_anywhere() {
        let call = Request::Call {
            id: u64::MAX - 1,
            method: Method::Put.number(),
            deadline_ms: 5_000,
            body: Bytes::from_static(b"body"),
        };
        for request in [call, Request::Cancel { id: 7 }] {
            let bytes = encoded(|out| request.encode(out));
            assert_eq!(feed(&bytes, |buffer| Request::decode(buffer, 64)), request);
        }
    }

    #[test]
    fn answers_survive_being_cut_anywhere() {
        let status = Status::new(Code::Unavailable, "etcdserver: no leader", Retry::NotProposed);
        for answer in [
            Answer::Message { id: 1, body: Bytes::new() },
            Answer::Message { id: 2, body: Bytes::from_static(b"x") },
            Answer::Error { id: 3, status },
            Answer::Moved { id: 4 },
        ] {
            let bytes = encoded(|out| answer.encode(out));
            assert_eq!(feed(&bytes, |buffer| Answer::decode(buffer, 64)), answer);
        }
    }

    #[test]
    fn stream_frames_survive_being_cut_anywhere() {
        for frame in [
            StreamFrame::Message(Bytes::new()),
            StreamFrame::Message(Bytes::from_static(b"event")),
            StreamFrame::End(Ok(())),
            StreamFrame::End(Err(Status::unimplemented("no"))),
        ] {
            let bytes = encoded(|out| frame.encode(out));
            assert_eq!(feed(&bytes, |buffer| StreamFrame::decode(buffer, 64)), frame);
        }
    }

    #[test]
    fn frames_behind_each_other_come_out_in_order() {
        let mut buffer = BytesMut::new();
        for id in 0..3 {
            encode_call(&mut buffer, id, 1, 0, b"abc");
        }
        buffer.put_u8(0);
        for expected in 0..3 {
            let request = Request::decode(&mut buffer, 64).unwrap();
            assert!(matches!(request, Some(Request::Call { id, .. }) if id == expected));
        }
        assert_eq!(Request::decode(&mut buffer, 64), Ok(None));
        assert_eq!(buffer.len(), 1);
    }

    #[test]
    fn hostile_lengths_are_refused_before_memory_is_asked_for() {
        for length in [65u32, 1 << 31, u32::MAX] {
            let mut buffer = BytesMut::from(&length.to_be_bytes()[..]);
            let error = Request::decode(&mut buffer, 64).unwrap_err();
            assert_eq!(error, FrameError::TooLong { length: length as usize, max: 64 });
            assert!(buffer.capacity() < 1024);
        }
        for length in 0u32..15 {
            let mut buffer = BytesMut::from(&length.to_be_bytes()[..]);
            assert!(matches!(Request::decode(&mut buffer, 64), Err(FrameError::TooShort { .. })));
        }
        let mut answer = BytesMut::from(&[0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1, 200][..]);
        assert!(matches!(Answer::decode(&mut answer, 64), Err(FrameError::Malformed(_))));
        let mut stream = BytesMut::from(&[0, 0, 0, 1, 200][..]);
        assert!(matches!(StreamFrame::decode(&mut stream, 64), Err(FrameError::Malformed(_))));
    }

    #[test]
    fn random_bytes_never_panic() {
        let mut dice = fastrand::Rng::with_seed(1);
        for _ in 0..20_000 {
            let mut bytes: Vec<u8> = (0..dice.usize(0..40)).map(|_| dice.u8(..)).collect();
            if bytes.len() > 4 && dice.bool() {
                bytes[..3].fill(0);
            }
            let buffer = BytesMut::from(&bytes[..]);
            let _ = Request::decode(&mut buffer.clone(), 1 << 20);
            let _ = Answer::decode(&mut buffer.clone(), 1 << 20);
            let _ = StreamFrame::decode(&mut buffer.clone(), 1 << 20);
            let _ = super::super::hello::Control::decode(&mut buffer.clone());
            let _ = MovedHead::decode(&buffer);
        }
    }

    #[test]
    fn a_moved_head_is_sixteen_bytes() {
        let head = MovedHead { id: 9, length: 1 << 40 };
        assert_eq!(MovedHead::decode(&head.encode()), Some(head));
        assert_eq!(MovedHead::decode(&head.encode()[..15]), None);
    }
}
