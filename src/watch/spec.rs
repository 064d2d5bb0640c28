//! What a client asks for, and what it is refused.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::base::{KeyRange, limits};

/// One client stream; the caller numbers them and never uses a number twice.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct StreamId(pub u64);

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream {}", self.0)
    }
}

/// One watcher.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Spec {
    pub range: KeyRange,
    /// First revision wanted; 0 is from now on, and one to come is allowed.
    pub start_revision: i64,
    /// Tell the revision when nothing happened for a while.
    pub progress_notify: bool,
    pub no_put: bool,
    pub no_delete: bool,
    /// For the one who encodes: previous values are wanted.
    pub prev_kv: bool,
    /// For the one who encodes: responses may be cut.
    pub fragment: bool,
    /// The id that the client chose; none and 0 let the hub number.
    pub id: Option<i64>,
    /// Somebody has found that the client may not watch this: it is refused when its turn comes.
    pub denied: Option<Denial>,
}

/// Why a client may not watch; grpc-go's words around etcd's, because that is what its clients are told.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Denial {
    #[error("rpc error: code = Unauthenticated desc = etcdserver: invalid auth token")]
    Token,
    #[error("rpc error: code = InvalidArgument desc = etcdserver: revision of auth store is old")]
    OldRevision,
    #[error("rpc error: code = InvalidArgument desc = etcdserver: user name is empty")]
    Nobody,
    #[error("rpc error: code = PermissionDenied desc = etcdserver: permission denied")]
    Permission,
}

/// A watch request's two fields as etcd reads them: the empty key is the smallest.
pub fn range(key: Bytes, range_end: Bytes) -> KeyRange {
    let key = if key.is_empty() { Bytes::from_static(&[0]) } else { key };
    KeyRange::new(bound(key), bound(range_end))
}

/// No key is longer than [`limits::KEY_ESCAPED_BYTES_MAX`]: one byte more of a bound decides everything, and the rest, and the
/// message around it, is not kept for as long as somebody watches.
fn bound(bytes: Bytes) -> Bytes {
    let kept = bytes.len().min(limits::KEY_ESCAPED_BYTES_MAX + 1);
    Bytes::copy_from_slice(&bytes[..kept])
}

/// Why a watcher was not created; the texts are etcd's, because clients compare them.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error("mvcc: watcher range is empty")]
    EmptyRange,
    #[error("mvcc: duplicate watch ID provided on the WatchStream")]
    DuplicateId,
    /// A negative start revision.
    #[error("etcdserver: mvcc: required revision has been compacted")]
    Compacted,
    #[error("{0}")]
    Denied(Denial),
    #[error("too many watchers on one stream, at most {0} are served: open another stream")]
    TooMany(usize),
    #[error(
        "too many watchers on one member, at most {0} are served: watch with fewer, or at another member"
    )]
    TooManyOfAll(usize),
}

/// Bounds of the hub; tests want them smaller.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Bytes of deliveries that a stream has not taken, at which it is slow.
    pub stream_queue_bytes_max: usize,
    /// The same of all streams; from half of it on each is slow at its share, but not below `stream_queue_bytes_min`.
    pub queues_bytes_max: usize,
    pub stream_queue_bytes_min: usize,
    /// Of all streams, beyond which each may have only `watchers_per_stream_min`.
    pub watchers_max: usize,
    pub watchers_per_stream_min: usize,
    pub watchers_per_stream_max: usize,
    /// Between two progress messages of a quiet watcher; a stream adds up to a tenth, so that they spread.
    pub progress_interval: Duration,
    /// Revisions and bytes that one slice of history brings.
    pub catchup_revisions_max: usize,
    pub catchup_bytes_max: usize,
    /// The last batches, kept so that whoever is nearly there needs no read.
    pub recent_revisions_max: usize,
    pub recent_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            stream_queue_bytes_max: limits::WATCH_STREAM_QUEUE_BYTES_MAX,
            queues_bytes_max: limits::WATCH_QUEUES_BYTES_MAX,
            stream_queue_bytes_min: limits::WATCH_STREAM_QUEUE_BYTES_MIN,
            watchers_max: limits::WATCHERS_MAX,
            watchers_per_stream_min: limits::WATCHERS_PER_STREAM_MIN,
            watchers_per_stream_max: limits::WATCHERS_PER_STREAM_MAX,
            progress_interval: limits::WATCH_PROGRESS_INTERVAL,
            catchup_revisions_max: limits::WATCH_CATCHUP_REVISIONS,
            catchup_bytes_max: limits::WATCH_CATCHUP_BYTES_MAX,
            recent_revisions_max: limits::WATCH_RECENT_REVISIONS_MAX,
            recent_bytes_max: limits::WATCH_RECENT_BYTES_MAX,
        }
    }
}
