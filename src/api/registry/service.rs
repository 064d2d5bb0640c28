//! A service with the registry's methods, above one without; and the guard of a discovery service.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::sync::{Mutex as Turns, OwnedMutexGuard};
use tokio::time::timeout;

use super::admission::{registering, sizing, sound_size};
use super::guard::{self, Verdict};
use super::rates::Rates;
use super::tokens::{Protocol, Refused, Standing, Tokens};
use crate::api::ask;
use crate::api::status::unreadable;
use crate::base::limits;
use crate::discovery::Token;
use crate::engine::Handle;
use crate::proto::etcdserverpb as pb;
use crate::proto::hello::PROXY_CLIENT;
use crate::proto::quorate::registry as words;
use crate::proto::{
    Call, Caller, Code, DoorEnd, Duplex, Item, Method, Outcome, Retry, Service, Status,
};

/// Messages of a guarded stream on their way, each direction.
const WATCH_DEPTH: usize = 8;

/// See the module. One for all doors of a member; cheap to clone.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<Shared>,
    /// Who comes through this door from the machine itself is the operator.
    believes_loopback: bool,
}

struct Shared {
    tokens: Tokens,
    serves_strangers: bool,
    rates: Mutex<Rates>,
    /// One registration at a time: what was looked at still holds when it is written.
    turns: Arc<Turns<()>>,
}

/// A fresh token, as it is asked for.
#[derive(Clone, Debug, Default)]
pub(in crate::api) struct Fresh {
    /// As it was written.
    pub size: String,
    /// Seconds; 0: as the service has it.
    pub ttl_s: i64,
    /// Empty: a random one.
    pub token: String,
}

/// The right to write what was looked at; others wait until it is dropped.
pub(in crate::api) struct Admitted {
    _turn: OwnedMutexGuard<()>,
}

impl Registry {
    /// `serves_strangers`: the member is a discovery service, and nothing else to those who are not its operator.
    pub fn new(below: Arc<dyn Service>, handle: Handle, serves_strangers: bool) -> Self {
        let shared = Shared {
            tokens: Tokens { below, handle },
            serves_strangers,
            rates: Mutex::default(),
            turns: Arc::default(),
        };
        Self { shared: Arc::new(shared), believes_loopback: false }
    }

    /// For a door that no proxy on this machine leads strangers to.
    pub fn believing_loopback(&self) -> Self {
        Self { believes_loopback: true, ..self.clone() }
    }

    /// Whether somebody gets no more than a discovery service gives to everybody.
    pub(in crate::api) fn is_stranger(&self, caller: &Caller) -> bool {
        let Some(address) = caller.address else { return false };
        // Behind a proxy on this machine may be anybody.
        let is_local =
            address.ip().to_canonical().is_loopback() && !caller.client.starts_with(PROXY_CLIENT);
        self.shared.serves_strangers && !(self.believes_loopback && is_local)
    }

    pub(in crate::api) async fn make(
        &self,
        caller: &Caller,
        fresh: &Fresh,
    ) -> Result<(Token, i64), Refused> {
        self.is_open()?;
        let size = sound_size(&fresh.size)?;
        let ttl_s = match fresh.ttl_s {
            0 => limits::DISCOVERY_TTL_S,
            ttl_s @ 1..=limits::DISCOVERY_TTL_S_MAX => ttl_s,
            ttl_s => {
                let max = limits::DISCOVERY_TTL_S_MAX;
                return Err(Refused::Invalid(format!(
                    "a token lives 1 to {max} seconds, not {ttl_s}"
                )));
            }
        };
        let token = match fresh.token.as_str() {
            "" => drawn()?,
            text => named(text)?,
        };
        self.take_one(caller)?;
        let _turn = self.turn().await?;
        self.make_fresh(caller, &token, size, ttl_s, true).await?;
        Ok((token, ttl_s))
    }

