//! Keeps the list of members: asked again and again, and soon when one of them failed.
//!
//! ```text
//!   the members that are known, and the endpoints of the settings, all at once ──► the first who answers
//!      with a majority's word if there is one, else with what he knows alone
//!   nobody ──► the finder ──► again, soon          without a connection ──► dialled, again and again
//! ```

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use prost::Message;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};

use super::service::Shared;
use crate::base::{Backoff, Clock};
use crate::client::{Manner, Passage};
use crate::proto::Method;
use crate::proto::etcdserverpb as pb;

/// Waits after looks that found nobody.
const WAIT_FIRST: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(2);

/// Between two looks, however often somebody fails.
const PAUSE: Duration = Duration::from_millis(500);

/// Until those that have no connection are dialled again.
const AGAIN: Duration = Duration::from_secs(2);

/// For one answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What somebody said.
struct Told {
    url: String,
    cluster: u64,
    secure: bool,
    members: Vec<pb::Member>,
    leader: u64,
}

/// For ever.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut backoff = Backoff::new(WAIT_FIRST, WAIT_MAX);
    let mut complained = String::new();
    loop {
        let wait = match look(&shared).await {
            Ok(told) => {
                backoff.reset();
                complained.clear();
                take(&shared, told);
                let is_complete = connect(&shared);
                if is_complete { shared.config.refresh } else { shared.config.refresh.min(AGAIN) }
            }
            Err(why) => {
                if why != complained {
                    tracing::warn!(why, "nobody says who the members are; asking on");
                    complained.clone_from(&why);
                }
                *shared.nobody.lock().unwrap_or_else(PoisonError::into_inner) = why;
                backoff.next_wait()
            }
        };
        tokio::select! {
            () = sleep(wait) => {}
            () = shared.doubt.notified() => sleep(PAUSE).await,
        }
    }
}

/// Dials behind everybody's back those that have no connection: no call waits for a member that may be dead. True if
/// there are none.
fn connect(shared: &Arc<Shared>) -> bool {
    let members = shared.members.borrow().clone();
    let missing = members.all().iter().filter(|member| !member.is_connected());
    let mut is_complete = true;
    for member in missing {
        is_complete = false;
        if member.is_dialled() || member.is_resting(shared.clock.now()) {
            continue;
        }
        let (shared, member) = (Arc::clone(shared), Arc::clone(member));
        tokio::spawn(async move {
            if let Err(why) = member.passage(&shared.passages, &Manner::default()).await {
                tracing::debug!(why, "a member is not reached");
                member.rest(&shared.clock, shared.config.rest);
            }
        });
    }
    is_complete
}

fn take(shared: &Shared, told: Told) {
    let known = shared.members.borrow().clone();
    shared.leader.store(told.leader, Ordering::Relaxed);
    let given = &shared.config.client.endpoints;
    // What a member says of itself must not talk anybody out of his security; into more of it, it may.
    let schemes = match (told.secure, shared.config.client.tls.is_some()) {
        (true, _) => &["https://"][..],
        (false, true) => &["http://", "https://"][..],
        (false, false) => &["http://"][..],
    };
    let next = known.next(told.cluster, &told.members, given, schemes);
    if next.is_empty() {
        return;
    }
    let is_same = next.names() == known.names();
    shared.members.send_replace(Arc::new(next.clone()));
    if !is_same {
        tracing::info!(members = next.names(), "requests go to these members");
        if let Some(finder) = shared.config.finder.clone() {
            spawn_blocking(move || finder.found(&told.members));
        }
    }
}

/// Who is asked, and whether for a majority's word.
#[derive(Clone, Copy)]
enum Round {
    Known(bool),
    Given(bool),
}

/// The first answer of anybody, or what each of them said.
async fn look(shared: &Arc<Shared>) -> Result<Told, String> {
    let is_known = !shared.members.borrow().is_empty();
    // Endpoints are dialled anew: as long as members answer, they need not be.
    let rounds = match is_known {
        true => &[Round::Known(true), Round::Known(false), Round::Given(false)][..],
        false => &[Round::Given(true), Round::Given(false)][..],
    };
    let mut why = Vec::new();
    for round in rounds {
        why.clear();
        let asking = match *round {
            Round::Known(linearizable) => known(shared, linearizable),
            Round::Given(linearizable) => {
                given(shared, shared.config.client.endpoints.clone(), linearizable)
            }
        };
        if let Some(told) = first(shared, asking, &mut why).await {
            return Ok(told);
        }
    }
    found(shared, why).await
}

