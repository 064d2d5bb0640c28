//! Dials a member and exchanges Hello with it: only after that is a connection one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use quinn::Endpoint;
use rustls::pki_types::CertificateDer;
use tokio::time::timeout;

use super::dial::{connect, quic_config};
use super::hello::{HELLO_BYTES_MAX, Hello};
use super::{CloseCode, Connection, DialError, Lost, Names, StreamError, Url, quic};
use crate::base::{Clock, limits};
use crate::tls::{Identity, Keychain, Refusal};

/// A member that answered, and whom both sides accept.
pub(super) struct Greeted {
    pub(super) connection: Connection,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) identity: Option<Identity>,
    pub(super) theirs: Hello,
    /// The certificates that we showed.
    pub(super) shown: Vec<CertificateDer<'static>>,
    /// Of the keychain that both were decided by.
    pub(super) generation: u64,
}

/// Dials `url` and says `mine`.
pub(super) async fn greet(
    endpoint: &Endpoint,
    names: &Names,
    keychain: &Keychain,
    clock: &dyn Clock,
    mine: &Hello,
    url: &Url,
) -> Result<Greeted, DialError> {
    let settings = |error: String| DialError::Settings(error);
    let (generation, shown) = (keychain.generation(), keychain.shown_to_members());
    let tls = keychain.peer_dialler(url.scheme).map_err(|error| settings(error.to_string()))?;
    let config = quic_config(tls, &quic::dialling_members()).map_err(settings)?;
    let quic = connect(endpoint, names, &config, url, limits::DIAL_DEADLINE).await?;
    let chain = chain(&quic);
    let connection = Connection::new(quic);
    let address = connection.remote_address();
    let refuse = |code, text: String| {
        connection.close(code, &text);
        DialError::Refused { address, code, text }
    };
    let identity = keychain
        .admit_dialled(url.scheme, &chain, clock.wall_ms())
        .map_err(|refusal| refuse(CloseCode::NotAdmitted, refusal.to_string()))?;
    let theirs = match timeout(limits::DIAL_DEADLINE, exchange(&connection, mine)).await {
        Ok(Ok(theirs)) => theirs,
        Ok(Err(StreamError::Lost(lost))) => return Err(DialError::Lost { address, lost }),
        // A refusal can reach us as the end of the stream, a moment before it reaches us as itself.
        Ok(Err(error)) => match connection.lost() {
            Some(lost) => return Err(DialError::Lost { address, lost }),
            None => return Err(refuse(CloseCode::Protocol, error.to_string())),
        },
        Err(_) => return Err(refuse(CloseCode::Slow, "no Hello in time".into())),
    };
    if let Some(objection) = theirs.objection(mine, identity.as_ref()) {
        return Err(refuse(objection.code, objection.text));
    }
    Ok(Greeted { connection, chain, identity, theirs, shown, generation })
}

/// The certificates that the other side showed; empty if it showed none.
pub(super) fn chain(quic: &quinn::Connection) -> Vec<CertificateDer<'static>> {
    let shown = quic.peer_identity();
    shown.and_then(|any| any.downcast().ok()).map(|chain| *chain).unwrap_or_default()
}

async fn exchange(connection: &Connection, mine: &Hello) -> Result<Hello, StreamError> {
    let (mut send, mut recv) = connection.open_bi().await?;
    send.frame(mine.encode_to_vec().into()).await?;
    send.finish();
    let frame = recv.frame(HELLO_BYTES_MAX).await?.ok_or(StreamError::Truncated)?;
    decode(&frame)
}

/// Reads a Hello frame.
pub(super) fn decode(frame: &Bytes) -> Result<Hello, StreamError> {
    Hello::decode(frame.as_ref())
        .map_err(|error| StreamError::Lost(Lost::Other(format!("that is no Hello: {error}"))))
}

/// When somebody who was admitted is to be looked at again: his certificate ends, or our files were read anew.
pub(super) struct Review {
    keychain: Arc<Keychain>,
    clock: Arc<dyn Clock>,
    generation: u64,
    ends_ms: i64,
}

impl Review {
    /// `generation` is the keychain's, read before he was admitted.
    pub(super) fn new(
        keychain: &Arc<Keychain>,
        clock: &Arc<dyn Clock>,
        generation: u64,
        identity: Option<&Identity>,
    ) -> Self {
        Self {
            keychain: Arc::clone(keychain),
            clock: Arc::clone(clock),
            generation,
            ends_ms: identity.map_or(i64::MAX, |identity| identity.not_after_ms),
        }
    }

    /// Waits for the next look.
    pub(super) async fn due(&mut self) {
        loop {
            // In steps, because the wall clock may jump; certificates end on whole seconds.
            let left_ms = self.ends_ms.saturating_sub(self.clock.wall_ms());
            let step = Duration::from_millis(u64::try_from(left_ms).unwrap_or_default());
            let step = step.clamp(Duration::from_secs(1), limits::CERTIFICATE_SWEEP);
            tokio::select! {
                () = tokio::time::sleep(step) => {}
                () = self.keychain.reloaded(self.generation) => {}
            }
            let current = self.keychain.generation();
            if self.clock.wall_ms() >= self.ends_ms || current != self.generation {
                self.generation = current;
                return;
            }
        }
    }

    /// Waits until he would not be admitted any more.
    pub(super) async fn refused(
        mut self,
        admit: impl Fn(i64) -> Result<Option<Identity>, Refusal>,
    ) -> Refusal {
        loop {
            self.due().await;
            if let Err(refusal) = admit(self.clock.wall_ms()) {
                return refusal;
            }
        }
    }
}
