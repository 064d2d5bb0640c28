//! What other members send, handed to the engine: the transport's `PeerInbound`.

use std::thread;

use bytes::Bytes;

use crate::base::MemberId;
use crate::engine::{AskKind, Handle};
use crate::transport::{AskReply, Class, IncomingSnapshot, PeerInbound, Standing};

use super::stop::Stopper;

/// See the file.
pub(super) struct FromPeers {
    pub engine: Handle,
    pub stopper: Stopper,
}

impl PeerInbound for FromPeers {
    fn standing(&self, member: MemberId) -> Standing {
        let Ok(query) = self.engine.query() else { return Standing::Unknown };
        let members = query.members();
        if members.is_removed(member) {
            Standing::Removed
        } else if members.member(member).is_some() {
            Standing::Member
        } else {
            Standing::Unknown
        }
    }

    fn messages(&self, from: MemberId, _: Class, batch: Vec<Bytes>) {
        self.engine.peer_messages(from, batch);
    }

    fn ask(&self, from: Option<MemberId>, kind: u16, body: Bytes, reply: AskReply) {
        match AskKind::from_number(kind) {
            Some(kind) => {
                let reply = Box::new(move |answer| reply.answer(answer));
                self.engine.peer_ask(from, kind, body, reply);
            }
            None => reply.refuse("this version does not know that question"),
        }
    }

    fn snapshot(&self, incoming: IncomingSnapshot) {
        let engine = self.engine.clone();
        let receive = move || {
            let from = incoming.from;
            match receive(&engine, incoming) {
                Ok(bytes) => tracing::info!(peer = %from, bytes, "received a snapshot"),
                Err(error) => tracing::warn!(peer = %from, error, "a snapshot was not taken"),
            }
        };
        if let Err(error) = thread::Builder::new().name("snapshot-in".to_owned()).spawn(receive) {
            tracing::warn!(%error, "cannot start a thread for a snapshot");
        }
    }

    fn connected(&self, member: MemberId) {
        tracing::debug!(peer = %member, "connected");
    }

    fn unreachable(&self, member: MemberId) {
        self.engine.peer_unreachable(member);
    }

    fn removed(&self) {
        self.stopper.removed();
    }
}

fn receive(engine: &Handle, mut incoming: IncomingSnapshot) -> Result<u64, String> {
    let header = incoming.header.clone();
    let mut snapshot =
        engine.incoming_snapshot(incoming.from, header).map_err(|error| error.to_string())?;
    let mut bytes = 0;
    while let Some(chunk) = incoming.blocking_next() {
        let chunk = chunk.map_err(|error| error.to_string())?;
        bytes += chunk.len() as u64;
        snapshot.write(&chunk).map_err(|error| error.to_string())?;
    }
    snapshot.finish().map_err(|error| error.to_string())?;
    // Now, and not before: the leader goes on with the entries behind it.
    incoming.taken();
    Ok(bytes)
}
