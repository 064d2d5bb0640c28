//! What a member's transport is built from, and what it reports.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{Bounds, Error, Names, Url, Versions};
use crate::base::{Clock, ClusterId, MemberId, Moment};
use crate::tls::{Doors, Keychain, Scheme};

/// Streams of messages that do not wait for each other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Class {
    /// Heartbeats and votes.
    Control,
    Append,
}

/// One UDP address and what it lets in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Listener {
    pub address: SocketAddr,
    pub doors: Doors,
}

impl Listener {
    /// The endpoints for `listen-peer-urls` and `listen-client-urls`: one per address. Members are let in at the first
    /// list's addresses only. Clients are let in at both lists', at an address of members alone under the promise of its
    /// URL: with `https`, if any client URL says so too (else there is nothing to believe clients by); with `http`, if
    /// no client URL says `https` (else there would be a way around it).
    pub fn of(peers: &[Url], clients: &[Url]) -> Result<Vec<Self>, Error> {
        let mut listeners: BTreeMap<SocketAddr, Doors> = BTreeMap::new();
        let all = peers.iter().map(|url| (url, true)).chain(clients.iter().map(|url| (url, false)));
        for (url, for_peers) in all {
            let doors = listeners.entry(url.bind_address()?).or_default();
            let door = if for_peers { &mut doors.peers } else { &mut doors.clients };
            if door.is_some_and(|scheme| scheme != url.scheme) {
                return Err(Error::Listeners(format!("{url} is listed with http and https")));
            }
            *door = Some(url.scheme);
        }
        let secure = clients.iter().any(|url| url.scheme == Scheme::Https);
        for doors in listeners.values_mut().filter(|doors| doors.clients.is_none()) {
            doors.clients = doors.peers.filter(|scheme| (*scheme == Scheme::Https) == secure);
        }
        Ok(listeners.into_iter().map(|(address, doors)| Self { address, doors }).collect())
    }
}

/// What a member's transport is built from.
#[derive(Clone)]
pub struct Config {
    pub cluster: ClusterId,
    pub member: MemberId,
    pub name: String,
    /// Drawn at each start of the process: tells a restart from a second connection.
    pub boot_nonce: u64,
    /// The same at each start of this member, and a secret: with it a restarted member answers packets of connections
    /// that its earlier process had, so that their other ends need not wait for silence.
    pub reset_secret: [u8; 32],
    pub versions: Versions,
    /// `initial-advertise-peer-urls`: where others dial this member.
    pub advertise_peer_urls: Vec<Url>,
    pub listeners: Vec<Listener>,
    pub keychain: Arc<Keychain>,
    pub clock: Arc<dyn Clock>,
    /// Who knows the addresses of members that are dialled by name.
    pub names: Names,
    /// Kinds of ask that one who is no member yet may ask.
    pub guest_asks: Vec<u16>,
    /// What strangers may take, of all wires together.
    pub bounds: Arc<Bounds>,
    /// Messages waiting for one peer and class; `limits::OUTBOX_BYTES_MAX`.
    pub outbox_bytes_max: usize,
}

/// Where a member can be dialled; the URLs are tried in turn.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PeerAddress {
    pub member: MemberId,
    pub urls: Vec<Url>,
}

/// How the connection that we dialled to one member stands.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerStatus {
    pub member: MemberId,
    pub connected: bool,
    /// Since when it is, or is not.
    pub since: Moment,
    pub url: Option<Url>,
    pub rtt: Option<Duration>,
    pub outbox_bytes: usize,
    /// Messages dropped since the start.
    pub dropped: u64,
    /// Why the last dial, or the last connection, failed.
    pub last_error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_let_in_where() {
        // (listen-peer-urls, listen-client-urls, port: members / clients ...)
        for (peers, clients, expected) in [
            ("http://h:1", "http://h:2", "1: http/http, 2: -/http"),
            ("https://h:1", "https://h:2", "1: https/https, 2: -/https"),
            ("https://h:1", "http://h:2", "1: https/-, 2: -/http"),
            ("http://h:1", "https://h:2", "1: http/-, 2: -/https"),
            ("http://h:1", "http://h:2,https://h:3", "1: http/-, 2: -/http, 3: -/https"),
            ("https://h:1", "http://h:2,https://h:3", "1: https/https, 2: -/http, 3: -/https"),
            ("https://h:1", "https://h:1", "1: https/https"),
            ("https://h:1", "http://h:1", "1: https/http"),
            ("https://h:1,https://h:2", "https://h:2", "1: https/https, 2: https/https"),
        ] {
            let urls = |text: &str| -> Vec<Url> {
                let url = |url: &str| url.replace("/h:", "/127.0.0.1:").parse().unwrap();
                text.split(',').map(url).collect()
            };
            let word = |scheme: Option<Scheme>| match scheme {
                None => "-",
                Some(Scheme::Http) => "http",
                Some(Scheme::Https) => "https",
            };
            let found: Vec<String> = Listener::of(&urls(peers), &urls(clients))
                .unwrap()
                .iter()
                .map(|it| {
                    let Doors { peers, clients } = it.doors;
                    format!("{}: {}/{}", it.address.port(), word(peers), word(clients))
                })
                .collect();
            assert_eq!(found.join(", "), expected, "{peers} and {clients}");
        }
    }
}
