//! The cluster that keys go to: every write of keys holds only while the mark is as this process left it. Leases and users are
//! written after a look at it.

use crate::cli::changes::Change;
use crate::cli::connect::Session;
use crate::cli::exit::Exit;
use crate::client::{Client, Compare, Delete, Error, Get, Op, Put};
use crate::proto::etcdserverpb as pb;
use crate::proto::mvccpb::KeyValue;

use super::mark::{self, Mark, State};
use super::patience::{Failure, Patience, patiently};

#[derive(Clone)]
pub(super) struct Destination {
    pub client: Client,
    /// The destination's revision at which the mark was written last.
    guard: i64,
    pub mark: Mark,
}

const NOT_EMPTY: &str = "a migration goes to an empty cluster, or on with its own unfinished one";

impl Destination {
    /// The unfinished migration that is there, taken up by this process; none if there is none.
    pub(super) async fn take_up(client: &Client, cluster: u64) -> Result<Option<Self>, Exit> {
        let Some(kv) = marked(client).await? else { return Ok(None) };
        let found = Mark::parse(&kv.value)?;
        if found.cluster != format!("{cluster:x}") {
            return Err(Exit::error(format!(
                "the destination holds an unfinished migration of cluster {}, and the source is cluster {cluster:x}: name the source that it began with",
                found.cluster
            )));
        }
        let mark = Mark::new(cluster, found.state, found.revision)?;
        let mut taken = Self { client: client.clone(), guard: kv.mod_revision, mark: mark.clone() };
        taken.advance(&[], mark).await.map_err(|failure| super::source::exit(failure, "begin"))?;
        Ok(Some(taken))
    }

    /// A migration begins, at a cluster where nothing is.
    pub(super) async fn begin(client: &Client, cluster: u64, at: i64) -> Result<Self, Exit> {
        let keys = patiently(async || client.get("").prefix().limit(1).keys_only().await).await;
        let keys = keys.map_err(|error| exit(&error, "read"))?;
        if let Some(first) = keys.kvs.first() {
            return Err(Exit::error(format!(
                "the destination is not empty: it has {} keys, the first {}; {NOT_EMPTY}",
                keys.count,
                shown(&first.key)
            )));
        }
        let leases = patiently(async || client.lease_list().await).await;
        let leases = leases.map_err(|error| exit(&error, "list leases"))?.leases.len();
        if leases > 0 {
            return Err(Exit::error(format!(
                "the destination is not empty: it has {leases} leases; {NOT_EMPTY}"
            )));
        }
        let mark = Mark::new(cluster, State::Copying, at)?;
        let value = mark.to_bytes()?;
        // Of every key, of which there are none.
        let is_empty = Compare::create_revision("").equals(0).prefix();
        let begun = client.txn().when(is_empty).then(Put::new(mark::KEY, value)).await;
        let begun = begun.map_err(|error| exit(&error, "write"))?;
        if !begun.succeeded {
            return Err(Exit::error(format!(
                "somebody has just written to the destination; {NOT_EMPTY}"
            )));
        }
        Ok(Self { client: client.clone(), guard: revision(&begun), mark })
    }

    /// Writes changes without going on: the mark stays.
    pub(super) async fn write(&self, changes: &[Change]) -> Result<(), Failure> {
        self.apply(changes, None).await.map(drop)
    }

    /// Writes changes and the new mark, all at one revision.
    pub(super) async fn advance(&mut self, changes: &[Change], mark: Mark) -> Result<(), Failure> {
        self.guard = self.apply(changes, Some(&mark)).await?;
        self.mark = mark;
        Ok(())
    }

    /// Fails if somebody else has taken the migration up. What no transaction can do, leases and users, is done after this.
    pub(super) async fn hold(&self) -> Result<(), Failure> {
        self.guarded(&[], &[], None).await.map(drop)
    }

    /// Takes the mark away: from now on the cluster is as any other.
    /// The destination's revision at which it went.
    pub(super) async fn release(self) -> Result<i64, Failure> {
        let end = [Delete::new(mark::KEY).into()];
        let released = self.guarded(&end, &[], None).await;
        if released.is_err() && marked(&self.client).await?.is_none() {
            // Taken away by an attempt whose answer was lost.
            return Ok(header(&self.client).await?.revision);
        }
        released
    }

    async fn apply(&self, changes: &[Change], mark: Option<&Mark>) -> Result<i64, Failure> {
        let mut ops: Vec<Op> = changes.iter().cloned().map(Op::from).collect();
        let value = mark.map(Mark::to_bytes).transpose()?;
        ops.extend(value.clone().map(|value| Op::from(Put::new(mark::KEY, value))));
        self.guarded(&ops, changes, value.as_deref()).await
    }

