//! Key ranges with etcd's rules for `range_end`.

use std::ops::Bound;

use bytes::Bytes;

/// What a request's `key` and `range_end` select.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum KeyRange {
    /// Exactly this key (`range_end` empty).
    Single(Bytes),
    /// `start <= key < end`; empty when `end <= start`.
    Span { start: Bytes, end: Bytes },
    /// Every key at or after `start` (`range_end` is one zero byte). An empty `start` is everything.
    From(Bytes),
}

impl KeyRange {
    /// etcd's reading of the two fields; `\0` as a key means the smallest key, because no key is empty.
    pub fn new(key: Bytes, range_end: Bytes) -> Self {
        if range_end.is_empty() {
            Self::Single(key)
        } else if range_end.as_ref() == [0] {
            Self::From(if key.as_ref() == [0] { Bytes::new() } else { key })
        } else {
            Self::Span { start: key, end: range_end }
        }
    }

    /// Everything that begins with `prefix`; the empty prefix is everything.
    pub fn prefix(prefix: &[u8]) -> Self {
        let start = Bytes::copy_from_slice(prefix);
        match Self::prefix_end(prefix) {
            Some(end) => Self::Span { start, end },
            None => Self::From(start),
        }
    }

    /// The first key after all that begin with `prefix`; none when the prefix is empty or all 0xff.
    pub fn prefix_end(prefix: &[u8]) -> Option<Bytes> {
        let last = prefix.iter().rposition(|&byte| byte != 0xff)?;
        let mut end = prefix[..=last].to_vec();
        end[last] += 1;
        Some(Bytes::from(end))
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            Self::Single(single) => single == key,
            Self::Span { start, end } => start.as_ref() <= key && key < end.as_ref(),
            Self::From(start) => start.as_ref() <= key,
        }
    }

    /// Whether no key can lie in it.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Span { start, end } if end <= start)
    }

    /// The smallest key that may lie in it.
    pub fn start(&self) -> &Bytes {
        match self {
            Self::Single(start) | Self::Span { start, .. } | Self::From(start) => start,
        }
    }

    /// The bounds for an ordered map of keys.
    pub fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        match self {
            Self::Single(key) => (Bound::Included(key), Bound::Included(key)),
            Self::Span { start, end } => (Bound::Included(start), Bound::Excluded(end)),
            Self::From(start) => (Bound::Included(start), Bound::Unbounded),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(key: &'static str, end: &'static str) -> KeyRange {
        KeyRange::new(Bytes::from(key), Bytes::from(end))
    }

    #[test]
    fn range_end_means_what_it_means_to_etcd() {
        assert!(range("a", "").contains(b"a") && !range("a", "").contains(b"aa"));
        assert!(range("a", "c").contains(b"bz") && !range("a", "c").contains(b"c"));
        assert!(range("b", "\0").contains(b"zzz") && !range("b", "\0").contains(b"a"));
        assert!(range("\0", "\0").contains(b"\0") && range("\0", "\0").contains(b"z"));
        assert!(range("c", "a").is_empty() && range("a", "a").is_empty());
    }

    #[test]
    fn a_prefix_ends_where_its_last_byte_grows() {
        assert_eq!(KeyRange::prefix_end(b"ab").unwrap(), "ac");
        assert_eq!(KeyRange::prefix_end(b"a\xff\xff").unwrap(), "b");
        assert_eq!(KeyRange::prefix_end(b"\xff"), None);
        assert_eq!(KeyRange::prefix(b""), KeyRange::From(Bytes::new()));
    }
}
