//! Byte streams with frames on them: a `u32` length (big endian, of what follows), then so many bytes.

#[cfg(feature = "server")]
use std::net::SocketAddr;
#[cfg(feature = "server")]
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use quinn::VarInt;
use tokio::time::timeout;

use super::StreamError;
#[cfg(feature = "server")]
use super::{Bound, Bounds, Tunnel};
use crate::base::limits;

/// Frames up to this size are copied together into one buffer: cheaper than a segment each.
const COPIED_BYTES_MAX: usize = 4 * 1024;

/// The sending half. What is written is bounded by QUIC's flow control: a write waits.
#[derive(Debug)]
pub struct SendStream {
    quic: quinn::SendStream,
}

impl SendStream {
    pub(super) fn new(quic: quinn::SendStream) -> Self {
        Self { quic }
    }

    /// One frame.
    pub async fn frame(&mut self, body: Bytes) -> Result<(), StreamError> {
        self.frames(std::iter::once(body)).await
    }

    /// Many frames in one write.
    pub async fn frames(
        &mut self,
        bodies: impl IntoIterator<Item = Bytes>,
    ) -> Result<(), StreamError> {
        let mut chunks = Vec::new();
        let mut small = BytesMut::new();
        for body in bodies {
            small.extend_from_slice(&length_of(body.len())?);
            if body.len() <= COPIED_BYTES_MAX {
                small.extend_from_slice(&body);
            } else {
                chunks.push(small.split().freeze());
                chunks.push(body);
            }
        }
        if !small.is_empty() {
            chunks.push(small.freeze());
        }
        self.chunks(&mut chunks).await
    }

    /// One frame whose body is `prefix`, then `body`.
    pub async fn prefixed(&mut self, prefix: &[u8], body: Bytes) -> Result<(), StreamError> {
        let mut head = BytesMut::with_capacity(4 + prefix.len());
        head.extend_from_slice(&length_of(prefix.len() + body.len())?);
        head.extend_from_slice(prefix);
        self.chunks(&mut [head.freeze(), body]).await
    }

    /// Bytes as they are, without a length; consumes them.
    pub async fn bytes(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        Ok(self.quic.write_chunk(bytes).await?)
    }

    /// Several pieces in one write; consumes them.
    pub async fn chunks(&mut self, chunks: &mut [Bytes]) -> Result<(), StreamError> {
        Ok(self.quic.write_all_chunks(chunks).await?)
    }

    /// Streams of a higher priority go first; 0 is where every stream begins.
    pub fn prioritize(&self, priority: i32) {
        // Fails only for a stream that is over already.
        let _ = self.quic.set_priority(priority);
    }

    /// No more bytes; what was written still arrives.
    pub fn finish(&mut self) {
        let _ = self.quic.finish();
    }

    /// Gives up: what was not delivered never will be.
    pub fn reset(&mut self, code: u32) {
        let _ = self.quic.reset(VarInt::from_u32(code));
    }

    /// Waits until everything that was finished has been delivered, or the receiver stops the stream.
    pub async fn delivered(&mut self) -> Result<(), StreamError> {
        match self.quic.stopped().await {
            Ok(None) => Ok(()),
            Ok(Some(code)) => Err(StreamError::Stopped(code.into_inner())),
            Err(quinn::StoppedError::ConnectionLost(error)) => Err(error.into()),
            Err(quinn::StoppedError::ZeroRttRejected) => Err(StreamError::Truncated),
        }
    }
}

/// The receiving half. Nothing is allocated for a frame before its length was found to be within the bound.
#[derive(Debug)]
pub struct RecvStream {
    quic: quinn::RecvStream,
    buffer: BytesMut,
    /// Who is answerable for what comes, where that is bounded.
    #[cfg(feature = "server")]
    bounded: Option<(Arc<Bounds>, SocketAddr)>,
}

impl RecvStream {
    pub(super) fn new(quic: quinn::RecvStream) -> Self {
        Self {
            quic,
            buffer: BytesMut::new(),
            #[cfg(feature = "server")]
            bounded: None,
        }
    }

    /// Long frames on their way count as what `remote` has sent of them from now on.
    #[cfg(feature = "server")]
    pub fn bounded_by(&mut self, bounds: &Arc<Bounds>, remote: SocketAddr) {
        self.bounded = Some((Arc::clone(bounds), remote));
    }

    /// The next frame's body; `None` at a clean end. Waits for a first byte as long as it takes, then for the rest
    /// of the frame for [`limits::HELLO_DEADLINE`] and a second for each 64 KiB of it.
    ///
    /// Cancel safe: bytes that arrived stay here.
    pub async fn frame(&mut self, bytes_max: usize) -> Result<Option<Bytes>, StreamError> {
        loop {
            if let Some(body) = take_frame(&mut self.buffer, bytes_max)? {
                return Ok(Some(body));
            }
            if !self.more().await? {
                return Ok(None);
            }
        }
    }

