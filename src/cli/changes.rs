//! What is copied from one cluster to another: keys of one revision page by page, changes revision by revision, and how
//! they are parcelled into transactions. `make-mirror` and `migrate` share it.

use bytes::Bytes;

use crate::client::{Client, Delete, Error, Op, Put};
use crate::proto::mvccpb::{Event, KeyValue, event::EventType};

/// Keys of a page: no more than etcdctl's, however small they are.
const PAGE_KEYS_MAX: i64 = 1_000;

/// Keys of the first page: nobody knows yet how large the values are, and each may have more than a megabyte.
const PAGE_KEYS_FIRST: i64 = 32;

/// About so much is read with one page: enough that a round trip costs little, little enough to wait for it.
const PAGE_BYTES: usize = 2 << 20;

/// Bytes of several operations in one transaction, well below what a server takes.
pub(super) const TXN_BYTES_MAX: usize = 512 * 1024;

/// One key's change.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Change {
    /// The value, and the lease it is attached to; 0 for none.
    Put(Bytes, Bytes, i64),
    Delete(Bytes),
}

impl Change {
    pub(super) fn key(&self) -> &Bytes {
        match self {
            Self::Put(key, ..) | Self::Delete(key) => key,
        }
    }

    /// What it adds to a message, about.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Put(key, value, _) => key.len() + value.len(),
            Self::Delete(key) => key.len(),
        }
    }

    /// The lease that must be there first.
    pub(super) fn lease(&self) -> Option<i64> {
        match self {
            Self::Put(_, _, lease) => Some(*lease).filter(|lease| *lease != 0),
            Self::Delete(_) => None,
        }
    }
}

impl From<KeyValue> for Change {
    fn from(kv: KeyValue) -> Self {
        Self::Put(kv.key, kv.value, kv.lease)
    }
}

impl From<Change> for Op {
    fn from(change: Change) -> Self {
        match change {
            Change::Put(key, value, lease) => Put::new(key, value).lease(lease).into(),
            Change::Delete(key) => Delete::new(key).into(),
        }
    }
}

/// Everything that happened at one revision: one transaction of whoever did it, in which a key occurs once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Step {
    pub revision: i64,
    pub changes: Vec<Change>,
}

/// Watched events, by their revisions.
pub(super) fn steps(events: impl IntoIterator<Item = Event>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for event in events {
        let is_deletion = event.r#type() == EventType::Delete;
        let Some(kv) = event.kv else { continue };
        let revision = kv.mod_revision;
        let change = if is_deletion { Change::Delete(kv.key) } else { kv.into() };
        match steps.last_mut() {
            Some(last) if last.revision == revision => last.changes.push(change),
            _ => steps.push(Step { revision, changes: vec![change] }),
        }
    }
    steps
}

/// Changes in their order, in parcels of at most `ops` operations and about `bytes` bytes; a change alone may have more.
pub(super) fn parcels(
    changes: impl IntoIterator<Item = Change>,
    ops: usize,
    bytes: usize,
) -> Vec<Vec<Change>> {
    let mut parcels: Vec<Vec<Change>> = Vec::new();
    let mut size = 0;
    for change in changes {
        match parcels.last_mut() {
            Some(last) if last.len() < ops && size + change.bytes() <= bytes => {
                size += change.bytes();
                last.push(change);
            }
            _ => {
                size = change.bytes();
                parcels.push(vec![change]);
            }
        }
    }
    parcels
}

/// Keys from one up to another, as they were at one revision.
pub(super) struct Pages {
    client: Client,
    /// The next page begins here; none after the last one.
    next: Option<Bytes>,
    end: Bytes,
    revision: i64,
    keys: i64,
}

/// Some keys in a row, and where the row ends: nothing else lies between `from` and `end`.
pub(super) struct Page {
    pub kvs: Vec<KeyValue>,
    pub from: Bytes,
    /// etcd's `range_end`: a zero byte for no end.
    pub end: Bytes,
    /// How many keys the range had from here on.
    pub count: i64,
}

impl Pages {
    /// The keys from `from` up to `end` (a zero byte: all) at `revision`; 0 is each page as it is when it is read.
    pub(super) fn new(client: &Client, from: Bytes, end: Bytes, revision: i64) -> Self {
        // No key is empty: the smallest is a zero byte.
        let from = if from.is_empty() { Bytes::from_static(b"\0") } else { from };
        Self { client: client.clone(), next: Some(from), end, revision, keys: PAGE_KEYS_FIRST }
    }

