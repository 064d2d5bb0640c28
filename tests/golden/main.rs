//! Behaviour as transcripts, and files that must equal what they are generated from.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod generated;
mod store;