    /// Waits for at least one frame and takes every further one that is here already, at most about `batch_bytes_max`
    /// of them. False at a clean end.
    pub async fn frames(
        &mut self,
        bytes_max: usize,
        batch_bytes_max: usize,
        batch: &mut Vec<Bytes>,
    ) -> Result<bool, StreamError> {
        let Some(first) = self.frame(bytes_max).await? else { return Ok(false) };
        let mut bytes = first.len();
        batch.push(first);
        while bytes < batch_bytes_max {
            let Some(body) = take_frame(&mut self.buffer, bytes_max)? else { break };
            bytes += body.len();
            batch.push(body);
        }
        Ok(true)
    }

    /// Exactly `length` bytes, which must come within the deadline of a frame of that length.
    pub async fn exactly(&mut self, length: usize) -> Result<Bytes, StreamError> {
        let all = async {
            while self.buffer.len() < length {
                if !self.read().await? {
                    return Err(StreamError::Truncated);
                }
            }
            Ok(())
        };
        timeout(rest_deadline(length), all).await.map_err(|_| StreamError::Slow)??;
        Ok(self.buffer.split_to(length).freeze())
    }

    /// The next bytes, whatever they are; `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, StreamError> {
        if self.buffer.is_empty() && !self.read().await? {
            return Ok(None);
        }
        Ok(Some(self.buffer.split().freeze()))
    }

    /// Both halves as one stream of bytes.
    #[cfg(feature = "server")]
    pub fn tunnel(self, send: SendStream) -> Tunnel {
        Tunnel::new(send.quic, self.quic, self.buffer)
    }

    /// Tells the sender that no more is wanted.
    pub fn stop(&mut self, code: u32) {
        let _ = self.quic.stop(VarInt::from_u32(code));
    }

    /// Brings more of a frame; false if the stream ended before one began.
    async fn more(&mut self) -> Result<bool, StreamError> {
        if self.buffer.is_empty() {
            return self.read().await;
        }
        let rest = match self.buffer.first_chunk::<4>() {
            Some(length) => u32::from_be_bytes(*length) as usize,
            None => 0,
        };
        #[cfg(feature = "server")]
        let bounded = self.bounded.clone();
        let begun = self.buffer.len();
        let wanted = (4 + rest).max(begun + 1);
        let all = async {
            while self.buffer.len() < wanted {
                if !self.read().await? {
                    return Err(StreamError::Truncated);
                }
                // The length itself came in pieces: the caller looks at it first.
                if begun < 4 {
                    break;
                }
            }
            Ok(true)
        };
        #[cfg(feature = "server")]
        {
            let room = crowded_out(bounded, rest);
            tokio::select! {
                read = timeout(rest_deadline(rest), all) => read.map_err(|_| StreamError::Slow)?,
                crowded = room => Err(crowded),
            }
        }
        #[cfg(not(feature = "server"))]
        timeout(rest_deadline(rest), all).await.map_err(|_| StreamError::Slow)?
    }

    async fn read(&mut self) -> Result<bool, StreamError> {
        match self.quic.read_chunk(usize::MAX, true).await? {
            Some(chunk) => {
                self.buffer.extend_from_slice(&chunk.bytes);
                Ok(true)
            }
            None => Ok(false),
        }
    }
}

/// Waits until a long frame on its way has to make room for those of others.
#[cfg(feature = "server")]
async fn crowded_out(bounded: Option<(Arc<Bounds>, SocketAddr)>, bytes: usize) -> StreamError {
    let Some((bounds, remote)) = bounded.filter(|_| bytes > limits::UNFINISHED_FREE_BYTES) else {
        return std::future::pending().await;
    };
    // It is only turned away where the newest goes.
    if let Ok(held) = bounds.unfinished.enter(remote.into(), bytes) {
        held.shown_out().await;
    }
    bounds.refuse(Bound::Unfinished, remote);
    StreamError::Crowded
}

fn length_of(bytes: usize) -> Result<[u8; 4], StreamError> {
    match u32::try_from(bytes) {
        Ok(length) => Ok(length.to_be_bytes()),
        Err(_) => Err(StreamError::TooLong { bytes: bytes as u64, bytes_max: u32::MAX as usize }),
    }
}

fn take_frame(buffer: &mut BytesMut, bytes_max: usize) -> Result<Option<Bytes>, StreamError> {
    let Some(length) = buffer.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    if length > bytes_max {
        return Err(StreamError::TooLong { bytes: length as u64, bytes_max });
    }
    if buffer.len() < 4 + length {
        return Ok(None);
    }
    buffer.advance(4);
    Ok(Some(buffer.split_to(length).freeze()))
}

fn rest_deadline(bytes: usize) -> Duration {
    limits::HELLO_DEADLINE + Duration::from_secs((bytes / (64 * 1024)) as u64)
}