    /// Whether the last page was read.
    pub(super) fn is_over(&self) -> bool {
        self.next.is_none()
    }

    /// The next page; after a failure the same one.
    pub(super) async fn next(&mut self) -> Result<Option<Page>, Error> {
        let Some(from) = self.next.clone() else { return Ok(None) };
        // In the keys' order, as any answer is: an etcd that is told an order reads the whole range for each page.
        let answer = self
            .client
            .get(from.clone())
            .range(self.end.clone())
            .limit(self.keys)
            .revision(self.revision)
            .await?;
        let bytes = answer.kvs.iter().map(|kv| kv.key.len() + kv.value.len()).sum();
        self.keys = page_keys(self.keys, answer.kvs.len(), bytes);
        self.next = answer.kvs.last().filter(|_| answer.more).map(|last| after(&last.key));
        let end = self.next.clone().unwrap_or_else(|| self.end.clone());
        Ok(Some(Page { kvs: answer.kvs, from, end, count: answer.count }))
    }
}

/// The very next key there could be.
fn after(key: &[u8]) -> Bytes {
    [key, b"\0"].concat().into()
}

/// How many keys to ask for, when so many were asked for and came with so many bytes. It grows slowly: what follows may be
/// larger.
fn page_keys(asked: i64, keys: usize, bytes: usize) -> i64 {
    let each = bytes.checked_div(keys).unwrap_or_default().max(1);
    let fitting = i64::try_from(PAGE_BYTES / each).unwrap_or(PAGE_KEYS_MAX);
    fitting.clamp(1, PAGE_KEYS_MAX.min(asked.saturating_mul(4)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &'static str, bytes: usize) -> Change {
        Change::Put(key.into(), vec![b'x'; bytes].into(), 0)
    }

    #[test]
    fn events_of_one_revision_stay_together() {
        let event = |key: &'static str, revision, is_deletion| Event {
            r#type: if is_deletion { EventType::Delete.into() } else { EventType::Put.into() },
            kv: Some(KeyValue {
                key: key.into(),
                value: "v".into(),
                mod_revision: revision,
                lease: 7,
                ..KeyValue::default()
            }),
            prev_kv: None,
        };
        let found = steps([event("a", 5, false), event("b", 5, true), event("a", 6, true)]);
        let put = Change::Put("a".into(), "v".into(), 7);
        assert_eq!(put.lease(), Some(7));
        assert_eq!(
            found,
            [
                Step { revision: 5, changes: vec![put, Change::Delete("b".into())] },
                Step { revision: 6, changes: vec![Change::Delete("a".into())] },
            ]
        );
    }

    #[test]
    fn parcels_keep_the_order_and_the_bounds() {
        let sizes = |changes: Vec<Change>, ops, bytes| -> Vec<usize> {
            parcels(changes, ops, bytes).iter().map(Vec::len).collect()
        };
        assert_eq!(sizes(vec![put("a", 1), put("b", 1), put("c", 1)], 2, 100), [2, 1]);
        assert_eq!(sizes(vec![put("a", 9), put("b", 9), put("c", 9)], 9, 20), [2, 1]);
        assert_eq!(sizes(vec![put("a", 1), put("b", 99), put("c", 1)], 9, 20), [1, 1, 1]);
        assert!(parcels([], 1, 1).is_empty());
        let all = parcels([put("a", 1), put("b", 1), put("c", 1)], 2, 100).concat();
        assert_eq!(all, [put("a", 1), put("b", 1), put("c", 1)]);
    }

    #[test]
    fn pages_are_as_long_as_their_values_let_them() {
        assert_eq!(page_keys(32, 32, 32 * 100), 128);
        assert_eq!(page_keys(1_000, 1_000, 1_000 * 100), 1_000);
        assert_eq!(page_keys(32, 32, 32 * 1_500_000), 1);
        assert_eq!(page_keys(1, 1, 1_500_000), 1);
        assert_eq!(page_keys(1, 1, 10), 4);
        assert_eq!(page_keys(100, 0, 0), 400);
    }
}
