//! Words typed by a person: parsed, carried out, and answered with etcdctl's output and exit codes.
//!
//! ```text
//!   run ── etcd, etcdutl (called by those names)
//!     └─── args (grammar) ──► serve, playground, proxy, config ── config ──► node
//!                        └──► bench, kv, txn, watch, lease, member, endpoint, maintenance, auth, user, role ── connect ──► client
//!                                                                                  └─ print (simple, json, table ..)
//! ```
//!
//! Promises: nobody's mistake prints a panic or a bare Debug; a mistyped word gets a suggestion; without endpoints the
//! commands find the playground of the folder. Knows nothing of: how anything is done.

mod args;
mod auth;
mod bench;
mod called;
mod cert;
mod changes;
mod check;
mod completion;
mod config;
mod connect;
mod discovery;
mod downgrade;
mod duration;
mod elect;
mod endpoint;
mod etcd;
mod etcdutl;
mod exit;
mod go;
mod kv;
mod lease;
mod lock;
mod logging;
mod maintenance;
mod member;
mod migrate;
mod mirror;
mod mistyped;
mod notify;
mod password;
mod playground;
mod print;
mod profile;
mod progress;
mod proxy;
mod resync;
mod role;
mod run;
mod selfmade;
mod serve;
mod snapshot;
mod srv;
mod stopped;
mod txn;
mod user;
mod v2;
mod watch;

pub use exit::{Code, Exit};
pub use run::main;
