//! `migrate copy|follow|verify|finish`: from a running etcd, or any cluster that speaks its gRPC, to this one.
//!
//! ```text
//!   copy ──► pass ──► walk (both sides, page by page) ──► difference, places      mark: copying R, then following R
//!   follow ► watch ─► pack ──► one transaction each, with the mark in it          mark: following R + 1, + 2, ...
//!   verify ► compare (walk, and write nothing)
//!   finish ► follow until nothing is left ──► compare ──► no mark any more
//!
//!   source: read over gRPC    destination: guarded by the mark    leases: kept alive here as long as they live there
//! ```
//!
//! Promises: killed anywhere and called again it goes on, and never leaves what looks finished and is not: the mark
//! (mark.rs) is written in the transaction that it speaks of, and every write holds only while the mark is this process's.
//! What is kept of revisions and what is not, and how an exchange in production is done, stands in docs/migration.md.

mod args;
mod compare;
mod destination;
mod difference;
mod follow;
mod leases;
mod mark;
mod pack;
mod pass;
mod patience;
mod places;
mod run;
mod source;
mod users;
mod walk;

pub(super) use args::Migrate;
