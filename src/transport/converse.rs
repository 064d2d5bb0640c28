//! What is written to one member, and the connection it is written on: a newer one takes the place of an older one
//! before that is given up.
//!
//! ```text
//!   old  ──messages──┤ whole batches ├── answers, snapshots ──┤ closed
//!   new                └─ dialled, Hello ─┘──messages──────────────►
//! ```
//!
//! A new one is dialled when our certificate was read anew (the member is to see the new one) and when the member's
//! would not be admitted any more (it may have another by now). Only if that fails is a refused connection closed at
//! once, and what was under way on it lost.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::greet::{Greeted, Review, greet};
use super::hello::Hello;
use super::peer::{Peer, STREAM_APPEND, STREAM_CONTROL};
use super::shared::Shared;
use super::{Class, CloseCode, Connection, DialError, Lost, StreamError, Url};
use crate::base::limits;

/// Between two attempts to replace a connection that still serves.
const AGAIN: Duration = Duration::from_secs(1);

/// For the batch that is being written when a newer connection is there; beyond it, it is lost.
const LAST_BATCH: Duration = Duration::from_secs(1);

/// For the reason why the other side stopped a stream.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// Writes to the member until there is no connection that may be written to.
pub(super) async fn converse(
    shared: &Arc<Shared>,
    peer: &Arc<Peer>,
    mine: &Hello,
    mut greeted: Greeted,
    url: &Url,
) -> Lost {
    loop {
        match until_replaced(shared, peer, mine, &greeted, url).await {
            Ok(fresh) => {
                peer.up(&fresh, url, shared.now());
                let old = std::mem::replace(&mut greeted, fresh).connection;
                tracing::info!(member = %peer.member, %url, "connected to the member anew, with the files of now");
                tokio::spawn(retire(Arc::clone(peer), old));
            }
            Err(lost) => {
                greeted.connection.close(CloseCode::Done, "");
                return lost;
            }
        }
    }
}

/// Writes both classes until the connection is no more, or a newer one is there.
async fn until_replaced(
    shared: &Arc<Shared>,
    peer: &Peer,
    mine: &Hello,
    greeted: &Greeted,
    url: &Url,
) -> Result<Greeted, Lost> {
    let connection = &greeted.connection;
    let (halt, halted) = watch::channel(false);
    let writing = async {
        tokio::try_join!(
            write(peer, Class::Control, connection, halted.clone()),
            write(peer, Class::Append, connection, halted.clone()),
        )
    };
    tokio::pin!(writing);
    let failed = tokio::select! {
        lost = connection.closed() => return Err(lost),
        next = replacement(shared, peer, mine, greeted, url) => {
            let fresh = next?;
            // Between two batches, so that the other side reads whole frames to the end.
            halt.send_replace(true);
            let _ = timeout(LAST_BATCH, writing).await;
            return Ok(fresh);
        }
        written = &mut writing => match written {
            Ok(_) => return Err(Lost::Other("the streams ended".into())),
            Err(error) => error,
        },
    };
    match failed {
        StreamError::Lost(lost) => Err(lost),
        // The stream was stopped because the connection is about to be closed, with a reason: wait for it.
        error => match timeout(LAST_WORDS, connection.closed()).await {
            Ok(lost) => Err(lost),
            Err(_) => Err(Lost::Other(error.to_string())),
        },
    }
}

/// Waits until the connection should be another one, and dials that; an error if there is to be none.
async fn replacement(
    shared: &Arc<Shared>,
    peer: &Peer,
    mine: &Hello,
    greeted: &Greeted,
    url: &Url,
) -> Result<Greeted, Lost> {
    let config = &shared.config;
    let keychain = &config.keychain;
    let mut review =
        Review::new(keychain, &config.clock, greeted.generation, greeted.identity.as_ref());
    review.due().await;
    loop {
        let admitted = keychain.admit_dialled(url.scheme, &greeted.chain, config.clock.wall_ms());
        if admitted.is_ok() && keychain.shown_to_members() == greeted.shown {
            review.due().await;
            continue;
        }
        let dialled =
            greet(&shared.socket, &config.names, keychain, config.clock.as_ref(), mine, url).await;
        match (dialled, admitted) {
            (Ok(fresh), _) => return Ok(fresh),
            (Err(error), Ok(_)) => {
                complain(shared, peer, url, &error);
                sleep(AGAIN).await;
            }
            (Err(_), Err(refusal)) => {
                let text = refusal.to_string();
                greeted.connection.close(CloseCode::NotAdmitted, &text);
                return Err(Lost::Other(text));
            }
        }
    }
}

fn complain(shared: &Shared, peer: &Peer, url: &Url, error: &DialError) {
    let member = peer.member;
    if shared.may_complain(format!("renew {member} {url}")) {
        tracing::warn!(
            %member, %url, reason = %error,
            "cannot connect to the member with the new certificate; the old connection serves on, trying on"
        );
    }
}

/// Closes a connection that nothing new is written to, when what is under way on it has had time to end.
async fn retire(peer: Arc<Peer>, old: Connection) {
    sleep(limits::HANDOVER_GRACE).await;
    let left = limits::HANDOVER_MAX.saturating_sub(limits::HANDOVER_GRACE);
    // A snapshot holds the permit; should it be one of the new connection, no harm is done by waiting for it, too.
    let _ = timeout(left, peer.snapshots.acquire()).await;
    old.close(CloseCode::Done, "a newer connection took its place");
}

/// One stream, long-lived; all that waits in the outbox leaves in one write. Ends well when it is halted.
async fn write(
    peer: &Peer,
    class: Class,
    connection: &Connection,
    mut halted: watch::Receiver<bool>,
) -> Result<(), StreamError> {
    let (kind, priority) = match class {
        Class::Control => (STREAM_CONTROL, 2),
        Class::Append => (STREAM_APPEND, 1),
    };
    let mut stream = connection.open_uni().await?;
    stream.prioritize(priority);
    stream.bytes(Bytes::copy_from_slice(&[kind])).await?;
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            // What was taken is written, also when both are ready.
            biased;
            () = peer.outbox(class).take(limits::PEER_BATCH_BYTES, &mut batch) => {}
            _ = halted.wait_for(|halted| *halted) => {
                stream.finish();
                return Ok(());
            }
        }
        stream.frames(batch.drain(..)).await?;
        if *halted.borrow() {
            stream.finish();
            return Ok(());
        }
    }
}
