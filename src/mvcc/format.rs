//! The rows of `keys` and `revisions`, byte by byte (docs/storage.md, "Rows of the key-value store").
//!
//! Promises: escaped keys sort as the keys do and none is the beginning of another; what is written is read back, and
//! bytes that nobody wrote are a fault. Knows nothing of: which rows exist.

use std::borrow::Cow;

use bytes::{Buf, BufMut, Bytes};

use crate::base::limits::{KEY_ESCAPED_BYTES_MAX, VALUE_PIECE_BYTES};
use crate::base::{KeyRange, LeaseId, Revision};
use crate::storage::Fault;

/// A key that has no place in the index.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "the key is too long: its {bytes} bytes take {escaped} in the index (a zero byte takes two, the end two), and at most {KEY_ESCAPED_BYTES_MAX} fit"
)]
pub struct KeyTooLong {
    pub bytes: usize,
    pub escaped: usize,
}

/// Whether a key fits the index; asked before a request enters the log.
pub fn check_key(key: &[u8]) -> Result<(), KeyTooLong> {
    let escaped = key.len() + key.iter().filter(|&&byte| byte == 0).count() + TERMINATOR.len();
    if escaped > KEY_ESCAPED_BYTES_MAX {
        return Err(KeyTooLong { bytes: key.len(), escaped });
    }
    Ok(())
}

const TERMINATOR: [u8; 2] = [0x00, 0x01];
const REVISION_BYTES: usize = 12;

/// Order-preserving and prefix-free: 00 becomes 00 FF, the end is 00 01. Cut at the longest escaped key: nothing that
/// is stored lies between a longer bound and its cut.
pub(super) fn escape(key: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(key.len() + TERMINATOR.len() + REVISION_BYTES);
    for &byte in key {
        escaped.push(byte);
        if byte == 0 {
            escaped.push(0xff);
        }
    }
    escaped.extend_from_slice(&TERMINATOR);
    escaped.truncate(KEY_ESCAPED_BYTES_MAX);
    escaped
}

/// The user's key, borrowed unless it has zero bytes.
pub(super) fn unescape(escaped: &[u8]) -> Result<Cow<'_, [u8]>, Fault> {
    let Some(body) = escaped.strip_suffix(&TERMINATOR) else {
        return Err(Fault::corrupt("a key without its end", "table keys"));
    };
    if !body.contains(&0) {
        return Ok(Cow::Borrowed(body));
    }
    let mut key = Vec::with_capacity(body.len());
    let mut bytes = body.iter();
    while let Some(&byte) = bytes.next() {
        key.push(byte);
        if byte == 0 && bytes.next() != Some(&0xff) {
            return Err(Fault::corrupt("a zero byte that is not escaped", "table keys"));
        }
    }
    Ok(Cow::Owned(key))
}

/// Bounds in `keys` of every version of every key in `range`: first included, second excluded; none is the end.
pub(super) fn key_bounds(range: &KeyRange) -> (Vec<u8>, Option<Vec<u8>>) {
    match range {
        KeyRange::Single(key) => {
            let low = escape(key);
            let high = after_versions(&low);
            (low, Some(high))
        }
        KeyRange::Span { start, end } => (escape(start), Some(escape(end))),
        KeyRange::From(start) => (escape(start), None),
    }
}

/// Sorts behind every version of the key and before the next key (00 02 follows no key's bytes).
pub(super) fn after_versions(escaped: &[u8]) -> Vec<u8> {
    let mut after = escaped.to_vec();
    if let Some(last) = after.last_mut() {
        *last = last.saturating_add(1);
    }
    after
}

/// Key of a row in `keys`; also the place to seek the newest version at or below `revision`.
pub(super) fn key_row(escaped: &[u8], revision: Revision) -> Vec<u8> {
    let mut row = Vec::with_capacity(escaped.len() + REVISION_BYTES);
    row.extend_from_slice(escaped);
    row.put_u64(!(revision.main as u64));
    row.put_u32(!revision.sub);
    row
}

/// Where the newest version with a main revision of at most `main` would stand.
pub(super) fn key_row_at(escaped: &[u8], main: i64) -> Vec<u8> {
    key_row(escaped, Revision::new(main, u32::MAX))
}

pub(super) fn split_key_row(row: &[u8]) -> Result<(&[u8], Revision), Fault> {
    let at = row.len().checked_sub(REVISION_BYTES);
    let Some((escaped, mut revision)) = at.and_then(|at| row.split_at_checked(at)) else {
        return Err(Fault::corrupt(format!("a key of {} bytes", row.len()), "table keys"));
    };
    let (main, sub) = (!revision.get_u64(), !revision.get_u32());
    Ok((escaped, Revision::new(main as i64, sub)))
}

