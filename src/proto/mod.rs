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
pub use service::{
    Admitted, Answers, Call, Caller, Closed, DoorEnd, Duplex, Item, Outcome, Reply, Service,
};
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

/// `authpb`: what etcd's requests say of users and roles.
#[allow(
    clippy::all,
    unreachable_pub,
    clippy::allow_attributes_without_reason,
    missing_docs,
    reason = "generated"
)]
pub mod authpb {
    include!("generated/authpb.rs");
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

/// `v3lockpb`: etcd's locks as a service.
#[allow(
    clippy::all,
    unreachable_pub,
    clippy::allow_attributes_without_reason,
    missing_docs,
    reason = "generated"
)]
pub mod v3lockpb {
    include!("generated/v3lockpb.rs");
}

/// `v3electionpb`: etcd's elections as a service.
#[allow(
    clippy::all,
    unreachable_pub,
    clippy::allow_attributes_without_reason,
    missing_docs,
    reason = "generated"
)]
pub mod v3electionpb {
    include!("generated/v3electionpb.rs");
}

/// The files of etcd's packages, as protobuf describes files: an encoded `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!("generated/etcd.binpb");

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
    /// What a discovery service is asked about its tokens.
    pub mod registry {
        include!("generated/quorate.registry.rs");
    }
}
