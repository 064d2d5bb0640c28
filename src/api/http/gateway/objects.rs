//! JSON objects cut out of a body that comes in pieces.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::json::invalid;
use crate::api::http::door::Shared;
use crate::api::http::session::stopped;
use crate::base::limits;
use crate::proto::{Code, Retry, Status};

/// The objects of one request body.
pub(super) struct Objects {
    body: Incoming,
    buffer: BytesMut,
    is_ended: bool,
    bytes_max: usize,
    deadline: Duration,
    /// As for gRPC's long messages: held while more than a little waits for its end.
    unfinished: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

impl Objects {
    /// No object is longer than `bytes_max`; the other bounds are those of `shared`.
    pub(super) fn new(body: Incoming, bytes_max: usize, shared: &Shared) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
            is_ended: false,
            bytes_max,
            deadline: shared.config.message_deadline,
            unfinished: Arc::clone(&shared.unfinished),
            held: None,
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
                self.held = None;
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
        if self.buffer.len() > limits::HTTP_UNFINISHED_FREE_BYTES && self.held.is_none() {
            let room = Arc::clone(&self.unfinished);
            let bytes = u32::try_from(self.bytes_max).unwrap_or(u32::MAX);
            self.held = Some(room.acquire_many_owned(bytes).await.map_err(|_| stopped())?);
        }
        match self.body.frame().await {
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
