//! One client's connection: Hello, the control stream, and a task for each further stream.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::door::{Door, Phase, reached};
use super::{stream, unary};
use crate::base::limits;
use crate::proto::frame::{Opening, StreamFrame};
use crate::proto::hello::{CONTROL_BYTES_MAX, Control, GoAway, PROTOCOL_VERSION, ServerHello};
use crate::proto::{Caller, Shape, Status};
use crate::tls::Identity;
use crate::transport::{
    Bound, ClientConnection, CloseCode, Connection, RecvStream, SendStream, TcpConnection, Unsent,
};

/// What the streams of one connection share.
pub(super) struct Session {
    pub door: Arc<Door>,
    pub connection: Connection,
    /// The door's, or further: one client may be refused alone.
    pub phase: watch::Sender<Phase>,
    /// What GoAway says.
    away: OnceLock<Arc<str>>,
    /// Places for unanswered requests.
    pub places: Semaphore,
    caller: Mutex<Arc<Caller>>,
    identity: Option<Arc<Identity>>,
    /// Why the client is admitted no more.
    refused: watch::Receiver<Option<Arc<str>>>,
    /// Its answers that are not taken, among those of all.
    pub unsent: Unsent,
}

impl Session {
    /// Who asks now; the token may change between calls.
    pub(super) fn caller(&self) -> Arc<Caller> {
        Arc::clone(&self.caller.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn set_token(&self, token: String) {
        let mut caller = self.caller.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut caller).token = Some(token).filter(|token| !token.is_empty());
    }
}

/// Serves the connection until it ends.
pub(super) async fn serve(door: &Arc<Door>, incoming: ClientConnection) {
    let connection = incoming.connection.clone();
    let remote = connection.remote_address();
    let greeted = tokio::select! {
        greeted = timeout(limits::HELLO_DEADLINE, greet(door, &incoming)) => greeted,
        () = incoming.stranger.shown_out() => {
            door.config.bounds.refuse(Bound::Strangers, remote);
            return connection.close(CloseCode::Busy, Bound::Strangers.text());
        }
    };
    let ClientConnection { identity, refused, stranger, .. } = incoming;
    drop(stranger);
    let (send, recv, caller) = match greeted {
        Ok(Ok(greeted)) => greeted,
        Ok(Err((code, text))) => return connection.close(code, &text),
        Err(_) => return connection.close(CloseCode::Slow, "no Hello came in time"),
    };
    let config = &door.config;
    tracing::debug!(client = caller.client, address = ?caller.address, "client connected");
    let session = Arc::new(Session {
        door: Arc::clone(door),
        connection: connection.clone(),
        phase: watch::Sender::new(Phase::Serving),
        away: OnceLock::new(),
        places: Semaphore::new(config.in_flight_max as usize),
        caller: Mutex::new(Arc::new(caller)),
        identity,
        refused: refused.clone(),
        unsent: Unsent::of(&config.bounds, Some(remote.into())),
    });
    // The control stream is one of those counted, and quinn grants new ones by the eighth.
    let streams = config.streams_max.saturating_add(1);
    connection.allow_streams(streams.saturating_add(streams / 4), 0);
    tokio::spawn(control(Arc::clone(&session), send, recv));
    let mut streams = JoinSet::new();
    let (mut phase, mut refused) = (door.phase.subscribe(), refused);
    let (code, reason) = loop {
        tokio::select! {
            accepted = connection.accept_bi() => match accepted {
                Ok((send, recv)) => {
                    streams.spawn(begin(Arc::clone(&session), send, recv));
                }
                Err(_) => return,
            },
            Some(_) = streams.join_next() => {}
            () = session.unsent.overflown() => {
                door.config.bounds.refuse(Bound::Unsent, remote);
                return connection.close(CloseCode::Slow, Bound::Unsent.text());
            }
            () = reached(&mut phase, Phase::Draining) => {
                break (CloseCode::Done, Arc::from("this server is stopping"));
            }
            reason = refusal(&mut refused) => break (CloseCode::NotAdmitted, reason),
        }
    };
    // Told once, here.
    let _ = session.away.set(Arc::clone(&reason));
    session.phase.send_replace(Phase::Draining);
    let rest = async { while streams.join_next().await.is_some() {} };
    tokio::select! {
        () = rest => {}
        () = reached(&mut phase, Phase::Closing) => {}
        _ = connection.closed() => {}
    }
    connection.close(code, &reason);
}

/// Waits for the reason why this client is admitted no more.
async fn refusal(refused: &mut watch::Receiver<Option<Arc<str>>>) -> Arc<str> {
    let said = refused.wait_for(Option::is_some).await.ok().and_then(|said| said.clone());
    match said {
        Some(reason) => reason,
        // Whoever would say it is gone: so is the connection.
        None => std::future::pending().await,
    }
}

/// Reads the client's Hello and answers it.
async fn greet(
    door: &Door,
    incoming: &ClientConnection,
) -> Result<(SendStream, RecvStream, Caller), (CloseCode, String)> {
    let broken = |error: &dyn std::fmt::Display| (CloseCode::Protocol, error.to_string());
    let connection = &incoming.connection;
    let (mut send, mut recv) = connection.accept_bi().await.map_err(|e| broken(&e))?;
    let frame = recv.frame(CONTROL_BYTES_MAX).await.map_err(|e| broken(&e))?;
    let Some(frame) = frame else { return Err(broken(&"no Hello came")) };
    let Control::ClientHello(hello) = Control::parse(frame).map_err(|e| broken(&e))? else {
        return Err(broken(&"the first frame is no Hello"));
    };
    if !hello.versions.contains(&PROTOCOL_VERSION) {
        let spoken = format!("this server speaks version {PROTOCOL_VERSION} of the protocol");
        return Err((CloseCode::Incompatible, spoken));
    }
    let config = &door.config;
    let answer = Control::ServerHello(ServerHello {
        version: PROTOCOL_VERSION,
        cluster_id: config.cluster.0,
        member_id: config.member.0,
        in_flight_max: config.in_flight_max,
        frame_bytes_max: u32::try_from(config.frame_bytes_max).unwrap_or(u32::MAX),
        streams_max: config.streams_max,
        server: env!("CARGO_PKG_VERSION").to_owned(),
    });
    send.bytes(answer.encode()).await.map_err(|e| broken(&e))?;
    let named = incoming.identity.as_ref().filter(|_| !hello.for_others);
    let caller = Caller {
        address: Some(connection.remote_address()),
        common_name: named.and_then(|identity| identity.common_name.clone()),
        token: Some(hello.token).filter(|token| !token.is_empty()),
        client: hello.client,
        requires_leader: hello.requires_leader,
        admitted: None,
    };
    Ok((send, recv, caller))
}

/// The control stream: new tokens in, one GoAway out.
async fn control(session: Arc<Session>, mut send: SendStream, mut recv: RecvStream) {
    let mut phase = session.phase.subscribe();
    let mut said = false;
    loop {
        tokio::select! {
            frame = recv.frame(CONTROL_BYTES_MAX) => match frame {
                Ok(Some(frame)) => match Control::parse(frame) {
                    Ok(Control::SetToken(renewed)) => session.set_token(renewed.token),
                    Ok(_) => {}
                    Err(error) => {
                        session.connection.close(CloseCode::Protocol, &error.to_string());
                        return;
                    }
                },
                Ok(None) | Err(_) => return,
            },
            () = reached(&mut phase, Phase::Draining), if !said => {
                said = true;
                let text = session.away.get().map(ToString::to_string).unwrap_or_default();
                let away = Control::GoAway(GoAway { text });
                if send.bytes(away.encode()).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// What the stream is for decides who serves it.
async fn begin(session: Arc<Session>, mut send: SendStream, mut recv: RecvStream) {
    recv.bounded_by(&session.door.config.bounds, session.connection.remote_address());
    let Ok(opening) = recv.exactly(2).await else {
        // A stream that nobody began is nobody's loss.
        return;
    };
    match Opening::from_number(u16::from_be_bytes([opening[0], opening[1]])) {
        Opening::Unary => unary::serve(session, send, recv).await,
        Opening::Http => http(&session, send, recv).await,
        Opening::Method(method) if method.shape() != Shape::Unary => {
            stream::serve(session, method, send, recv).await;
        }
        Opening::Method(method) => {
            let text = format!("{} is a unary method: call it on a unary stream", method.path());
            refuse(&mut send, Status::unimplemented(text)).await;
        }
        Opening::Unknown(number) => {
            let text = format!("unknown method {number}");
            refuse(&mut send, Status::unimplemented(text)).await;
        }
    }
}

/// Another door's business, to its end.
async fn http(session: &Session, mut send: SendStream, recv: RecvStream) {
    let Some(door) = session.door.http.get() else {
        return refuse(&mut send, Status::unimplemented("HTTP is not served here")).await;
    };
    let (held, ended) = oneshot::channel::<()>();
    let stream = recv.tunnel(send).holding(held);
    let remote = session.connection.remote_address();
    // Who asks for others has no name here, either.
    let named = session.caller().common_name.is_some();
    let (identity, refused) = (session.identity.clone().filter(|_| named), session.refused.clone());
    door.connection(TcpConnection::over_quic(stream, remote, identity, refused));
    // It fails when the door is done.
    let _ = ended.await;
}

async fn refuse(send: &mut SendStream, status: Status) {
    let mut frame = bytes::BytesMut::new();
    StreamFrame::End(Err(status)).encode(&mut frame);
    let frame: Bytes = frame.freeze();
    if send.bytes(frame).await.is_ok() {
        send.finish();
        // A client that does not want to know is gone.
        let _gone = send.delivered().await;
    }
}
