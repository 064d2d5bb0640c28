//! Who a caller is: by the token it brings, else by the certificate of its connection.

use bytes::Bytes;
use ring::digest::{SHA256, digest};

use super::tokens::TokenKeys;
use crate::base::Index;
use crate::engine::Handle;
use crate::proto::{Caller, Code, Retry, Status};
use crate::state::{Asker, Auth};

/// The secret of a simple token. Behind its dot stands the index of the entry that made it known: who has not applied that
/// yet looks again after a barrier.
fn secret_of(token: &str) -> Option<&str> {
    let (secret, index) = token.split_once('.')?;
    index.parse::<Index>().ok().map(|_| secret)
}

/// What the log and the members keep of a simple token's secret.
pub(super) fn kept_of(secret: &str) -> Bytes {
    Bytes::copy_from_slice(digest(&SHA256, secret.as_bytes()).as_ref())
}

/// Nobody, if the caller shows nothing; a token that is shown is believed or refused, whatever the certificate says.
pub(super) fn asker(
    handle: &Handle,
    keys: &TokenKeys,
    auth: &Auth,
    caller: &Caller,
) -> Result<Asker, Status> {
    let current = |user: &str| Asker { user: user.to_owned(), auth_revision: auth.revision() };
    let Some(token) = &caller.token else {
        return Ok(caller.common_name.as_deref().map(current).unwrap_or_default());
    };
    let token = token.strip_prefix("Bearer ").unwrap_or(token);
    if let Some(jwt) = keys.jwt() {
        return jwt.verified(token).map_err(|why| {
            tracing::debug!(%why, "a token is refused");
            invalid_token()
        });
    }
    let user = secret_of(token).and_then(|secret| handle.token_user(&kept_of(secret)));
    user.map(|user| current(&user)).ok_or_else(invalid_token)
}

pub(super) fn invalid_token() -> Status {
    let text = "etcdserver: invalid auth token";
    Status::new(Code::Unauthenticated, text, Retry::Never)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simple_token_is_a_secret_and_an_index() {
        assert_eq!(secret_of("abc.17"), Some("abc"));
        for wrong in ["", "abc", "abc.", "abc.x", "abc.1.2", "abc.-1"] {
            assert!(secret_of(wrong).is_none(), "{wrong}");
        }
    }
}
