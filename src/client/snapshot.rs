//! A copy of one member's data, checked against the checksum that ends it.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use ring::digest;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::calls::failed;
use super::link::{Link, StreamRecv};
use super::{Client, Error};
use crate::base::Steady;
use crate::proto::Method;
use crate::proto::etcdserverpb as pb;

/// Pieces that have come and wait for the disk.
const PIECES_WAITING_MAX: usize = 16;

/// Bytes of the SHA-256 at the end.
const CHECKSUM_BYTES: usize = 32;

impl Client {
    /// Begins a download from the asked member.
    pub async fn snapshot(&self) -> Result<Snapshot, Error> {
        let link = self.endpoints.link(self.deadline()).await?;
        let (mut send, recv) =
            link.stream(Method::Snapshot).await.map_err(|failure| failed(&link, failure))?;
        let request = pb::SnapshotRequest {}.encode_to_vec();
        send.send(request.into()).await.map_err(|failure| failed(&link, failure))?;
        send.finish();
        Ok(Snapshot {
            link,
            recv,
            hash: digest::Context::new(&digest::SHA256),
            bytes: 0,
            total: 0,
            version: String::new(),
            state: State::Data,
        })
    }
}

/// A download that ended well.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Saved {
    /// Bytes of the copy, its checksum not counted.
    pub bytes: u64,
    /// The version of the server that made it; empty where it did not say.
    pub version: String,
}

/// A download: [`Snapshot::next`] until none, or [`Snapshot::save`].
pub struct Snapshot {
    link: Arc<Link>,
    recv: StreamRecv,
    hash: digest::Context,
    bytes: u64,
    total: u64,
    version: String,
    state: State,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum State {
    Data,
    /// All data came; the checksum is next.
    Checksum,
    Done,
}

impl Snapshot {
    /// The next piece. The last one is the checksum (32 bytes, SHA-256 of all before it), handed out only if it is
    /// right; the pieces together are the file.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if self.state == State::Done {
            return Ok(None);
        }
        let message = self.recv.next().await.map_err(|failure| failed(&self.link, failure))?;
        let Some(message) = message else {
            return Err(self.corrupt("ended before its checksum"));
        };
        let response = pb::SnapshotResponse::decode(message).map_err(|error| Error::Protocol {
            endpoint: Arc::clone(&self.link.endpoint),
            what: format!("a piece of the snapshot cannot be read: {error}"),
        })?;
        self.take(&response)?;
        Ok(Some(response.blob))
    }

    fn take(&mut self, response: &pb::SnapshotResponse) -> Result<(), Error> {
        if self.state == State::Checksum {
            let hash = self.hash.clone().finish();
            if response.blob.len() != CHECKSUM_BYTES || hash.as_ref() != response.blob.as_ref() {
                return Err(self.corrupt("does not match its checksum"));
            }
            self.state = State::Done;
            return Ok(());
        }
        self.hash.update(&response.blob);
        self.bytes += response.blob.len() as u64;
        self.total = self.bytes.saturating_add(response.remaining_bytes);
        if !response.version.is_empty() {
            self.version.clone_from(&response.version);
        }
        if response.remaining_bytes == 0 {
            self.state = State::Checksum;
        }
        Ok(())
    }

    /// Bytes received, the checksum not counted.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes the whole to `path`, which appears only when it is complete, right and synced.
    pub async fn save(self, path: &Path) -> Result<u64, Error> {
        Ok(self.save_with(path, |_, _| ()).await?.bytes)
    }

    /// [`save`](Self::save), telling after each piece how many bytes of how many have come. When it fails, nothing
    /// is left behind.
    pub async fn save_with(
        mut self,
        path: &Path,
        mut told: impl FnMut(u64, u64),
    ) -> Result<Saved, Error> {
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = Part(part.into());
        let failed = |what: &str, error: io::Error| {
            Error::Config(format!("cannot {what} {}: {error}", path.display()))
        };
        let mut options = File::options();
        options.write(true).create(true).truncate(true);
        // Keys and values are nobody else's business.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&part.0).map_err(|error| failed("create", error))?;
        let (pieces, waiting) = mpsc::channel(PIECES_WAITING_MAX);
        let writing = spawn_blocking(move || write(&file, waiting));
        while let Some(piece) = self.next().await? {
            if pieces.send(piece).await.is_err() {
                // It says why below.
                break;
            }
            told(self.bytes, self.total);
        }
        drop(pieces);
        let written = writing.await.unwrap_or_else(|stopped| Err(io::Error::other(stopped)));
        written.map_err(|error| failed("write", error))?;
        std::fs::rename(&part.0, path).map_err(|error| failed("rename", error))?;
        Ok(Saved { bytes: self.bytes, version: self.version.clone() })
    }

    fn corrupt(&self, what: &str) -> Error {
        let endpoint = &self.link.endpoint;
        Error::Corrupt(format!(
            "the snapshot from {endpoint} {what} after {} bytes: take it again",
            self.bytes
        ))
    }
}

/// Until there are no more; then the file is on the disk.
fn write(file: &File, mut pieces: mpsc::Receiver<Bytes>) -> io::Result<()> {
    let mut steady = Steady::new(file);
    while let Some(piece) = pieces.blocking_recv() {
        steady.write_all(&piece)?;
    }
    file.sync_all()
}

/// A file on its way; deleted unless it was renamed.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        // Renamed or never made: then there is nothing to delete.
        let _ = std::fs::remove_file(&self.0);
    }
}