    /// The revision at which it was written. Made twice it is done once: it changes the mark, or changes nothing the second
    /// time.
    async fn guarded(
        &self,
        ops: &[Op],
        changes: &[Change],
        value: Option<&[u8]>,
    ) -> Result<i64, Failure> {
        let mut patience = Patience::new();
        loop {
            let txn = self.client.txn().when(Compare::mod_revision(mark::KEY).equals(self.guard));
            let txn = ops.iter().cloned().fold(txn, |txn, op| txn.then(op));
            match txn.otherwise(Get::new(mark::KEY)).await {
                Ok(answer) if answer.succeeded => return Ok(revision(&answer)),
                Ok(answer) => {
                    let found = read(&answer);
                    // Its own, written by an attempt whose answer was lost.
                    return match found.filter(|kv| Some(&kv.value[..]) == value) {
                        Some(own) => Ok(own.mod_revision),
                        None => Err(taken_over().into()),
                    };
                }
                Err(error) if error.text().ends_with("requested lease not found") => {
                    return Err(Failure::LeaseGone);
                }
                Err(error) if patience.bears(&error).await => {}
                Err(error) => return Err(self.refusal(changes, &error).await.into()),
            }
        }
    }

    /// What the destination does not take, by its key.
    async fn refusal(&self, changes: &[Change], error: &Error) -> Exit {
        let text = error.text();
        if text.ends_with("database space exceeded") {
            let key = changes.first().map(|change| format!(" before key {}", shown(change.key())));
            return Exit::error(format!(
                "the destination is full{}: {text}; raise its quota-backend-bytes (or compact and defragment it), `quorate alarm disarm`, and call this again",
                key.unwrap_or_default()
            ));
        }
        for change in changes {
            // Never done: no key is created before the first revision. What is looked at is looked at all the same.
            let never = Compare::create_revision(mark::KEY).less(0);
            if let Err(error) = self.client.txn().when(never).then(change.clone()).await {
                let advice = advice(&error.text());
                return Exit::error(format!(
                    "the destination refuses key {} ({} bytes with its value): {error}{advice}",
                    shown(change.key()),
                    change.bytes()
                ));
            }
        }
        let Some(first) = changes.first() else { return exit(error, "write") };
        let bytes: usize = changes.iter().map(Change::bytes).sum();
        Exit::error(format!(
            "the destination refuses a transaction of {} keys and {bytes} bytes, the first key {}: {error}{}",
            changes.len(),
            shown(first.key()),
            advice(&text)
        ))
    }
}

/// The mark as it is, if there is one.
pub(super) async fn marked(client: &Client) -> Result<Option<KeyValue>, Exit> {
    let found = patiently(async || client.get(mark::KEY).await).await;
    Ok(found.map_err(|error| exit(&error, "read"))?.kvs.pop())
}

/// Of an answer that every member agrees with.
pub(super) async fn header(client: &Client) -> Result<pb::ResponseHeader, Exit> {
    let asked = patiently(async || client.get("\0").limit(1).keys_only().await).await;
    Ok(asked.map_err(|error| exit(&error, "read"))?.header.unwrap_or_default())
}

pub(super) async fn connect(session: &Session) -> Result<Client, Exit> {
    session
        .lasting_client()
        .await
        .map_err(|exit| Exit::new(exit.code, format!("the destination cannot be reached: {exit}")))
}

/// What a call of the destination ended with.
pub(super) fn exit(error: &Error, what: &str) -> Exit {
    let advice = advice(&error.text());
    let text = format!("cannot {what} at the destination: {error}{advice}");
    Exit::new(Exit::from(error.clone()).code, text)
}

/// A key, for people.
pub(super) fn shown(key: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(key))
}

fn advice(text: &str) -> &'static str {
    let says = |end: &str| text.ends_with(end);
    if says("request is too large") {
        "; raise its max-request-bytes to what the source has"
    } else if says("too many operations in txn request") {
        "; raise its max-txn-ops, or give a smaller --max-txn-ops here"
    } else if says("permission denied") || says("user name is empty") {
        "; --user must be one with the role root"
    } else {
        ""
    }
}

fn taken_over() -> Exit {
    Exit::error(
        "the migration's mark at the destination has changed: another `quorate migrate` has taken it up, or has finished it; one at a time",
    )
}

fn revision(answer: &pb::TxnResponse) -> i64 {
    answer.header.as_ref().map_or(0, |header| header.revision)
}

/// The key that a transaction read instead.
fn read(answer: &pb::TxnResponse) -> Option<&KeyValue> {
    match answer.responses.first()?.response.as_ref()? {
        pb::response_op::Response::ResponseRange(range) => range.kvs.first(),
        _ => None,
    }
}
