//! The door of a member's transport: starts its endpoints, and the verbs by which the node drives it.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use super::endpoint::Endpoint;
use super::shared::Shared;
use super::tcp::TURNS_BETWEEN_LOOKS;
use super::{
    AskError, Class, ClientInbound, CloseCode, Config, DialError, Error, PeerAddress, PeerInbound,
    PeerStatus, SnapshotError, ask, dial, snapshot,
};
use crate::base::{MemberId, Moment};
use crate::tls;

/// How long other sides are given to hear that this one stops.
const FAREWELL: Duration = Duration::from_millis(500);

/// A running transport. Its verbs may be called from any thread and return at once, unless they say otherwise.
pub struct Transport {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Transport {
    /// Binds every listener (an address that cannot be had is the error), then starts a thread for each.
    pub fn start(
        config: Config,
        peers: Arc<dyn PeerInbound>,
        clients: Arc<dyn ClientInbound>,
    ) -> Result<Self, Error> {
        let mut bound = Vec::new();
        for listener in &config.listeners {
            let runtime = runtime()?;
            let entered = runtime.enter();
            let (keychain, bounds) = (&config.keychain, &config.bounds);
            let endpoint = Endpoint::bind(*listener, keychain, &config.reset_secret, bounds)?;
            let endpoint = Arc::new(endpoint);
            drop(entered);
            bound.push((runtime, endpoint));
        }
        // Members are dialled from the thread that members dial: what they say meets on one thread.
        let home = config.listeners.iter().position(|listener| listener.doors.peers.is_some());
        let home = home.unwrap_or_default();
        let Some((runtime, _)) = bound.get(home) else {
            return Err(Error::Listeners("there is no listen URL".into()));
        };
        let entered = runtime.enter();
        let socket = dial::socket()
            .map_err(|error: DialError| Error::Tls(tls::Error::Settings(error.to_string())))?;
        drop(entered);
        let shared = Shared::new(config, peers, clients, runtime.handle().clone(), socket);
        let addresses = bound.iter().map(|(_, endpoint)| endpoint.address).collect();
        let (stop, stopped) = watch::channel(false);
        let transport = Self { shared, addresses, stop, threads: Mutex::default() };
        for (position, (runtime, endpoint)) in bound.into_iter().enumerate() {
            let dials = position == home;
            transport.spawn(runtime, endpoint, stopped.clone(), dials)?;
        }
        Ok(transport)
    }

    /// The addresses in use, in the order of `Config::listeners`; a port of 0 has become a real one.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }

    /// The members to be connected to, all of them but this one: new ones are dialled, missing ones dropped, and
    /// those whose standing is `Removed` are told so.
    pub fn set_peers(&self, peers: &[PeerAddress]) {
        self.shared.set_peers(peers);
    }

    /// Puts a message into a member's outbox. False: it was dropped, because the member is not known, not to be
    /// reached, or its outbox is full; Raft repeats what matters.
    pub fn send(&self, to: MemberId, class: Class, message: Bytes) -> bool {
        self.send_all(to, class, vec![message])
    }

    /// The same for many: one lock, one wake-up. False if any was dropped.
    pub fn send_all(&self, to: MemberId, class: Class, messages: Vec<Bytes>) -> bool {
        self.shared.peer(to).is_some_and(|peer| peer.put(&self.shared, class, messages))
    }

    /// Asks a member and hands the answer to `done`, once, on a transport thread (or at once on this one, if the
    /// question cannot leave).
    pub fn ask_then(
        &self,
        to: MemberId,
        kind: u16,
        body: Bytes,
        deadline: Moment,
        done: impl FnOnce(Result<Bytes, AskError>) + Send + 'static,
    ) {
        let peer = self.shared.peer(to);
        let Some((peer, connection)) = peer.and_then(|peer| {
            let connection = peer.connection()?;
            Some((peer, connection))
        }) else {
            return done(Err(AskError::Unreachable));
        };
        let Ok(permit) = Arc::clone(&peer.asks).try_acquire_owned() else {
            return done(Err(AskError::Busy));
        };
        let left = deadline.since(self.shared.now());
        // Should the runtime end first, the task is dropped, and with it the answer is given.
        let mut done = Answer(Some(done));
        self.shared.runtime.spawn(async move {
            let answer = tokio::time::timeout(left, ask::ask(&connection, kind, body)).await;
            drop(permit);
            done.give(answer.unwrap_or(Err(AskError::Deadline)));
        });
    }

