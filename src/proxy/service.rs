//! The service itself: calls and streams on their way to a member.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::member::Member;
use super::members::Members;
use super::{Config, Error, carry, keeper};
use crate::base::{Clock, Moment, SystemClock};
use crate::client::{Manner, Passages};
use crate::proto::{Call, Caller, Code, Duplex, Method, Retry, Service, Status};
use crate::transport::Tunnel;

/// See the room. Everything it does happens on a thread of its own.
pub struct Proxy {
    runtime: Handle,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What calls, streams and the keeper share.
pub(super) struct Shared {
    pub config: Config,
    pub clock: SystemClock,
    pub passages: Arc<Passages>,
    pub members: watch::Sender<Arc<Members>>,
    /// Who led when it was looked last; 0: nobody knows.
    pub leader: AtomicU64,
    /// Somebody failed: it is time to look who is there.
    pub doubt: Notify,
    /// Why nobody is known.
    pub nobody: Mutex<String>,
    turn: AtomicUsize,
}

impl Proxy {
    /// Starts to look for the members; requests that come earlier wait for them.
    pub fn start(config: Config) -> Result<Self, Error> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let passages = {
            let _entered = runtime.enter();
            Arc::new(Passages::new(config.client.clone())?)
        };
        let shared = Arc::new(Shared {
            config,
            clock: SystemClock::new(),
            passages,
            members: watch::Sender::default(),
            leader: AtomicU64::new(0),
            doubt: Notify::new(),
            nobody: Mutex::new("no answer yet".to_owned()),
            turn: AtomicUsize::new(0),
        });
        let handle = runtime.handle().clone();
        let (stop, mut stopped) = watch::channel(false);
        let kept = Arc::clone(&shared);
        let run = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = keeper::run(Arc::clone(&kept)) => {}
                    // The sender lives as long as this thread is wanted.
                    _ = stopped.wait_for(|stop| *stop) => {}
                }
                kept.passages.close().await;
            });
            // What still runs has had its grace.
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name("proxy".to_owned()).spawn(run)?;
        Ok(Self { runtime: handle, shared, stop, thread: Mutex::new(Some(thread)) })
    }

    /// Resolves when the members are known.
    pub async fn ready(&self) {
        let mut members = self.shared.members.subscribe();
        // The sender lives in `self`.
        let _ = members.wait_for(|members| !members.is_empty()).await;
    }

    /// Where requests go now: a URL for each member, the one in use where there is a connection.
    pub fn endpoints(&self) -> Vec<String> {
        let now = self.shared.clock.now();
        let members = self.shared.members.borrow().clone();
        let serving = members.all().iter().filter(|member| !member.is_resting(now));
        serving.filter_map(|member| member.url().or_else(|| member.urls.first().cloned())).collect()
    }

    /// A stream that speaks HTTP/1.1 with a member, another one each time; else how many members were tried, and why it
    /// failed.
    pub async fn http(&self) -> Result<Tunnel, (usize, String)> {
        let shared = Arc::clone(&self.shared);
        let opened = self.runtime.spawn(async move { shared.http().await }).await;
        opened.unwrap_or_else(|_| Err((0, "the proxy stops".to_owned())))
    }

    /// Ends every connection to a member; blocks for a moment.
    pub fn stop(&self) {
        self.stop.send_replace(true);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Service for Proxy {
    fn call(&self, caller: &Caller, batch: Vec<Call>) {
        let (shared, manner) = (Arc::clone(&self.shared), Arc::new(manner(caller)));
        // One wake-up of the other thread for all of them.
        self.runtime.spawn(async move {
            for call in batch {
                tokio::spawn(carry::call(Arc::clone(&shared), Arc::clone(&manner), call));
            }
        });
    }

    fn open(&self, caller: &Caller, method: Method, first: Bytes, stream: Duplex) {
        let (shared, manner) = (Arc::clone(&self.shared), manner(caller));
        self.runtime.spawn(carry::stream(shared, manner, method, first, stream));
    }
}

/// Of whom a caller is, a member is told what he shows himself: his token, and no certificate.
fn manner(caller: &Caller) -> Manner {
    Manner { token: caller.token.clone(), requires_leader: caller.requires_leader }
}

impl Shared {
    /// The members, as soon as somebody is known.
    pub(super) async fn members(&self, until: Moment) -> Result<Arc<Members>, Status> {
        let mut members = self.members.subscribe();
        let known = members.wait_for(|members| !members.is_empty());
        match timeout(until.since(self.clock.now()), known).await {
            Ok(Ok(known)) => Ok(Arc::clone(&known)),
            _ => {
                let why = self.nobody.lock().unwrap_or_else(PoisonError::into_inner).clone();
                Err(unavailable(format!("no member of the cluster could be reached: {why}")))
            }
        }
    }

    /// Whom to ask, one after the other.
    pub(super) fn order(&self, members: &Members, method: Option<Method>) -> Vec<Arc<Member>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let leader = Some(self.leader.load(Ordering::Relaxed))
            .filter(|_| method.is_some_and(carry::is_for_the_leader));
        members.in_turn(turn, leader, self.clock.now())
    }

    /// It failed just now.
    pub(super) fn rest(&self, member: &Member) {
        member.rest(&self.clock, self.config.rest);
        self.doubt.notify_one();
    }

    async fn http(&self) -> Result<Tunnel, (usize, String)> {
        let until = self.clock.now() + self.config.client.dial_timeout;
        let members = self.members(until).await.map_err(|status| (0, status.text))?;
        let mut why = Vec::new();
        for member in self.order(&members, None) {
            let place = match member.place(&self.passages, &Manner::default()).await {
                Ok(place) => place,
                Err(error) => {
                    self.rest(&member);
                    why.push(error);
                    continue;
                }
            };
            match place.passage.http().await {
                Ok(tunnel) => return Ok(tunnel.holding(place)),
                Err(failure) => {
                    self.rest(&member);
                    why.push(format!("{}: {failure}", place.passage.url()));
                }
            }
        }
        Err((members.all().len(), why.join("; ")))
    }
}

/// Nothing was done.
pub(super) fn unavailable(text: impl Into<String>) -> Status {
    Status::new(Code::Unavailable, format!("quorate: {}", text.into()), Retry::NotProposed)
}

/// Members' own time for a request that says none: etcd's 5 s, and two elections that may come between.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(7);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_told_whose_token_it_is_and_whether_it_needs_a_leader() {
        assert_eq!(manner(&Caller::default()), Manner::default());
        let token = Some("Bearer x".to_owned());
        let common_name = Some("somebody".to_owned());
        let caller = Caller {
            token: token.clone(),
            common_name,
            requires_leader: true,
            ..Caller::default()
        };
        assert_eq!(manner(&caller), Manner { token, requires_leader: true });
    }
}
