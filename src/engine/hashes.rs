//! The hash of the history, of this member and of the others: what members compare to find one that has diverged.
//!
//! Hashed a slice at a time on the reader pool, so that who reads a key waits for one slice at most.

use bytes::Bytes;
use prost::Message as _;
use tokio::sync::oneshot;

use super::handle::Handle;
use super::outbox::{AskKind, Lost};
use super::shared::AskReply;
use crate::base::{MemberId, Moment};
use crate::proto::quorate::peer::{HashRequest, HashResponse};
use crate::state::{HashRun, KvHash};

/// Rows in a slice: some milliseconds.
const ROWS: usize = 10_000;

/// Told the hash, or why there is none.
type Hashed = Box<dyn FnOnce(Result<KvHash, String>) + Send>;

impl Handle {
    /// Of this member's history up to `revision`; or why there is none.
    pub async fn hash_kv(&self, revision: i64) -> Result<KvHash, String> {
        let (sender, receiver) = oneshot::channel();
        self.hash_on(HashRun::new(revision), Box::new(move |hashed| drop(sender.send(hashed))));
        receiver.await.unwrap_or_else(|_| Err("there are too many reads".to_owned()))
    }

    /// Of another member's history.
    pub async fn hash_kv_of(
        &self,
        member: MemberId,
        revision: i64,
        deadline: Moment,
    ) -> Result<KvHash, String> {
        let body = Bytes::from(HashRequest { revision }.encode_to_vec());
        let (sender, receiver) = oneshot::channel();
        let answered = Box::new(move |answer| drop(sender.send(answer)));
        self.shared.outbox.ask(member, AskKind::Hash, body, deadline, answered);
        let answer: Result<Bytes, Lost> = receiver.await.unwrap_or(Err(Lost));
        let answer = answer.map_err(|Lost| "it does not answer".to_owned())?;
        let answer = HashResponse::decode(answer).map_err(|error| error.to_string())?;
        let HashResponse { hash, compact_revision, hash_revision, error } = answer;
        if error.is_empty() {
            Ok(KvHash { hash, compact_revision, hash_revision })
        } else {
            Err(error)
        }
    }

    pub(super) fn hash_for_peer(&self, body: Bytes, reply: AskReply) {
        // An empty reply is "I do not understand".
        let Ok(request) = HashRequest::decode(body) else { return reply(Bytes::new()) };
        let told = Box::new(move |hashed: Result<KvHash, String>| {
            let response = match hashed {
                Ok(KvHash { hash, compact_revision, hash_revision }) => {
                    HashResponse { hash, compact_revision, hash_revision, error: String::new() }
                }
                Err(error) => HashResponse { error, ..HashResponse::default() },
            };
            reply(Bytes::from(response.encode_to_vec()));
        });
        self.hash_on(HashRun::new(request.revision), told);
    }

    /// A slice, and the next one behind the others who wait for a reader.
    fn hash_on(&self, mut run: HashRun, hashed: Hashed) {
        let handle = self.clone();
        // No room in the pool drops the callback, which tells the other side that nobody answers.
        self.read(Box::new(move || {
            match handle.query().and_then(|query| query.hash_slice(&mut run, ROWS)) {
                Ok(Ok(None)) => handle.hash_on(run, hashed),
                Ok(Ok(Some(hash))) => hashed(Ok(hash)),
                Ok(Err(rejection)) => hashed(Err(rejection.to_string())),
                Err(fault) => hashed(Err(fault.to_string())),
            }
        }));
    }
}