    async fn make_fresh(
        &self,
        caller: &Caller,
        token: &Token,
        size: usize,
        ttl_s: i64,
        with_path: bool,
    ) -> Result<pb::ResponseHeader, Refused> {
        let tokens = &self.shared.tokens;
        if !tokens.standing(caller, token).await?.is_empty() {
            return Err(super::admission::taken(token));
        }
        tokens.make(caller, token, size, ttl_s, with_path).await
    }

    /// A stranger sets the size of a token in the v2 tree: what it needs beside that is made.
    pub(in crate::api) async fn admit_size(
        &self,
        caller: &Caller,
        token: &Token,
        value: &[u8],
    ) -> Result<Admitted, Refused> {
        let text = String::from_utf8_lossy(value).into_owned();
        let admitted = Admitted { _turn: self.turn().await? };
        if !sizing(&self.shared.tokens.standing(caller, token).await?, &text)? {
            self.take_one(caller)?;
            let (size, ttl_s) = (sound_size(&text)?, limits::DISCOVERY_TTL_S);
            self.shared.tokens.make(caller, token, size, ttl_s, false).await?;
        }
        Ok(admitted)
    }

    /// A stranger registers a member in the v2 tree.
    pub(in crate::api) async fn admit_member(
        &self,
        caller: &Caller,
        token: &Token,
        id: &str,
        value: &[u8],
    ) -> Result<Admitted, Refused> {
        let admitted = Admitted { _turn: self.turn().await? };
        let standing = self.shared.tokens.standing(caller, token).await?;
        registering(&standing, Protocol::V2, id, value)?;
        Ok(admitted)
    }

    /// Users of the v2 API guard their tree: then nobody makes and sees tokens here in nobody's name.
    fn is_open(&self) -> Result<(), Refused> {
        if !self.shared.tokens.handle.tree_auth().is_enabled() {
            return Ok(());
        }
        let text = "quorate: users of the v2 API are enabled: write TOKEN/_config/size below /v2/keys/_etcd/registry/ as \
                    one of them";
        Err(Refused::Failed(Status::new(Code::PermissionDenied, text, Retry::Never)))
    }

    /// Who waits for it does so no longer than for what comes then: where nothing can be written, all are told in time.
    async fn turn(&self) -> Result<OwnedMutexGuard<()>, Refused> {
        let turn = Arc::clone(&self.shared.turns).lock_owned();
        timeout(limits::V2_REQUEST_DEADLINE, turn).await.map_err(|_| {
            let text = "quorate: discovery: others register, and it takes too long: ask again";
            Refused::Failed(Status::new(Code::Unavailable, text, Retry::NotProposed))
        })
    }

    /// One more fresh token for this caller.
    fn take_one(&self, caller: &Caller) -> Result<(), Refused> {
        let is_operator = self.shared.serves_strangers && !self.is_stranger(caller);
        let Some(address) = caller.address.filter(|_| !is_operator) else { return Ok(()) };
        let now = self.shared.tokens.handle.clock().now();
        let mut rates = self.shared.rates.lock().unwrap_or_else(PoisonError::into_inner);
        rates.take(address.ip(), now).map_err(|wait: Duration| {
            let wait = wait.as_secs().max(1);
            Refused::Exhausted(format!("too many tokens for one address: ask again in {wait} s"))
        })
    }

    async fn answer(&self, caller: &Caller, method: Method, body: Bytes) -> Outcome {
        let done = match method {
            Method::RegistryNew => self.new_token(caller, decoded(method, body)?).await,
            Method::RegistryList => self.list(caller).await,
            _ => self.revoke(caller, decoded(method, body)?).await,
        };
        done.map_err(Refused::status)
    }

    async fn new_token(
        &self,
        caller: &Caller,
        request: words::NewRequest,
    ) -> Result<Bytes, Refused> {
        let words::NewRequest { size, ttl_s, token } = request;
        let fresh = Fresh { size: size.to_string(), ttl_s, token };
        let (token, ttl_s) = self.make(caller, &fresh).await?;
        Ok(encoded(&words::NewResponse { token: token.as_str().to_owned(), ttl_s }))
    }

