//! Answers as etcdctl prints them: simple, fields, table, JSON and protobuf.
//!
//! Every answer knows its shapes ([`Show`]); the [`Printer`] chooses one and writes it at once. Bytes of keys and
//! values go out as they are. Knows nothing of: connections.

mod auth;
mod cluster;
mod json;
mod kv;
mod lease;
mod page;
mod registry;
mod snapshot;
mod table;

pub(super) use auth::{AuthStatus, Changed, RoleShown, Roles, UserShown, Users};
pub(super) use cluster::{
    Alarms, Downgraded, EndpointHash, EndpointHealth, EndpointStatus, Hashes, Healths, MemberAdded,
    MemberChanged, Members, Moved, Statuses,
};
pub(super) use json::escaped;
pub(super) use kv::{Deleted, Got, Stored, Transacted, Watched};
pub(super) use lease::{Granted, KeptAlive, Leases, Remaining, Revoked};
pub(super) use page::{Page, Printer, Show};
pub(super) use registry::{TokenMade, TokenRevoked, Tokens};
pub(super) use snapshot::Inspected;
pub(super) use table::Table;
