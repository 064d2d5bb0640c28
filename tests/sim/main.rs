//! The simulated world.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by failing")]
#![allow(dead_code, reason = "some knobs of the simulated parts are for the golden transcripts")]

mod disk;
mod wal;
