//! Where clients reach a cluster.

use super::error::SrvError;
use super::records::{CLIENTS, Srv};
use super::resolver::Resolver;
use crate::tls::Scheme;

/// The endpoints that the domain's records name, best first. With `secure_only` those of `http` are left out: a record
/// that an attacker put there must not talk a client out of TLS.
pub async fn endpoints(
    srv: &Srv,
    resolver: Resolver,
    secure_only: bool,
) -> Result<Vec<String>, SrvError> {
    let records = srv.records(CLIENTS, resolver).await?;
    let all: Vec<String> = records.urls.iter().map(ToString::to_string).collect();
    if !secure_only {
        return Ok(all);
    }
    let secure = records.urls.iter().filter(|url| url.scheme == Scheme::Https);
    let secure: Vec<String> = secure.map(ToString::to_string).collect();
    match secure.is_empty() {
        true => Err(SrvError::OnlyInsecure { domain: srv.domain.clone(), found: all.join(", ") }),
        false => Ok(secure),
    }
}
