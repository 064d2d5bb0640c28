//! The union of key ranges: what a user may read, or write.

use bytes::Bytes;

use crate::base::KeyRange;

/// The smallest key: no key is empty.
const FIRST: &[u8] = &[0];

/// Disjoint spans that do not touch, ascending; without an end one goes on for ever.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Spans(Vec<(Bytes, Option<Bytes>)>);

impl Spans {
    pub(super) fn union(ranges: impl IntoIterator<Item = KeyRange>) -> Self {
        let ranges = ranges.into_iter().filter(|range| !range.is_empty());
        let mut spans: Vec<(Bytes, Option<Bytes>)> = ranges.map(|range| span(&range)).collect();
        spans.sort_unstable();
        let mut union: Vec<(Bytes, Option<Bytes>)> = Vec::new();
        for (start, end) in spans {
            match union.last_mut() {
                Some((_, last)) if last.as_ref().is_none_or(|last| *last >= start) => {
                    if last.is_some() && (end.is_none() || end > *last) {
                        *last = end;
                    }
                }
                _ => union.push((start, end)),
            }
        }
        Self(union)
    }

    /// Whether all of the range lies in it. A range in which no key can lie is taken for its start, as in etcd.
    pub(super) fn cover(&self, range: &KeyRange) -> bool {
        let (start, end) = match range {
            KeyRange::Span { start, .. } if range.is_empty() => {
                span(&KeyRange::Single(start.clone()))
            }
            range => span(range),
        };
        let behind = self.0.partition_point(|(known, _)| *known <= start);
        let Some((_, last)) = behind.checked_sub(1).and_then(|at| self.0.get(at)) else {
            return false;
        };
        match (last, end) {
            (None, _) => true,
            (Some(last), Some(end)) => end <= *last,
            (Some(_), None) => false,
        }
    }
}

fn span(range: &KeyRange) -> (Bytes, Option<Bytes>) {
    let first = |key: &Bytes| if key.is_empty() { Bytes::from_static(FIRST) } else { key.clone() };
    match range {
        KeyRange::Single(key) => {
            let next = [key.as_ref(), &[0]].concat();
            (key.clone(), Some(Bytes::from(next)))
        }
        KeyRange::Span { start, end } => (first(start), Some(end.clone())),
        KeyRange::From(start) => (first(start), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(key: &str, end: &str) -> KeyRange {
        KeyRange::new(
            Bytes::copy_from_slice(key.as_bytes()),
            Bytes::copy_from_slice(end.as_bytes()),
        )
    }

    fn union(ranges: &[(&str, &str)]) -> Spans {
        Spans::union(ranges.iter().map(|(key, end)| range(key, end)))
    }

    #[test]
    fn what_touches_is_one_and_what_does_not_is_two() {
        let spans = union(&[("c", "e"), ("a", "c"), ("g", ""), ("x", "\0")]);
        for (key, end) in [
            ("a", ""),
            ("a", "e"),
            ("b", "d"),
            ("dz", ""),
            ("g", ""),
            ("g", "g\0"),
            ("x", "\0"),
            ("y", "z"),
        ] {
            assert!(spans.cover(&range(key, end)), "{key:?} {end:?}");
        }
        for (key, end) in [
            ("e", ""),
            ("a", "e\0"),
            ("a", "\0"),
            ("\0", "\0"),
            ("d", "h"),
            ("g", "g\0\0"),
            ("g", "\0"),
            ("ga", ""),
            ("w", "\0"),
        ] {
            assert!(!spans.cover(&range(key, end)), "{key:?} {end:?}");
        }
        assert!(!Spans::default().cover(&range("a", "")));
    }

    #[test]
    fn the_smallest_key_is_the_beginning() {
        let all = union(&[("\0", "\0")]);
        assert!(all.cover(&range("\0", "\0")) && all.cover(&KeyRange::From(Bytes::new())));
        let two = union(&[("\0", "m"), ("m", "\0")]);
        assert_eq!(two, all);
        assert!(!union(&[("a", "\0")]).cover(&range("\0", "\0")));
    }

    #[test]
    fn a_range_without_keys_is_its_start() {
        let spans = union(&[("a", "c")]);
        assert!(spans.cover(&range("b", "a")));
        assert!(!spans.cover(&range("d", "a")));
    }

    /// Against a look at every key.
    #[test]
    fn a_range_is_covered_if_each_of_its_keys_is() {
        let letters = ["a", "b", "c", "d", "e", "f"];
        let keys = ["a", "aa", "b", "bb", "c", "cc", "d", "dd", "e", "ee", "f"];
        let all: Vec<KeyRange> = letters
            .iter()
            .flat_map(|start| letters.iter().map(|end| range(start, end)))
            .filter(|range| !range.is_empty())
            .chain(letters.iter().map(|key| range(key, "")))
            .collect();
        for one in &all {
            for other in &all {
                let spans = Spans::union([one.clone(), other.clone()]);
                for asked in &all {
                    let inside = keys.iter().map(|key| key.as_bytes());
                    let mut inside = inside.filter(|key| asked.contains(key));
                    let each = inside.all(|key| one.contains(key) || other.contains(key));
                    // Between two of these keys there are others, which a union of single keys does not have.
                    if spans.cover(asked) {
                        assert!(each, "{asked:?} in {one:?} and {other:?}");
                    } else if let KeyRange::Single(_) = asked {
                        assert!(!each, "{asked:?} in {one:?} and {other:?}");
                    }
                }
            }
        }
    }
}
