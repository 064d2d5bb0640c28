//! The registry of a discovery service: tokens of clusters that are to be, as etcds of both protocols find them.
//!
//! ```text
//!   service    Service with the registry's methods, above one without; strangers' calls past the guard
//!   tokens     made, looked at, revoked: in the v3 keys and in the v2 tree at once
//!   admission  what may be written under a token, by what stands there (pure)
//!   guard      what a stranger may ask of etcd's methods at all (pure)
//!   rates      how often an address may ask for a fresh token (pure)
//! ```
//!
//! Every member has one. Where it is a discovery service (`discovery-service`), whoever asks over the network is a stranger:
//! he sees the tokens that he knows, and writes what a member that bootstraps writes; whoever asks over QUIC on the
//! machine itself is the operator. Knows nothing of: wires, members that bootstrap.

mod admission;
mod guard;
mod rates;
mod service;
mod tokens;

pub use service::Registry;
pub(super) use service::{Admitted, Fresh};
pub(super) use tokens::Refused;
