//! What TCP hands connections to, and how it stops.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{HeaderValue, SERVER};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, BufWriter};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::access::Access;
use super::authority::Mended;
use super::body::Answer;
use super::elsewhere::Elsewhere;
use super::metrics::Vitals;
use super::pace::Pace;
use super::session::Session;
use super::sniff::{PREFACE, sniff};
use super::tally::Tally;
use super::v2::Rates;
use super::{gateway, grpc, pages};
use crate::api::registry::Registry;
use crate::base::{Clock, limits};
use crate::proto::{Caller, Service};
use crate::transport::{Bound, Bounds, Purpose, TcpConnection, TcpInbound, TcpPlace};

/// Who serves, beside the version of etcd's API that Status tells.
const WHO: &str = concat!("quorate/", env!("CARGO_PKG_VERSION"));

/// The door's bounds, and what it may tell.
pub struct Config {
    /// Longest request message, bytes; longer ones are refused unread.
    pub message_bytes_max: usize,
    /// Time for the rest of a request message after its first byte.
    pub message_deadline: Duration,
    /// What strangers may take, of all wires together.
    pub bounds: Arc<Bounds>,
    /// Whether the JSON gateway is served.
    pub gateway: bool,
    /// Whether etcd's v2 API is served; only where there are `vitals`.
    pub v2: bool,
    /// Calls and streams that one HTTP/2 connection may have open.
    pub streams_max: u32,
    /// Silence after which an HTTP/2 connection is asked whether it lives; none: never.
    pub keep_alive: Option<Duration>,
    /// Time for its answer.
    pub keep_alive_timeout: Duration,
    /// From where the paths without gRPC may be asked.
    pub access: Access,
    /// What is served of `/new`, and whom the v2 API serves; none where there is no registry.
    pub registry: Option<Registry>,
    /// What the pages tell of the member; without it they tell what the service answers.
    pub vitals: Option<Vitals>,
    /// Who answers etcd's v2 API in place of this door.
    pub elsewhere: Option<Arc<dyn Elsewhere>>,
    /// By which calls are timed, for `/metrics`; none: they are not.
    pub timing: Option<Arc<dyn Clock>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            message_bytes_max: limits::FRAME_BYTES_MAX,
            message_deadline: limits::HTTP_MESSAGE_DEADLINE,
            bounds: Bounds::new(),
            gateway: true,
            v2: true,
            streams_max: limits::HTTP2_STREAMS_MAX,
            keep_alive: Some(limits::HTTP2_KEEP_ALIVE),
            keep_alive_timeout: limits::HTTP2_KEEP_ALIVE_TIMEOUT,
            access: Access::default(),
            registry: None,
            vitals: None,
            elsewhere: None,
            timing: None,
        }
    }
}

/// The HTTP door of one member, for all its TCP addresses.
pub struct Http {
    pub(super) shared: Arc<Shared>,
}

/// What connections share.
pub(super) struct Shared {
    pub service: Arc<dyn Service>,
    pub config: Config,
    pub tally: Arc<Tally>,
    /// Long answers that become JSON.
    pub texts: Semaphore,
    /// Passwords that are hashed or compared.
    pub passwords: Semaphore,
    /// Raft's appends, for etcd's statistics.
    pub rates: Rates,
    /// When it began to serve, milliseconds since 1970; 0 without `vitals`.
    pub started_ms: i64,
    draining: watch::Sender<bool>,
    /// Connections being served.
    open: watch::Sender<usize>,
}

