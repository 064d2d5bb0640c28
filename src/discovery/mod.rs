//! Where a cluster is, by DNS: SRV records of a domain, and addresses from a server of one's own; and how founders find
//! each other at a discovery service (gather).
//!
//! ```text
//!   Srv {domain, service} ──► records   _etcd-server-ssl._tcp  _etcd-server._tcp  _quorate._udp         ──► founders
//!                                       _etcd-client-ssl._tcp  _etcd-client._tcp  _quorate-client._udp  ──► endpoints
//!   registry   the keys of a discovery service: tokens, sizes, who has come
//!   Resolver   the system's, or the server of `dns-server`; lent to transport, it finds every host that is dialled
//! ```
//!
//! Promises: nothing is remembered from one look-up to the next, so a zone that changes is seen; every look-up ends
//! within its deadline and takes a bounded number of records; a failure says which name, which server, and what to do.
//! DNS is not believed: whoever is found here still proves by its certificate who it is. Knows nothing of: Raft,
//! data directories, what a request means.

mod endpoints;
mod error;
#[cfg(feature = "server")]
mod founders;
#[cfg(feature = "server")]
mod gather;
mod records;
mod registry;
mod resolver;

pub use endpoints::endpoints;
pub use error::{Absent, LookupError, SrvError};
#[cfg(feature = "server")]
pub use founders::{Founder, founders, peer_urls};
#[cfg(feature = "server")]
pub use gather::{
    Credentials, Directory, Failure, GatherError, Listing, Meeting, Own, Registered, Registry,
    Tokened, V2, V3, Venue, founded, gather,
};
pub use records::Srv;
pub use registry::{Entry, Place, REGISTRY, Token, clash, size, token_of};
pub use resolver::Resolver;
