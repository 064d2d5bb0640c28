//! A copy of this member's database for a client: pieces, and a checksum at the end.

use std::io::Read;

use bytes::Bytes;
use prost::Message;
use tokio::sync::mpsc;

use super::service::{Member, busy};
use crate::api::status;
use crate::base::limits;
use crate::engine::be_nice;
use crate::proto::etcdserverpb as pb;
use crate::proto::{Code, Duplex, Item, Retry, Status};

/// Copies and sends on a thread of its own: both block.
pub(super) fn send(member: &Member, stream: Duplex) {
    let Ok(place) = std::sync::Arc::clone(&member.snapshots).try_acquire_owned() else {
        tokio::spawn(stream.end(Err(busy("quorate: too many snapshots at once: try again later"))));
        return;
    };
    let member = member.clone();
    let (requests, answers) = stream.split();
    let told = answers.clone();
    let runtime = tokio::runtime::Handle::current();
    let thread = std::thread::Builder::new().name("snapshot-out".to_owned()).spawn(move || {
        be_nice();
        // What was acknowledged here is in the copy, which is one of the database.
        let checkpointed = runtime.block_on(member.handle.checkpoint());
        let checkpointed = checkpointed.map_err(|error| status::of_error(&error));
        let began = member.handle.clock().now();
        let ended = checkpointed.and_then(|()| pieces(&member, &answers));
        let took = member.handle.clock().now().since(began);
        member.handle.meters().snapshots_sent.observe(took);
        // A client that is gone needs no ending.
        let _gone = answers.blocking_send(Item::End(ended));
        drop((requests, place));
    });
    if let Err(error) = thread {
        tokio::spawn(async move {
            let text = format!("quorate: no thread for the snapshot: {error}");
            let ended = Err(Status::new(Code::ResourceExhausted, text, Retry::NotProposed));
            let _gone = told.send(Item::End(ended)).await;
        });
    }
}

fn pieces(member: &Member, answers: &mpsc::Sender<Item>) -> Result<(), Status> {
    let mut copy = member.handle.snapshot().map_err(|fault| status::of_fault(&fault))?;
    let mut remaining_bytes = copy.length();
    while remaining_bytes > 0 {
        let length = remaining_bytes.min(limits::SNAPSHOT_CHUNK_BYTES as u64);
        let mut blob = vec![0; usize::try_from(length).unwrap_or(limits::SNAPSHOT_CHUNK_BYTES)];
        copy.read_exact(&mut blob).map_err(|error| status::of_fault(&error))?;
        remaining_bytes -= length;
        if !piece(member, answers, remaining_bytes, blob.into()) {
            return Ok(());
        }
    }
    piece(member, answers, 0, Bytes::copy_from_slice(&copy.sha256()));
    Ok(())
}

/// False when the client is gone. etcd's pieces have no header.
fn piece(member: &Member, answers: &mpsc::Sender<Item>, remaining_bytes: u64, blob: Bytes) -> bool {
    let version = member.config.version.clone();
    let piece = pb::SnapshotResponse { header: None, remaining_bytes, blob, version };
    answers.blocking_send(Item::Message(piece.encode_to_vec().into())).is_ok()
}
