//! What is otherwise at the destination than it was at the source; pure.

use bytes::Bytes;

use crate::cli::changes::Change;
use crate::proto::mvccpb::KeyValue;

use super::mark;

/// One key.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Difference {
    /// At the source alone.
    Missing(KeyValue),
    /// The value, or the lease: as the source has it, and what of the two it is.
    Other(KeyValue, &'static str),
    /// At the destination alone.
    Surplus(Bytes),
}

impl Difference {
    pub(super) fn key(&self) -> &Bytes {
        match self {
            Self::Missing(kv) | Self::Other(kv, _) => &kv.key,
            Self::Surplus(key) => key,
        }
    }

    /// The lease that the source's key is attached to.
    pub(super) fn lease(&self) -> Option<i64> {
        match self {
            Self::Missing(kv) | Self::Other(kv, _) => Some(kv.lease).filter(|lease| *lease != 0),
            Self::Surplus(_) => None,
        }
    }

    /// For people.
    pub(super) fn what(&self) -> &'static str {
        match self {
            Self::Missing(_) => "is missing at the destination",
            Self::Other(_, what) => what,
            Self::Surplus(_) => "is at the destination alone",
        }
    }
}

impl From<Difference> for Change {
    fn from(difference: Difference) -> Self {
        match difference {
            Difference::Missing(kv) | Difference::Other(kv, _) => kv.into(),
            Difference::Surplus(key) => Self::Delete(key),
        }
    }
}

/// Of two rows of keys in order, which begin and end at the same keys. The mark is neither's.
pub(super) fn differences(source: &[KeyValue], destination: &[KeyValue]) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut here = destination.iter().filter(|kv| kv.key != mark::KEY).peekable();
    for kv in source {
        while let Some(surplus) = here.next_if(|other| other.key < kv.key) {
            found.push(Difference::Surplus(surplus.key.clone()));
        }
        match here.next_if(|other| other.key == kv.key) {
            None => found.push(Difference::Missing(kv.clone())),
            Some(other) if other.value != kv.value => {
                found.push(Difference::Other(kv.clone(), "has another value"));
            }
            Some(other) if other.lease != kv.lease => {
                found.push(Difference::Other(kv.clone(), "is attached to another lease, or none"));
            }
            Some(_) => {}
        }
    }
    found.extend(here.map(|surplus| Difference::Surplus(surplus.key.clone())));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kv(key: &'static str, value: &'static str, lease: i64) -> KeyValue {
        KeyValue { key: key.into(), value: value.into(), lease, ..KeyValue::default() }
    }

    fn told(source: &[KeyValue], destination: &[KeyValue]) -> Vec<(String, &'static str)> {
        let found = differences(source, destination);
        let text = |key: &Bytes| String::from_utf8(key.to_vec()).unwrap();
        found.iter().map(|it| (text(it.key()), it.what())).collect()
    }

    #[test]
    fn every_kind_of_difference_is_found() {
        let source = [kv("a", "1", 0), kv("b", "1", 0), kv("c", "1", 7), kv("d", "1", 7)];
        let here =
            [kv("0", "", 0), kv("a", "2", 0), kv("aa", "", 0), kv("c", "1", 0), kv("e", "", 0)];
        assert_eq!(
            told(&source, &here),
            [
                ("0".to_owned(), "is at the destination alone"),
                ("a".to_owned(), "has another value"),
                ("aa".to_owned(), "is at the destination alone"),
                ("b".to_owned(), "is missing at the destination"),
                ("c".to_owned(), "is attached to another lease, or none"),
                ("d".to_owned(), "is missing at the destination"),
                ("e".to_owned(), "is at the destination alone"),
            ]
        );
        assert!(told(&source, &source).is_empty());
        assert!(told(&[], &[]).is_empty());
    }

    #[test]
    fn revisions_are_no_difference_and_the_mark_is_nobodys() {
        let newer = KeyValue { mod_revision: 9, create_revision: 9, version: 3, ..kv("a", "1", 0) };
        let mark = KeyValue { key: mark::KEY.into(), ..KeyValue::default() };
        assert!(told(&[kv("a", "1", 0)], &[mark, newer]).is_empty());
    }

    #[test]
    fn a_difference_is_what_makes_it_equal() {
        let change = |source: &[KeyValue], here: &[KeyValue]| -> Vec<Change> {
            differences(source, here).into_iter().map(Change::from).collect()
        };
        let source = kv("a", "1", 7);
        let put = [Change::Put("a".into(), "1".into(), 7)];
        assert_eq!(change(std::slice::from_ref(&source), &[]), put);
        assert_eq!(change(std::slice::from_ref(&source), &[kv("a", "", 7)]), put);
        assert_eq!(change(&[], &[source]), [Change::Delete("a".into())]);
    }
}
