//! One listen address: who may begin a handshake, who is admitted after it, and where he goes from there.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use quinn::crypto::rustls::{HandshakeData, QuicServerConfig};
use quinn::{EndpointConfig, Incoming, ServerConfig, TokioRuntime};
use quinn_proto::HashedConnectionIdGenerator;
use ring::hmac;
use rustls::pki_types::CertificateDer;
use tokio::sync::watch;
use tokio::time::timeout;

use super::accepted::{self, Caller};
use super::crowd::Guest;
use super::greet::{Review, chain};
use super::shared::Shared;
use super::{
    Bound, Bounds, ClientConnection, CloseCode, Connection, Error, Listener, Origin, Turnstile,
    quic,
};
use crate::base::limits;
use crate::tls::{self, Doors, Identity, Keychain, Protocol};

/// Bytes of early packets kept for one caller, and for all of them, while they wait for their turn.
const INCOMING_BYTES_MAX: u64 = 64 * 1024;
const INCOMING_BYTES_TOTAL_MAX: u64 = 16 << 20;

pub(super) struct Endpoint {
    pub(super) quic: quinn::Endpoint,
    /// The address in use.
    pub(super) address: SocketAddr,
    doors: Doors,
    bounds: Arc<Bounds>,
    /// Callers whose handshake is not over, of this address.
    shaking: AtomicUsize,
    handshakes: Turnstile,
}

impl Endpoint {
    /// Binds; must be called inside the runtime that will serve it.
    pub(super) fn bind(
        listener: Listener,
        keychain: &Arc<Keychain>,
        reset_secret: &[u8; 32],
        bounds: &Arc<Bounds>,
    ) -> Result<Self, Error> {
        let doors = listener.doors;
        let tls = keychain.server_config(doors)?;
        let crypto = QuicServerConfig::try_from(tls)
            .map_err(|error| tls::Error::Settings(error.to_string()))?;
        let mut config = ServerConfig::with_crypto(Arc::new(crypto));
        config.transport_config(quic::accepting());
        // A client may change its address; a member that does is dialled again.
        config.migration(doors.clients.is_some());
        config.max_incoming(2 * limits::STRANGERS_MAX);
        config.incoming_buffer_size(INCOMING_BYTES_MAX);
        config.incoming_buffer_size_total(INCOMING_BYTES_TOTAL_MAX);
        let fail = |source| Error::Bind { address: listener.address, source };
        let socket = UdpSocket::bind(listener.address).map_err(fail)?;
        let address = socket.local_addr().map_err(fail)?;
        let runtime = Arc::new(TokioRuntime);
        let quic = quinn::Endpoint::new(resets(reset_secret), Some(config), socket, runtime)
            .map_err(fail)?;
        Ok(Self {
            quic,
            address,
            doors,
            bounds: Arc::clone(bounds),
            shaking: AtomicUsize::new(0),
            handshakes: Turnstile::default(),
        })
    }

