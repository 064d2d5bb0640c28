//! The front doors and what stands behind them: a door decodes to (method, message) and calls `proto::Service`.
//!
//! ```text
//!   native   QUIC, our clients        -> Service
//!   http     TCP, every etcd client   -> Service
//!   local    Service on this member's engine: writes into the log, reads on the reader pool, watches from the hub
//!   quota    what may still be written, whichever door it comes through
//!   auth     Service that asks who may do what, above one that does what it is told
//!   recipes  Service with etcd's locks and elections, above one without
//!   registry Service with the tokens of a discovery service, above one without
//!   ask      a Service asked from inside (denial: a watcher that was refused on its way; desk: where one connection's calls and answers wait for each other)
//!   status   every error and rejection -> gRPC's code, etcd's text, and whether it may be repeated
//! ```
//!
//! Knows nothing of: consensus, storage, what keys mean.

mod ask;
mod auth;
mod denial;
mod desk;
mod http;
mod local;
mod native;
mod quota;
mod recipes;
mod registry;
mod status;

pub use auth::{Config as AuthConfig, Guard, TokenError, TokenKeys, TokenKind};
pub use http::{Access as HttpAccess, Config as HttpConfig, Elsewhere, Http, Opening, Vitals};
pub use local::{Config as LocalConfig, Local};
pub use native::{Config as NativeConfig, Native};
pub use quota::Quota;
pub use recipes::Recipes;
pub use registry::Registry;
