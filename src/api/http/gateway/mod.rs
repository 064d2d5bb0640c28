//! The JSON gateway: etcd's `/v3/...` paths. A request is an object, or several for a stream; so is the answer.
//!
//! ```text
//!   routes      a path -> a method
//!   json        objects <-> messages, by the descriptors of the protobuf files
//!   objects     what a client sends, cut out of its body
//!   serve       a request -> Service -> its answer, and etcd's shape of failures
//!   websocket   the same where the request became a websocket
//! ```
//!
//! Promises: the same handlers as gRPC, the same texts of failures. Knows nothing of: what messages mean.

mod json;
mod objects;
mod routes;
mod serve;
mod websocket;

pub(super) use json::line;
pub(super) use serve::respond;
pub(super) use websocket::{Upgrade, serve as serve_websocket};
