//! What is looked at once more when the answer is there: whether the permissions by which it was asked are still the same.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use prost::Message;

use crate::api::status;
use crate::engine::Handle;
use crate::proto::etcdserverpb as pb;
use crate::proto::{Answers, Code, Outcome, Reply, Retry, Status};
use crate::state::{Asker, Rejection};

/// A reply behind which another one waits.
struct Checked {
    reply: Mutex<Option<Reply>>,
    handle: Handle,
    asker: Asker,
    /// Of users and roles, when it was asked.
    revision: u64,
    names_keys: bool,
}

/// The answer is passed on if nothing has changed since `revision`; with `names_keys` it is LeaseTimeToLive's, whose keys must
/// be the asker's to read.
pub(super) fn checked(
    handle: &Handle,
    asker: &Asker,
    revision: u64,
    names_keys: bool,
    reply: Reply,
) -> Reply {
    let reply = Mutex::new(Some(reply));
    let (handle, asker) = (handle.clone(), asker.clone());
    Reply::new(Arc::new(Checked { reply, handle, asker, revision, names_keys }), 0)
}

impl Checked {
    fn judged(&self, body: Bytes) -> Outcome {
        let auth = self.handle.auth();
        if !auth.is_enabled() {
            return Ok(body);
        }
        if auth.revision() != self.revision {
            return Err(status::of_rejection(Rejection::AuthOldRevision));
        }
        if self.names_keys {
            let answer = pb::LeaseTimeToLiveResponse::decode(body.clone());
            let answer = answer.map_err(|_| unreadable())?;
            auth.read_each(&self.asker, &answer.keys).map_err(status::of_rejection)?;
        }
        Ok(body)
    }
}

impl Answers for Checked {
    fn answer(&self, _: u64, outcome: Outcome) {
        let reply = self.reply.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(reply) = reply {
            reply.send(outcome.and_then(|body| self.judged(body)));
        }
    }

    fn is_wanted(&self, _: u64) -> bool {
        let reply = self.reply.lock().unwrap_or_else(PoisonError::into_inner);
        reply.as_ref().is_some_and(Reply::is_wanted)
    }
}

fn unreadable() -> Status {
    let text = "quorate: an answer could not be read, so it is not known who may";
    Status::new(Code::Internal, text, Retry::Never)
}