impl Http {
    pub fn new(service: Arc<dyn Service>, config: Config) -> Self {
        let (draining, open) = (watch::Sender::new(false), watch::Sender::new(0));
        let tally = Arc::new(Tally::new(config.timing.clone()));
        let passwords = Semaphore::new(limits::V2_PASSWORDS_AT_ONCE_MAX);
        let started_ms = config.vitals.as_ref().map_or(0, |it| it.handle.clock().wall_ms());
        let shared = Shared {
            service,
            config,
            tally,
            texts: Semaphore::new(limits::JSON_AT_ONCE_MAX),
            passwords,
            rates: Rates::default(),
            started_ms,
            draining,
            open,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Tells every client to go elsewhere, ends its streams, takes nothing new, and lets what was asked be answered for
    /// at most `grace`.
    pub async fn drain(&self, grace: Duration) {
        self.shared.draining.send_replace(true);
        let mut open = self.shared.open.subscribe();
        // Who takes no answers is cut off with his connection.
        let _ = timeout(grace, open.wait_for(|open| *open == 0)).await;
    }

    /// Looks how much comes and goes between the members, for etcd's statistics; to be called about once a second.
    pub fn look(&self) {
        if let Some(vitals) = &self.shared.config.vitals {
            self.shared.rates.look(&vitals.handle);
        }
    }

    /// Connections now.
    pub fn connections(&self) -> usize {
        *self.shared.open.borrow()
    }
}

impl TcpInbound for Http {
    fn connection(&self, client: TcpConnection) {
        if *self.shared.draining.borrow() {
            return;
        }
        self.shared.open.send_modify(|open| *open += 1);
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            serve(&shared, client).await;
            shared.open.send_modify(|open| *open -= 1);
        });
    }
}

async fn serve(shared: &Arc<Shared>, client: TcpConnection) {
    let TcpConnection { purpose, stream, remote, identity, is_secure, refused, mut place } = client;
    // Who says nothing is not waited for: a place is few.
    let sniffed = tokio::select! {
        sniffed = timeout(limits::HTTP1_HEAD_DEADLINE, sniff(stream)) => sniffed,
        bound = shown_out(place.as_ref()) => return shared.config.bounds.refuse(bound, remote),
    };
    let Ok(Ok((is_http2, stream))) = sniffed else { return };
    let common_name = identity.as_ref().and_then(|identity| identity.common_name.clone());
    let caller = Caller { address: Some(remote), common_name, ..Caller::default() };
    let session = Arc::new(Session::new(Arc::clone(shared), purpose, caller, is_secure));
    tokio::spawn(Arc::clone(&session.desk).serve());
    let mut has_asked = session.has_asked.subscribe();
    let cut = async {
        tokio::select! {
            bound = shown_out(place.as_ref()) => return bound,
            () = session.overflown() => return Bound::Unsent,
            // The sender lives in the session.
            _ = has_asked.wait_for(|has_asked| *has_asked) => {}
        }
        if let Some(place) = &mut place {
            place.known();
        }
        tokio::select! {
            bound = shown_out(place.as_ref()) => bound,
            () = session.overflown() => Bound::Unsent,
        }
    };
    tokio::select! {
        () = converse(&session, is_http2, stream, refused) => {}
        // Without a word: who is cut does not listen, or is one of very many.
        bound = cut => session.refuse(bound),
    }
    session.leaving.send_replace(true);
}

/// Waits until the connection has to make room for another.
async fn shown_out(place: Option<&TcpPlace>) -> Bound {
    match place {
        Some(place) => place.shown_out().await,
        None => std::future::pending().await,
    }
}

