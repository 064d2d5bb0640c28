//! Parsers of foreign bytes that are pure, shown what nobody meant (docs/testing.md, "Inputs that nobody meant"). Those behind
//! doors are in `tests/it/fuzz`.
//!
//! Each target has a corpus in `fuzz/corpus`; an input that made somebody fall is kept there for ever.
//!
//! - `mutate`: where inputs come from; the doors' tests use it, too.
//! - `judge`: what every parser owes to every input.
//! - `wires`: frames, greetings, Raft's messages, entries of the log, etcd's requests and what is asked of their shape.
//! - `disks`: segments of the log, headers of snapshots, files of the database, rows.
//! - `texts`: URLs, names, entries of a discovery service, numbers and durations.
//! - `settings`: configuration in TOML, YAML, variables and flags.
//! - `papers`: certificates, lists of revoked ones, keys.

mod disks;
mod judge;
pub(crate) mod mutate;
mod papers;
mod settings;
mod texts;
mod wires;
