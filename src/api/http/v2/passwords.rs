//! Passwords, hashed as etcd hashes them (bcrypt, cost 10): on threads of their own and few at a time, because each
//! keeps a core busy.

use tokio::task::spawn_blocking;

use crate::api::http::session::Session;
use crate::base::limits;

/// etcd's.
const COST: u32 = 10;

/// What is kept of a password; the text of what is wrong with it otherwise.
pub(super) async fn hashed(session: &Session, password: String) -> Result<String, String> {
    if password.len() > limits::V2_PASSWORD_BYTES_MAX {
        let limit = limits::V2_PASSWORD_BYTES_MAX;
        return Err(format!("quorate: a password has at most {limit} bytes"));
    }
    let hashed = alone(session, move || bcrypt::hash(password, COST)).await;
    match hashed {
        Some(Ok(hashed)) => Ok(hashed),
        Some(Err(error)) => Err(format!("quorate: the password cannot be hashed: {error}")),
        None => Err("etcdserver: server stopped".to_owned()),
    }
}

/// Whether it is the one of which this was kept.
pub(super) async fn matches(session: &Session, password: Vec<u8>, hash: &str) -> bool {
    let hash = hash.to_owned();
    let compared = alone(session, move || bcrypt::verify(password, &hash)).await;
    matches!(compared, Some(Ok(true)))
}

/// None when the process ends.
async fn alone<T: Send + 'static>(
    session: &Session,
    job: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let _permit = session.shared.passwords.acquire().await.ok()?;
    spawn_blocking(job).await.ok()
}
