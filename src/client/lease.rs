//! Leases: granted, revoked, and kept alive at a third of their time.
//!
//! One task and one stream keep all leases of a client alive. It goes on through lost connections; a lease is given
//! up when the server says that it is unknown, or when its whole time has passed here since the last renewal that was
//! answered: the holder must not believe in it any longer than the server does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::calls::failed;
use super::endpoints::Endpoints;
use super::lane::Failure;
use super::link::{Link, StreamRecv, StreamSend};
use super::{Client, Error};
use crate::base::{Backoff, Clock, Moment};
use crate::proto::etcdserverpb as pb;
use crate::proto::{Method, Retry};

/// Orders that wait for the task.
const COMMANDS_MAX: usize = 64;

/// A renewal that was not answered is sent again after this, or a third of the TTL if that is less.
const RENEW_AGAIN: Duration = Duration::from_secs(1);

/// Renewals of one write, some 60 KB: between two of them whoever comes and goes is heard.
const RENEWALS_MAX: usize = 4_096;

/// A server that has not taken one such write by then takes none.
const SEND_WAIT: Duration = Duration::from_secs(5);

const LINK_WAIT: Duration = Duration::from_secs(1);
const REOPEN_WAIT_FIRST: Duration = Duration::from_millis(25);
const REOPEN_WAIT_MAX: Duration = Duration::from_secs(1);

type Renewed = Option<Result<pb::LeaseKeepAliveResponse, Error>>;

impl Client {
    /// A lease of at least `ttl` seconds; with `id` 0 the server chooses one.
    ///
    /// ```no_run
    /// # async fn example(client: quorate::client::Client) -> Result<(), quorate::client::Error> {
    /// let lease = client.lease_grant(10, 0).await?.id;
    /// let keeper = client.lease_keep_alive(lease).await?;
    /// client.put("alive/host-7", "").lease(lease).await?;
    /// // As long as the keeper is there, so is the key.
    /// let error = keeper.gone().await;
    /// println!("{error}");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn lease_grant(&self, ttl: i64, id: i64) -> Result<pb::LeaseGrantResponse, Error> {
        self.send(pb::LeaseGrantRequest { ttl, id }).await
    }

    /// Ends a lease and deletes its keys.
    pub async fn lease_revoke(&self, id: i64) -> Result<pb::LeaseRevokeResponse, Error> {
        self.send(pb::LeaseRevokeRequest { id }).await
    }

    /// The remaining time of a lease, -1 if there is none, and its keys if asked for.
    pub async fn lease_time_to_live(
        &self,
        id: i64,
        keys: bool,
    ) -> Result<pb::LeaseTimeToLiveResponse, Error> {
        self.send(pb::LeaseTimeToLiveRequest { id, keys }).await
    }

    /// Every lease, as the asked member knows them.
    pub async fn lease_list(&self) -> Result<pb::LeaseLeasesResponse, Error> {
        self.send(pb::LeaseLeasesRequest {}).await
    }

    /// Renews a lease once; a TTL of 0 in the answer means that there is no such lease.
    pub async fn lease_renew(&self, id: i64) -> Result<pb::LeaseKeepAliveResponse, Error> {
        let until = self.deadline();
        let mut backoff = Backoff::new(REOPEN_WAIT_FIRST, REOPEN_WAIT_MAX);
        loop {
            let link = self.endpoints.link(until).await?;
            let renewing = async {
                let (mut send, mut recv) = link.stream(Method::LeaseKeepAlive).await?;
                send.send(renewal(id)).await?;
                send.finish();
                recv.next().await
            };
            let error = match timeout(self.endpoints.remaining(until), renewing).await {
                Ok(Ok(Some(message))) => return decode(&link.endpoint, message),
                Ok(Ok(None)) => Error::Protocol {
                    endpoint: Arc::clone(&link.endpoint),
                    what: "it ended a keep-alive stream without an answer".to_owned(),
                },
                Ok(Err(failure)) => failed(&link, failure),
                Err(_) => Error::Timeout {
                    endpoint: Arc::clone(&link.endpoint),
                    after: self.timeout,
                    retry: Retry::NotProposed,
                },
            };
            let passing = match &error {
                Error::Server { status, .. } => {
                    self.endpoints.renews(&link, &status.text) || self.endpoints.is_passing(status)
                }
                Error::Lost { .. } => true,
                _ => false,
            };
            if !passing {
                return Err(error);
            }
            // Also when this call has no time left; see the other calls.
            self.endpoints.turn_from(&link);
            let wait = backoff.next_wait();
            if self.endpoints.remaining(until) <= wait {
                return Err(error);
            }
            sleep(wait).await;
        }
    }

    /// Keeps a lease alive until the answer is dropped. Begins at once.
    pub async fn lease_keep_alive(&self, id: i64) -> Result<LeaseKeeper, Error> {
        self.keep(id, None, Moment::NEVER).await
    }

    /// The same for a lease that was granted or renewed: asked for at `asked_at`, for `ttl` seconds.
    pub(super) async fn keep_alive_since(
        &self,
        id: i64,
        asked_at: Moment,
        ttl: i64,
    ) -> Result<LeaseKeeper, Error> {
        self.keep(id, Some(ttl), asked_at + seconds(ttl)).await
    }

    async fn keep(
        &self,
        id: i64,
        ttl: Option<i64>,
        doubtful_at: Moment,
    ) -> Result<LeaseKeeper, Error> {
        let (tell, renewed) = watch::channel(None);
        let commands = self.leases.commands(&self.endpoints);
        let keep = Keep { id, ttl, doubtful_at, tell };
        commands.send(keep).await.map_err(|_| Error::Closed)?;
        Ok(LeaseKeeper { id, renewed, _commands: commands })
    }
}

