//! Settings: defaults < TOML file < environment < flags, checked and turned into what a node needs.
//!
//! ```text
//!   keys      one table: name, default, help        -> flags, config/default.toml, docs, unknown-key hints
//!   unbuilt   etcd's other flags                    -> an answer each (other_names: etcd's other names of keys)
//!   sources   file, variables, flags: every key     -> layers (figment) -> Settings (as written), each with its place
//!   etcd      the same by etcd's rules (yaml: its file)
//!   tcp       what TCP may do                       -> node::TcpRules
//!   proxy     whether it is one                     -> node::ProxyRules
//!   check     etcd's start-up checks (finding: DNS)  -> node::Config (as meant)
//!   effective all of it, with every mistake at once
//! ```
//!
//! Promises: an unknown key is an error that names its file, line and nearest right key; a key that exists does
//! something. Knows nothing of: how a node runs. No floor below knows figment.

mod auth;
mod certificates;
mod check;
mod compaction;
mod comparisons;
mod effective;
mod etcd;
mod finding;
mod gates;
mod keys;
mod layers;
mod mistakes;
mod nearest;
mod other_names;
mod outputs;
mod profile;
mod proxy;
#[cfg(test)]
mod reference;
mod sources;
mod tcp;
mod types;
mod unbuilt;
mod yaml;

pub use check::{LogFormat, Logging, Start, founders};
pub use effective::{Effective, Setting, effective, load};
pub use keys::{KEYS, Key, Kind, Section, Settings, default_toml};
pub use mistakes::Mistakes;
pub use nearest::nearest;
pub use other_names::other_names;
pub use outputs::{Outputs, Place, Rotation};
pub use profile::Profile;
pub use sources::{Rules, Sources, has_server_settings};
pub use types::{Initial, List, switch};
pub use unbuilt::{Answer, answer, answered, is_switch};
