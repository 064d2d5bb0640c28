//! One question and its answer, on a stream of its own.
//!
//! The question is a frame of kind (`u16`, big endian) and body; the answer one of status (one byte) and body, or the
//! reason if the status says "refused".

use bytes::{Buf, Bytes};

use super::{AskError, AskReply, Connection, PeerInbound, RecvStream, SendStream, StreamError};
use crate::base::{MemberId, limits};

const DONE: u8 = 0;
const REFUSED: u8 = 1;

/// Behind heartbeats and votes, beside appends.
const PRIORITY: i32 = 1;

/// Asks over a connection, and waits for the answer as long as the connection lives.
pub(super) async fn ask(
    connection: &Connection,
    kind: u16,
    body: Bytes,
) -> Result<Bytes, AskError> {
    if body.len() + 2 > limits::PEER_FRAME_BYTES_MAX {
        let text = format!("{} bytes are more than a frame to a member may hold", body.len());
        return Err(AskError::Refused(text));
    }
    let (mut send, mut recv) = match connection.open_bi().await {
        Ok(opened) => opened,
        Err(StreamError::Slow) => return Err(AskError::Busy),
        Err(_) => return Err(AskError::Unreachable),
    };
    send.prioritize(PRIORITY);
    // From here on the other side may have heard it.
    send.prefixed(&kind.to_be_bytes(), body).await.map_err(|_| AskError::Lost)?;
    send.finish();
    let answer = recv.frame(limits::PEER_FRAME_BYTES_MAX).await;
    let mut answer = answer.ok().flatten().ok_or(AskError::Lost)?;
    match answer.try_get_u8() {
        Ok(DONE) => Ok(answer),
        Ok(REFUSED) => Err(AskError::Refused(String::from_utf8_lossy(&answer).into_owned())),
        _ => Err(AskError::Lost),
    }
}

/// Reads one question, has it answered, and writes the answer.
pub(super) async fn answer(
    inbound: &dyn PeerInbound,
    from: Option<MemberId>,
    guest_asks: &[u16],
    (mut send, mut recv): (SendStream, RecvStream),
) -> Result<(), StreamError> {
    let question = recv.frame(limits::PEER_FRAME_BYTES_MAX).await?;
    let mut question = question.ok_or(StreamError::Truncated)?;
    let kind = question.try_get_u16().map_err(|_| StreamError::Truncated)?;
    send.prioritize(PRIORITY);
    let (answer, answered) = tokio::sync::oneshot::channel();
    if from.is_none() && !guest_asks.contains(&kind) {
        let reason = "only a member of the cluster may ask that".to_owned();
        // The receiver is two lines below.
        let _ = answer.send(Err(reason));
    } else {
        inbound.ask(from, kind, question, AskReply { answer });
    }
    match answered.await {
        Ok(Ok(body)) => send.prefixed(&[DONE], body).await?,
        Ok(Err(reason)) => send.prefixed(&[REFUSED], reason.into()).await?,
        // Dropped unanswered: so is the stream, and the asker is told that nobody knows.
        Err(_) => {
            send.reset(0);
            return Ok(());
        }
    }
    send.finish();
    Ok(())
}