    async fn list(&self, caller: &Caller) -> Result<Bytes, Refused> {
        self.is_open()?;
        let tokens = self.shared.tokens.all(caller).await?;
        let tokens = tokens.into_iter().map(told).collect();
        Ok(encoded(&words::ListResponse { tokens }))
    }

    async fn revoke(
        &self,
        caller: &Caller,
        request: words::RevokeRequest,
    ) -> Result<Bytes, Refused> {
        self.is_open()?;
        let token = named(&request.token)?;
        let _turn = self.turn().await?;
        let members = self.shared.tokens.revoke(caller, &token).await?;
        let members = u32::try_from(members).unwrap_or(u32::MAX);
        Ok(encoded(&words::RevokeResponse { members }))
    }

    /// A stranger sets a size in the v3 keys.
    async fn size(&self, caller: &Caller, token: &Token, put: pb::PutRequest) -> Outcome {
        let text = String::from_utf8_lossy(&put.value).into_owned();
        let made = async {
            let _turn = self.turn().await?;
            let tokens = &self.shared.tokens;
            if sizing(&tokens.standing(caller, token).await?, &text)? {
                return Ok(None);
            }
            self.take_one(caller)?;
            let (size, ttl_s) = (sound_size(&text)?, limits::DISCOVERY_TTL_S);
            tokens.make(caller, token, size, ttl_s, true).await.map(Some)
        };
        match made.await.map_err(Refused::status)? {
            Some(header) => Ok(encoded(&pb::PutResponse { header: Some(header), prev_kv: None })),
            // It stands as it is to stand: its header is that of a read.
            None => {
                let range = pb::RangeRequest { key: put.key, ..Default::default() };
                let found: pb::RangeResponse =
                    self.shared.tokens.ask(caller, Method::Range, &range).await?;
                Ok(encoded(&pb::PutResponse { header: found.header, prev_kv: None }))
            }
        }
    }

    /// A stranger registers a member in the v3 keys: it ends with its token.
    async fn register(
        &self,
        caller: &Caller,
        token: &Token,
        id: &str,
        mut put: pb::PutRequest,
        whole: Option<pb::TxnRequest>,
    ) -> Outcome {
        let _turn = self.turn().await.map_err(Refused::status)?;
        let tokens = &self.shared.tokens;
        let standing = tokens.standing(caller, token).await.map_err(Refused::status)?;
        registering(&standing, Protocol::V3, id, &put.value).map_err(Refused::status)?;
        put.lease = standing.lease;
        let (method, body) = match whole {
            None => (Method::Put, encoded(&put)),
            Some(mut txn) => {
                leased(&mut txn, standing.lease);
                (Method::Txn, encoded(&txn))
            }
        };
        ask::bytes(tokens.below.as_ref(), caller, method, body).await
    }

    /// A stranger's call: where it goes, or what it is refused with.
    fn guarded(&self, caller: &Caller, call: Call) -> Option<Call> {
        let method = call.method;
        let verdict = match method {
            Method::RegistryNew => return Some(call),
            _ => guard::judge(method, &call.body),
        };
        let (registry, caller) = (self.clone(), caller.clone());
        match verdict {
            Verdict::Through => return Some(call),
            Verdict::Refused(status) => call.reply.send(Err(status)),
            Verdict::Sizes(token, put) => {
                let reply = call.reply;
                tokio::spawn(async move { reply.send(registry.size(&caller, &token, put).await) });
            }
            Verdict::Registers { token, id, put, whole } => {
                let reply = call.reply;
                tokio::spawn(async move {
                    reply.send(registry.register(&caller, &token, &id, put, whole).await);
                });
            }
        }
        None
    }
}

const fn is_ours(method: Method) -> bool {
    matches!(method, Method::RegistryNew | Method::RegistryList | Method::RegistryRevoke)
}