    /// The same, for tasks of any runtime.
    pub async fn ask(
        &self,
        to: MemberId,
        kind: u16,
        body: Bytes,
        deadline: Moment,
    ) -> Result<Bytes, AskError> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.ask_then(to, kind, body, deadline, move |answer| {
            // The one who asked may have given up.
            let _ = sender.send(answer);
        });
        receiver.await.unwrap_or(Err(AskError::Lost))
    }

    /// Streams `length` bytes from `reader`, behind everything else that goes to this member, and returns when the
    /// member has taken them all, or at the first failure. Blocks: call it on a thread of its own, never on one
    /// with a runtime.
    pub fn send_snapshot(
        &self,
        to: MemberId,
        header: Bytes,
        reader: &mut dyn Read,
        length: u64,
    ) -> Result<(), SnapshotError> {
        let peer = self.shared.peer(to).ok_or(SnapshotError::Unreachable)?;
        let _alone = peer.snapshots.try_acquire().map_err(|_| SnapshotError::Busy)?;
        let connection = peer.connection().ok_or(SnapshotError::Unreachable)?;
        snapshot::send(&self.shared.runtime, connection, header, reader, length)
    }

    /// One for each member of the last `set_peers`, by id (and for those that introduced themselves since).
    pub fn status(&self) -> Vec<PeerStatus> {
        self.shared.peers().iter().map(|peer| peer.status()).collect()
    }

    /// Whether messages can leave for this member now.
    pub fn connected(&self, member: MemberId) -> bool {
        self.shared.peer(member).is_some_and(|peer| peer.connection().is_some())
    }

    /// Closes every connection, tells the other sides, and ends the threads. Blocks for about a second at most.
    pub fn shutdown(&self) {
        self.stop.send_replace(true);
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }

    fn spawn(
        &self,
        runtime: Runtime,
        endpoint: Arc<Endpoint>,
        stop: watch::Receiver<bool>,
        dials: bool,
    ) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let name = format!("quic-{}", endpoint.address.port());
        let run = move || {
            runtime.block_on(async {
                Arc::clone(&endpoint).serve(Arc::clone(&shared), stop).await;
                if dials {
                    for peer in shared.peers() {
                        peer.retire();
                    }
                    shared.socket.close(CloseCode::Done.code(), b"this member stops");
                }
                endpoint.quic.close(CloseCode::Done.code(), b"this member stops");
                let idle = async {
                    endpoint.quic.wait_idle().await;
                    if dials {
                        shared.socket.wait_idle().await;
                    }
                };
                // Whoever has not heard by then will notice the silence.
                let _ = tokio::time::timeout(FAREWELL, idle).await;
            });
            // A resolver that hangs must not hold us.
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name(name).spawn(run).map_err(Error::Thread)?;
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// An answer that is given exactly once, also when the one who has it is dropped.
struct Answer<F: FnOnce(Result<Bytes, AskError>)>(Option<F>);

impl<F: FnOnce(Result<Bytes, AskError>)> Answer<F> {
    fn give(&mut self, answer: Result<Bytes, AskError>) {
        if let Some(done) = self.0.take() {
            done(answer);
        }
    }
}

impl<F: FnOnce(Result<Bytes, AskError>)> Drop for Answer<F> {
    fn drop(&mut self) {
        self.give(Err(AskError::Lost));
    }
}

fn runtime() -> Result<Runtime, Error> {
    Builder::new_current_thread()
        .event_interval(TURNS_BETWEEN_LOOKS)
        .enable_all()
        .build()
        .map_err(|error: io::Error| Error::Thread(error))
}
