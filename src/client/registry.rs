//! Tokens of a discovery service.

use super::{Client, Error};
use crate::proto::quorate::registry as words;

impl Client {
    /// Makes a token by which `size` members find each other. Without `ttl_s`, in seconds, it lives for a week; without a
    /// name it has a random one.
    pub async fn discovery_new(
        &self,
        size: u32,
        ttl_s: Option<i64>,
        token: Option<&str>,
    ) -> Result<words::NewResponse, Error> {
        let token = token.unwrap_or_default().to_owned();
        self.send(words::NewRequest { size, ttl_s: ttl_s.unwrap_or_default(), token }).await
    }

    /// Every token, and who has come; for the operator of the service.
    pub async fn discovery_list(&self) -> Result<words::ListResponse, Error> {
        self.send(words::ListRequest {}).await
    }

    /// Takes a token back with everything that is registered under it; for the operator of the service.
    pub async fn discovery_revoke(&self, token: &str) -> Result<words::RevokeResponse, Error> {
        self.send(words::RevokeRequest { token: token.to_owned() }).await
    }
}
