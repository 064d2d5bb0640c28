//! A snapshot is judged, not written down: its bytes are each program's own.

use prost::Message;
use quorate::proto::etcdserverpb as pb;
use ring::digest::{Context, SHA256};
use serde_json::{Value, json};

use super::super::client::End;
use super::wires::{Open, Said};

/// Pieces of so many bytes.
const PIECE_BYTES: usize = 32 * 1024;

/// Reads it to its end.
pub(super) async fn whole(open: &mut Open) -> Result<Value, End> {
    let mut pieces = Vec::new();
    while let Some(said) = open.next().await? {
        pieces.push(match said {
            Said::Message(message) => pb::SnapshotResponse::decode(message).unwrap(),
            Said::Object(object) => from_object(&object),
        });
    }
    let sum = pieces.pop().unwrap();
    let total: usize = pieces.iter().map(|piece| piece.blob.len()).sum();
    let (mut left, mut digest) = (total, Context::new(&SHA256));
    for (number, piece) in (1..).zip(&pieces) {
        left -= piece.blob.len();
        digest.update(&piece.blob);
        assert_eq!(piece.remaining_bytes, left as u64, "piece {number} of {}", pieces.len());
        let is_whole = piece.blob.len() == PIECE_BYTES || number == pieces.len();
        assert!(is_whole, "piece {number} has {} bytes", piece.blob.len());
    }
    // A learner of etcd's has none at first.
    let versions = pieces.iter().chain([&sum]).all(|it| matches!(&*it.version, "" | "3.6.0"));
    Ok(json!({
        "header": pieces.iter().any(|piece| piece.header.is_some()),
        "pages": total > 0 && total.is_multiple_of(512),
        "sum": sum.blob == digest.finish().as_ref() && sum.remaining_bytes == 0,
        "version": versions,
    }))
}

fn from_object(object: &Value) -> pb::SnapshotResponse {
    use base64::prelude::{BASE64_STANDARD, Engine};
    let text = |name: &str| object[name].as_str().unwrap_or_default();
    pb::SnapshotResponse {
        blob: BASE64_STANDARD.decode(text("blob")).unwrap().into(),
        remaining_bytes: text("remaining_bytes").parse().unwrap_or_default(),
        version: text("version").to_owned(),
        header: None,
    }
}
