//! A checksum behind the value of every row in the database: LMDB keeps none of its pages.
//!
//! It covers the table's name, the key and the value, so that a row is not taken for another one either. The row
//! `format` of `meta` has none: it is read before anybody knows what the others look like.
//!
//! Knows nothing of: transactions, pages, who reads.

use super::{Stamp, Table};
use crate::base::Sabotage;

const SUM_BYTES: usize = 4;

/// The value as it is stored; `buffer` is where it is put together.
pub(super) fn stored<'a>(
    table: Table,
    key: &[u8],
    value: &'a [u8],
    buffer: &'a mut Vec<u8>,
) -> &'a [u8] {
    if stands_alone(table, key) {
        return value;
    }
    buffer.clear();
    buffer.extend_from_slice(value);
    buffer.extend_from_slice(&sum(table, key, value).to_be_bytes());
    buffer
}

/// The value of a row as it was stored; none if key or value are not what they were.
pub(super) fn verified<'a>(table: Table, key: &[u8], stored: &'a [u8]) -> Option<&'a [u8]> {
    if stands_alone(table, key) {
        return Some(stored);
    }
    let (value, found) = stored.split_last_chunk::<SUM_BYTES>()?;
    let is_whole = u32::from_be_bytes(*found) == sum(table, key, value);
    (is_whole || Sabotage::RowDamageAccepted.is_on()).then_some(value)
}

/// What is said of a row that is not what was written; its key in letters.
pub(super) fn damage(table: Table, key: &str) -> String {
    format!("a row of table {} fails its checksum: its key is {key}", table.name())
}

fn stands_alone(table: Table, key: &[u8]) -> bool {
    table == Table::Meta && key == Stamp::FORMAT_KEY
}

fn sum(table: Table, key: &[u8], value: &[u8]) -> u32 {
    let sum = crc32c::crc32c(table.name().as_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(sum, key), value)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use bytes::Bytes;

    use super::*;
    use crate::base::Moment;
    use crate::storage::{Read, Rows, Store, StoreConfig};

    #[test]
    fn a_bit_that_flips_in_the_file_stops_who_reads_it_and_who_copies_it() {
        let dir = tempfile::tempdir().unwrap();
        let config = StoreConfig { map_bytes: 16 << 20, readers: 16, ..StoreConfig::default() };
        let row = |key: &'static str| {
            let key = Bytes::from_static(key.as_bytes());
            ((Table::Revisions, key), Some(Bytes::from_static(b"a value to be found")))
        };
        let rows = Rows::from([row("one"), row("two")]);
        let stamp = Stamp { applied: 1, term: 1, ..Stamp::EMPTY };
        let store = Store::create(dir.path(), config.clone(), Rows::new(), Stamp::EMPTY).unwrap();
        store.merge(rows, stamp, Moment::ZERO);
        let _ = store.checkpoint(store.seal().unwrap()).unwrap();
        drop(store.copy().unwrap());
        drop(store);

        let path = dir.path().join("1/data.mdb");
        let mut file = fs::read(&path).unwrap();
        let words = b"twoa value to be found";
        let at = file.windows(words.len()).position(|bytes| bytes == words).unwrap();
        file[at + 5] ^= 0x10;
        fs::write(&path, file).unwrap();

        let store = Store::open(dir.path(), config).unwrap();
        let view = store.view().unwrap();
        assert!(view.get(Table::Revisions, b"one").unwrap().is_some());
        store.sound().unwrap();
        let fault = store.copy().unwrap_err().to_string();
        assert_eq!(view.get(Table::Revisions, b"two").unwrap_err().to_string(), fault);
        assert_eq!(store.sound().unwrap_err().to_string(), fault);
        let wanted = "a row of table revisions fails its checksum: its key is two in ";
        assert!(fault.starts_with(wanted) && fault.contains("1/data.mdb; "), "{fault}");
    }

    #[test]
    fn any_flipped_bit_is_found_and_any_other_key_and_table() {
        let mut buffer = Vec::new();
        let row = stored(Table::Keys, b"key", b"value", &mut buffer).to_vec();
        assert_eq!(verified(Table::Keys, b"key", &row), Some(b"value".as_slice()));
        assert_eq!(verified(Table::Keys, b"kez", &row), None);
        assert_eq!(verified(Table::Leases, b"key", &row), None);
        for bit in 0..row.len() * 8 {
            let mut flipped = row.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(verified(Table::Keys, b"key", &flipped), None, "bit {bit}");
        }
        assert_eq!(verified(Table::Keys, b"key", b"abc"), None);
        assert_eq!(stored(Table::Meta, b"format", b"\0\0\0\x02", &mut buffer), b"\0\0\0\x02");
        assert_eq!(verified(Table::Meta, b"format", b"\0\0\0\x02").map(<[u8]>::len), Some(4));
    }
}
