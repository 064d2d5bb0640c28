//! Tokens in both layouts: made, looked at, revoked. What is said of one is read linearizably.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::guard::behind;
use crate::api::{ask, status};
use crate::base::limits;
use crate::discovery::{Entry, Place, REGISTRY, Token, size, token_of};
use crate::engine::Handle;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use crate::proto::etcdserverpb::request_op::Request;
use crate::proto::mvccpb::KeyValue;
use crate::proto::quorate::log::V2Request;
use crate::proto::quorate::log::v2_request::Method as Verb;
use crate::proto::{Caller, Code, Method, Retry, Service, Status};
use crate::state::v2::{self, Listing, ttl_s};
use crate::state::{Command, Reply};

/// The older one is by URL and the v2 tree, the newer one by token and the v3 keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Protocol {
    V2,
    V3,
}

/// Why nothing was done, for doors of different words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::api) enum Refused {
    /// What was written is wrong.
    Invalid(String),
    /// It is there already.
    Exists(String),
    /// The key that is not there.
    Missing(String),
    /// Too many, or too often.
    Exhausted(String),
    /// It could not be done now.
    Failed(Status),
}

/// Somebody who has registered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Came {
    pub id: String,
    pub entry: Entry,
}

/// What stands under a token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Standing {
    pub token: Token,
    /// None where there is none, and where it is no size.
    pub size: Option<usize>,
    /// That of the v3 size; 0: none.
    pub lease: i64,
    /// Seconds until all of it ends; 0: never.
    pub ttl_s: i64,
    /// Members in the order in which they came.
    pub v2: Vec<Came>,
    pub v3: Vec<Came>,
    /// Something is there that is none of the above.
    pub has_more: bool,
}

impl Refused {
    pub(in crate::api) fn text(&self) -> &str {
        match self {
            Self::Invalid(text)
            | Self::Exists(text)
            | Self::Missing(text)
            | Self::Exhausted(text) => text,
            Self::Failed(status) => &status.text,
        }
    }

    pub(super) fn status(self) -> Status {
        let (code, text) = match self {
            Self::Invalid(text) => (Code::InvalidArgument, text),
            Self::Exists(text) => (Code::AlreadyExists, text),
            Self::Missing(key) => (Code::NotFound, format!("size key not found: {key}")),
            Self::Exhausted(text) => (Code::ResourceExhausted, text),
            Self::Failed(status) => return status,
        };
        Status::new(code, format!("quorate: discovery: {text}"), Retry::Never)
    }
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self::Failed(status)
    }
}

impl Standing {
    pub(super) fn new(token: Token) -> Self {
        Self {
            token,
            size: None,
            lease: 0,
            ttl_s: 0,
            v2: Vec::new(),
            v3: Vec::new(),
            has_more: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.size.is_none() && self.v2.is_empty() && self.v3.is_empty() && !self.has_more
    }

    /// Those of a protocol, and those of the other one.
    pub(super) fn members(&self, protocol: Protocol) -> (&[Came], &[Came]) {
        match protocol {
            Protocol::V2 => (&self.v2, &self.v3),
            Protocol::V3 => (&self.v3, &self.v2),
        }
    }
}

/// The keys and the tree, asked as a client asks.
pub(super) struct Tokens {
    pub below: Arc<dyn Service>,
    pub handle: Handle,
}

impl Tokens {
    pub(super) async fn ask<R: prost::Message + Default>(
        &self,
        caller: &Caller,
        method: Method,
        request: &impl prost::Message,
    ) -> Result<R, Status> {
        ask::message(self.below.as_ref(), caller, method, request).await
    }

    /// Makes a token in both layouts; `with_path` is false where somebody else writes the v2 size.
    pub(super) async fn make(
        &self,
        caller: &Caller,
        token: &Token,
        size: usize,
        ttl_s: i64,
        with_path: bool,
    ) -> Result<pb::ResponseHeader, Refused> {
        let keys = self.keys(caller, REGISTRY, true).await?.count;
        if keys >= limits::DISCOVERY_KEYS_MAX {
            let text = format!("the registry has {keys} keys, which is the most: revoke some");
            return Err(Refused::Exhausted(text));
        }
        let directory = V2Request { dir: true, ttl_s: Some(ttl_s), ..of_path(&token.directory()) };
        self.tree(directory).await?;
        let made = self.fill(caller, token, size, ttl_s, with_path).await;
        if made.is_err() {
            // The name is free again; if not, it is when its time is over.
            let gone = V2Request {
                method: Verb::Delete.into(),
                recursive: true,
                ..of_path(&token.directory())
            };
            let _ = self.tree(gone).await;
        }
        made
    }

