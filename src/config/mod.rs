//! Settings: defaults < TOML file < environment < flags, checked and turned into what a node needs.
//!
//! ```text
//!   keys      one table: name, default, help        -> flags, config/default.toml, unknown-key hints
//!   sources   figment layers; ETCD_* = QUORATE_*    -> Settings (as written)
//!   check     etcd's start-up checks                -> node::Config (as meant)
//! ```
//!
//! Promises: an unknown key is an error that names its file, line and nearest right key; a key that exists does
//! something. Knows nothing of: how a node runs. No floor below knows figment.

mod check;
mod keys;
mod mistakes;
mod nearest;
mod profile;
mod sources;
mod types;

pub use check::{LogFormat, Logging, Start};
pub use keys::{KEYS, Key, Kind, Section, Settings, default_toml, refusal, refused_keys};
pub use mistakes::Mistakes;
pub use nearest::nearest;
pub use profile::Profile;
pub use sources::{Sources, has_server_settings, load};
pub use types::{Initial, List};
