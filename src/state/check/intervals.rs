//! No branch of a transaction may write one key twice: two puts, or a put under a delete, in any order, with what
//! inner transactions bring. The two branches of one transaction exclude each other; deletes may overlap.
//!
//! A delete without an end (`range_end` one zero byte) hides no put, as in etcd: the put is done in its place.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;

use super::malformed::Malformed;
use crate::base::KeyRange;
use crate::proto::etcdserverpb::RequestOp;
use crate::proto::etcdserverpb::request_op::Request;

pub(super) fn check(branch: &[RequestOp]) -> Result<(), Malformed> {
    writes(branch).map(|_| ())
}

/// What a branch writes.
#[derive(Default)]
struct Writes {
    puts: BTreeSet<Bytes>,
    deletes: Spans,
}

impl Writes {
    /// Joins what happens together with this.
    fn join(&mut self, mut other: Self) -> Result<(), Malformed> {
        if self.puts.len() < other.puts.len() {
            std::mem::swap(self, &mut other);
        }
        let collides = other
            .puts
            .iter()
            .any(|key| self.puts.contains(key) || self.deletes.contains(key))
            || other.deletes.iter().any(|span| self.puts.range::<Bytes, _>(span).next().is_some());
        if collides {
            return Err(Malformed::DuplicateKey);
        }
        self.unite(other);
        Ok(())
    }

    /// Adds what happens instead of this.
    fn unite(&mut self, mut other: Self) {
        self.puts.append(&mut other.puts);
        for (start, end) in other.deletes.0 {
            self.deletes.insert(start, end);
        }
    }
}

fn writes(branch: &[RequestOp]) -> Result<Writes, Malformed> {
    let mut all = Writes::default();
    for op in branch {
        let mut one = Writes::default();
        match &op.request {
            Some(Request::RequestPut(put)) => {
                one.puts.insert(put.key.clone());
            }
            Some(Request::RequestDeleteRange(delete)) => {
                one.deletes
                    .insert_range(KeyRange::new(delete.key.clone(), delete.range_end.clone()));
            }
            Some(Request::RequestTxn(txn)) => {
                one = writes(&txn.success)?;
                one.unite(writes(&txn.failure)?);
            }
            Some(Request::RequestRange(_)) | None => continue,
        }
        all.join(one)?;
    }
    Ok(all)
}

/// Disjoint spans of keys, start -> end (exclusive).
#[derive(Default)]
struct Spans(BTreeMap<Bytes, Bytes>);

impl Spans {
    fn insert_range(&mut self, range: KeyRange) {
        match range {
            KeyRange::Span { start, end } if start < end => self.insert(start, end),
            KeyRange::Span { .. } | KeyRange::From(_) => {}
            KeyRange::Single(key) => {
                let end = [key.as_ref(), b"\0"].concat();
                self.insert(key, end.into());
            }
        }
    }

    /// Swallows the spans that it touches.
    fn insert(&mut self, mut start: Bytes, mut end: Bytes) {
        if let Some((before, its_end)) = self.0.range(..=start.clone()).next_back()
            && *its_end >= start
        {
            start = before.clone();
        }
        while let Some((key, its_end)) = self.0.range(start.clone()..=end.clone()).next() {
            let key = key.clone();
            end = end.max(its_end.clone());
            self.0.remove(&key);
        }
        self.0.insert(start, end);
    }

    fn contains(&self, key: &Bytes) -> bool {
        self.0.range(..=key.clone()).next_back().is_some_and(|(_, end)| key < end)
    }

    fn iter(&self) -> impl Iterator<Item = (Bound<&Bytes>, Bound<&Bytes>)> {
        self.0.iter().map(|(start, end)| (Bound::Included(start), Bound::Excluded(end)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::etcdserverpb::{DeleteRangeRequest, PutRequest, TxnRequest};

    fn put(key: &'static str) -> RequestOp {
        let key = Bytes::from(key);
        let put = PutRequest { key, ..PutRequest::default() };
        RequestOp { request: Some(Request::RequestPut(put)) }
    }

    fn delete(key: &'static str, range_end: &'static str) -> RequestOp {
        let (key, range_end) = (Bytes::from(key), Bytes::from(range_end));
        let delete = DeleteRangeRequest { key, range_end, prev_kv: false };
        RequestOp { request: Some(Request::RequestDeleteRange(delete)) }
    }

    fn txn(success: Vec<RequestOp>, failure: Vec<RequestOp>) -> RequestOp {
        let txn = TxnRequest { compare: Vec::new(), success, failure };
        RequestOp { request: Some(Request::RequestTxn(txn)) }
    }

    #[test]
    fn a_key_is_written_once_in_a_branch() {
        let fine = [
            vec![put("a"), put("b"), delete("c", "")],
            vec![delete("a", "d"), delete("b", "z"), put("z")],
            vec![delete("d", "a"), put("b")],
            vec![delete("a", "\0"), put("zz")],
            vec![put("a"), delete("\0", "\0")],
            vec![txn(vec![put("a")], vec![]), delete("a", "\0")],
            vec![txn(vec![put("a")], vec![put("a")])],
            vec![txn(vec![put("a")], vec![delete("a", "")])],
            vec![delete("a", "b"), put("b"), txn(vec![put("c")], vec![delete("c", "e")])],
        ];
        for branch in fine {
            assert_eq!(check(&branch), Ok(()), "{branch:?}");
        }
        let twice = [
            vec![put("a"), put("a")],
            vec![put("b"), delete("a", "c")],
            vec![delete("a", "c"), put("b")],
            vec![delete("a", ""), delete("b", ""), put("a")],
            vec![put("a"), txn(vec![], vec![put("a")])],
            vec![txn(vec![put("a")], vec![]), txn(vec![], vec![put("a")])],
            vec![txn(vec![put("b")], vec![]), delete("a", "c")],
            vec![txn(vec![put("b")], vec![]), txn(vec![delete("a", "c")], vec![])],
            vec![txn(vec![delete("a", "c")], vec![]), put("b")],
            vec![
                txn(vec![txn(vec![delete("a", "c")], vec![])], vec![]),
                txn(vec![put("b")], vec![]),
            ],
        ];
        for branch in twice {
            assert_eq!(check(&branch), Err(Malformed::DuplicateKey), "{branch:?}");
        }
    }

    #[test]
    fn spans_swallow_what_they_touch() {
        let mut spans = Spans::default();
        for (start, end) in [("d", "f"), ("a", "b"), ("h", "j"), ("e", "i"), ("b", "c")] {
            spans.insert(Bytes::from(start), Bytes::from(end));
        }
        let joined: Vec<_> =
            spans.0.iter().map(|(start, end)| (start.clone(), end.clone())).collect();
        let span = |start, end| (Bytes::from(start), Bytes::from(end));
        assert_eq!(joined, [span("a", "c"), span("d", "j")]);
        spans.insert_range(KeyRange::new("bb".into(), "e".into()));
        assert_eq!(spans.0.len(), 1);
        assert!(spans.contains(&Bytes::from("i")) && !spans.contains(&Bytes::from("A")));
    }
}
