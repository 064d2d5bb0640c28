//! The real program, one module per capability.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod crash;
mod harness;
mod native;