    async fn fill(
        &self,
        caller: &Caller,
        token: &Token,
        size: usize,
        ttl_s: i64,
        with_path: bool,
    ) -> Result<pb::ResponseHeader, Refused> {
        let (key, text) = (token.size_key(), size.to_string());
        if with_path {
            self.tree(V2Request { value: text.clone().into(), ..of_path(&key) }).await?;
        }
        let grant = pb::LeaseGrantRequest { ttl: ttl_s, id: 0 };
        let granted: pb::LeaseGrantResponse = self.ask(caller, Method::LeaseGrant, &grant).await?;
        let absent = pb::Compare {
            result: CompareResult::Equal.into(),
            target: CompareTarget::Create.into(),
            key: key.clone().into(),
            target_union: Some(TargetUnion::CreateRevision(0)),
            ..Default::default()
        };
        let put = pb::PutRequest {
            key: key.into(),
            value: text.into(),
            lease: granted.id,
            ..Default::default()
        };
        let put = pb::RequestOp { request: Some(Request::RequestPut(put)) };
        let txn = pb::TxnRequest { compare: vec![absent], success: vec![put], failure: Vec::new() };
        let done: pb::TxnResponse = self.ask(caller, Method::Txn, &txn).await?;
        if !done.succeeded {
            return Err(super::admission::taken(token));
        }
        Ok(done.header.unwrap_or_default())
    }

    /// What stands under one token.
    pub(super) async fn standing(
        &self,
        caller: &Caller,
        token: &Token,
    ) -> Result<Standing, Refused> {
        let mut all = BTreeMap::new();
        let pairs = self.keys(caller, &token.all(), false).await?.kvs;
        pairs.iter().for_each(|pair| noted(&mut all, pair));
        if let Some(listing) = self.listing(&token.directory()).await? {
            self.listed(&mut all, &listing).await?;
        }
        Ok(all.remove(token).unwrap_or_else(|| Standing::new(token.clone())))
    }

    /// Of all tokens.
    pub(super) async fn all(&self, caller: &Caller) -> Result<Vec<Standing>, Refused> {
        let mut all = BTreeMap::new();
        let pairs = self.keys(caller, REGISTRY, false).await?.kvs;
        pairs.iter().for_each(|pair| noted(&mut all, pair));
        let listing = self.listing(REGISTRY.trim_end_matches('/')).await?;
        for token in listing.into_iter().flat_map(|it| it.nodes.unwrap_or_default()) {
            self.listed(&mut all, &token).await?;
        }
        for standing in all.values_mut().filter(|it| it.ttl_s == 0 && it.lease != 0) {
            let request = pb::LeaseTimeToLiveRequest { id: standing.lease, keys: false };
            let left: pb::LeaseTimeToLiveResponse =
                self.ask(caller, Method::LeaseTimeToLive, &request).await?;
            standing.ttl_s = left.ttl.max(1);
        }
        Ok(all.into_values().collect())
    }

    /// Everything of a token goes; how many had registered.
    pub(super) async fn revoke(&self, caller: &Caller, token: &Token) -> Result<usize, Refused> {
        let standing = self.standing(caller, token).await?;
        if standing.is_empty() {
            let text = format!("there is no token {}", token.as_str());
            return Err(Refused::Failed(Status::new(Code::NotFound, text, Retry::Never)));
        }
        let first = token.all();
        let range_end = behind(&first).into();
        let delete = pb::DeleteRangeRequest { key: first.into(), range_end, ..Default::default() };
        let _: pb::DeleteRangeResponse = self.ask(caller, Method::DeleteRange, &delete).await?;
        if standing.lease != 0 {
            let revoke = pb::LeaseRevokeRequest { id: standing.lease };
            // It may have ended at this moment.
            let _: Result<pb::LeaseRevokeResponse, _> =
                self.ask(caller, Method::LeaseRevoke, &revoke).await;
        }
        let gone = V2Request {
            method: Verb::Delete.into(),
            recursive: true,
            ..of_path(&token.directory())
        };
        match self.tree(gone).await {
            Err(Refused::Missing(_)) | Ok(()) => Ok(standing.v2.len() + standing.v3.len()),
            Err(refused) => Err(refused),
        }
    }

    async fn keys(
        &self,
        caller: &Caller,
        prefix: &str,
        count_only: bool,
    ) -> Result<pb::RangeResponse, Status> {
        let request = pb::RangeRequest {
            key: prefix.to_owned().into(),
            range_end: behind(prefix).into(),
            // More than are made: what members write comes on top.
            limit: limits::DISCOVERY_KEYS_MAX * 2,
            count_only,
            sort_target: pb::range_request::SortTarget::Create.into(),
            sort_order: pb::range_request::SortOrder::Ascend.into(),
            ..Default::default()
        };
        self.ask(caller, Method::Range, &request).await
    }

