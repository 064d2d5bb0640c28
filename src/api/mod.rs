//! The front doors and what stands behind them: a door decodes to (method, message) and calls `proto::Service`.
//!
//! ```text
//!   native   QUIC, our clients        -> Service
//!   http     TCP, every etcd client   -> Service
//!   local    Service on this member's engine: writes into the log, reads on the reader pool, watches from the hub
//!   status   every error and rejection -> gRPC's code, etcd's text, and whether it may be repeated
//! ```
//!
//! Knows nothing of: consensus, storage, what keys mean.

mod http;
mod local;
mod native;
mod status;

pub use http::{Config as HttpConfig, Http, Vitals};
pub use local::{Config as LocalConfig, Local};
pub use native::{Config as NativeConfig, Native};
