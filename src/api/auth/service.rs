//! The guard: every call and every stream passes here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::check::{self, Pass};
use super::passwords::Passwords;
use super::rules::{self, Rule};
use super::tokens::TokenKeys;
use super::{accounts, after, identity, login, streams};
use crate::api::quota::Quota;
use crate::api::status;
use crate::base::{ClusterId, MemberId, Moment};
use crate::engine::Handle;
use crate::proto::etcdserverpb::ResponseHeader;
use crate::proto::{Admitted, Call, Caller, Duplex, Method, Service, Status};
use crate::state::{Asker, Auth, Query};

/// Who answers, and how passwords and tokens are made.
#[derive(Clone)]
pub struct Config {
    pub cluster: ClusterId,
    pub member: MemberId,
    /// Longest time for one request.
    pub request_timeout: Duration,
    /// bcrypt's, 4 to 31.
    pub bcrypt_cost: u32,
    pub keys: Arc<TokenKeys>,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Guard {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub below: Arc<dyn Service>,
    pub handle: Handle,
    pub quota: Arc<Quota>,
    pub config: Config,
    pub passwords: Passwords,
}

impl Guard {
    pub fn new(below: Arc<dyn Service>, handle: Handle, quota: Arc<Quota>, config: Config) -> Self {
        let passwords = Passwords::new(config.bcrypt_cost);
        Self { inner: Arc::new(Inner { below, handle, quota, config, passwords }) }
    }
}

impl Service for Guard {
    fn call(&self, caller: &Caller, batch: Vec<Call>) {
        let inner = &self.inner;
        if is_of_the_door(caller, &batch) {
            return inner.below.call(caller, batch);
        }
        let auth = inner.handle.auth();
        let is_own = |call: &Call| matches!(rules::of(call.method), Rule::Account | Rule::Login);
        let has_own = batch.iter().any(is_own);
        if !auth.is_enabled() && !has_own {
            return inner.below.call(caller, batch);
        }
        let (own, rest): (Vec<Call>, Vec<Call>) = batch.into_iter().partition(is_own);
        for call in own {
            tokio::spawn(serve(Arc::clone(inner), caller.clone(), call));
        }
        if !rest.is_empty() {
            inner.judge(&auth, caller, rest);
        }
    }

    fn open(&self, caller: &Caller, method: Method, first: Bytes, stream: Duplex) {
        let inner = Arc::clone(&self.inner);
        let caller = caller.clone();
        match (rules::of(method), method) {
            // What is asked later on the same stream may fall under other rules.
            (_, Method::Watch) => {
                tokio::spawn(streams::watch(inner, caller, first, stream));
            }
            (_, Method::LeaseKeepAlive) => {
                tokio::spawn(streams::keep_alive(inner, caller, first, stream));
            }
            _ if !inner.handle.auth().is_enabled() => {
                inner.below.open(&caller, method, first, stream);
            }
            _ => {
                tokio::spawn(streams::once(inner, caller, method, first, stream));
            }
        }
    }
}

/// Whether all is well, the member's own door may ask without being a user; it can say so, and no client.
fn is_of_the_door(caller: &Caller, batch: &[Call]) -> bool {
    caller.admitted.as_ref().is_some_and(Admitted::is_member)
        && batch.iter().all(|call| matches!(call.method, Method::Range | Method::Status))
}

/// Users, roles, and who shows a password.
async fn serve(inner: Arc<Inner>, caller: Caller, call: Call) {
    let Call { method, body, deadline_ms, reply } = call;
    let deadline = inner.deadline(deadline_ms);
    let outcome = match method {
        // Who repairs a corrupt member must be let in there.
        Method::Authenticate => login::authenticate(&inner, body, deadline).await,
        Method::AuthStatus => accounts::answer(&inner, &caller, method, body, deadline).await,
        _ if inner.handle.is_quarantined() => Err(status::quarantined()),
        _ => accounts::answer(&inner, &caller, method, body, deadline).await,
    };
    reply.send(outcome);
}

impl Inner {
    /// Who asks; as long as nobody is asked, nobody, whatever he shows.
    pub(super) fn asker(&self, auth: &Auth, caller: &Caller) -> Result<Asker, Status> {
        match auth.is_enabled() {
            true => identity::asker(&self.handle, &self.config.keys, auth, caller),
            false => Ok(Asker::default()),
        }
    }

    pub(super) fn deadline(&self, deadline_ms: u32) -> Moment {
        let longest = self.config.request_timeout;
        self.handle.clock().now()
            + match deadline_ms {
                0 => longest,
                ms => Duration::from_millis(u64::from(ms)).min(longest),
            }
    }

    /// Waits until this member knows what any has acknowledged of users and roles; false if that cannot be.
    async fn caught_up(&self, deadline: Moment) -> bool {
        let raft = self.handle.raft();
        raft.leader.is_some()
            && !raft.is_learner
            && self.handle.read_barrier(deadline).await.is_ok()
    }

    /// What `judge` says, and of whom; a refusal only if it is one after a barrier, too.
    pub(super) async fn settled<T>(
        &self,
        caller: &Caller,
        deadline: Moment,
        judge: impl Fn(&Auth, &Asker) -> Result<T, Status>,
    ) -> Result<(Asker, T), Status> {
        let verdict = |auth: &Auth| {
            let asker = self.asker(auth, caller)?;
            judge(auth, &asker).map(|verdict| (asker, verdict))
        };
        let first = verdict(&self.handle.auth());
        if first.is_err() && self.caught_up(deadline).await {
            return verdict(&self.handle.auth());
        }
        first
    }

