//! Settings: defaults < TOML file < environment < flags, checked and turned into what a node needs.
//!
//! ```text
//!   keys      one table: name, default, help        -> flags, config/default.toml, docs, unknown-key hints
//!   unbuilt   etcd's other flags                    -> an answer each
//!   sources   file, variables, flags: every key     -> layers (figment) -> Settings (as written), each with its place
//!   tcp       what TCP may do                       -> node::TcpRules
//!   proxy     whether it is one                     -> node::ProxyRules
//!   check     etcd's start-up checks (finding: DNS)  -> node::Config (as meant)
//!   effective all of it, with every mistake at once
//! ```
//!
//! Promises: an unknown key is an error that names its file, line and nearest right key; a key that exists does
//! something. Knows nothing of: how a node runs. No floor below knows figment.

mod check;
mod effective;
mod finding;
mod keys;
mod layers;
mod mistakes;
mod nearest;
mod profile;
mod proxy;
#[cfg(test)]
mod reference;
mod sources;
mod tcp;
mod types;
mod unbuilt;

pub use check::{LogFormat, Logging, Start, founders};
pub use effective::{Effective, Setting, effective, load};
pub use keys::{KEYS, Key, Kind, Section, Settings, default_toml};
pub use mistakes::Mistakes;
pub use nearest::nearest;
pub use profile::Profile;
pub use sources::{Sources, has_server_settings};
pub use types::{Initial, List};
pub use unbuilt::{Answer, answer, answered};