/// The first answer that counts, or what each of them said.
async fn first(shared: &Shared, mut asking: Asking, why: &mut Vec<String>) -> Option<Told> {
    while let Some(answer) = asking.join_next().await {
        match answer {
            Ok(Ok(told)) => match foreign(shared, &told) {
                None => return Some(told),
                Some(error) => why.push(error),
            },
            Ok(Err(error)) => why.push(error),
            Err(error) => why.push(error.to_string()),
        }
    }
    None
}

/// Once the members are known, nobody of another cluster takes their place, and none who answers first hides them.
fn foreign(shared: &Shared, told: &Told) -> Option<String> {
    let (expected, found) = (shared.members.borrow().cluster, told.cluster);
    (expected != 0 && expected != found).then(|| {
        let url = &told.url;
        format!("{url}: it belongs to cluster {found:x}, not to {expected:x}: not asked")
    })
}

type Asking = JoinSet<Result<Told, String>>;

fn known(shared: &Arc<Shared>, linearizable: bool) -> Asking {
    let members = shared.members.borrow().clone();
    let mut asking = JoinSet::new();
    for member in members.all() {
        let (shared, member) = (Arc::clone(shared), Arc::clone(member));
        asking.spawn(async move {
            ask(&shared, member.own(&shared.passages).await?, linearizable).await
        });
    }
    asking
}

fn given(shared: &Arc<Shared>, urls: Vec<String>, linearizable: bool) -> Asking {
    let mut asking = JoinSet::new();
    for url in urls {
        let shared = Arc::clone(shared);
        asking.spawn(
            async move { ask(&shared, shared.passages.dial(&url).await?, linearizable).await },
        );
    }
    asking
}

async fn ask(shared: &Shared, passage: Passage, linearizable: bool) -> Result<Told, String> {
    let url = passage.url().to_owned();
    let request = pb::MemberListRequest { linearizable };
    let list: pb::MemberListResponse =
        message(shared, &passage, Method::MemberList, &request).await?;
    let status: pb::StatusResponse =
        message(shared, &passage, Method::Status, &pb::StatusRequest {}).await?;
    // A proxy tells of the members behind it, and has no cluster of its own.
    let cluster = list.header.as_ref().map_or(0, |header| header.cluster_id);
    if cluster == 0 || list.members.is_empty() {
        return Err(format!("{url}: it knows no members"));
    }
    let secure = url.starts_with("https://");
    Ok(Told { url, cluster, secure, members: list.members, leader: status.leader })
}

async fn message<R: Message + Default>(
    shared: &Shared,
    passage: &Passage,
    method: Method,
    request: &impl Message,
) -> Result<R, String> {
    let deadline_ms = u32::try_from(PATIENCE.as_millis()).unwrap_or(u32::MAX);
    let url = passage.url();
    let body = request.encode_to_vec();
    let answer = timeout(PATIENCE, passage.call(method, &body, deadline_ms)).await;
    let answer = answer.map_err(|_| format!("{url}: no answer within {PATIENCE:?}"))?;
    let answer = answer.map_err(|failure| {
        let text = failure.to_string();
        // With the next connection the proxy shows its password again.
        shared.passages.renews(passage, &text);
        format!("{url}: {text}")
    })?;
    R::decode(answer).map_err(|error| format!("{url}: {error}"))
}

/// What the finder knows becomes endpoints: they say the rest themselves.
async fn found(shared: &Arc<Shared>, mut why: Vec<String>) -> Result<Told, String> {
    let Some(finder) = shared.config.finder.clone() else { return Err(together(why)) };
    let members = match spawn_blocking(move || finder.find()).await {
        Ok(Ok(members)) => members,
        Ok(Err(error)) => {
            why.push(error);
            return Err(together(why));
        }
        Err(error) => return Err(error.to_string()),
    };
    let urls = members.into_iter().flat_map(|member| member.client_ur_ls).collect();
    let asking = given(shared, urls, false);
    if let Some(told) = first(shared, asking, &mut why).await {
        return Ok(told);
    }
    if why.is_empty() {
        why.push("no member has said yet where clients find it".to_owned());
    }
    Err(together(why))
}

/// In one order, whoever answered first: what was complained of is not complained of again.
fn together(mut why: Vec<String>) -> String {
    why.sort();
    why.join("; ")
}
