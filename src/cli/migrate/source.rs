//! The cluster that keys come from, read over gRPC and never written to.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::cli::connect::Session;
use crate::cli::exit::{Code, Exit};
use crate::client::{Client, Error, Get};
use crate::proto;
use crate::proto::etcdserverpb::response_op::Response;
use crate::proto::mvccpb::KeyValue;

use super::patience::{Failure, patiently};

#[derive(Clone)]
pub(super) struct Source {
    pub client: Client,
    pub cluster: u64,
}

impl Source {
    pub(super) async fn connect(session: &Session) -> Result<Self, Exit> {
        let named =
            |exit: Exit| Exit::new(exit.code, format!("the source cannot be reached: {exit}"));
        let client = session.lasting_client().await.map_err(named)?;
        // Once, and not for long: a server that wants a certificate says so no earlier than it is asked something.
        let first = client.within(session.command_timeout);
        let asked = first.get("\0").limit(1).keys_only().await;
        let header = asked.map_err(|error| match &error {
            Error::Lost { .. } | Error::Timeout { .. } => named(Exit::new(
                Code::BadConnection,
                format!("{error}\nA server that ends connections may want a certificate: --from-cert and --from-key."),
            )),
            _ => exit(failed(error), "answer"),
        })?;
        Ok(Self { client, cluster: header.header.unwrap_or_default().cluster_id })
    }

    /// A revision that every write answered before now is part of.
    pub(super) async fn revision(&self) -> Result<i64, Failure> {
        let asked = patiently(async || self.client.get("\0").limit(1).keys_only().await).await;
        Ok(asked.map_err(failed)?.header.unwrap_or_default().revision)
    }

    /// These keys, without their values, as far as they are there.
    pub(super) async fn read(&self, keys: &[Bytes]) -> Result<Vec<KeyValue>, Failure> {
        let ask = async || {
            let get = |key: &Bytes| Get::new(key.clone()).keys_only();
            keys.iter().fold(self.client.txn(), |txn, key| txn.then(get(key))).await
        };
        let answer = patiently(ask).await.map_err(failed)?;
        let found = answer.responses.into_iter().filter_map(|one| match one.response? {
            Response::ResponseRange(range) => Some(range.kvs),
            _ => None,
        });
        Ok(found.flatten().collect())
    }

    /// The leases of now, or of a moment after. A member answers from what it knows: so it is made to know first.
    pub(super) async fn leases(&self) -> Result<BTreeSet<i64>, Failure> {
        self.revision().await?;
        let listed = patiently(async || self.client.lease_list().await).await.map_err(failed)?;
        Ok(listed.leases.iter().map(|lease| lease.id).collect())
    }
}

/// What a call of the source ended with.
pub(super) fn failed(error: Error) -> Failure {
    let is_compacted = match &error {
        Error::Compacted { .. } => true,
        Error::Server { status, .. } => {
            status.text.ends_with("mvcc: required revision has been compacted")
        }
        _ => false,
    };
    if is_compacted {
        return Failure::Compacted;
    }
    let advice = match error.code() {
        proto::Code::PermissionDenied | proto::Code::Unauthenticated => {
            ": --from-user must be one with the role root"
        }
        proto::Code::InvalidArgument if error.text().ends_with("user name is empty") => {
            ": it wants to know who asks, so name a user with the role root with --from-user"
        }
        _ => "",
    };
    let text = format!("the source: {error}{advice}");
    Exit::new(Exit::from(error).code, text).into()
}

/// Of a step that reads no certain revision and needs no lease.
pub(super) fn exit(failure: Failure, step: &str) -> Exit {
    match failure {
        Failure::Exit(exit) => exit,
        Failure::Compacted => Exit::error(format!("the source was compacted meanwhile: {step}")),
        Failure::LeaseGone => Exit::error(format!("a lease ended meanwhile: {step}")),
    }
}
