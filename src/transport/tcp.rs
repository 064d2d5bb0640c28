//! TCP, beside QUIC on the same number, for clients that speak HTTP: in clear for `http://`, TLS for `https://`.
//!
//! Only clients come in here; members speak QUIC. What a connection says is the business of whoever takes it.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::greet::Review;
use super::throttle::Throttle;
use super::{Error, Tunnel};
use crate::base::{Clock, limits};
use crate::tls::{Doors, Identity, Keychain, Protocol, Scheme};

/// Bytes both ways, encrypted or not.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// What an address of TCP is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// Everything that clients ask for.
    Clients,
    /// gRPC alone, where HTTP has addresses of its own.
    Grpc,
    /// Everything but gRPC.
    Http,
    /// How the member is: metrics and health, and nothing of its data.
    Metrics,
}

/// One TCP address: how it is spoken to, and what for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TcpListen {
    pub address: SocketAddr,
    pub scheme: Scheme,
    pub purpose: Purpose,
}

/// A client that was admitted.
pub struct TcpConnection {
    pub purpose: Purpose,
    pub stream: Box<dyn ByteStream>,
    pub remote: SocketAddr,
    /// `None` where nobody is authenticated, or without a certificate where that is allowed.
    pub identity: Option<Arc<Identity>>,
    /// It came over TLS.
    pub is_secure: bool,
    /// Becomes the reason why the client is admitted no more; after [`limits::REFUSED_GRACE`] it is to be closed.
    pub refused: watch::Receiver<Option<Arc<str>>>,
    /// Its place among those of TCP; none for a stream of a QUIC connection, which has a place itself.
    _held: Option<OwnedSemaphorePermit>,
}

impl TcpConnection {
    /// A client that speaks HTTP on a stream of its QUIC connection.
    pub fn over_quic(
        stream: Tunnel,
        remote: SocketAddr,
        identity: Option<Arc<Identity>>,
        refused: watch::Receiver<Option<Arc<str>>>,
    ) -> Self {
        Self {
            purpose: Purpose::Http,
            stream: Box::new(stream),
            remote,
            identity,
            is_secure: true,
            refused,
            _held: None,
        }
    }
}

/// Who takes clients.
pub trait TcpInbound: Send + Sync + 'static {
    /// Called inside the runtime that the stream lives on; does not block.
    fn connection(&self, client: TcpConnection);
}

/// The TCP listeners of one member, on one thread.
pub struct Tcp {
    stop: watch::Sender<bool>,
    addresses: Vec<SocketAddr>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    keychain: Arc<Keychain>,
    clock: Arc<dyn Clock>,
    inbound: Arc<dyn TcpInbound>,
    clients: Arc<Semaphore>,
    throttle: Throttle,
}

/// One address, and how it is spoken to.
struct Door {
    listener: TcpListener,
    purpose: Purpose,
    doors: Doors,
    tls: Option<TlsAcceptor>,
}

impl Tcp {
    /// Binds every address; one that cannot be had is the error.
    pub fn start(
        listens: &[TcpListen],
        keychain: &Arc<Keychain>,
        clock: &Arc<dyn Clock>,
        inbound: Arc<dyn TcpInbound>,
    ) -> Result<Self, Error> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(Error::Thread)?;
        let entered = runtime.enter();
        let mut doors = Vec::new();
        for listen in listens {
            doors.push(bind(*listen, keychain)?);
        }
        drop(entered);
        let addresses = doors.iter().filter_map(|door| door.listener.local_addr().ok()).collect();
        let shared = Arc::new(Shared {
            keychain: Arc::clone(keychain),
            clock: Arc::clone(clock),
            inbound,
            clients: Arc::new(Semaphore::new(limits::CONNECTIONS_MAX)),
            throttle: Throttle::default(),
        });
        let (stop, stopped) = watch::channel(false);
        let run = move || run(runtime, doors, &shared, stopped);
        let thread =
            thread::Builder::new().name("tcp".to_owned()).spawn(run).map_err(Error::Thread)?;
        Ok(Self { stop, addresses, thread: Mutex::new(Some(thread)) })
    }

    /// The addresses in use.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Drops every connection and ends the thread. Whoever took them has let them end by then.
    pub fn shutdown(&self) {
        self.stop.send_replace(true);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        self.shutdown();
    }
}

fn bind(listen: TcpListen, keychain: &Arc<Keychain>) -> Result<Door, Error> {
    let TcpListen { address, scheme, purpose } = listen;
    let doors = Doors { peers: None, clients: Some(scheme) };
    let tls = match scheme {
        Scheme::Http => None,
        Scheme::Https => Some(TlsAcceptor::from(Arc::new(keychain.tcp_config(doors)?))),
    };
    let fail = |source| Error::BindTcp { address, source };
    let listener = std::net::TcpListener::bind(address).map_err(fail)?;
    listener.set_nonblocking(true).map_err(fail)?;
    keep_alive(&listener).map_err(fail)?;
    let listener = TcpListener::from_std(listener).map_err(fail)?;
    Ok(Door { listener, purpose, doors, tls })
}

