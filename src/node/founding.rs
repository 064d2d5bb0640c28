//! Who founds the cluster: as written, as DNS tells it, asked again until it does, or who meets at a discovery service.

use std::net::{SocketAddr, ToSocketAddrs};
use std::thread;
use std::time::Duration;

use crate::base::{Backoff, Clock, limits};
use crate::discovery::{Founder, Resolver, Srv, founders, peer_urls};
use crate::transport::Url;

use super::bootstrap;
use super::config::{Config, Roster, RosterMember};
use super::error::Error;
use super::gathering::{self, Part};

/// Waits between two questions to DNS.
const WAIT_FIRST: Duration = Duration::from_millis(250);
const WAIT_MAX: Duration = Duration::from_secs(2);

/// The roster as written; without one, this member alone.
pub(super) fn written(config: &Config) -> Roster {
    let mut roster = config.roster.clone();
    if roster.members.is_empty() {
        let peer_urls = config.advertise_peer_urls.clone();
        roster.members.push(RosterMember { name: config.name.clone(), peer_urls });
    }
    roster
}

/// The same, or what SRV records or a discovery service tell. Blocks while DNS does not know this cluster yet, and while
/// members of it have not come to the service.
pub(super) fn roster(config: &Config, clock: &dyn Clock) -> Result<Roster, Error> {
    if let Some(meeting) = &config.meeting {
        return block_on(gathering::roster(config, meeting, Part::Founder))?;
    }
    let Some(srv) = &config.srv else { return Ok(written(config)) };
    let found = again(clock, || {
        block_on(founders(srv, &config.name, &config.advertise_peer_urls, config.resolver))?
            .map_err(Box::new)
            .map_err(Error::Srv)
    })?;
    Ok(named(srv, found, &config.roster))
}

/// Where the members' peers find them, for a node that is none of them. Blocks as [`roster`] does; nobody is told of it.
pub(super) fn peers(config: &Config, clock: &dyn Clock) -> Result<Vec<Url>, Error> {
    if let Some(srv) = &config.srv {
        return again(clock, || {
            block_on(peer_urls(srv, config.resolver))?.map_err(Box::new).map_err(Error::Srv)
        });
    }
    let Some(meeting) = &config.meeting else {
        let members = written(config).members.into_iter();
        let others = members.filter(|member| member.name != config.name);
        let urls: Vec<Url> = others.flat_map(|member| member.peer_urls).collect();
        // Without anybody else the only one that is named may be a member on this very machine.
        return Ok(if urls.is_empty() { config.advertise_peer_urls.clone() } else { urls });
    };
    let roster = block_on(gathering::roster(config, meeting, Part::Onlooker))??;
    Ok(roster.members.into_iter().flat_map(|member| member.peer_urls).collect())
}

/// This member's entry, whose URLs are the advertised ones. Blocks while hosts have no address yet.
pub(super) fn own_entry<'a>(
    config: &Config,
    roster: &'a Roster,
    clock: &dyn Clock,
) -> Result<&'a RosterMember, Error> {
    if config.srv.is_some() {
        // It was found by its addresses; its URL is the record's.
        return bootstrap::entry(roster, &config.name);
    }
    let resolve = resolve(config.resolver);
    again(clock, || {
        bootstrap::own_entry(roster, &config.name, &config.advertise_peer_urls, &resolve)
    })
}

/// Every address behind a host; none where it has none.
pub(super) fn resolve(resolver: Resolver) -> impl Fn(&str, u16) -> Vec<SocketAddr> {
    move |host, port| {
        if resolver == Resolver::system() {
            return (host, port).to_socket_addrs().map(Iterator::collect).unwrap_or_default();
        }
        let found = block_on(resolver.addresses(host));
        let found = found.ok().and_then(Result::ok).unwrap_or_default();
        found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
    }
}

/// Tries until it works, or fails with what time does not mend, or has failed for too long.
fn again<T>(clock: &dyn Clock, mut attempt: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    let until = clock.now() + limits::DNS_PATIENCE;
    let mut backoff = Backoff::new(WAIT_FIRST, WAIT_MAX);
    let mut told = String::new();
    loop {
        let error = match attempt() {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let is_passing = match &error {
            Error::Srv(error) => error.may_pass(),
            Error::Unresolved { .. } => true,
            _ => false,
        };
        let wait = backoff.next_wait();
        if !is_passing || clock.now() + wait > until {
            return Err(error);
        }
        let text = error.to_string();
        if text != told {
            tracing::warn!("waiting for DNS: {text}");
            told = text;
        }
        thread::sleep(wait);
    }
}

fn block_on<T>(asking: impl Future<Output = T>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Thread)?;
    let done = runtime.block_on(asking);
    // A resolver of the system's that hangs must not hold us.
    runtime.shutdown_background();
    Ok(done)
}

/// As a roster: the others have no names, because nobody knows them from DNS.
fn named(srv: &Srv, found: Vec<Founder>, settings: &Roster) -> Roster {
    let mut members = Vec::new();
    for Founder { name, url } in found {
        let own = name.is_some();
        tracing::info!(domain = srv.domain, %url, own, "bootstrap from DNS");
        members.push(RosterMember { name: name.unwrap_or_default(), peer_urls: vec![url] });
    }
    Roster { members, token: settings.token.clone(), state: settings.state }
}
