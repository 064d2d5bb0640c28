//! Keys of locks and elections, whose order of creation says whose turn it is; pure.
//!
//! Such a key lies below the lock's name and is called by its own lease: `name/<lease, hexadecimal>`. Who has the oldest
//! holds the lock, so two of them must never be created by one transaction, or in another order than at the source.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::cli::changes::Change;
use crate::proto::mvccpb::KeyValue;

/// The lock or election that a key is a place in: its name with the slash behind it.
pub(super) fn turn_of(key: &[u8], lease: i64) -> Option<&[u8]> {
    let slash = key.iter().rposition(|byte| *byte == b'/')?;
    let (name, own) = key.split_at(slash + 1);
    (lease != 0 && own == format!("{lease:x}").as_bytes()).then_some(name)
}

/// Keys in the order of their creation, by the lock or election that they are places in.
#[derive(Debug, Default)]
pub(super) struct Places(BTreeMap<Bytes, Vec<KeyValue>>);

impl Places {
    /// Whether it is a place; then it is remembered.
    pub(super) fn take(&mut self, kv: &KeyValue) -> bool {
        let Some(name) = turn_of(&kv.key, kv.lease) else { return false };
        self.0.entry(kv.key.slice_ref(name)).or_default().push(kv.clone());
        true
    }

    /// Each name with its keys, the oldest first.
    pub(super) fn into_turns(self) -> impl Iterator<Item = (Bytes, Vec<KeyValue>)> {
        self.0.into_iter().map(|(name, mut keys)| {
            keys.sort_by_key(|kv| kv.create_revision);
            (name, keys)
        })
    }
}

/// What makes the destination's places those of the source, in its order: changes to be made one by one. `source` has the
/// oldest first, `destination` is in any order.
pub(super) fn reorder(source: &[KeyValue], destination: &[KeyValue]) -> Vec<Change> {
    let mut here: Vec<&KeyValue> =
        destination.iter().filter(|other| source.iter().any(|kv| kv.key == other.key)).collect();
    here.sort_by_key(|kv| kv.create_revision);
    // Two of one revision have no order, so the second is no more in its place than one that is out of turn.
    let mut last = 0;
    let in_turn = here.iter().zip(source).take_while(|(other, kv)| {
        let is_later = other.create_revision > last;
        last = other.create_revision;
        is_later && other.key == kv.key
    });
    let in_turn = in_turn.count();
    let mut changes: Vec<Change> =
        here[in_turn..].iter().map(|kv| Change::Delete(kv.key.clone())).collect();
    let is_equal =
        |one: &KeyValue, other: &KeyValue| (&one.value, one.lease) == (&other.value, other.lease);
    for (at, kv) in source.iter().enumerate() {
        if at >= in_turn || !is_equal(kv, here[at]) {
            changes.push(kv.clone().into());
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str, lease: i64, create_revision: i64) -> KeyValue {
        let key = format!("{name}/{lease:x}");
        KeyValue { key: key.into(), lease, create_revision, ..KeyValue::default() }
    }

    fn keys(changes: &[Change]) -> Vec<String> {
        let told = |change: &Change| {
            let key = String::from_utf8_lossy(change.key()).into_owned();
            if matches!(change, Change::Delete(_)) { format!("-{key}") } else { key }
        };
        changes.iter().map(told).collect()
    }

    #[test]
    fn a_place_is_called_by_its_lease() {
        assert_eq!(turn_of(b"lock/cafe", 0xcafe), Some(&b"lock/"[..]));
        assert_eq!(turn_of(b"a/b/cafe", 0xcafe), Some(&b"a/b/"[..]));
        for (key, lease) in [(&b"cafe"[..], 0xcafe), (b"lock/cafe", 0xcaff), (b"lock/0", 0)] {
            assert_eq!(turn_of(key, lease), None);
        }
    }

    #[test]
    fn places_are_in_the_order_of_their_creation() {
        let mut places = Places::default();
        assert!(places.take(&place("l", 1, 30)) && places.take(&place("l", 2, 20)));
        assert!(places.take(&place("m", 3, 10)));
        assert!(!places.take(&KeyValue { key: "l/4".into(), lease: 5, ..KeyValue::default() }));
        let turns: Vec<_> = places.into_turns().collect();
        let order = |at: usize| turns[at].1.iter().map(|kv| kv.lease).collect::<Vec<_>>();
        assert_eq!((turns[0].0.as_ref(), order(0)), (&b"l/"[..], vec![2, 1]));
        assert_eq!((turns[1].0.as_ref(), order(1)), (&b"m/"[..], vec![3]));
    }

    #[test]
    fn whoever_is_out_of_turn_is_put_behind() {
        let source = [place("l", 2, 20), place("l", 1, 30), place("l", 3, 40)];
        assert_eq!(keys(&reorder(&source, &[])), ["l/2", "l/1", "l/3"]);
        let here = [place("l", 2, 100), place("l", 1, 101), place("l", 3, 102)];
        assert!(reorder(&source, &here).is_empty());
        assert_eq!(keys(&reorder(&source, &here[..2])), ["l/3"]);
        assert_eq!(keys(&reorder(&source, &here[1..])), ["-l/1", "-l/3", "l/2", "l/1", "l/3"]);
        let together = [place("l", 2, 100), place("l", 1, 100), place("l", 3, 100)];
        let told = reorder(&source, &together);
        assert_eq!(keys(&told), ["-l/1", "-l/3", "l/1", "l/3"]);
        let mut changed = here;
        changed[0].value = "old".into();
        assert_eq!(keys(&reorder(&source, &changed)), ["l/2"]);
    }
}