/// The kernel asks a silent client whether it is there: who waits on a watch says nothing, and one that lost its power
/// would keep its place. An accepted connection has it of its listener.
fn keep_alive(listener: &std::net::TcpListener) -> io::Result<()> {
    sockopt::set_socket_keepalive(listener, true)?;
    sockopt::set_tcp_keepidle(listener, limits::TCP_KEEP_ALIVE)?;
    sockopt::set_tcp_keepintvl(listener, limits::TCP_KEEP_ALIVE)?;
    Ok(())
}

fn run(runtime: Runtime, doors: Vec<Door>, shared: &Arc<Shared>, stop: watch::Receiver<bool>) {
    runtime.block_on(async {
        for door in doors {
            tokio::spawn(accept(Arc::new(door), Arc::clone(shared)));
        }
        let mut stop = stop;
        // The sender lives as long as this thread is wanted.
        let _ = stop.wait_for(|stop| *stop).await;
    });
    // What still runs has had its grace.
    runtime.shutdown_background();
}

async fn accept(door: Arc<Door>, shared: Arc<Shared>) {
    loop {
        match door.listener.accept().await {
            Ok((stream, remote)) => {
                tokio::spawn(welcome(Arc::clone(&door), Arc::clone(&shared), stream, remote));
            }
            Err(error) => {
                // No descriptors left, most likely: those who are here must go first.
                tracing::warn!(%error, "cannot accept a TCP connection; trying on");
                sleep(limits::ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn welcome(door: Arc<Door>, shared: Arc<Shared>, stream: TcpStream, remote: SocketAddr) {
    let Ok(held) = Arc::clone(&shared.clients).try_acquire_owned() else {
        // Closed without a word to the client: nothing was agreed yet to say it in.
        let reason =
            format!("{} are connected, and there is no room for more", limits::CONNECTIONS_MAX);
        return shared.complain(remote, &reason, "closed a caller's connection");
    };
    // Answers are written whole: nothing is gained by waiting for more.
    let _ = stream.set_nodelay(true);
    let (refuse, refused) = watch::channel(None);
    let (purpose, is_secure) = (door.purpose, door.tls.is_some());
    let taken = |stream, identity| TcpConnection {
        purpose,
        stream,
        remote,
        identity,
        is_secure,
        refused,
        _held: Some(held),
    };
    let Some(tls) = &door.tls else {
        shared.inbound.connection(taken(Box::new(stream), None));
        return;
    };
    let stream = match timeout(limits::TLS_HANDSHAKE_DEADLINE, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            // Port scanners and health checks come and go without a word.
            if error.kind() != io::ErrorKind::UnexpectedEof {
                shared.complain(remote, &error.to_string(), "a TLS handshake failed");
            }
            return;
        }
        Err(_) => {
            let reason = format!("it did not end within {:?}", limits::TLS_HANDSHAKE_DEADLINE);
            return shared.complain(remote, &reason, "a TLS handshake failed");
        }
    };
    let generation = shared.keychain.generation();
    let chain: Vec<_> = stream
        .get_ref()
        .1
        .peer_certificates()
        .unwrap_or_default()
        .iter()
        .map(|certificate| certificate.clone().into_owned())
        .collect();
    let admit = |wall_ms| shared.keychain.admit(Protocol::Client, door.doors, &chain, wall_ms);
    let identity = match admit(shared.clock.wall_ms()) {
        Ok(identity) => identity.map(Arc::new),
        Err(refusal) => return shared.complain(remote, &refusal.to_string(), "refused a caller"),
    };
    let review = Review::new(&shared.keychain, &shared.clock, generation, identity.as_deref());
    shared.inbound.connection(taken(Box::new(stream), identity));
    tokio::select! {
        () = refuse.closed() => {}
        refusal = review.refused(admit) => {
            shared.complain(remote, &refusal.to_string(), "closing a client's connection");
            refuse.send_replace(Some(refusal.reason.as_str().into()));
        }
    }
}

impl Shared {
    fn complain(&self, remote: SocketAddr, reason: &str, what: &str) {
        if self.throttle.allows(format!("{what} {}", remote.ip()), self.clock.now()) {
            tracing::warn!(%remote, reason, "{what}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn an_accepted_connection_is_asked_whether_it_is_there() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        keep_alive(&listener).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert!(sockopt::socket_keepalive(&accepted).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&accepted).unwrap(), limits::TCP_KEEP_ALIVE);
        assert_eq!(sockopt::tcp_keepintvl(&accepted).unwrap(), limits::TCP_KEEP_ALIVE);
    }
}
