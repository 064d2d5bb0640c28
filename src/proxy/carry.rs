//! One call, or one stream, from a door to a member and back.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::member::{Member, Place};
use super::service::{REQUEST_TIMEOUT, Shared, unavailable};
use crate::base::{Backoff, Clock, Moment};
use crate::client::{Failure, Manner, Passage, StreamRecv, StreamSend};
use crate::proto::{Call, Code, Duplex, Item, Method, Outcome, Reply, Retry, Status};

/// Waits between rounds in which nobody could do it.
const ROUND_WAIT_FIRST: Duration = Duration::from_millis(25);
const ROUND_WAIT_MAX: Duration = Duration::from_millis(500);

/// What is waited longer than the member was told, so that its own answer, which knows more, comes first.
const DEADLINE_GRACE: Duration = Duration::from_millis(100);

/// What a member says that knows none, etcd's words.
const NO_LEADER: &str = "etcdserver: no leader";

/// How often it is looked whether somebody still waits for what takes long.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Methods that gain by asking the leader, or that only the leader does; the rest is spread.
pub(super) fn is_for_the_leader(method: Method) -> bool {
    matches!(
        method,
        Method::Put
            | Method::DeleteRange
            | Method::Txn
            | Method::LeaseGrant
            | Method::LeaseRevoke
            | Method::LeaseKeepAlive
            | Method::MoveLeader
    )
}

/// Methods that wait for others, for as long as their caller does.
const fn waits_long(method: Method) -> bool {
    matches!(method, Method::Lock | Method::Campaign)
}

/// Carries one call, to its answer.
pub(super) async fn call(shared: Arc<Shared>, manner: Arc<Manner>, call: Call) {
    let Call { method, body, deadline_ms, reply } = call;
    let request = Request { method, body: &body, manner: &manner };
    let outcome = tokio::select! {
        outcome = answer(&shared, request, deadline_ms, &reply) => outcome,
        // The member hears of it, because its call is dropped.
        () = unwanted(&reply), if waits_long(method) => return,
    };
    reply.send(outcome);
}

async fn unwanted(reply: &Reply) {
    while reply.is_wanted() {
        sleep(LOOK_AGAIN).await;
    }
}

/// What is asked, whoever is asked.
#[derive(Clone, Copy)]
struct Request<'a> {
    method: Method,
    body: &'a Bytes,
    manner: &'a Manner,
}

/// What a member did not do, and what to make of it.
enum Missed {
    /// This is the answer.
    Told(Status),
    /// Another one may be asked now.
    Next(Status),
}

async fn answer(shared: &Shared, request: Request<'_>, deadline_ms: u32, reply: &Reply) -> Outcome {
    let method = request.method;
    let until = match deadline_ms {
        0 if waits_long(method) => Moment::NEVER,
        0 => shared.clock.now() + REQUEST_TIMEOUT,
        ms => shared.clock.now() + Duration::from_millis(u64::from(ms)),
    };
    let mut backoff = Backoff::new(ROUND_WAIT_FIRST, ROUND_WAIT_MAX);
    loop {
        let members = shared.members(until).await?;
        let (mut last, mut is_passing) = (unavailable("no member is left"), false);
        for member in shared.order(&members, Some(method)) {
            match ask(shared, &member, request, until).await {
                Ok(answer) => return Ok(answer),
                Err(Missed::Told(status)) => return Err(status),
                Err(Missed::Next(status)) => {
                    is_passing |= status.code == Code::Unavailable;
                    // That a member has no leader says more than that others are not reached.
                    if last.text != NO_LEADER {
                        last = status;
                    }
                }
            }
            // Nobody takes the answer: then nothing is to be done any more either.
            if shared.clock.now() >= until || !reply.is_wanted() {
                return Err(last);
            }
        }
        // Who requires a leader wants to hear at once that there is none.
        if request.manner.requires_leader && last.text == NO_LEADER {
            return Err(last);
        }
        let wait = backoff.next_wait();
        if !is_passing || shared.clock.now() + wait >= until {
            return Err(last);
        }
        sleep(wait).await;
    }
}

async fn ask(
    shared: &Shared,
    member: &Member,
    request: Request<'_>,
    until: Moment,
) -> Result<Bytes, Missed> {
    let Request { method, body, manner } = request;
    let left = until.since(shared.clock.now());
    let (passage, _place) = match timeout(left, passage(shared, member, method, manner)).await {
        Ok(Ok(found)) => found,
        // Others may still dial it.
        Err(_) => return Err(Missed::Next(unavailable(format!("no connection within {left:?}")))),
        Ok(Err(why)) => {
            shared.rest(member);
            return Err(Missed::Next(unavailable(why)));
        }
    };
    let left = until.since(shared.clock.now());
    // None: as long as it takes.
    let deadline_ms = match until {
        Moment::NEVER => 0,
        _ => u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1),
    };
    let asked = timeout(left + DEADLINE_GRACE, passage.call(method, body, deadline_ms)).await;
    let is_read = method.is_read();
    match asked {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(Failure::Status(status))) => Err(missed(status, is_read)),
        Ok(Err(Failure::Lost { reason, sent })) => {
            shared.rest(member);
            let text = format!("the connection to {} was lost: {reason}", passage.url());
            let retry = if sent { Retry::Ambiguous } else { Retry::NotProposed };
            Err(missed(Status { retry, ..unavailable(text) }, is_read))
        }
        Err(_) => {
            let retry = if is_read { Retry::NotProposed } else { Retry::Ambiguous };
            let text = "etcdserver: request timed out";
            Err(Missed::Told(Status::new(Code::DeadlineExceeded, text, retry)))
        }
    }
}

