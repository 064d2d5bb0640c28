//! A connection that another member dialled: its Hello, then its messages, questions and snapshots.

use std::sync::Arc;

use bytes::Buf;
use prost::Message;
use rustls::pki_types::CertificateDer;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::greet::{Review, decode};
use super::hello::{HELLO_BYTES_MAX, Hello, Objection};
use super::peer::{STREAM_APPEND, STREAM_CONTROL, STREAM_SNAPSHOT};
use super::shared::{REMOVED_TEXT, Shared};
use super::snapshot;
use super::{
    Class, CloseCode, Connection, IncomingSnapshot, Lost, RecvStream, SendStream, Standing,
    StreamError, ask,
};
use crate::base::{MemberId, limits};
use crate::tls::{Doors, Identity, Protocol};

/// Streams of one who may only ask.
const GUEST_STREAMS_MAX: u32 = 4;

/// quinn tells the other side of free streams by the eighth: with a quarter more, all that may be used can be.
const PEER_STREAMS_BOTH_WAYS_MAX: u32 = limits::PEER_ASKS_MAX + limits::PEER_ASKS_MAX / 4;

/// Longest header of a snapshot, bytes.
const SNAPSHOT_HEADER_BYTES_MAX: usize = 1 << 20;

/// Somebody with a peer certificate, whose Hello is still to come.
pub(super) struct Caller {
    pub(super) connection: Connection,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) identity: Option<Arc<Identity>>,
    pub(super) doors: Doors,
    /// Of the keychain that admitted it.
    pub(super) generation: u64,
}

/// Serves the connection to its end.
pub(super) async fn serve(shared: Arc<Shared>, caller: Caller) {
    let connection = caller.connection.clone();
    let theirs = match timeout(limits::HELLO_DEADLINE, hello(&shared, &caller)).await {
        Ok(Ok(theirs)) => theirs,
        Ok(Err(objection)) => {
            complain(&shared, &connection, &objection);
            connection.close(objection.code, &objection.text);
            return;
        }
        Err(_) => return connection.close(CloseCode::Slow, "no Hello in time"),
    };
    let guest = theirs.is_guest();
    let from = (!guest).then_some(MemberId(theirs.from));
    if guest {
        connection.allow_streams(GUEST_STREAMS_MAX, 0);
    } else {
        connection.allow_streams(PEER_STREAMS_BOTH_WAYS_MAX, limits::PEER_STREAMS_UNI_MAX);
        shared.accepted(&theirs, &connection);
    }
    let config = &shared.config;
    let identity = caller.identity.as_deref();
    let review = Review::new(&config.keychain, &config.clock, caller.generation, identity);
    let refused = review
        .refused(|now| config.keychain.admit(Protocol::Peer, caller.doors, &caller.chain, now));
    tokio::select! {
        _ = streams(&shared, &connection, from) => {}
        refusal = refused => {
            let remote = connection.remote_address();
            // The member has taken a newer one: this one is only there for its last answers.
            if from.is_some_and(|member| !shared.is_newest(member, &connection)) {
                tracing::debug!(%remote, reason = %refusal, "closed an old connection of a member");
            } else {
                tracing::warn!(%remote, reason = %refusal, "closed a member's connection");
            }
            connection.close(CloseCode::NotAdmitted, &refusal.reason);
        }
    }
    if let Some(member) = from {
        shared.departed(member, &connection);
    }
}

/// Reads the other side's Hello and answers with ours, or says what is wrong with it.
async fn hello(shared: &Shared, caller: &Caller) -> Result<Hello, Objection> {
    let failed = |error: StreamError| Objection {
        code: CloseCode::Protocol,
        text: format!("no Hello: {error}"),
    };
    let opened = caller.connection.accept_bi().await;
    let (mut send, mut recv) = opened.map_err(|lost| failed(lost.into()))?;
    let frame =
        recv.frame(HELLO_BYTES_MAX).await.and_then(|frame| frame.ok_or(StreamError::Truncated));
    let theirs = frame.and_then(|frame| decode(&frame)).map_err(failed)?;
    let mine = shared.hello(MemberId(theirs.from));
    if let Some(objection) = theirs.objection(&mine, caller.identity.as_deref()) {
        return Err(objection);
    }
    if theirs.from == mine.from {
        let text =
            format!("member {} dialled itself: two members share its id", MemberId(mine.from));
        return Err(Objection { code: CloseCode::OtherMember, text });
    }
    if !theirs.is_guest() && shared.inbound.standing(MemberId(theirs.from)) == Standing::Removed {
        return Err(Objection { code: CloseCode::Removed, text: REMOVED_TEXT.to_owned() });
    }
    send.frame(mine.encode_to_vec().into()).await.map_err(failed)?;
    send.finish();
    Ok(theirs)
}

