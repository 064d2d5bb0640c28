//! etcd's v2 API: plain HTTP and JSON on `/v2/...`, over the tree that `state` keeps beside the versioned keys.
//!
//! ```text
//!   routes    a path -> one of the pages below; what is not clean is sent to what is
//!   form      parameters of query and body, by Go's rules
//!   request   a form -> what is asked of the tree, or etcd's error
//!   keys      /v2/keys: reads, writes
//!   watch     /v2/keys?wait=true: long polls and streams
//!   media     what a body is called
//!   members   /v2/members, /v2/machines
//!   stats     /v2/stats
//!   rates     appends in a second, for stats
//!   registry  /new, and what strangers may do at a discovery service
//!   auth      /v2/auth: users, roles
//!   access    who asks, and what he may
//!   passwords hashed and compared
//!   json      etcd's objects, written as Go writes them
//! ```
//!
//! Promises: etcd 3.4's statuses, headers and texts. Knows nothing of: what a change of the tree means.

mod access;
mod auth;
mod form;
mod json;
mod keys;
mod media;
mod members;
mod passwords;
mod rates;
mod registry;
mod request;
mod routes;
mod stats;
mod watch;

pub(super) use rates::Rates;
pub(super) use registry::fresh;
pub(super) use routes::{not_allowed, respond};
