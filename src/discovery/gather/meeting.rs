//! Where to meet and how to get there: what the settings say, checked.

use std::time::Duration;

use super::place::Venue;
use crate::tls::{ClientFiles, Error, client_config};
use crate::transport::Url;

/// A place of a discovery service, whom to believe there, and how long to wait for it.
#[derive(Clone, Eq, PartialEq)]
pub struct Meeting {
    pub place: Venue,
    /// For `https` and QUIC.
    pub tls: ClientFiles,
    pub credentials: Option<Credentials>,
    /// A proxy of HTTP on the way, and who we are to it.
    pub proxy: Option<(Url, Option<Credentials>)>,
    /// Time until a connection stands.
    pub dial_timeout: Duration,
    /// Time for one answer.
    pub request_timeout: Duration,
    /// Silence after which gRPC's connection is asked whether it lives.
    pub keep_alive: Duration,
    /// Time for its answer.
    pub keep_alive_timeout: Duration,
}

/// A user and its password.
#[derive(Clone, Eq, PartialEq)]
pub struct Credentials {
    pub user: String,
    pub password: String,
}

impl Meeting {
    /// With etcd's times: 2 s to dial, 5 s for an answer.
    pub fn new(place: Venue) -> Self {
        Self {
            place,
            tls: ClientFiles::default(),
            credentials: None,
            proxy: None,
            dial_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(5),
            keep_alive: Duration::from_secs(2),
            keep_alive_timeout: Duration::from_secs(6),
        }
    }

    /// Whether the certificate files are what they should be, where they are needed.
    pub fn check(&self) -> Result<(), Error> {
        match self.place.is_secure() {
            true => client_config(Some(&self.tls)).map(|_| ()),
            false => Ok(()),
        }
    }
}

// Both are shown without what is secret.
impl std::fmt::Debug for Meeting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meeting").field("place", &self.place).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}
