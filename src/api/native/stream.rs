//! A method's own stream: messages in and out of a [`Duplex`], until one side ends it.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

use super::connection::Session;
use super::door::{Phase, reached};
use crate::base::limits;
use crate::proto::frame::StreamFrame;
use crate::proto::{Code, DoorEnd, Duplex, Item, Method, Retry, Status};
use crate::transport::{CloseCode, RecvStream, SendStream};

/// Messages that wait are written together up to so many bytes.
const WRITE_BYTES: usize = 64 * 1024;

/// Longer messages are handed to QUIC as they are, not copied behind each other.
const COPIED_BYTES_MAX: usize = 4 * 1024;

pub(super) async fn serve(
    session: Arc<Session>,
    method: Method,
    mut send: SendStream,
    mut recv: RecvStream,
) {
    match method {
        Method::Snapshot => send.prioritize(-2),
        Method::RangeStream => send.prioritize(-1),
        _ => {}
    }
    let frame_bytes_max = session.door.config.frame_bytes_max;
    let mut phase = session.phase.subscribe();
    let first = tokio::select! {
        first = next(&mut recv, frame_bytes_max) => first,
        () = reached(&mut phase, Phase::Draining) => {
            return end(&mut send, Err(stopping())).await;
        }
    };
    let first = match first {
        Ok(Some(first)) => first,
        Ok(None) => return end(&mut send, Ok(())).await,
        Err(violation) => return blame(&session, violation),
    };
    let (duplex, door) = Duplex::pair(limits::STREAM_MESSAGES_MAX);
    session.door.service.open(&session.caller(), method, first, duplex);
    let DoorEnd { requests, mut answers } = door;
    let ended = tokio::select! {
        ended = pump_out(&mut send, &mut answers) => ended,
        violation = pump_in(&mut recv, requests, frame_bytes_max) => {
            return blame(&session, violation);
        }
        () = reached(&mut phase, Phase::Draining) => Some(Err(stopping())),
    };
    // Nobody listens any more; the service learns it from its sender.
    drop(answers);
    recv.stop(CloseCode::Done as u32);
    if let Some(ended) = ended {
        end(&mut send, ended).await;
    }
}

/// The client broke the protocol (with its text), or is gone.
type Violation = Option<String>;

/// The next message; none when the client has finished.
async fn next(recv: &mut RecvStream, frame_bytes_max: usize) -> Result<Option<Bytes>, Violation> {
    let frame = match recv.frame(frame_bytes_max).await {
        Ok(Some(frame)) => frame,
        Ok(None) => return Ok(None),
        Err(
            error @ (crate::transport::StreamError::TooLong { .. }
            | crate::transport::StreamError::Slow
            | crate::transport::StreamError::Crowded
            | crate::transport::StreamError::Truncated),
        ) => return Err(Some(error.to_string())),
        Err(_) => return Err(None),
    };
    match StreamFrame::parse(frame) {
        Ok(StreamFrame::Message(message)) => Ok(Some(message)),
        Ok(StreamFrame::End(_)) => Err(Some("a client ends with the end of its stream".to_owned())),
        Err(error) => Err(Some(error.to_string())),
    }
}

/// Hands messages to the service. Returns only when the client is gone or breaks the protocol: after its last message
/// the stream lives on for the answers.
async fn pump_in(
    recv: &mut RecvStream,
    requests: mpsc::Sender<Bytes>,
    frame_bytes_max: usize,
) -> Violation {
    loop {
        match next(recv, frame_bytes_max).await {
            Ok(Some(message)) => {
                if requests.send(message).await.is_err() {
                    break;
                }
            }
            Ok(None) => break,
            Err(violation) => return violation,
        }
    }
    // The service reads no more, or has read everything.
    drop(requests);
    std::future::pending().await
}

/// Writes what the service says; returns how it ended, or none when the client takes no more.
async fn pump_out(
    send: &mut SendStream,
    answers: &mut mpsc::Receiver<Item>,
) -> Option<Result<(), Status>> {
    let mut small = BytesMut::new();
    let mut chunks = Vec::new();
    loop {
        let mut item = answers.recv().await;
        let mut bytes = 0;
        let ended = loop {
            match item {
                Some(Item::Message(message)) => {
                    bytes += message.len();
                    put(message, &mut small, &mut chunks);
                }
                Some(Item::End(outcome)) => break Some(outcome),
                None => break Some(Err(stopping())),
            }
            if bytes >= WRITE_BYTES {
                break None;
            }
            match answers.try_recv() {
                Ok(more) => item = Some(more),
                // Closed is told by the next recv.
                Err(_) => break None,
            }
        };
        if !small.is_empty() {
            chunks.push(small.split().freeze());
        }
        if !chunks.is_empty() && send.chunks(&mut chunks).await.is_err() {
            return None;
        }
        chunks.clear();
        if ended.is_some() {
            return ended;
        }
    }
}

fn put(message: Bytes, small: &mut BytesMut, chunks: &mut Vec<Bytes>) {
    if message.len() <= COPIED_BYTES_MAX {
        StreamFrame::Message(message).encode(small);
        return;
    }
    StreamFrame::encode_head(message.len(), small);
    chunks.push(small.split().freeze());
    chunks.push(message);
}

async fn end(send: &mut SendStream, outcome: Result<(), Status>) {
    let mut frame = BytesMut::new();
    StreamFrame::End(outcome).encode(&mut frame);
    if send.bytes(frame.freeze()).await.is_ok() {
        send.finish();
        // A client that does not want to know is gone.
        let _gone = tokio::time::timeout(limits::HELLO_DEADLINE, send.delivered()).await;
    }
}

fn stopping() -> Status {
    Status::new(Code::Unavailable, "etcdserver: server stopped", Retry::NotProposed)
}

fn blame(session: &Session, violation: Violation) {
    if let Some(text) = violation {
        session.connection.close(CloseCode::Protocol, &text);
    }
}