    fn judge(self: &Arc<Self>, auth: &Auth, caller: &Caller, batch: Vec<Call>) {
        let asker = self.asker(auth, caller);
        let (mut passing, mut doubtful) = (Vec::new(), Vec::new());
        for call in batch {
            let judged = asker.clone().and_then(|asker| {
                check::unary(auth, &asker, call.method, &call.body).map(|pass| (asker, pass))
            });
            match judged {
                Ok((asker, pass)) => {
                    passing.extend(self.passed(auth, caller, &asker, pass, call));
                }
                Err(status) => doubtful.push((call, status)),
            }
        }
        if let (Ok(asker), false) = (&asker, passing.is_empty()) {
            self.below.call(&admitted(caller, asker), passing);
        }
        if !doubtful.is_empty() {
            tokio::spawn(Arc::clone(self).judge_again(caller.clone(), doubtful));
        }
    }

    /// After a barrier, which all of them share, the refusals count.
    async fn judge_again(self: Arc<Self>, caller: Caller, doubtful: Vec<(Call, Status)>) {
        let is_fresh = self.caught_up(self.deadline(0)).await;
        let auth = self.handle.auth();
        let asker = self.asker(&auth, &caller);
        let mut passing = Vec::new();
        for (call, status) in doubtful {
            let judged = asker.clone().and_then(|asker| {
                check::unary(&auth, &asker, call.method, &call.body).map(|pass| (asker, pass))
            });
            match judged {
                Ok((asker, pass)) if is_fresh => {
                    passing.extend(self.passed(&auth, &caller, &asker, pass, call));
                }
                Err(status) if is_fresh => call.reply.send(Err(status)),
                _ => call.reply.send(Err(status)),
            }
        }
        if let (Ok(asker), false) = (&asker, passing.is_empty()) {
            self.below.call(&admitted(&caller, asker), passing);
        }
    }

    /// The call as it goes on; none if it waits for something.
    fn passed(
        self: &Arc<Self>,
        auth: &Auth,
        caller: &Caller,
        asker: &Asker,
        pass: Pass,
        call: Call,
    ) -> Option<Call> {
        if !auth.is_enabled() || pass == Pass::Plainly {
            return Some(call);
        }
        let names_keys = pass == Pass::IfItsKeysMayBeRead;
        let reply = after::checked(&self.handle, asker, auth.revision(), names_keys, call.reply);
        let call = Call { reply, ..call };
        if pass != Pass::IfAllLeaseKeysMayBeRead {
            return Some(call);
        }
        let (inner, caller, asker) = (Arc::clone(self), caller.clone(), asker.clone());
        tokio::spawn(async move {
            match inner.all_lease_keys(&asker).await {
                Ok(()) => inner.below.call(&admitted(&caller, &asker), vec![call]),
                Err(status) => call.reply.send(Err(status)),
            }
        });
        None
    }

    async fn all_lease_keys(&self, asker: &Asker) -> Result<(), Status> {
        let asker = asker.clone();
        self.look_up(move |query, auth| {
            for (id, _) in query.leases() {
                let keys = query.lease_keys(id).map_err(|fault| status::of_fault(&fault))?;
                auth.read_each(&asker, &keys).map_err(status::of_rejection)?;
            }
            Ok(())
        })
        .await
    }

    /// Whether all keys on a lease are the asker's to write.
    pub(super) async fn writes_lease(&self, asker: &Asker, id: i64) -> Result<(), Status> {
        let asker = asker.clone();
        self.look_up(move |query, auth| {
            let keys = query.lease_keys(id).map_err(|fault| status::of_fault(&fault))?;
            auth.write_each(&asker, &keys).map_err(status::of_rejection)
        })
        .await
    }

    /// On a thread that may read the database.
    async fn look_up(
        &self,
        job: impl FnOnce(&Query, &Auth) -> Result<(), Status> + Send + 'static,
    ) -> Result<(), Status> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let handle = self.handle.clone();
        self.handle.read(Box::new(move || {
            let query = handle.query().map_err(|fault| status::of_fault(&fault));
            // Who asked may be gone.
            let _ = sender.send(query.and_then(|query| job(&query, &handle.auth())));
        }));
        receiver.await.unwrap_or_else(|_| Err(status::no_room()))
    }

    pub(super) fn header(&self, revision: i64, term: u64) -> Option<ResponseHeader> {
        Some(ResponseHeader {
            cluster_id: self.config.cluster.0,
            member_id: self.config.member.0,
            revision,
            raft_term: term,
        })
    }

    pub(super) fn header_now(&self) -> Option<ResponseHeader> {
        self.header(self.handle.stamp().revision, self.handle.raft().term)
    }
}

/// The caller, with the user it was found to be.
pub(super) fn admitted(caller: &Caller, asker: &Asker) -> Caller {
    let Asker { user, auth_revision } = asker.clone();
    let admitted = (auth_revision > 0).then_some(Admitted { user, auth_revision });
    Caller { admitted, ..caller.clone() }
}