impl Service for Registry {
    fn call(&self, caller: &Caller, batch: Vec<Call>) {
        let is_stranger = self.is_stranger(caller);
        // Nearly every batch is none of ours, and goes through as it came.
        if !is_stranger && !batch.iter().any(|call| is_ours(call.method)) {
            return self.shared.tokens.below.call(caller, batch);
        }
        let mut rest = Vec::new();
        for call in batch {
            let call = if is_stranger { self.guarded(caller, call) } else { Some(call) };
            match call {
                Some(call) if is_ours(call.method) => {
                    let (registry, caller) = (self.clone(), caller.clone());
                    tokio::spawn(async move {
                        let Call { method, body, reply, .. } = call;
                        reply.send(registry.answer(&caller, method, body).await);
                    });
                }
                Some(call) => rest.push(call),
                None => {}
            }
        }
        if !rest.is_empty() {
            self.shared.tokens.below.call(caller, rest);
        }
    }

    fn open(&self, caller: &Caller, method: Method, first: Bytes, stream: Duplex) {
        if !self.is_stranger(caller) {
            return self.shared.tokens.below.open(caller, method, first, stream);
        }
        let allowed = match method {
            Method::Watch => guard::may_watch(&first),
            _ => Err(guard::denied()),
        };
        if let Err(status) = allowed {
            tokio::spawn(stream.end(Err(status)));
            return;
        }
        let (below, door) = Duplex::pair(WATCH_DEPTH);
        self.shared.tokens.below.open(caller, method, first, below);
        tokio::spawn(watched(stream, door));
    }
}

/// Both directions of a stranger's stream, until one side ends it or he asks for what he may not see.
async fn watched(stream: Duplex, door: DoorEnd) {
    let (mut from_client, to_client) = stream.split();
    let DoorEnd { requests, mut answers } = door;
    let mut requests = Some(requests);
    loop {
        let item = tokio::select! {
            message = from_client.recv(), if requests.is_some() => {
                let Some(message) = message else {
                    requests = None;
                    continue;
                };
                match (guard::may_watch(&message), &requests) {
                    (Err(status), _) => Item::End(Err(status)),
                    (Ok(()), Some(below)) if below.send(message).await.is_ok() => continue,
                    // What has ended says so among its answers.
                    _ => { requests = None; continue }
                }
            }
            item = answers.recv() => match item {
                Some(item) => item,
                None => Item::End(Err(ask::stopped())),
            },
            () = to_client.closed() => return,
        };
        let is_last = matches!(item, Item::End(_));
        if to_client.send(item).await.is_err() || is_last {
            return;
        }
    }
}

/// A member's put in a transaction ends with the token.
fn leased(txn: &mut pb::TxnRequest, lease: i64) {
    for op in txn.success.iter_mut().chain(&mut txn.failure) {
        if let Some(pb::request_op::Request::RequestPut(put)) = &mut op.request {
            put.lease = lease;
        }
    }
}

fn told(standing: Standing) -> words::Token {
    let Standing { token, size, ttl_s, v2, v3, .. } = standing;
    let registered = |it: super::tokens::Came| words::Registered {
        id: it.id,
        name: it.entry.name,
        peer_urls: it.entry.urls,
    };
    words::Token {
        name: token.as_str().to_owned(),
        size: size.and_then(|size| u32::try_from(size).ok()).unwrap_or_default(),
        ttl_s,
        members: v2.into_iter().chain(v3).map(registered).collect(),
    }
}

fn named(text: &str) -> Result<Token, Refused> {
    let max = limits::DISCOVERY_TOKEN_BYTES_MAX;
    Token::parse(text).ok_or_else(|| {
        let text = format!("{text:?} is no token: it has 1 to {max} letters, digits, -, _ and .");
        Refused::Invalid(text)
    })
}

/// 128 bits, as discovery.etcd.io had them.
fn drawn() -> Result<Token, Refused> {
    let mut bytes = [0; 16];
    let dice = getrandom::fill(&mut bytes);
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let token = dice.ok().and_then(|()| Token::parse(&text));
    token.ok_or_else(|| Refused::Exhausted("no random number is to be had".to_owned()))
}

fn encoded(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

fn decoded<M: Message + Default>(method: Method, body: Bytes) -> Result<M, Status> {
    M::decode(body).map_err(|error| unreadable(method, &error))
}
