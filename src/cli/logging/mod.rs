//! Logs: for people on a terminal, JSON otherwise; to stderr, stdout and files, as the settings say.
//!
//! ```text
//!   start   settings -> the log of this process
//!   zap     the lines of an etcd, for whoever reads them
//!   places  stdout, stderr, files that begin anew
//! ```

mod places;
mod start;
mod zap;

pub(super) use start::{start, start_as_etcd};