fn complain(shared: &Shared, connection: &Connection, objection: &Objection) {
    let remote = connection.remote_address();
    if shared.may_complain(format!("{:?} {}", objection.code, remote.ip())) {
        tracing::warn!(%remote, reason = %objection.text, "refused a member");
    }
}

/// Takes every stream that is opened; each has a task.
async fn streams(shared: &Arc<Shared>, connection: &Connection, from: Option<MemberId>) -> Lost {
    loop {
        tokio::select! {
            opened = connection.accept_uni() => match (opened, from) {
                (Ok(stream), Some(from)) => {
                    tokio::spawn(one_way(Arc::clone(shared), connection.clone(), from, stream));
                }
                (Ok(_), None) => connection.close(CloseCode::Protocol, "a guest may only ask"),
                (Err(lost), _) => return lost,
            },
            opened = connection.accept_bi() => match opened {
                Ok(stream) => {
                    tokio::spawn(both_ways(Arc::clone(shared), connection.clone(), from, stream));
                }
                Err(lost) => return lost,
            },
        }
    }
}

async fn both_ways(
    shared: Arc<Shared>,
    connection: Connection,
    from: Option<MemberId>,
    stream: (SendStream, RecvStream),
) {
    let answered = ask::answer(&*shared.inbound, from, &shared.config.guest_asks, stream).await;
    close_if_broken(&connection, answered);
}

async fn one_way(
    shared: Arc<Shared>,
    connection: Connection,
    from: MemberId,
    mut stream: RecvStream,
) {
    let read = match stream.exactly(1).await.map(|first| first[0]) {
        Ok(STREAM_CONTROL) => messages(&shared, from, Class::Control, &mut stream).await,
        Ok(STREAM_APPEND) => messages(&shared, from, Class::Append, &mut stream).await,
        Ok(STREAM_SNAPSHOT) => receive_snapshot(&shared, from, &mut stream).await,
        Ok(kind) => {
            return connection.close(CloseCode::Protocol, &format!("unknown stream kind {kind}"));
        }
        Err(error) => Err(error),
    };
    close_if_broken(&connection, read);
}

/// Bytes that the protocol does not allow end the connection; a stream that was given up does not.
fn close_if_broken(connection: &Connection, outcome: Result<(), StreamError>) {
    match outcome {
        Err(error @ (StreamError::TooLong { .. } | StreamError::Truncated)) => {
            connection.close(CloseCode::Protocol, &error.to_string());
        }
        Err(error @ StreamError::Slow) => connection.close(CloseCode::Slow, &error.to_string()),
        _ => {}
    }
}

async fn messages(
    shared: &Shared,
    from: MemberId,
    class: Class,
    stream: &mut RecvStream,
) -> Result<(), StreamError> {
    let mut batch = Vec::new();
    let (frame_max, batch_max) = (limits::PEER_FRAME_BYTES_MAX, limits::PEER_BATCH_BYTES);
    while stream.frames(frame_max, batch_max, &mut batch).await? {
        shared.inbound.messages(from, class, std::mem::take(&mut batch));
    }
    Ok(())
}

async fn receive_snapshot(
    shared: &Shared,
    from: MemberId,
    stream: &mut RecvStream,
) -> Result<(), StreamError> {
    let header = stream.frame(SNAPSHOT_HEADER_BYTES_MAX).await?.ok_or(StreamError::Truncated)?;
    let length = stream.exactly(8).await?.get_u64();
    let (sender, chunks) = mpsc::channel(limits::SNAPSHOT_CHUNKS_WAITING_MAX);
    let (done, taken) = oneshot::channel();
    shared.inbound.snapshot(IncomingSnapshot { from, header, length, chunks, done });
    let mut left = length;
    while left > 0 {
        let next = timeout(limits::SNAPSHOT_STALL, stream.chunk()).await;
        let next = match next.unwrap_or(Err(StreamError::Slow)) {
            Ok(Some(chunk)) if chunk.len() as u64 <= left => {
                left -= chunk.len() as u64;
                Ok(chunk)
            }
            Ok(Some(_)) => {
                Err(StreamError::TooLong { bytes: length + 1, bytes_max: length as usize })
            }
            Ok(None) => Err(StreamError::Truncated),
            Err(error) => Err(error),
        };
        let failed = next.clone().err();
        let taken = timeout(limits::SNAPSHOT_STALL, sender.send(next)).await;
        if failed.is_some() || !matches!(taken, Ok(Ok(()))) {
            stream.stop(snapshot::UNWANTED);
            // Only this snapshot fails: the connection's other streams are in order.
            return Ok(());
        }
    }
    drop(sender);
    stream.stop(if taken.await.is_ok() { snapshot::TAKEN } else { snapshot::UNWANTED });
    Ok(())
}
