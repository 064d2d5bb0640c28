//! Many versions of one key, over tables of bytes.
//!
//! ```text
//!              revision  2      3      4      5      6      7          a reader at revision 5 sees
//!        key  a          put a1        put a2               del        a = a2
//!             b                 put b1        del                      (b is deleted)
//!             c                                      put c1            (c is not yet)
//!
//!   keys       escaped(key) | !main | !sub -> meta          newest version first: "the version at revision r" is one seek
//!   revisions  main | sub [| piece]        -> meta, key, value     the history, appended; watch, HashKV, compaction walk it
//!   counts     first key of a chunk        -> live keys in it      derived; "how many" without a walk
//! ```
//!
//! One writing transaction is one main revision; the changes inside it are numbered by `sub` from 0. Rows are
//! immutable and unique by revision, so whoever reads at revision r reads the same for ever, until a compaction above
//! r. The rows byte by byte: docs/storage.md.
//!
//! Promises: same rows, same answers, same bytes on every member; a read never visits more than a bounded number of
//! old versions per key; HashKV depends on content alone. Knows nothing of: leases' meaning, requests, the log, time.

mod compact;
mod count;
mod counts;
mod event;
mod format;
mod hash;
mod history;
#[cfg(test)]
mod model;
mod reader;
mod writer;

pub use compact::{Progress, compact_slice, compaction};
pub use count::Whole;
pub use counts::{Counts, CountsDelta};
pub use event::{Event, EventBatch, EventKind, KeyValue, Version};
pub use format::{KeyTooLong, check_key};
pub use hash::{Hasher, hash};
pub use history::{History, history};
pub use reader::{End, Found, RangeOptions, Reader, Slice, value_at};
pub use writer::Writer;
