//! etcd's modes of TLS, each on both wires: QUIC by the command line, TCP by a client of HTTP that chooses its TLS.

pub(super) mod client;
mod modes;

pub(super) use client::Tls;
