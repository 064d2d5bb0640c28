//! A snapshot that comes in: a header, then bytes in pieces, taken by a thread that may write to a disk.

use bytes::Bytes;
use tokio::sync::mpsc;

use super::StreamError;
use crate::base::MemberId;

/// One snapshot on its way. Dropped before its end, the sender is told that nobody wants it.
#[derive(Debug)]
pub struct IncomingSnapshot {
    pub from: MemberId,
    /// What the sender gave as header.
    pub header: Bytes,
    /// Bytes that follow.
    pub length: u64,
    pub(super) chunks: mpsc::Receiver<Result<Bytes, StreamError>>,
}

impl IncomingSnapshot {
    /// The next piece; `None` after exactly `length` bytes. After an error nothing more comes. Blocks: never call it
    /// on a thread with a runtime.
    pub fn blocking_next(&mut self) -> Option<Result<Bytes, StreamError>> {
        self.chunks.blocking_recv()
    }

    /// The same, for tasks.
    pub async fn next(&mut self) -> Option<Result<Bytes, StreamError>> {
        self.chunks.recv().await
    }
}