/// Key of a row in `revisions`.
pub(super) fn revision_row(revision: Revision) -> [u8; REVISION_BYTES] {
    let mut row = [0; REVISION_BYTES];
    row[..8].copy_from_slice(&(revision.main as u64).to_be_bytes());
    row[8..].copy_from_slice(&revision.sub.to_be_bytes());
    row
}

/// Key of a piece of a long value; pieces are numbered from 1.
pub(super) fn piece_row(revision: Revision, piece: u32) -> [u8; REVISION_BYTES + 4] {
    let mut row = [0; REVISION_BYTES + 4];
    row[..REVISION_BYTES].copy_from_slice(&revision_row(revision));
    row[REVISION_BYTES..].copy_from_slice(&piece.to_be_bytes());
    row
}

/// The revision of a row in `revisions`, and the number of its piece (0: the head).
pub(super) fn split_revision_row(mut row: &[u8]) -> Result<(Revision, u32), Fault> {
    let piece = match row.len() {
        REVISION_BYTES => false,
        16 => true,
        other => {
            return Err(Fault::corrupt(format!("a key of {other} bytes"), "table revisions"));
        }
    };
    let revision = Revision::new(row.get_u64() as i64, row.get_u32());
    Ok((revision, if piece { row.get_u32() } else { 0 }))
}

/// How many pieces a value of this length is stored in, beside its head; 0 when it stands in the head.
pub(super) fn pieces(value_bytes: u32) -> u32 {
    let bytes = value_bytes as usize;
    if bytes <= VALUE_PIECE_BYTES { 0 } else { bytes.div_ceil(VALUE_PIECE_BYTES) as u32 }
}

/// What both tables say of a version.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Meta {
    pub tombstone: bool,
    pub create_revision: i64,
    pub version: i64,
    pub lease: LeaseId,
    pub value_bytes: u32,
}

const TOMBSTONE: u8 = 1;
const LEASED: u8 = 2;
const REPLACES: u8 = 4;

impl Meta {
    pub(super) const TOMBSTONE: Self =
        Self { tombstone: true, create_revision: 0, version: 0, lease: 0, value_bytes: 0 };

    /// The value of a row in `keys`.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(16);
        self.write(&mut row, 0);
        row
    }

    pub(super) fn decode(mut row: &[u8]) -> Result<Self, Fault> {
        let (meta, _) = Self::read(&mut row).ok_or_else(|| damaged("table keys"))?;
        if !row.is_empty() {
            return Err(damaged("table keys"));
        }
        Ok(meta)
    }

    fn write(&self, row: &mut Vec<u8>, more_flags: u8) {
        let leased = if self.lease == 0 { 0 } else { LEASED };
        let tombstone = if self.tombstone { TOMBSTONE } else { 0 };
        row.push(tombstone | leased | more_flags);
        if !self.tombstone {
            put_varint(row, self.create_revision as u64);
            put_varint(row, self.version as u64);
            put_varint(row, u64::from(self.value_bytes));
        }
        if self.lease != 0 {
            put_varint(row, self.lease as u64);
        }
    }

    fn read(row: &mut &[u8]) -> Option<(Self, u8)> {
        let (&flags, rest) = row.split_first()?;
        *row = rest;
        let mut meta = Self { tombstone: flags & TOMBSTONE != 0, ..Self::default() };
        if !meta.tombstone {
            meta.create_revision = take_varint(row)? as i64;
            meta.version = take_varint(row)? as i64;
            meta.value_bytes = u32::try_from(take_varint(row)?).ok()?;
        }
        if flags & LEASED != 0 {
            meta.lease = take_varint(row)? as i64;
        }
        (flags & !(TOMBSTONE | LEASED | REPLACES) == 0).then_some((meta, flags))
    }
}

/// The value of a head row in `revisions`, borrowed from it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Record<'a> {
    pub meta: Meta,
    /// The live version that this one replaced.
    pub prev: Option<Revision>,
    pub key: &'a [u8],
    /// Empty when the value stands in pieces.
    pub value: &'a [u8],
}

