//! Called `etcd`: a server and nothing else, by etcd's rules.
//!
//! ```text
//!   flags   Go's way of reading words -> settings as written
//!   run     settings -> a member, with an etcd's lines, exit codes and end
//!   usage   what `--help` shows
//!   others  gateway, grpc-proxy: what etcd starts beside a server
//! ```

mod flags;
mod gateway;
mod grpc_proxy;
mod others;
mod run;
mod usage;

pub(super) use run::main;
