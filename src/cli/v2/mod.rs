//! etcdctl's commands for etcd's v2 API: `ETCDCTL_API=2`, or a verb that no other API has.
//!
//! ```text
//!   choose ─► run ── flags, verbs, help (the words)
//!              │
//!              └► keys, watch, members, auth, health ──► cluster (endpoint after endpoint) ──► http ── TCP ──► /v2/...
//!                     settings: flags, ETCDCTL_* , profile            answer: simple, extended, json
//! ```
//!
//! Promises: the words, output, texts and exit codes of etcdctl 3.4, to a member of ours and to an etcd. Knows nothing of:
//! the native protocol, and of what the verbs of v3 are.

mod answer;
mod auth;
mod backup;
mod choose;
mod cluster;
mod failure;
mod flags;
mod grammar;
mod health;
mod help;
mod http;
mod keys;
mod members;
mod run;
mod settings;
mod verbs;
mod watch;

pub(super) use choose::is_asked_for;
pub(super) use grammar::with_verbs;
pub(super) use run::main;
