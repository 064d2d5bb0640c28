//! The native door: QUIC streams to [`Service`](crate::proto::Service) and back (docs/protocol.md).
//!
//! ```text
//!   ClientConnection -> Hello -> accept streams
//!        control stream    SetToken in, GoAway out
//!        unary stream      frames -> one batch per wake-up -> Service::call
//!                          answers from any thread -> one write per wake-up; large ones on streams of their own
//!        method's stream   messages both ways <-> Service::open
//! ```
//!
//! Everything is bounded: requests unanswered per connection, answers unsent per stream, streams, frames, the time for
//! a Hello. It knows methods by number and shape, and no message.

mod connection;
mod door;
mod stream;
mod unary;

pub use door::{Config, Native};
