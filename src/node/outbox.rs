//! What the engine sends, put on QUIC: the engine's `Outbox` over the transport.
//!
//! The engine exists before the transport that it sends with; what it sends until then is lost, as on any network.

use std::sync::{Arc, OnceLock};
use std::thread;

use bytes::Bytes;

use crate::base::{MemberId, Moment};
use crate::consensus::Class;
use crate::engine::{Answered, AskKind, Handle, Lost, Outbox};
use crate::storage::SnapshotCopy;
use crate::transport::{self, Transport};

/// See the file.
#[derive(Default)]
pub(super) struct Wires {
    joined: OnceLock<(Arc<Transport>, Handle)>,
}

impl Wires {
    /// From now on messages leave.
    pub(super) fn join(&self, transport: Arc<Transport>, engine: Handle) {
        // Joined once, by the start of the node.
        let _ = self.joined.set((transport, engine));
    }
}

impl Outbox for Wires {
    fn send(&self, to: MemberId, class: Class, messages: Vec<Bytes>) {
        let Some((transport, _)) = self.joined.get() else { return };
        let class = match class {
            Class::Control => transport::Class::Control,
            Class::Append | Class::Snapshot => transport::Class::Append,
        };
        // Dropped messages are Raft's business: it repeats what matters.
        let _ = transport.send_all(to, class, messages);
    }

    fn ask(&self, to: MemberId, kind: AskKind, body: Bytes, deadline: Moment, answered: Answered) {
        let Some((transport, _)) = self.joined.get() else { return answered(Err(Lost)) };
        transport.ask_then(to, kind as u16, body, deadline, move |answer| {
            answered(answer.map_err(|error| {
                tracing::debug!(peer = %to, ?kind, %error, "a question was lost");
                Lost
            }));
        });
    }

    fn send_snapshot(&self, to: MemberId, header: Bytes, copy: SnapshotCopy) {
        let Some((transport, engine)) = self.joined.get().cloned() else { return };
        let told = engine.clone();
        let send = move || {
            let (length, mut copy) = (copy.length(), copy);
            let sent = transport.send_snapshot(to, header, &mut copy, length);
            match &sent {
                Ok(()) => tracing::info!(peer = %to, bytes = length, "sent a snapshot"),
                Err(error) => tracing::warn!(peer = %to, %error, "a snapshot did not arrive"),
            }
            engine.snapshot_sent(to, sent.is_ok());
        };
        if let Err(error) = thread::Builder::new().name("snapshot-out".to_owned()).spawn(send) {
            tracing::warn!(peer = %to, %error, "cannot start a thread for a snapshot");
            told.snapshot_sent(to, false);
        }
    }
}
