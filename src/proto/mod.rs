//! Wire shapes: etcd's messages, our log entries and peer messages, and the native protocol's frames.
//!
//! The messages are generated from `proto/` and checked in (a golden test regenerates and compares them). No logic
//! lives here but pure codecs.
//!
//! ```text
//!   method   numbers and names of the calls           status   how a call fails
//!   frame    unary and stream frames                  hello    the first words, and the control stream
//!   service  the trait that doors call and a member or a proxy implements
//! ```

pub mod frame;
pub mod hello;
mod method;
mod service;
mod status;

pub use method::{Method, Shape};
pub use service::{Answers, Call, Caller, Closed, DoorEnd, Duplex, Item, Outcome, Reply, Service};
pub use status::{Code, Retry, Status};

/// `mvccpb`: key-values and events.
#[allow(
    clippy::all,
    unreachable_pub,
    clippy::allow_attributes_without_reason,
    missing_docs,
    reason = "generated"
)]
pub mod mvccpb {
    include!("generated/mvccpb.rs");
}

/// `etcdserverpb`: etcd's v3 API.
#[allow(
    clippy::all,
    unreachable_pub,
    clippy::allow_attributes_without_reason,
    missing_docs,
    reason = "generated"
)]
pub mod etcdserverpb {
    include!("generated/etcdserverpb.rs");
}

/// `quorate`: ours.
#[allow(
    clippy::all,
    unreachable_pub,
    clippy::allow_attributes_without_reason,
    missing_docs,
    reason = "generated"
)]
pub mod quorate {
    /// What enters the log.
    pub mod log {
        include!("generated/quorate.log.rs");
    }
    /// What members ask of each other.
    pub mod peer {
        include!("generated/quorate.peer.rs");
    }
}