    /// Takes callers until `stop` says so.
    pub(super) async fn serve(
        self: Arc<Self>,
        shared: Arc<Shared>,
        mut stop: watch::Receiver<bool>,
    ) {
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                incoming = self.quic.accept() => match incoming {
                    Some(incoming) => self.knock(&shared, incoming),
                    None => return,
                },
            }
        }
    }

    /// Before a single signature is made: under load, a caller proves its address first, so that it is answerable for it.
    fn knock(self: &Arc<Self>, shared: &Arc<Shared>, incoming: Incoming) {
        let loaded = self.shaking.load(Ordering::Relaxed) >= limits::HANDSHAKES_MAX;
        if loaded && !incoming.remote_address_validated() && incoming.may_retry() {
            // Fails only for one that may not be sent a Retry.
            let _ = incoming.retry();
            return;
        }
        let remote = incoming.remote_address();
        let Ok(stranger) = self.bounds.strangers.enter(remote.into(), 1) else {
            self.bounds.refuse(Bound::Strangers, remote);
            return incoming.refuse();
        };
        let (endpoint, shared) = (Arc::clone(self), Arc::clone(shared));
        self.shaking.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            let shaken = tokio::select! {
                shaken = endpoint.shake(&shared, incoming) => shaken,
                () = stranger.shown_out() => {
                    endpoint.bounds.refuse(Bound::Strangers, remote);
                    None
                }
            };
            endpoint.shaking.fetch_sub(1, Ordering::Relaxed);
            if let Some(quic) = shaken {
                endpoint.welcome(shared, quic, stranger).await;
            }
        });
    }

    /// The handshake. The first step is the dear one.
    async fn shake(&self, shared: &Arc<Shared>, incoming: Incoming) -> Option<quinn::Connection> {
        let remote = incoming.remote_address();
        let turn = self.handshakes.turn().await;
        let connecting = incoming.accept();
        turn.end().await;
        match timeout(limits::HELLO_DEADLINE, connecting.ok()?).await {
            Ok(Ok(quic)) => return Some(quic),
            Ok(Err(error)) if was_given_up(&error) => {
                tracing::debug!(%remote, "the other side gave the handshake up");
            }
            Ok(Err(error)) => {
                if shared.may_complain(format!("handshake {}", remote.ip())) {
                    tracing::warn!(%remote, reason = %super::Lost::from(error), "a handshake failed");
                }
            }
            Err(_) => {}
        }
        None
    }

    async fn welcome(&self, shared: Arc<Shared>, quic: quinn::Connection, stranger: Guest<Origin>) {
        let remote = quic.remote_address();
        let chain = chain(&quic);
        let Some(protocol) = protocol(&quic) else {
            return quic.close(CloseCode::Protocol.code(), b"no protocol was chosen");
        };
        let config = &shared.config;
        let generation = config.keychain.generation();
        let admitted = config.keychain.admit(protocol, self.doors, &chain, config.clock.wall_ms());
        let identity = match admitted {
            Ok(identity) => identity.map(Arc::new),
            Err(refusal) => {
                if shared.may_complain(format!("admit {} {}", remote.ip(), refusal.serial)) {
                    tracing::warn!(%remote, reason = %refusal, ?protocol, "refused a caller");
                }
                return quic.close(CloseCode::NotAdmitted.code(), refusal.reason.as_bytes());
            }
        };
        let admitted = Admitted { quic, chain, identity, generation };
        match protocol {
            Protocol::Peer => {
                drop(stranger);
                self.member(shared, admitted).await;
            }
            Protocol::Client => self.client(&shared, admitted, stranger).await,
        }
    }

    async fn member(&self, shared: Arc<Shared>, admitted: Admitted) {
        let Admitted { quic, chain, identity, generation } = admitted;
        let remote = quic.remote_address();
        let Ok(held) = self.bounds.members.enter(remote.into(), 1) else {
            return self.refuse(&quic, Bound::Members);
        };
        quic.set_receive_window(limits::PEER_WINDOW_BYTES.into());
        quic.set_send_window(u64::from(limits::PEER_WINDOW_BYTES));
        let connection = Connection::new(quic);
        let doors = self.doors;
        let caller = Caller { connection: connection.clone(), chain, identity, doors, generation };
        let turned_away = connection.clone();
        tokio::select! {
            () = accepted::serve(shared, caller) => {}
            () = held.shown_out() => {
                self.bounds.refuse(Bound::Members, remote);
                turned_away.close(CloseCode::Busy, Bound::Members.text());
            }
        }
    }

    fn refuse(&self, quic: &quinn::Connection, bound: Bound) {
        self.bounds.refuse(bound, quic.remote_address());
        quic.close(CloseCode::Busy.code(), bound.text().as_bytes());
    }

    /// Hands the client over, and stays beside it to the end of its connection or of its certificate.
    async fn client(&self, shared: &Shared, admitted: Admitted, stranger: Guest<Origin>) {
        let Admitted { quic, chain, identity, generation } = admitted;
        let Ok(held) = self.bounds.quic.enter(quic.remote_address().into(), 1) else {
            return self.refuse(&quic, Bound::Connections);
        };
        let window = Bounds::window(&self.bounds.quic, limits::CLIENT_WINDOW_BYTES);
        quic.set_receive_window(window.into());
        quic.set_send_window(u64::from(window));
        let connection = Connection::new(quic);
        connection.allow_streams(limits::CONNECTION_STREAMS_MAX, 0);
        let (refuse, refused) = watch::channel(None);
        shared.clients.connection(ClientConnection {
            connection: connection.clone(),
            identity: identity.clone(),
            listener: self.address,
            refused,
            stranger,
        });
        let config = &shared.config;
        let review = Review::new(&config.keychain, &config.clock, generation, identity.as_deref());
        let refused =
            review.refused(|now| config.keychain.admit(Protocol::Client, self.doors, &chain, now));
        let remote = connection.remote_address();
        let refusal = tokio::select! {
            _ = connection.closed() => return,
            () = held.shown_out() => {
                self.bounds.refuse(Bound::Connections, remote);
                return connection.close(CloseCode::Busy, Bound::Connections.text());
            }
            refusal = refused => refusal,
        };
        if shared.may_complain(format!("close {} {}", remote.ip(), refusal.serial)) {
            tracing::warn!(%remote, reason = %refusal, "closing a client's connection");
        }
        // What it has asked already is answered, so that nobody has to guess what became of it.
        refuse.send_replace(Some(refusal.reason.as_str().into()));
        let _ = timeout(limits::REFUSED_GRACE, connection.closed()).await;
        connection.close(CloseCode::NotAdmitted, &refusal.reason);
    }
}

/// A caller after its handshake and the verdict on its certificate.
struct Admitted {
    quic: quinn::Connection,
    chain: Vec<CertificateDer<'static>>,
    identity: Option<Arc<Identity>>,
    /// Of the keychain that gave the verdict.
    generation: u64,
}

/// Whoever dials several addresses takes the first that answers, and who asks around has no long patience: neither is a
/// failure of anybody. (A certificate that is not believed is a TLS alert.)
fn was_given_up(error: &quinn::ConnectionError) -> bool {
    match error {
        quinn::ConnectionError::ConnectionClosed(close) => {
            close.error_code == quinn::TransportErrorCode::APPLICATION_ERROR
        }
        quinn::ConnectionError::ApplicationClosed(_) => true,
        _ => false,
    }
}

fn protocol(quic: &quinn::Connection) -> Option<Protocol> {
    let data = quic.handshake_data()?.downcast::<HandshakeData>().ok()?;
    Protocol::from_alpn(&data.protocol?)
}

/// Connection ids and reset tokens that the next process of this member recognizes as its own.
fn resets(secret: &[u8; 32]) -> EndpointConfig {
    let hmac = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let ids = hmac::sign(&hmac, b"connection ids");
    let ids = ids.as_ref().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    let mut config = EndpointConfig::new(Arc::new(hmac));
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)));
    config
        .max_udp_payload_size(limits::DATAGRAM_BYTES_MAX)
        .expect("the limit is between 1,200 and 65,527");
    config
}
