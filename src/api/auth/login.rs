//! A password becomes a token.
//!
//! The password is compared outside the log; a simple token's hash then goes through it, so that every member knows the token,
//! together with the revision of users and roles at which the password was right: if that is no more, it is compared again.

use std::fmt::Write as _;

use bytes::Bytes;
use prost::Message;

use super::check::decoded;
use super::identity::kept_of;
use super::service::Inner;
use crate::api::status;
use crate::base::Moment;
use crate::engine::Error;
use crate::proto::etcdserverpb as pb;
use crate::proto::quorate::log::auth_change::Change;
use crate::proto::quorate::log::{AuthChange, AuthLogin};
use crate::proto::{Code, Method, Outcome, Retry, Status};
use crate::state::{Asker, Command, Rejection};

/// Letters of a simple token before its dot: 91 bits of chance (etcd's).
const SECRET_LETTERS: usize = 16;

/// How often a password is compared anew because somebody changes users meanwhile.
const TRIES_MAX: usize = 10;

pub(super) async fn authenticate(inner: &Inner, body: Bytes, deadline: Moment) -> Outcome {
    let request: pb::AuthenticateRequest = decoded(Method::Authenticate, &body)?;
    for _ in 0..TRIES_MAX {
        let barrier = inner.handle.read_barrier(deadline).await;
        barrier.map_err(|error| status::of_error(&error))?;
        let revision = password(inner, &request).await?;
        if let Some(jwt) = inner.config.keys.jwt() {
            if inner.handle.auth().revision() != revision {
                continue;
            }
            let token = jwt.signed(&request.name, revision, inner.handle.clock().wall_ms());
            let token = token.map_err(|why| Status::new(Code::Unknown, why, Retry::Never))?;
            let response = pb::AuthenticateResponse { header: inner.header_now(), token };
            return Ok(response.encode_to_vec().into());
        }
        let secret = secret()?;
        let login = AuthLogin {
            user: request.name.clone(),
            token_hash: kept_of(&secret),
            auth_revision: revision,
        };
        let command = Command::Auth(AuthChange { change: Some(Change::Login(login)) });
        match inner.handle.propose_for(Asker::default(), command, deadline).await {
            Ok(applied) => {
                let header = inner.header(applied.revision, applied.term);
                let token = format!("{secret}.{}", applied.index);
                return Ok(pb::AuthenticateResponse { header, token }.encode_to_vec().into());
            }
            Err(Error::Rejected(Rejection::AuthOldRevision)) => {}
            Err(error) => return Err(status::of_error(&error)),
        }
    }
    Err(status::of_rejection(Rejection::AuthOldRevision))
}

/// The revision of users and roles at which the password was right.
async fn password(inner: &Inner, request: &pb::AuthenticateRequest) -> Result<u64, Status> {
    let auth = inner.handle.auth();
    if !auth.is_enabled() {
        return Err(status::of_rejection(Rejection::AuthNotEnabled));
    }
    let failed = || {
        tracing::warn!(user = request.name, "somebody showed a wrong password");
        status::of_rejection(Rejection::AuthFailed)
    };
    let user = auth.user(&request.name).ok_or_else(failed)?;
    if user.record.no_password {
        let text = "auth: authentication failed, password was given for no password user";
        return Err(Status::new(Code::Unknown, text, Retry::Never));
    }
    let kept = user.record.password_hash.clone();
    match inner.passwords.matches(request.password.clone(), kept).await? {
        true => Ok(auth.revision()),
        false => Err(failed()),
    }
}

fn secret() -> Result<String, Status> {
    let mut secret = String::with_capacity(SECRET_LETTERS);
    while secret.len() < SECRET_LETTERS {
        let mut drawn = [0; 2 * SECRET_LETTERS];
        getrandom::fill(&mut drawn).map_err(|error| {
            let text = format!("quorate: the system gives no random numbers: {error}");
            Status::new(Code::Internal, text, Retry::NotProposed)
        })?;
        // 208 is 4 times 52: each letter is as likely.
        for byte in drawn.into_iter().filter(|&byte| byte < 208) {
            let place = byte % 52;
            let letter = if place < 26 { b'a' + place } else { b'A' + place - 26 };
            if secret.len() < SECRET_LETTERS {
                // A string has room.
                let _ = secret.write_char(char::from(letter));
            }
        }
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_sixteen_letters_and_never_the_same() {
        let secrets: std::collections::BTreeSet<String> =
            (0..100).map(|_| secret().unwrap()).collect();
        assert_eq!(secrets.len(), 100);
        for secret in secrets {
            assert!(secret.len() == 16 && secret.bytes().all(|it| it.is_ascii_alphabetic()));
        }
    }
}
