//! Moves bytes between members, and between clients and members: QUIC, TCP for clients that speak HTTP, and nothing
//! above them.
//!
//! ```text
//!  node ── send(member, class, bytes) ──► outbox ─┐                       ┌─► PeerInbound::messages(from, class, batch)
//!          ask(member, kind, bytes)    ───────────┼── dialled connection ─┼─► PeerInbound::ask(from, kind, bytes, reply)
//!          send_snapshot(member, ..)   ───────────┘   (one per member)    └─► PeerInbound::snapshot(incoming)
//!
//!  client ─ Dialer::dial(url) ──► Connection ... streams ... ClientConnection ◄── ClientInbound::connection
//!  client ─ TCP, TLS ─────────────────► TcpConnection, bytes ──────────────────────────────► TcpInbound::connection
//! ```
//!
//! A member *sends* only on connections that it dialled, and receives on those that it accepted. Each listen address is
//! an endpoint on its own thread with a current-thread runtime; what crosses to other threads crosses in batches.
//! Every buffer has its bound before a byte of it is allocated. A lost connection loses what was in flight: nothing is
//! sent again here, because Raft repeats what it needs. The room knows members by id and messages by class; it knows
//! no Raft, no command and no key.
//!
//! A client build has only the dialling half: the member's half is behind `server`.

#[cfg(feature = "server")]
mod accepted;
#[cfg(feature = "server")]
mod ask;
#[cfg(feature = "server")]
mod bounds;
mod close;
#[cfg(feature = "server")]
mod config;
mod connection;
#[cfg(feature = "server")]
mod converse;
#[cfg(feature = "server")]
mod crowd;
mod dial;
#[cfg(feature = "server")]
mod endpoint;
mod error;
#[cfg(feature = "server")]
mod greet;
#[cfg(feature = "server")]
mod guest;
#[cfg(feature = "server")]
mod hello;
#[cfg(feature = "server")]
mod inbound;
#[cfg(feature = "server")]
mod member;
mod names;
#[cfg(feature = "server")]
mod outbox;
#[cfg(feature = "server")]
mod peer;
mod quic;
#[cfg(feature = "server")]
mod shared;
#[cfg(feature = "server")]
mod snapshot;
mod stream;
#[cfg(feature = "server")]
mod tcp;
#[cfg(feature = "server")]
mod tcp_dial;
#[cfg(test)]
#[cfg(feature = "server")]
mod tests;
#[cfg(feature = "server")]
mod throttle;
#[cfg(feature = "server")]
mod tunnel;
#[cfg(feature = "server")]
mod turnstile;
#[cfg(feature = "server")]
mod unsent;
mod url;

#[cfg(feature = "server")]
pub use bounds::{Bound, Bounds, Origin, Sizes};
pub use close::CloseCode;
#[cfg(feature = "server")]
pub use config::{Class, Config, Listener, PeerAddress, PeerStatus};
pub use connection::{Connection, Traffic};
#[cfg(feature = "server")]
pub use crowd::{Crowd, Full, Goes, Guest as Held};
pub use dial::{DialOptions, Dialer};
#[cfg(feature = "server")]
pub use error::{AskError, Error, SnapshotError};
pub use error::{DialError, Lost, StreamError};
#[cfg(feature = "server")]
pub use guest::{Guest, inquire};
#[cfg(feature = "server")]
pub use hello::Versions;
#[cfg(feature = "server")]
pub use inbound::{AskReply, ClientConnection, ClientInbound, PeerInbound, Standing};
#[cfg(feature = "server")]
pub use member::Transport;
pub use names::{Lookup, Names};
#[cfg(feature = "server")]
pub use snapshot::IncomingSnapshot;
pub use stream::{RecvStream, SendStream};
#[cfg(feature = "server")]
pub use tcp::{ByteStream, Purpose, Tcp, TcpConnection, TcpInbound, TcpListen, TcpPlace};
#[cfg(feature = "server")]
pub use tcp_dial::{TcpDialError, TcpDialer};
#[cfg(feature = "server")]
pub use tunnel::Tunnel;
#[cfg(feature = "server")]
pub use turnstile::{Turn, Turnstile};
#[cfg(feature = "server")]
pub use unsent::Unsent;
pub use url::{ParseUrlError, Url};
