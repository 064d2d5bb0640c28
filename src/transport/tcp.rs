//! TCP, beside QUIC on the same number, for clients that speak HTTP: in clear for `http://`, TLS for `https://`.
//!
//! Only clients come in here; members speak QUIC. What a connection says is the business of whoever takes it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::crowd::{Crowd, Guest};
use super::greet::Review;
use super::throttle::Throttle;
use super::{Bound, Bounds, Error, Origin, Tunnel, Turnstile};
use crate::base::{Clock, limits};
use crate::tls::{Doors, Identity, Keychain, Protocol, Scheme};

/// Tasks that run before the sockets are looked at again: among thousands that are busy, whoever asks something is heard
/// soon.
pub(super) const TURNS_BETWEEN_LOOKS: u32 = 16;

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
    /// None for a stream of a QUIC connection, which has a place itself.
    pub place: Option<TcpPlace>,
}

/// A connection's place among those of TCP, which it may lose to others.
#[derive(Debug)]
pub struct TcpPlace {
    connection: Guest<Origin>,
    /// Until it has asked something.
    stranger: Option<Guest<Origin>>,
}

impl TcpPlace {
    /// It has asked something.
    pub fn known(&mut self) {
        self.stranger = None;
    }

    /// Waits until the connection has to be closed for others, and says for which bound.
    pub async fn shown_out(&self) -> Bound {
        let as_stranger = async {
            match &self.stranger {
                Some(stranger) => stranger.shown_out().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.connection.shown_out() => Bound::Connections,
            () = as_stranger => Bound::Strangers,
        }
    }
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
            place: None,
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
    bounds: Arc<Bounds>,
    handshakes: Turnstile,
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
        bounds: &Arc<Bounds>,
        inbound: Arc<dyn TcpInbound>,
    ) -> Result<Self, Error> {
        let runtime = Builder::new_current_thread()
            .event_interval(TURNS_BETWEEN_LOOKS)
            .enable_all()
            .build()
            .map_err(Error::Thread)?;
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
            bounds: Arc::clone(bounds),
            handshakes: Turnstile::default(),
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
    let listener = listen_on(address).map_err(fail)?;
    Ok(Door { listener, purpose, doors, tls })
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As std's: an address is free again when its process has ended.
    socket.set_reuseaddr(true)?;
    keep_alive(&socket)?;
    socket.bind(address)?;
    socket.listen(limits::TCP_BACKLOG_MAX)
}

/// The kernel asks a silent client whether it is there: who waits on a watch says nothing, and one that lost its power
/// would keep its place. An accepted connection has it of its listener.
fn keep_alive(listener: &impl AsFd) -> io::Result<()> {
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
                // Where thousands come at once, who is here has a turn between any two of them.
                yield_now().await;
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
    // Who finds no place is closed without a word: nothing was agreed yet to say it in.
    let place = match shared.place(door.purpose, remote) {
        Ok(place) => place,
        Err(bound) => return shared.bounds.refuse(bound, remote),
    };
    // Answers are written whole: nothing is gained by waiting for more.
    let _ = stream.set_nodelay(true);
    let (refuse, refused) = watch::channel(None);
    let (purpose, is_secure) = (door.purpose, door.tls.is_some());
    let taken = |stream, identity, place| TcpConnection {
        purpose,
        stream,
        remote,
        identity,
        is_secure,
        refused,
        place: Some(place),
    };
    let Some(tls) = &door.tls else {
        shared.inbound.connection(taken(Box::new(stream), None, place));
        return;
    };
    let handshake = shared.handshakes.steps(tls.accept(stream));
    let shaken = tokio::select! {
        shaken = timeout(limits::TLS_HANDSHAKE_DEADLINE, handshake) => shaken,
        bound = place.shown_out() => return shared.bounds.refuse(bound, remote),
    };
    let stream = match shaken {
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
    shared.inbound.connection(taken(Box::new(stream), identity, place));
    tokio::select! {
        () = refuse.closed() => {}
        refusal = review.refused(admit) => {
            shared.complain(remote, &refusal.to_string(), "closing a client's connection");
            refuse.send_replace(Some(refusal.reason.as_str().into()));
        }
    }
}

impl Shared {
    fn place(&self, purpose: Purpose, remote: SocketAddr) -> Result<TcpPlace, Bound> {
        let crowd: &Arc<Crowd<Origin>> = match purpose {
            Purpose::Metrics => &self.bounds.watching,
            Purpose::Clients | Purpose::Grpc | Purpose::Http => &self.bounds.tcp,
        };
        let connection = crowd.enter(remote.into(), 1).map_err(|_| Bound::Connections)?;
        let stranger = self.bounds.strangers.enter(remote.into(), 1);
        Ok(TcpPlace { connection, stranger: Some(stranger.map_err(|_| Bound::Strangers)?) })
    }

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