/// Serves what the connection speaks until it ends.
async fn converse(
    session: &Arc<Session>,
    is_http2: bool,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    mut refused: watch::Receiver<Option<Arc<str>>>,
) {
    let shared = &session.shared;
    let remote = session.caller.address;
    let answering = Arc::clone(session);
    let service = service_fn(move |request| {
        let session = Arc::clone(&answering);
        async move { Ok::<_, Infallible>(respond(&session, request).await) }
    });
    let mut draining = shared.draining.subscribe();
    let leaving = async {
        tokio::select! {
            // The sender lives in `shared`.
            _ = draining.wait_for(|draining| *draining) => {}
            () = refusal(&mut refused) => {}
        }
        session.leaving.send_replace(true);
    };
    let mut leaving = pin!(leaving);
    let ended = if is_http2 {
        let noisy = Arc::clone(session);
        let pace = Pace::new(move || noisy.refuse(Bound::Noise));
        let gathered = BufWriter::with_capacity(limits::HTTP2_WRITE_BYTES, stream);
        let stream = TokioIo::new(Mended::new(gathered, PREFACE.len(), pace));
        let connection = pin!(over_http2(&shared.config).serve_connection(stream, service));
        run(connection, http2::Connection::graceful_shutdown, leaving.as_mut()).await
    } else {
        let stream = TokioIo::new(stream);
        let connection = pin!(over_http1().serve_connection(stream, service).with_upgrades());
        run(connection, http1::UpgradeableConnection::graceful_shutdown, leaving.as_mut()).await
    };
    if let Err(error) = ended {
        tracing::debug!(?remote, %error, "a client's connection broke");
        return;
    }
    let upgrade = session.upgrade.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(upgrade) = upgrade
        && !*session.leaving.borrow()
    {
        let serving = pin!(gateway::serve_websocket(session, upgrade));
        // Its streams end with the session; nothing more is to be told to it.
        let _ended = run(serving, |_| {}, leaving).await;
    }
}

/// Until the client ends it, or until `leaving` and a grace after that.
async fn run<C>(
    mut connection: Pin<&mut C>,
    leave: impl FnOnce(Pin<&mut C>),
    leaving: impl Future<Output = ()>,
) -> hyper::Result<()>
where
    C: Future<Output = hyper::Result<()>>,
{
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = leaving => {}
    }
    leave(connection.as_mut());
    // Who takes no answers is cut off.
    timeout(limits::REFUSED_GRACE, connection).await.unwrap_or(Ok(()))
}

/// Waits until this client is admitted no more; for ever where nobody looks.
async fn refusal(refused: &mut watch::Receiver<Option<Arc<str>>>) {
    if refused.wait_for(Option::is_some).await.is_err() {
        std::future::pending().await
    }
}

fn over_http2(config: &Config) -> http2::Builder<TokioExecutor> {
    let headers_bytes_max = u32::try_from(limits::HTTP_HEADERS_BYTES_MAX).unwrap_or(u32::MAX);
    let window = Bounds::window(&config.bounds.tcp, limits::HTTP2_CONNECTION_WINDOW_BYTES);
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(config.streams_max)
        // Callers give up in bursts; what they pay is their own connection's.
        .max_pending_accept_reset_streams(limits::HTTP2_RESETS_MAX)
        .max_header_list_size(headers_bytes_max)
        .max_send_buf_size(limits::HTTP2_SEND_BYTES_MAX)
        .initial_stream_window_size(window.min(limits::HTTP2_STREAM_WINDOW_BYTES))
        .initial_connection_window_size(window)
        .keep_alive_interval(config.keep_alive)
        .keep_alive_timeout(config.keep_alive_timeout);
    builder
}

fn over_http1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // Scripts look for `X-Etcd-Index`, as Go writes it.
        .title_case_headers(true)
        .max_buf_size(limits::HTTP_HEADERS_BYTES_MAX)
        .header_read_timeout(limits::HTTP1_HEAD_DEADLINE);
    builder
}

async fn respond(session: &Arc<Session>, request: Request<Incoming>) -> Response<Answer> {
    session.has_asked.send_if_modified(|has_asked| !std::mem::replace(has_asked, true));
    let is_grpc = request.version() == hyper::Version::HTTP_2 && grpc::is_grpc(request.headers());
    let mut response = match session.purpose {
        Purpose::Clients | Purpose::Grpc if is_grpc => grpc::respond(session, request).await,
        Purpose::Grpc => pages::nothing(),
        Purpose::Clients | Purpose::Http | Purpose::Metrics => {
            pages::respond(session, request).await
        }
    };
    response.headers_mut().insert(SERVER, HeaderValue::from_static(WHO));
    response
}
