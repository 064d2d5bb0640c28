//! `check perf|datascale`: whether a cluster is fast enough for a load, and how much memory keys take.
//!
//! Workloads, limits, keys and texts are etcdctl's, so that its numbers can be compared. Everything written is deleted
//! again. Knows nothing of: `bench`, which measures what these only judge.

mod args;
mod datascale;
mod perf;
mod press;
mod site;

pub(super) use args::Check;
