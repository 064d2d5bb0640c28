//! What running members tell somebody who is no member yet: who belongs to the cluster.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;

use crate::base::Clock;
use crate::engine::AskKind;
use crate::proto::quorate::peer::{MembersRequest, MembersResponse};
use crate::tls::Keychain;
use crate::transport::{Guest, Names, Url, inquire};

use super::config::Roster;
use super::error::Error;
use super::versions::VERSIONS;

/// Asks everybody of the roster but `own`, side by side.
pub(super) struct Inquiry {
    pub name: String,
    pub keychain: Arc<Keychain>,
    pub clock: Arc<dyn Clock>,
    pub names: Names,
    pub urls: Vec<Url>,
}

/// How long a joiner asks before it gives up.
const JOIN_PATIENCE: Duration = Duration::from_secs(10);
/// How long one answer may take.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);
/// How long a founder waits for somebody who knows it already; usually there is nobody yet.
pub(super) const FOUNDING_PATIENCE: Duration = Duration::from_secs(1);

impl Inquiry {
    pub(super) fn new(
        name: &str,
        roster: &Roster,
        keychain: &Arc<Keychain>,
        clock: &Arc<dyn Clock>,
        names: Names,
    ) -> Self {
        let others = roster.members.iter().filter(|member| member.name != name);
        Self {
            name: name.to_owned(),
            keychain: Arc::clone(keychain),
            clock: Arc::clone(clock),
            names,
            urls: others.flat_map(|member| member.peer_urls.clone()).collect(),
        }
    }

    /// What each URL answered within `patience`.
    pub(super) fn once(&self, patience: Duration) -> Vec<Result<MembersResponse, String>> {
        let asking: Vec<_> = self
            .urls
            .iter()
            .map(|url| {
                let guest = Guest {
                    name: self.name.clone(),
                    versions: VERSIONS,
                    keychain: Arc::clone(&self.keychain),
                    clock: Arc::clone(&self.clock),
                    names: self.names.clone(),
                };
                let url = url.clone();
                thread::spawn(move || ask(&guest, &url, patience))
            })
            .collect();
        asking
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err("the inquiry panicked".to_owned())))
            .collect()
    }

    /// The first answer of anybody, for as long as a joiner is patient.
    pub(super) fn until_answered(&self) -> Result<MembersResponse, Error> {
        let until = self.clock.now() + JOIN_PATIENCE;
        loop {
            let mut tried = Vec::new();
            for answer in self.once(ANSWER_PATIENCE) {
                match answer {
                    Ok(told) if !told.members.is_empty() => return Ok(told),
                    Ok(_) => {}
                    Err(error) => tried.push(error),
                }
            }
            if self.clock.now() >= until || self.urls.is_empty() {
                if tried.is_empty() {
                    tried
                        .push("initial-cluster names nobody else who knows the members".to_owned());
                }
                return Err(Error::NoPeerAnswers { tried });
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

fn ask(guest: &Guest, url: &Url, patience: Duration) -> Result<MembersResponse, String> {
    let body = Bytes::from(MembersRequest {}.encode_to_vec());
    let answer = inquire(guest, url, AskKind::Members as u16, body, patience)
        .map_err(|error| format!("{url}: {error}"))?;
    MembersResponse::decode(answer).map_err(|error| format!("{url}: {error}"))
}