/// Keeps one lease alive; dropped, it stops doing so, and the lease lives on for its time.
#[derive(Debug)]
pub struct LeaseKeeper {
    id: i64,
    renewed: watch::Receiver<Renewed>,
    _commands: mpsc::Sender<Keep>,
}

impl LeaseKeeper {
    /// The lease.
    pub fn id(&self) -> i64 {
        self.id
    }

    /// The next renewal; a slow reader sees the latest only. An error is the end: [`Error::LeaseGone`], or the client
    /// was closed.
    pub async fn next(&mut self) -> Result<pb::LeaseKeepAliveResponse, Error> {
        if let Some(Err(error)) = &*self.renewed.borrow() {
            return Err(error.clone());
        }
        if self.renewed.changed().await.is_err() {
            return Err(Error::Closed);
        }
        self.renewed.borrow_and_update().clone().unwrap_or(Err(Error::Closed))
    }

    /// Resolves when the lease is gone or can no longer be relied on.
    pub async fn gone(&self) -> Error {
        let mut renewed = self.renewed.clone();
        loop {
            if let Some(Err(error)) = &*renewed.borrow_and_update() {
                return error.clone();
            }
            if renewed.changed().await.is_err() {
                return Error::Closed;
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct Keep {
    id: i64,
    /// Seconds, if they are known.
    ttl: Option<i64>,
    doubtful_at: Moment,
    tell: watch::Sender<Renewed>,
}

/// The renewals that a client's clones share; the task starts with the first.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    commands: Mutex<Option<mpsc::WeakSender<Keep>>>,
}

impl Keeping {
    fn commands(&self, endpoints: &Arc<Endpoints>) -> mpsc::Sender<Keep> {
        let mut slot = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(commands) = slot.as_ref().and_then(mpsc::WeakSender::upgrade)
            && !commands.is_closed()
        {
            return commands;
        }
        let (commands, orders) = mpsc::channel(COMMANDS_MAX);
        *slot = Some(commands.downgrade());
        let endpoints = Arc::clone(endpoints);
        let task = Task { endpoints, kept: BTreeMap::new(), agenda: BTreeSet::new() };
        tokio::spawn(task.run(orders));
        commands
    }
}

#[derive(Debug)]
struct Kept {
    tells: Vec<watch::Sender<Renewed>>,
    /// Of the last answer, seconds; none before the first.
    ttl: Option<i64>,
    renew_at: Moment,
    /// When the renewals that are still unanswered left, the first of them first.
    asked_at: VecDeque<Moment>,
    /// From here on the lease may be gone.
    doubtful_at: Moment,
    /// Its place in the agenda.
    look_at: Moment,
}

struct Task {
    endpoints: Arc<Endpoints>,
    kept: BTreeMap<i64, Kept>,
    /// When to look at each lease again: a client may keep a hundred thousand, of which few are due.
    agenda: BTreeSet<(Moment, i64)>,
}

impl Task {
    async fn run(mut self, mut orders: mpsc::Receiver<Keep>) {
        let mut backoff = Backoff::new(REOPEN_WAIT_FIRST, REOPEN_WAIT_MAX);
        loop {
            while let Ok(keep) = orders.try_recv() {
                self.keep(keep);
            }
            self.give_up();
            if self.kept.is_empty() {
                match orders.recv().await {
                    Some(keep) => self.keep(keep),
                    None => return,
                }
                continue;
            }
            let until = self.now() + LINK_WAIT.min(self.until_doubt());
            let link = match self.endpoints.link(until).await {
                Ok(link) => link,
                Err(Error::Connect { .. }) => continue,
                Err(error) => return self.fail_all(&error),
            };
            match self.serve(&link, &mut orders, &mut backoff).await {
                Ok(()) => return,
                Err(Failure::Status(status)) if self.endpoints.renews(&link, &status.text) => {}
                Err(Failure::Status(status)) if !self.endpoints.is_passing(&status) => {
                    self.fail_all(&failed(&link, Failure::Status(status)));
                }
                Err(Failure::Status(_)) => self.endpoints.turn_from(&link),
                Err(Failure::Lost { reason, .. }) => {
                    tracing::debug!(endpoint = %link.endpoint, %reason, "renewals go on over another stream");
                    self.endpoints.turn_from(&link);
                }
            }
            drop(link);
            sleep(backoff.next_wait().min(self.until_doubt())).await;
        }
    }

    /// One stream; ends in peace when nobody is left.
    async fn serve(
        &mut self,
        link: &Link,
        orders: &mut mpsc::Receiver<Keep>,
        backoff: &mut Backoff,
    ) -> Result<(), Failure> {
        let opening = timeout(self.until_doubt(), link.stream(Method::LeaseKeepAlive));
        let (mut send, mut recv) =
            opening.await.unwrap_or_else(|_| Err(broken("it opened no keep-alive stream")))?;
        self.renew_all();
        loop {
            let due = self.due();
            if !due.is_empty() {
                self.ask(due, &mut send, &mut recv, &link.endpoint).await?;
            }
            tokio::select! {
                message = recv.next() => {
                    self.hear(&link.endpoint, message?)?;
                    backoff.reset();
                }
                keep = orders.recv() => match keep {
                    Some(keep) => self.keep(keep),
                    None => {
                        send.finish();
                        return Ok(());
                    }
                },
                () = sleep(self.until_next()) => {}
            }
        }
    }

    /// Sends these renewals, and takes answers meanwhile: a server that cannot get rid of them reads no more. It has
    /// until the first lease is in doubt, at most [`SEND_WAIT`].
    async fn ask(
        &mut self,
        due: Vec<i64>,
        send: &mut StreamSend,
        recv: &mut StreamRecv,
        endpoint: &Arc<str>,
    ) -> Result<(), Failure> {
        let sending = send.send_all(due.into_iter().map(renewal));
        let patience = sleep(self.until_doubt().min(SEND_WAIT));
        tokio::pin!(sending, patience);
        loop {
            tokio::select! {
                sent = &mut sending => return sent,
                message = recv.next() => self.hear(endpoint, message?)?,
                () = &mut patience => return Err(broken("it takes no renewals")),
            }
        }
    }

    /// A message of the stream, or its end.
    fn hear(&mut self, endpoint: &Arc<str>, message: Option<Bytes>) -> Result<(), Failure> {
        let Some(message) = message else {
            return Err(broken("the server ended the keep-alive stream"));
        };
        let renewed = decode(endpoint, message).map_err(|error| broken(&error.to_string()))?;
        self.take(renewed);
        Ok(())
    }

    fn keep(&mut self, Keep { id, ttl, doubtful_at, tell }: Keep) {
        let kept = self.kept.entry(id).or_insert_with(|| Kept {
            tells: Vec::new(),
            ttl,
            renew_at: Moment::ZERO,
            asked_at: VecDeque::new(),
            doubtful_at,
            look_at: Moment::ZERO,
        });
        if kept.ttl.is_none() {
            // Whoever comes now knows more than those who have had no answer yet.
            kept.ttl = ttl;
            kept.doubtful_at = kept.doubtful_at.min(doubtful_at);
        }
        kept.tells.push(tell);
        kept.renew_at = Moment::ZERO;
        self.put_down(id);
    }

    /// Everything is asked for again: the stream is a new one.
    fn renew_all(&mut self) {
        self.agenda.clear();
        for (&id, kept) in &mut self.kept {
            kept.asked_at.clear();
            kept.renew_at = Moment::ZERO;
            kept.look_at = Moment::ZERO;
            self.agenda.insert((Moment::ZERO, id));
        }
    }

    /// Drops leases that nobody keeps, and gives up those whose time has passed, while nothing can be renewed.
    fn give_up(&mut self) {
        let now = self.now();
        self.kept.retain(|&id, kept| is_kept(id, kept, now));
        self.agenda.retain(|(_, id)| self.kept.contains_key(id));
    }

    /// Leases to renew now, at most [`RENEWALS_MAX`]; each is asked for again later if no answer comes. Those that nobody
    /// keeps, and those whose time has passed, go.
    fn due(&mut self) -> Vec<i64> {
        let now = self.now();
        let mut due = Vec::new();
        while due.len() < RENEWALS_MAX
            && let Some(&(at, id)) = self.agenda.first()
            && at <= now
        {
            self.agenda.pop_first();
            let Some(kept) = self.kept.get_mut(&id) else { continue };
            if !is_kept(id, kept, now) {
                self.kept.remove(&id);
                continue;
            }
            if kept.renew_at <= now {
                kept.asked_at.push_back(now);
                kept.renew_at = now + kept.ttl.map_or(RENEW_AGAIN, third).min(RENEW_AGAIN);
                due.push(id);
            }
            self.put_down(id);
        }
        due
    }

    /// Puts a lease at its place in the agenda.
    fn put_down(&mut self, id: i64) {
        let Some(kept) = self.kept.get_mut(&id) else { return };
        self.agenda.remove(&(kept.look_at, id));
        kept.look_at = kept.renew_at.min(kept.doubtful_at);
        self.agenda.insert((kept.look_at, id));
    }

    fn take(&mut self, renewed: pb::LeaseKeepAliveResponse) {
        let (now, id) = (self.now(), renewed.id);
        let Some(kept) = self.kept.get_mut(&id) else { return };
        if renewed.ttl <= 0 {
            tell_all(kept, &Err(Error::LeaseGone { id }));
            self.agenda.remove(&(kept.look_at, id));
            self.kept.remove(&id);
            return;
        }
        kept.ttl = Some(renewed.ttl);
        kept.renew_at = now + third(renewed.ttl);
        // Counted from the first question that is not answered yet: the server cannot have renewed it earlier than
        // that, whichever of them this answers.
        if let Some(asked_at) = kept.asked_at.pop_front() {
            kept.doubtful_at = asked_at + seconds(renewed.ttl);
        }
        tell_all(kept, &Ok(renewed));
        self.put_down(id);
    }

    fn until_next(&self) -> Duration {
        let now = self.now();
        self.agenda.first().map_or(RENEW_AGAIN, |(at, _)| at.since(now)).min(RENEW_AGAIN)
    }

    /// How long every lease can be relied on for certain.
    fn until_doubt(&self) -> Duration {
        let now = self.now();
        let first = self.kept.values().map(|kept| kept.doubtful_at).min();
        first.unwrap_or(Moment::NEVER).since(now)
    }

    fn fail_all(&mut self, error: &Error) {
        self.agenda.clear();
        for kept in std::mem::take(&mut self.kept).values() {
            tell_all(kept, &Err(error.clone()));
        }
    }

    fn now(&self) -> Moment {
        self.endpoints.clock.now()
    }
}

/// Whether somebody keeps it and its time has not passed; whoever kept one whose time has is told.
fn is_kept(id: i64, kept: &mut Kept, now: Moment) -> bool {
    kept.tells.retain(|tell| !tell.is_closed());
    if kept.doubtful_at <= now {
        tell_all(kept, &Err(Error::LeaseGone { id }));
    }
    !kept.tells.is_empty() && kept.doubtful_at > now
}

fn tell_all(kept: &Kept, renewed: &Result<pb::LeaseKeepAliveResponse, Error>) {
    for tell in &kept.tells {
        tell.send_replace(Some(renewed.clone()));
    }
}

fn seconds(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or(0))
}

fn third(ttl: i64) -> Duration {
    seconds(ttl) / 3
}

fn broken(reason: &str) -> Failure {
    Failure::Lost { reason: reason.into(), sent: true }
}

fn renewal(id: i64) -> Bytes {
    pb::LeaseKeepAliveRequest { id }.encode_to_vec().into()
}

fn decode(endpoint: &Arc<str>, message: Bytes) -> Result<pb::LeaseKeepAliveResponse, Error> {
    pb::LeaseKeepAliveResponse::decode(message).map_err(|error| Error::Protocol {
        endpoint: Arc::clone(endpoint),
        what: format!("a keep-alive answer cannot be read: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Config;

    /// So many leases that somebody keeps.
    fn task(leases: i64) -> (Task, Vec<watch::Receiver<Renewed>>) {
        let endpoints = Endpoints::new(Config::new(["http://127.0.0.1:1"])).unwrap();
        let endpoints = Arc::new(endpoints);
        let mut task = Task { endpoints, kept: BTreeMap::new(), agenda: BTreeSet::new() };
        let mut keepers = Vec::new();
        for id in 1..=leases {
            let (tell, renewed) = watch::channel(None);
            keepers.push(renewed);
            task.keep(Keep { id, ttl: Some(60), doubtful_at: Moment::NEVER, tell });
        }
        (task, keepers)
    }

    #[tokio::test]
    async fn very_many_are_asked_for_part_by_part_and_each_once() {
        let (mut task, _keepers) = task(RENEWALS_MAX as i64 + 5);
        let (first, second) = (task.due(), task.due());
        assert_eq!((first.len(), second.len()), (RENEWALS_MAX, 5));
        assert_eq!(second.last(), Some(&(RENEWALS_MAX as i64 + 5)));
        assert!(task.due().is_empty());
    }

    #[tokio::test]
    async fn an_answer_that_cannot_be_read_breaks_the_stream() {
        let (mut task, _keepers) = task(1);
        let endpoint: Arc<str> = "https://a:1".into();
        let good = pb::LeaseKeepAliveResponse { header: None, id: 1, ttl: 30 };
        task.hear(&endpoint, Some(good.encode_to_vec().into())).unwrap();
        assert_eq!(task.kept[&1].ttl, Some(30));
        let failure = task.hear(&endpoint, Some(Bytes::from_static(&[0xff]))).unwrap_err();
        let Failure::Lost { reason, .. } = failure else { panic!("{failure:?}") };
        assert!(reason.contains("a keep-alive answer cannot be read"), "{reason}");
        assert!(task.hear(&endpoint, None).is_err(), "its end");
    }
}
