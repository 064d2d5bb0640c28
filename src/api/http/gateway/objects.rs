//! JSON objects cut out of a body that comes in pieces.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::time::timeout;

use super::json::invalid;
use crate::api::http::arriving::Arriving;
use crate::api::http::session::Session;
use crate::base::limits;
use crate::proto::{Code, Retry, Status};

/// The objects of one request body.
pub(super) struct Objects {
    body: Incoming,
    buffer: BytesMut,
    is_ended: bool,
    bytes_max: usize,
    deadline: Duration,
    /// As for gRPC's long messages, while more than a little waits for its end.
    arriving: Arriving,
}

impl Objects {
    /// No object is longer than `bytes_max`; the other bounds are those of `session`.
    pub(super) fn new(body: Incoming, bytes_max: usize, session: &Session) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
            is_ended: false,
            bytes_max,
            deadline: session.shared.config.message_deadline,
            arriving: Arriving::of(session),
        }
    }

    /// The one object of a whole body; none of an empty one.
    pub(super) async fn only(&mut self) -> Result<Option<Value>, Status> {
        let deadline = self.deadline;
        let all = async {
            while self.more().await? {}
            Ok(())
        };
        timeout(deadline, all).await.unwrap_or_else(|_| Err(slow()))?;
        self.take()
    }

    /// The next object of a stream; none when the client has finished.
    pub(super) async fn next(&mut self) -> Result<Option<Value>, Status> {
        loop {
            self.skip_space();
            if self.buffer.is_empty() {
                self.arriving.whole();
                if self.is_ended || !self.more().await? {
                    return Ok(None);
                }
                continue;
            }
            if let Some(object) = self.take()? {
                return Ok(Some(object));
            }
            let more = timeout(self.deadline, self.more()).await;
            more.unwrap_or_else(|_| Err(slow()))?;
        }
    }

    /// An object from the front, if it is there whole.
    fn take(&mut self) -> Result<Option<Value>, Status> {
        let mut values = serde_json::Deserializer::from_slice(&self.buffer).into_iter();
        let found = values.next();
        let length = values.byte_offset();
        match found {
            Some(Ok(object)) => {
                self.buffer.advance(length);
                Ok(Some(object))
            }
            Some(Err(error)) if error.is_eof() && self.is_ended => Err(invalid("unexpected EOF")),
            Some(Err(error)) if error.is_eof() => Ok(None),
            Some(Err(error)) => Err(invalid(&error.to_string())),
            None => Ok(None),
        }
    }

    fn skip_space(&mut self) {
        let space = self.buffer.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.buffer.advance(space);
    }

    /// Reads on; false at the end.
    async fn more(&mut self) -> Result<bool, Status> {
        if self.buffer.len() > limits::UNFINISHED_FREE_BYTES {
            self.arriving.expect(self.bytes_max);
        }
        let frame = async { Ok(self.body.frame().await) };
        match self.arriving.read(frame).await? {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    self.buffer.extend_from_slice(&data);
                }
                if self.buffer.len() > self.bytes_max {
                    let text = format!("the request is longer than {} bytes", self.bytes_max);
                    return Err(Status::new(Code::ResourceExhausted, text, Retry::NotProposed));
                }
                Ok(true)
            }
            Some(Err(error)) => {
                let text = format!("the client's request broke: {error}");
                Err(Status::new(Code::Canceled, text, Retry::NotProposed))
            }
            None => {
                self.is_ended = true;
                Ok(false)
            }
        }
    }
}

/// What who says nothing for too long is told.
pub(super) fn slow() -> Status {
    Status::new(Code::DeadlineExceeded, "quorate: the request came too slowly", Retry::NotProposed)
}
