//! Founders that know nothing of each other but a place where they meet: a token of a discovery service.
//!
//! ```text
//!   Meeting {place, tls, credentials, ..}     what the settings say (meeting; place reads URLs)
//!   gather, founded ─► Registry: size, entries, register, change        (founded only looks who has come)
//!               ├─ V2   a URL: etcd's v2 keys over HTTP/1.1
//!               ├─ V3   a token and endpoints: etcd's KV and Watch over gRPC      (wire: TCP, TLS, a proxy in between)
//!               └─ whoever else reads and writes the same keys
//!   entry    what stands in a registry, read with care: strangers write there
//! ```
//!
//! Promises: who was ended goes on where it was, and who waits outlives the service's restarts; all who come to one
//! answer come to the same; a mistake of settings or of the registry ends it with etcd's text and what to do, everything
//! else is tried again, later each time.

mod entry;
mod error;
mod gathering;
mod meeting;
mod place;
mod v2;
mod v3;
mod wire;

pub use entry::Registered;
pub use error::{Failure, GatherError};
pub use gathering::{Listing, Own, Registry, founded, gather};
pub use meeting::{Credentials, Meeting};
pub use place::{Directory, Tokened, Venue};
pub use v2::V2;
pub use v3::V3;
