//! Real QUIC on loopback: who gets in, and what members say to each other.

mod members;
mod mtls;
mod renewal;
mod restart;
mod rig;
