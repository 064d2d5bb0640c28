//! One member: builds every room, joins them by channels, drains them in order.

mod config;

pub use config::{ClusterState, Config, Listener, Roster, RosterMember, TlsFiles};
