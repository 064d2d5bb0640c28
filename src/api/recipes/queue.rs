//! A key in a line of keys: who has the oldest is first.

use std::time::Duration;

use bytes::Bytes;

use super::steps::{Steps, created_at, failed, found, get, newest, oldest, put, revision};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::request_op::Request;
use crate::proto::mvccpb::event::EventType;
use crate::proto::{Reply, Status};

/// How often it is looked whether somebody still waits for the answer.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// A key that stands in its line.
pub(super) struct Place {
    prefix: Bytes,
    pub key: Bytes,
    /// That created it.
    pub revision: i64,
    pub lease: i64,
    /// Of the step that brought it here.
    pub header: Option<pb::ResponseHeader>,
    /// What the key has already, if it was there before.
    pub value: Option<Bytes>,
    /// Nobody is before it.
    is_first: bool,
}

/// The keys of a line begin with this.
pub(super) fn prefix(name: &Bytes) -> Bytes {
    [name.as_ref(), b"/"].concat().into()
}

impl Place {
    /// Enters, or finds the place that this lease has already.
    pub(super) async fn join(
        steps: &Steps,
        name: &Bytes,
        lease: i64,
        value: Bytes,
    ) -> Result<Self, Status> {
        let prefix = prefix(name);
        let key = Bytes::from([prefix.as_ref(), format!("{lease:x}").as_bytes()].concat());
        let first = || Request::RequestRange(oldest(&prefix));
        let entered = steps
            .txn(
                created_at(&key, 0),
                vec![put(&key, value, lease), first()],
                vec![Request::RequestRange(get(&key)), first()],
            )
            .await?;
        let own = found(&entered, 0).first();
        let created = match own {
            Some(own) if !entered.succeeded => own.create_revision,
            _ => revision(entered.header.as_ref()),
        };
        let value = own.filter(|_| !entered.succeeded).map(|own| own.value.clone());
        let owner = found(&entered, 1).first();
        let is_first = owner.is_none_or(|owner| owner.create_revision == created);
        Ok(Self { prefix, key, revision: created, lease, header: entered.header, value, is_first })
    }

    /// Waits until nobody is before it. The lease is renewed meanwhile; who is not waited for any more leaves.
    pub(super) async fn turn(&mut self, steps: &Steps, reply: &Reply) -> Result<(), Status> {
        if self.is_first {
            return Ok(());
        }
        let waited = tokio::select! {
            waited = self.wait(steps) => waited,
            lost = self.stay(steps) => Err(lost),
            () = unwanted(reply) => Err(failed("context canceled")),
        };
        match waited {
            Ok(header) => {
                self.header = header;
                Ok(())
            }
            Err(status) => {
                // Whoever comes next shall not wait for one who has given up; if it fails, the lease ends it.
                let _ = self.leave(steps).await;
                Err(status)
            }
        }
    }

    async fn wait(&self, steps: &Steps) -> Result<Option<pb::ResponseHeader>, Status> {
        loop {
            let found = steps.range(&newest(&self.prefix, self.revision - 1)).await?;
            let Some(before) = found.kvs.first() else {
                let own = steps.range(&get(&self.key)).await?;
                return match own.kvs.first() {
                    Some(kv) if kv.create_revision == self.revision => Ok(own.header),
                    _ => Err(failed("mutex: session is expired")),
                };
            };
            let from = revision(found.header.as_ref()) + 1;
            let mut watching = steps.watch(before.key.clone(), Bytes::new(), from);
            while !has_deletion(&watching.next().await?) {}
        }
    }

    /// Renews the lease for as long as it is waited; returns only when it is lost.
    async fn stay(&self, steps: &Steps) -> Status {
        loop {
            match steps.renew(self.lease).await {
                Ok(Some(ttl)) => {
                    let third = u64::try_from(ttl).unwrap_or(1).div_ceil(3);
                    tokio::time::sleep(Duration::from_secs(third)).await;
                }
                Ok(None) => return failed("mutex: session is expired"),
                // No leader, most likely: the lease lives on meanwhile.
                Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    }

    async fn leave(&self, steps: &Steps) -> Result<(), Status> {
        let gone = Request::RequestDeleteRange(pb::DeleteRangeRequest {
            key: self.key.clone(),
            ..Default::default()
        });
        steps.txn(created_at(&self.key, self.revision), vec![gone], Vec::new()).await.map(drop)
    }
}

/// Until nobody waits for the answer.
async fn unwanted(reply: &Reply) {
    while reply.is_wanted() {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn has_deletion(response: &pb::WatchResponse) -> bool {
    response.events.iter().any(|event| event.r#type() == EventType::Delete)
}
