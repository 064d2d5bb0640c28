//! One who is no member yet asks a member who the members are.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::greet::greet;
use super::hello::{Hello, PROTOCOL};
use super::{AskError, CloseCode, DialError, Names, Url, Versions, ask, dial};
use crate::base::Clock;
use crate::tls::Keychain;

/// Who asks before it is a member.
#[derive(Clone)]
pub struct Guest {
    pub name: String,
    pub versions: Versions,
    pub keychain: Arc<Keychain>,
    pub clock: Arc<dyn Clock>,
    pub names: Names,
}

/// One ask of one who is no member yet, to whoever lives at `url`. Blocks: it brings its own runtime.
pub fn inquire(
    guest: &Guest,
    url: &Url,
    kind: u16,
    body: Bytes,
    timeout: Duration,
) -> Result<Bytes, AskError> {
    let failed = |error: std::io::Error| AskError::Dial(DialError::Settings(error.to_string()));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let answer = runtime.block_on(async {
        tokio::time::timeout(timeout, question(guest, url, kind, body))
            .await
            .unwrap_or(Err(AskError::Deadline))
    });
    // A resolver that hangs must not hold us.
    runtime.shutdown_background();
    answer
}

async fn question(guest: &Guest, url: &Url, kind: u16, body: Bytes) -> Result<Bytes, AskError> {
    let hello = Hello { protocol: PROTOCOL, name: guest.name.clone(), ..Hello::default() }
        .with_versions(guest.versions);
    let socket = dial::socket().map_err(AskError::Dial)?;
    let greeted = greet(&socket, &guest.names, &guest.keychain, guest.clock.as_ref(), &hello, url)
        .await
        .map_err(AskError::Dial)?;
    let answer = ask::ask(&greeted.connection, kind, body).await;
    greeted.connection.close(CloseCode::Done, "");
    // So that the other side need not find out by itself; a moment is enough.
    let _ = tokio::time::timeout(Duration::from_millis(100), socket.wait_idle()).await;
    answer
}
