//! The write-ahead log: what a member promised is on its disk before the promise leaves.
//!
//! ```text
//!   0000000000000007.wal        0000000000000008.wal            0000000000000005.spare
//!   +--------+-----+-----+--+   +--------+-----+-----+-------+   trimmed, waits to be
//!   | header |batch|batch|//|   | header |batch|batch| zeros |   written over
//!   +--------+-----+-----+--+   +--------+-----+-----+-------+
//!     hard state, base,           `-- one write, one fdatasync each, never two in flight
//!     ids, generation
//! ```
//!
//! Promises: a batch is durable when `append` returns; a batch that was being written at a crash is cut; damage before
//! it is refused with file and offset, never cut; after a sync that failed nothing is written again. The bytes are in
//! `docs/storage.md`. Knows nothing of: Raft's rules, what entries mean, the database (but for its applied index and
//! generation at open).

mod format;
mod open;
mod record;
mod scan;
mod segment;
mod writer;

pub(super) use format::{decode_entry, entry_bytes};
pub use record::{
    Entry, EntryKind, HardState, InstallMark, Recovered, TornTail, WalBatch, WalConfig,
};
pub(super) use segment::segment_name;
pub use writer::Wal;
