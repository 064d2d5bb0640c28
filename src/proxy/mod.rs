//! A service that is no member: what it is asked it asks members, over QUIC, and knows nothing of what it carries.
//!
//! ```text
//!   doors ──► Proxy (Service) ── a member in turn, the leader for writes ──► Passage ──► its native door
//!                │                  lost, silent: rests, the next one
//!   keeper ──────┘  who the members are: asked of them again and again, at first of whom the settings name
//!   readonly        a service in front that lets no change through
//! ```
//!
//! Promises: a request goes to a server only that says in its Hello which member it is, and that the members know: so
//! never to this proxy itself, and never round in a circle of proxies. What was certainly not done is asked of the next
//! member until the caller's deadline; a change whose outcome is unknown never is. A stream that loses its member ends
//! as if that member had been asked: its client begins again, and finds another one. Knows nothing of: wires, messages
//! (but for MemberList and Status, which it asks itself, and for what a read-only one must tell apart).

mod carry;
mod config;
mod keeper;
mod member;
mod members;
mod readonly;
mod service;

pub use config::{Config, Error, Finder};
pub use readonly::Readonly;
pub use service::Proxy;
