//! What a client sends: messages with a flag and a length before each, cut out of a body that comes in pieces.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::arriving::{Arriving, refused};
use super::session::Session;
use crate::base::limits;
use crate::proto::{Code, Retry, Status};
use crate::transport::Bound;

/// Flag and length.
const PREFIX_BYTES: usize = 5;

/// The messages of one request body.
pub(super) struct Messages {
    body: Incoming,
    buffer: BytesMut,
    bytes_max: usize,
    /// Time for the rest of a message.
    pub deadline: Duration,
    arriving: Arriving,
}

impl Messages {
    /// The bounds are those of `session`.
    pub(super) fn new(body: Incoming, session: &Session) -> Self {
        let config = &session.shared.config;
        Self {
            body,
            buffer: BytesMut::new(),
            bytes_max: config.message_bytes_max,
            deadline: config.message_deadline,
            arriving: Arriving::of(session),
        }
    }

    /// The first message; none when the client has finished without one. Who sends none may have to make room for others'.
    pub(super) async fn first(&mut self, session: &Session) -> Result<Option<Bytes>, Status> {
        unless_crowded_out(session, self.next()).await
    }

    /// The next message; none when the client has finished. The status is for the client, if it is still there. A
    /// message that is begun must come to its end soon.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        while self.buffer.is_empty() {
            if !more(&mut self.body, &mut self.buffer).await? {
                return Ok(None);
            }
        }
        let slow = || Err(wrong(Code::DeadlineExceeded, "quorate: the message came too slowly"));
        timeout(self.deadline, self.whole()).await.unwrap_or_else(|_| slow())
    }

    async fn whole(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if let Some(message) = take(&mut self.buffer, self.bytes_max)? {
                self.arriving.whole();
                return Ok(Some(message));
            }
            if let Some(length) = length(&self.buffer) {
                self.arriving.expect(length);
                if length > limits::UNFINISHED_FREE_BYTES {
                    self.buffer.reserve((PREFIX_BYTES + length).saturating_sub(self.buffer.len()));
                }
            }
            let Self { arriving, body, buffer, .. } = self;
            if !arriving.read(more(body, buffer)).await? {
                return Err(wrong(Code::Internal, "unexpected EOF"));
            }
        }
    }
}

/// What a call waits for before its first message is there, unless it has to make room for others meanwhile. Honest ones
/// seldom wait, and whoever does not is no guest: that would cost each call a lock that all share.
pub(super) async fn unless_crowded_out<T>(
    session: &Session,
    waiting: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    let crowded_out = async {
        let Some(remote) = session.caller.address else { return std::future::pending().await };
        // Nobody is turned away where the oldest goes.
        match session.shared.config.bounds.silent.enter(remote.into(), 1) {
            Ok(silent) => silent.shown_out().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        waited = waiting => waited,
        () = crowded_out => {
            session.refuse(Bound::SilentCalls);
            Err(refused(Bound::SilentCalls))
        }
    }
}

/// Reads on; false at the end.
async fn more(body: &mut Incoming, buffer: &mut BytesMut) -> Result<bool, Status> {
    match body.frame().await {
        Some(Ok(frame)) => {
            // What is no data is trailers, which gRPC's clients do not send.
            if let Ok(data) = frame.into_data() {
                buffer.extend_from_slice(&data);
            }
            Ok(true)
        }
        Some(Err(error)) => {
            let text = format!("the client's stream broke: {error}");
            Err(Status::new(Code::Canceled, text, Retry::Ambiguous))
        }
        None => Ok(false),
    }
}

/// What the first prefix says, if it is there.
fn length(buffer: &BytesMut) -> Option<usize> {
    let (&[_, a, b, c, d], _) = buffer.split_first_chunk::<PREFIX_BYTES>()?;
    Some(u32::from_be_bytes([a, b, c, d]) as usize)
}

/// A whole message from the front of the buffer, if it is there.
fn take(buffer: &mut BytesMut, bytes_max: usize) -> Result<Option<Bytes>, Status> {
    let (Some(length), Some(&flag)) = (length(buffer), buffer.first()) else {
        return Ok(None);
    };
    if flag != 0 {
        let text = "grpc: Decompressor is not installed: send messages without grpc-encoding";
        return Err(wrong(Code::Unimplemented, text));
    }
    if length > bytes_max {
        let text = format!("grpc: received message larger than max ({length} vs. {bytes_max})");
        return Err(wrong(Code::ResourceExhausted, &text));
    }
    if buffer.len() < PREFIX_BYTES + length {
        return Ok(None);
    }
    buffer.advance(PREFIX_BYTES);
    Ok(Some(buffer.split_to(length).freeze()))
}

fn wrong(code: Code, text: &str) -> Status {
    Status::new(code, text, Retry::NotProposed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixed(flag: u8, length: u32, body: &[u8]) -> BytesMut {
        let mut bytes = BytesMut::from(&[flag][..]);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn messages_are_taken_whole_and_in_order() {
        let mut buffer = prefixed(0, 3, b"one");
        buffer.extend_from_slice(&prefixed(0, 0, b""));
        buffer.extend_from_slice(&prefixed(0, 3, b"tw"));
        assert_eq!(take(&mut buffer, 3).unwrap().unwrap(), "one");
        assert_eq!(take(&mut buffer, 3).unwrap().unwrap(), "");
        assert_eq!(take(&mut buffer, 3).unwrap(), None);
        buffer.extend_from_slice(b"o");
        assert_eq!(take(&mut buffer, 3).unwrap().unwrap(), "two");
        assert_eq!(take(&mut buffer, 3).unwrap(), None);
    }

    #[test]
    fn what_is_too_long_or_compressed_is_refused_by_its_head() {
        let error = take(&mut prefixed(0, 4, b""), 3).unwrap_err();
        assert_eq!(error.text, "grpc: received message larger than max (4 vs. 3)");
        let error = take(&mut prefixed(1, 3, b""), 3).unwrap_err();
        assert_eq!(error.code, Code::Unimplemented);
    }
}
