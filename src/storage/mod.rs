//! Bytes that survive: the write-ahead log, the overlay, the database and its snapshots.
//!
//! ```text
//!   writes: Raft thread -> Log (RAM) -> Wal (segments, fdatasync)       the log, durable before anything is promised
//!           applier -> Batch -> Overlay (RAM, two generations)          what is applied, visible at once
//!           checkpoint thread -> Database (LMDB, one durable transaction)
//!   reads:  View = LMDB read transaction + the overlay's generations
//! ```
//!
//! Promises: a log batch is durable when `append` returns; data and applied index never travel in separate
//! transactions; the log is trimmed never beyond what the database holds durably. Knows nothing of: what keys mean,
//! Raft's rules, time.

mod batch;
mod config;
mod datadir;
mod db;
mod directory;
mod disk;
mod env;
mod fault;
mod log;
mod overlay;
mod page;
mod pages;
mod read;
mod rewrite;
mod row_sum;
mod snapshot;
mod stamp;
mod store;
mod table;
mod terms;
mod view;
mod wal;

pub use batch::{Batch, Rows};
pub use config::StoreConfig;
pub use datadir::{DataDir, DataDirError, Identity};
pub use db::Sweep;
pub use disk::{DirDisk, Disk, DiskFile};
pub use fault::Fault;
pub use log::Log;
pub use pages::PageCheck;
pub use read::{Direction, Nothing, Read, Row, Write};
pub use rewrite::{NotRewritten, Rewritten};
pub use snapshot::{SnapshotCopy, SnapshotError, SnapshotHeader, Stage, Staged};
pub use stamp::Stamp;
pub use store::{CheckpointReport, Sealed, Store};
pub use table::Table;
pub use view::View;
pub use wal::{
    Entry, EntryKind, HardState, InstallMark, Recovered, TornTail, Wal, WalBatch, WalConfig,
};
