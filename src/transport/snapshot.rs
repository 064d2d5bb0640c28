//! Snapshots, both ways: a header and a length, then bytes in pieces, read and written by threads that own a disk.

use std::io::{self, Read};

use bytes::{Bytes, BytesMut};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::peer::STREAM_SNAPSHOT;
use super::{Connection, Lost, SnapshotError, StreamError};
use crate::base::{MemberId, limits};

/// Behind everything else.
const PRIORITY: i32 = -1;

/// The receiver's word that it has a snapshot whole, and on its disk: it stops the stream with this code. The
/// acknowledgement of QUIC says no more than that the bytes are in some buffer, and a sender that believes it goes on
/// with entries that the receiver cannot place yet.
pub(super) const TAKEN: u32 = 1;
/// The opposite.
pub(super) const UNWANTED: u32 = 0;

/// One snapshot on its way. Dropped before [`taken`](Self::taken), the sender is told that nobody wants it.
#[derive(Debug)]
pub struct IncomingSnapshot {
    pub from: MemberId,
    /// What the sender gave as header.
    pub header: Bytes,
    /// Bytes that follow.
    pub length: u64,
    pub(super) chunks: mpsc::Receiver<Result<Bytes, StreamError>>,
    pub(super) done: oneshot::Sender<()>,
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

    /// To be said after the last piece, when whatever arrives next may count on the snapshot.
    pub fn taken(self) {
        // Nobody listens when the connection is gone; the sender knows that by itself.
        let _ = self.done.send(());
    }
}

/// Streams a snapshot: this thread reads, a task on `runtime` writes.
pub(super) fn send(
    runtime: &Handle,
    connection: Connection,
    header: Bytes,
    reader: &mut dyn Read,
    length: u64,
) -> Result<(), SnapshotError> {
    let (chunks, waiting) = mpsc::channel(limits::SNAPSHOT_CHUNKS_WAITING_MAX);
    let (done, outcome) = oneshot::channel();
    runtime.spawn(async move {
        // The receiver waits below, whatever happens.
        let _ = done.send(stream(&connection, header, length, waiting).await);
    });
    let mut left = length;
    while left > 0 {
        let mut chunk = BytesMut::zeroed(limits::SNAPSHOT_CHUNK_BYTES.min(left as usize));
        let read = match reader.read(&mut chunk) {
            Ok(0) => return Err(SnapshotError::Short { sent: length - left, length }),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(SnapshotError::Read(error)),
        };
        chunk.truncate(read);
        left -= read as u64;
        if chunks.blocking_send(chunk.freeze()).is_err() {
            break;
        }
    }
    drop(chunks);
    outcome.blocking_recv().unwrap_or(Err(StreamError::Lost(Lost::Here))).map_err(Into::into)
}

/// Kind, header and length, then the pieces; resets the stream if they end too early.
async fn stream(
    connection: &Connection,
    header: Bytes,
    length: u64,
    mut chunks: mpsc::Receiver<Bytes>,
) -> Result<(), StreamError> {
    let mut stream = connection.open_uni().await?;
    stream.prioritize(PRIORITY);
    stream.bytes(Bytes::from_static(&[STREAM_SNAPSHOT])).await?;
    stream.frame(header).await?;
    stream.bytes(Bytes::copy_from_slice(&length.to_be_bytes())).await?;
    let mut left = length;
    while left > 0 {
        let Some(chunk) = chunks.recv().await else {
            stream.reset(0);
            return Err(StreamError::Truncated);
        };
        left -= chunk.len() as u64;
        let written = timeout(limits::SNAPSHOT_STALL, stream.bytes(chunk)).await;
        if let Err(error) = written.unwrap_or(Err(StreamError::Slow)) {
            stream.reset(0);
            return Err(error);
        }
    }
    let answer = timeout(limits::SNAPSHOT_SYNC, stream.delivered()).await;
    match answer.unwrap_or(Err(StreamError::Slow)) {
        Err(StreamError::Stopped(code)) if code == u64::from(TAKEN) => Ok(()),
        Err(error) => {
            stream.reset(0);
            Err(error)
        }
        // Nothing finishes it.
        Ok(()) => Err(StreamError::Truncated),
    }
}
