//! The HTTP door, over TCP: gRPC for every client of etcd's v3 API, and pages that tell how the member is.
//!
//! ```text
//!   door        takes connections, serves HTTP/2 or HTTP/1.1 on each, lets them end when the member stops
//!   sniff       which of the two a connection speaks
//!   authority   a URL where a name belongs, as etcd's clients of 2019 send it
//!   pace        how much of one connection is read at a time, and what it may send that asks for nothing
//!   session     what one connection has under way, and its bounds
//!   grpc        a request under /package.Service/Method -> Service
//!   grpc_health gRPC's own question whether a server serves
//!   pages       a request without gRPC: /health, /livez, /readyz, /version, /metrics, /debug/vars
//!   access      from which pages and under which names they may be asked
//!   gateway     the JSON gateway: /v3/...
//!   v2          etcd's v2 API: /v2/...
//!   elsewhere   the same where the door is a proxy's
//!   health      what the probes ask, of the service as a client would
//!   metrics     what the member counts (tally: what the door counts; process; exposition: the text)
//!   messages    what a client sends, cut out of its body (arriving: what is on its way)
//!   body        what it is answered
//!   words       gRPC's spellings: time-outs, texts in headers
//! ```
//!
//! Promises: the same handlers as the native door; a client that goes away is noticed; nothing is read that is longer
//! than the member takes, and no client holds more memory than its bounds. Knows nothing of: what messages mean.

mod access;
mod arriving;
mod authority;
mod body;
mod door;
mod elsewhere;
mod exposition;
mod gateway;
mod grpc;
mod grpc_health;
mod health;
mod messages;
mod metrics;
mod pace;
mod pages;
mod process;
mod session;
mod sniff;
mod tally;
mod v2;
mod words;

pub use access::Access;
pub use door::{Config, Http};
pub use elsewhere::{Elsewhere, Opening};
pub use metrics::Vitals;