impl<'a> Record<'a> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(24 + self.key.len() + self.value.len());
        self.meta.write(&mut row, if self.prev.is_some() { REPLACES } else { 0 });
        if let Some(prev) = self.prev {
            put_varint(&mut row, prev.main as u64);
            put_varint(&mut row, u64::from(prev.sub));
        }
        put_varint(&mut row, self.key.len() as u64);
        row.extend_from_slice(self.key);
        row.extend_from_slice(self.value);
        row
    }

    pub(super) fn decode(row: &'a [u8]) -> Result<Self, Fault> {
        Self::read(row).ok_or_else(|| damaged("table revisions"))
    }

    fn read(mut row: &'a [u8]) -> Option<Self> {
        let (meta, flags) = Meta::read(&mut row)?;
        let mut prev = None;
        if flags & REPLACES != 0 {
            let main = take_varint(&mut row)? as i64;
            prev = Some(Revision::new(main, u32::try_from(take_varint(&mut row)?).ok()?));
        }
        let key_bytes = usize::try_from(take_varint(&mut row)?).ok()?;
        let (key, value) = row.split_at_checked(key_bytes)?;
        let inline = if pieces(meta.value_bytes) == 0 { meta.value_bytes as usize } else { 0 };
        (value.len() == inline).then_some(Self { meta, prev, key, value })
    }
}

fn damaged(table: &str) -> Fault {
    Fault::corrupt("a row that cannot be read", table)
}

/// Unsigned LEB128.
pub(super) fn put_varint(row: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        row.push(number as u8 | 0x80);
        number >>= 7;
    }
    row.push(number as u8);
}

fn take_varint(row: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = row.split_first()?;
        *row = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// The pieces of a long value, as rows; none when it stands in the head.
pub(super) fn cut(value: &Bytes) -> impl Iterator<Item = (u32, Bytes)> {
    let count = pieces(value.len() as u32);
    (0..count).map(move |piece| {
        let low = piece as usize * VALUE_PIECE_BYTES;
        let high = value.len().min(low + VALUE_PIECE_BYTES);
        (piece + 1, value.slice(low..high))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_keys_sort_as_keys_and_come_back() {
        let mut keys: Vec<&[u8]> = vec![
            b"",
            b"\0",
            b"\0\0",
            b"\0\x01",
            b"\x01",
            b"a",
            b"a\0",
            b"a\0b",
            b"a\x01",
            b"ab",
            b"\xff",
            b"\xff\xff",
            b"\0\xff",
        ];
        keys.sort_unstable();
        let escaped: Vec<Vec<u8>> = keys.iter().map(|key| escape(key)).collect();
        assert!(escaped.is_sorted());
        for (key, escaped) in keys.iter().zip(&escaped) {
            assert_eq!(unescape(escaped).unwrap().as_ref(), *key);
            let newest = key_row_at(escaped, i64::MAX);
            assert!(escaped < &newest && newest < after_versions(escaped));
        }
        for pair in escaped.windows(2) {
            assert!(after_versions(&pair[0]) < pair[1]);
        }
    }

    #[test]
    fn newer_versions_stand_first() {
        let key = escape(b"k");
        let row = |main, sub| key_row(&key, Revision::new(main, sub));
        assert!(row(3, 0) < row(2, 9) && row(2, 9) < row(2, 8));
        assert_eq!(split_key_row(&row(7, 3)).unwrap(), (&key[..], Revision::new(7, 3)));
    }

    #[test]
    fn the_longest_key_fits_and_the_next_is_refused_with_its_size() {
        check_key(&[b'k'; KEY_ESCAPED_BYTES_MAX - 2]).unwrap();
        let refused = check_key(&[0; KEY_ESCAPED_BYTES_MAX / 2]).unwrap_err();
        assert_eq!(refused, KeyTooLong { bytes: 984, escaped: 1_970 });
    }

    #[test]
    fn records_come_back_and_damage_is_a_fault() {
        let meta = Meta {
            tombstone: false,
            create_revision: 300,
            version: 2,
            lease: i64::MAX,
            value_bytes: 3,
        };
        let prev = Some(Revision::new(301, 7));
        let record = Record { meta, prev, key: b"k\0", value: b"abc" };
        let row = record.encode();
        assert_eq!(Record::decode(&row).unwrap(), record);
        assert_eq!(Meta::decode(&meta.encode()).unwrap(), meta);
        for end in 0..row.len() {
            assert!(Record::decode(&row[..end]).is_err(), "{end}");
        }
        let tombstone = Record { meta: Meta::TOMBSTONE, prev, key: b"k", value: b"" };
        assert_eq!(Record::decode(&tombstone.encode()).unwrap(), tombstone);
        assert_eq!(Meta::TOMBSTONE.encode(), [TOMBSTONE]);
    }
}