/// What waits long has a place like a stream's, so that it takes nobody else's.
async fn passage(
    shared: &Shared,
    member: &Member,
    method: Method,
    manner: &Manner,
) -> Result<(Passage, Option<Place>), String> {
    if !waits_long(method) {
        return Ok((member.passage(&shared.passages, manner).await?, None));
    }
    let place = member.place(&shared.passages, manner).await?;
    Ok((place.passage.clone(), Some(place)))
}

/// Only what was certainly not done is asked of another one; and reads, when the member could not serve.
fn missed(status: Status, is_read: bool) -> Missed {
    let may_be_done_elsewhere = match status.retry {
        Retry::Never => false,
        Retry::NotProposed => {
            matches!(status.code, Code::Unavailable | Code::FailedPrecondition)
        }
        Retry::Ambiguous => is_read && status.code == Code::Unavailable,
    };
    if may_be_done_elsewhere { Missed::Next(status) } else { Missed::Told(status) }
}

/// Carries a stream both ways, to its end.
pub(super) async fn stream(
    shared: Arc<Shared>,
    manner: Manner,
    method: Method,
    first: Bytes,
    stream: Duplex,
) {
    let request = Request { method, body: &first, manner: &manner };
    let opened = tokio::select! {
        opened = open(&shared, request) => opened,
        () = stream.closed() => return,
    };
    let (member, place, send, recv) = match opened {
        Ok(opened) => opened,
        Err(status) => return stream.end(Err(status)).await,
    };
    let (requests, answers) = stream.split();
    let gone = answers.clone();
    let ended = tokio::select! {
        ended = down(recv, &answers) => ended,
        never = up(requests, send) => match never {},
        () = gone.closed() => return,
    };
    let outcome = match ended {
        None => return,
        Some(Ok(())) => Ok(()),
        Some(Err(Failure::Status(status))) => Err(status),
        Some(Err(Failure::Lost { reason, .. })) => {
            shared.rest(&member);
            let url = place.passage.url();
            Err(unavailable(format!("the connection to {url} was lost: {reason}")))
        }
    };
    // A client that is gone needs no ending.
    let _gone = answers.send(Item::End(outcome)).await;
}

type Opened = (Arc<Member>, Place, StreamSend, StreamRecv);

/// A stream to the first member that takes it, with the first message on it.
async fn open(shared: &Shared, request: Request<'_>) -> Result<Opened, Status> {
    let until = shared.clock.now() + REQUEST_TIMEOUT;
    let mut backoff = Backoff::new(ROUND_WAIT_FIRST, ROUND_WAIT_MAX);
    loop {
        let members = shared.members(until).await?;
        let mut last = unavailable("no member is left");
        for member in shared.order(&members, Some(request.method)) {
            let left = until.since(shared.clock.now());
            match timeout(left, begin(shared, &member, request)).await {
                Ok(Ok((place, send, recv))) => return Ok((member, place, send, recv)),
                Ok(Err(why)) => {
                    shared.rest(&member);
                    last = unavailable(why);
                }
                Err(_) => return Err(last),
            }
        }
        let wait = backoff.next_wait();
        if shared.clock.now() + wait >= until {
            return Err(last);
        }
        sleep(wait).await;
    }
}

async fn begin(
    shared: &Shared,
    member: &Member,
    request: Request<'_>,
) -> Result<(Place, StreamSend, StreamRecv), String> {
    let place = member.place(&shared.passages, request.manner).await?;
    let why = |failure| match failure {
        Failure::Status(status) => status.text,
        Failure::Lost { reason, .. } => reason.to_string(),
    };
    let (mut send, recv) = place.passage.stream(request.method).await.map_err(why)?;
    send.send(request.body.clone()).await.map_err(why)?;
    Ok((place, send, recv))
}

/// What the client says; its last word is passed on, too. How it ends is the other half's business.
async fn up(mut requests: mpsc::Receiver<Bytes>, mut send: StreamSend) -> std::convert::Infallible {
    while let Some(message) = requests.recv().await {
        if send.send(message).await.is_err() {
            return std::future::pending().await;
        }
    }
    send.finish();
    std::future::pending().await
}

/// What the member says, and how it ended; none when the client takes no more.
async fn down(mut recv: StreamRecv, answers: &mpsc::Sender<Item>) -> Option<Result<(), Failure>> {
    loop {
        match recv.next().await {
            Ok(Some(message)) => answers.send(Item::Message(message)).await.ok()?,
            Ok(None) => return Some(Ok(())),
            Err(failure) => return Some(Err(failure)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_not_done_is_asked_again() {
        let next = |code, retry, is_read| {
            matches!(missed(Status::new(code, "", retry), is_read), Missed::Next(_))
        };
        assert!(next(Code::Unavailable, Retry::NotProposed, false));
        assert!(next(Code::FailedPrecondition, Retry::NotProposed, false));
        assert!(next(Code::Unavailable, Retry::Ambiguous, true));
        assert!(!next(Code::Unavailable, Retry::Ambiguous, false));
        assert!(!next(Code::OutOfRange, Retry::NotProposed, true));
        assert!(!next(Code::FailedPrecondition, Retry::Never, true));
        assert!(!next(Code::DeadlineExceeded, Retry::Ambiguous, true));
    }
}