    /// A change of the tree.
    async fn tree(&self, request: V2Request) -> Result<(), Refused> {
        let deadline = self.handle.clock().now() + limits::V2_REQUEST_DEADLINE;
        let applied = self.handle.propose(Command::V2(request), deadline).await;
        let Reply::V2(reply) = applied.map_err(|error| status::of_error(&error))?.reply else {
            let text = "quorate: the log answered something else";
            return Err(Refused::Failed(Status::new(Code::Internal, text, Retry::Never)));
        };
        reply.result.map(drop).map_err(of_tree)
    }

    /// A directory of the tree with what is in it, hidden nodes left out.
    async fn listing(&self, path: &str) -> Result<Option<Listing>, Refused> {
        let handle = &self.handle;
        let deadline = handle.clock().now() + limits::V2_REQUEST_DEADLINE;
        handle.read_barrier(deadline).await.map_err(|error| status::of_error(&error))?;
        let (path, now_ms) = (path.as_bytes().to_vec(), handle.clock().wall_ms());
        let job =
            move |handle: &Handle| handle.query().and_then(|query| query.v2(&path, true, now_ms));
        match handle.read_job(job).await {
            None => Err(Refused::Failed(status::no_room())),
            Some(Err(fault)) => Err(Refused::Failed(status::of_fault(&fault))),
            Some(Ok(Err(error))) if error.code == v2::Error::KEY_NOT_FOUND => Ok(None),
            Some(Ok(Err(error))) => Err(of_tree(error)),
            Some(Ok(Ok(listed))) => Ok(Some(listed.listing)),
        }
    }

    /// A token's directory.
    async fn listed(
        &self,
        all: &mut BTreeMap<Token, Standing>,
        directory: &Listing,
    ) -> Result<(), Refused> {
        let Some(token) = token_of(&directory.node.key) else { return Ok(()) };
        let standing = of(all, &token);
        let now_ms = self.handle.clock().wall_ms();
        standing.has_more = true;
        standing.ttl_s = ttl_s(directory.node.expires_at_ms, now_ms).max(0);
        let mut nodes: Vec<&Listing> = directory.nodes.iter().flatten().collect();
        nodes.sort_by_key(|listing| listing.node.created);
        for Listing { node, .. } in nodes {
            if let Some(Place::Member(_, id)) = Place::of_path(&node.key) {
                standing.v2.extend(came(id, &node.value));
            }
        }
        if standing.size.is_none()
            && let Some(listing) = self.listing(&token.size_key()).await?
        {
            standing.size = size(&String::from_utf8_lossy(&listing.node.value));
        }
        Ok(())
    }
}

/// What the tree answers.
fn of_tree(error: v2::Error) -> Refused {
    let cause = String::from_utf8_lossy(&error.cause).into_owned();
    match error.code {
        v2::Error::KEY_NOT_FOUND => Refused::Missing(cause),
        v2::Error::NODE_EXIST => Refused::Exists(format!("{cause} is taken")),
        _ => {
            let text = format!("quorate: {} ({cause})", error.message());
            Refused::Failed(Status::new(Code::FailedPrecondition, text, Retry::Never))
        }
    }
}

fn of_path(path: &str) -> V2Request {
    V2Request {
        method: Verb::Create.into(),
        path: Bytes::copy_from_slice(path.as_bytes()),
        ..V2Request::default()
    }
}

fn of<'a>(all: &'a mut BTreeMap<Token, Standing>, token: &Token) -> &'a mut Standing {
    all.entry(token.clone()).or_insert_with(|| Standing::new(token.clone()))
}

/// A v3 key.
fn noted(all: &mut BTreeMap<Token, Standing>, pair: &KeyValue) {
    let Some(token) = token_of(&pair.key) else { return };
    let standing = of(all, &token);
    match Place::of_key(&pair.key) {
        Some(Place::Size(_)) => {
            standing.lease = pair.lease;
            standing.size = size(&String::from_utf8_lossy(&pair.value));
        }
        Some(Place::Member(_, id)) => standing.v3.extend(came(id, &pair.value)),
        _ => {}
    }
    standing.has_more = true;
}

/// Who wrote something else has not come.
fn came(id: String, value: &[u8]) -> Option<Came> {
    let entry = Entry::parse(std::str::from_utf8(value).ok()?).ok()?;
    Some(Came { id, entry })
}
