//! Who is told what arrives: the node implements these, and the transport's threads call them.
//!
//! Every call comes on an endpoint's thread and must return at once: put it into a bounded queue, or drop it.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use super::{Class, Connection, Held, IncomingSnapshot, Origin};
use crate::base::MemberId;
#[cfg(doc)]
use crate::base::limits;
use crate::tls::Identity;

/// What a member id means to the cluster, as this member knows it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    Member,
    /// Not known here: a joiner, or a member that was added while this one was away. It may send and ask.
    Unknown,
    /// Refused, and told so, for ever.
    Removed,
}

/// What other members send. `from` is proven by the certificate where that names a member, else claimed in Hello by
/// somebody with a certificate of the peer trust.
pub trait PeerInbound: Send + Sync + 'static {
    fn standing(&self, member: MemberId) -> Standing;

    /// In the order they were sent, within one class; between classes there is no order.
    fn messages(&self, from: MemberId, class: Class, batch: Vec<Bytes>);

    /// `from` is `None` for one who is not a member yet and may only ask what `Config::guest_asks` lists.
    fn ask(&self, from: Option<MemberId>, kind: u16, body: Bytes, reply: AskReply);

    /// Take the chunks on a thread that may write to a disk.
    fn snapshot(&self, incoming: IncomingSnapshot);

    /// We can send to this member now.
    fn connected(&self, member: MemberId);

    /// Something for this member was lost, or cannot leave: once per loss, not per message.
    fn unreachable(&self, member: MemberId);

    /// Another member says that this one was removed from the cluster.
    fn removed(&self);
}

/// What clients bring.
pub trait ClientInbound: Send + Sync + 'static {
    /// Called inside the endpoint's runtime (current-thread): `tokio::spawn` works and stays on its thread.
    fn connection(&self, connection: ClientConnection);
}

/// A client that was admitted; nothing of its streams was read yet, Hello included.
#[derive(Debug)]
pub struct ClientConnection {
    pub connection: Connection,
    /// `None` where nobody is authenticated, or without a certificate where that is allowed.
    pub identity: Option<Arc<Identity>>,
    /// The address it came in by.
    pub listener: SocketAddr,
    /// Becomes the reason why the client is admitted no more: its certificate has ended, or the files that were read
    /// anew are against it. From then on nothing new is taken from it; after [`limits::REFUSED_GRACE`] the connection
    /// is closed.
    pub refused: watch::Receiver<Option<Arc<str>>>,
    /// Its place among those that have asked nothing yet: to be dropped with its Hello. Shown out, it is to be closed.
    pub stranger: Held<Origin>,
}

/// Where the answer to one ask goes. Dropped without an answer, the asker learns that it was lost.
#[derive(Debug)]
pub struct AskReply {
    pub(super) answer: oneshot::Sender<Result<Bytes, String>>,
}

impl AskReply {
    pub fn answer(self, body: Bytes) {
        // The asker may be gone: nobody is left to be told.
        let _ = self.answer.send(Ok(body));
    }

    /// It was not done, and asking again is safe; `reason` is for people.
    pub fn refuse(self, reason: &str) {
        let _ = self.answer.send(Err(reason.to_owned()));
    }
}
