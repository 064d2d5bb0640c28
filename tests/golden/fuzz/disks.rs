//! What is read back from a disk, which may have changed it: the log, databases and copies of them, and rows.
//!
//! Checksums stop nearly all of it, so each target also puts them right again: what is behind them must stand by itself.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use quorate::base::{ClusterId, KeyRange, MemberId, Moment, RequestId};
use quorate::mvcc::{self, Counts, RangeOptions, Reader};
use quorate::proto::etcdserverpb as pb;
use quorate::proto::quorate::log::V2Request;
use quorate::state::{Command, Envelope, Machine, Query, encode};
use quorate::storage::{
    Batch, Disk, Entry, EntryKind, HardState, InstallMark, Nothing, SnapshotHeader, Stamp, Store,
    StoreConfig, Table, Wal, WalBatch, WalConfig,
};

use super::judge::judge;
use super::mutate::Inputs;
use crate::sim_disk::SimDisk;

const SEGMENT_HEADER: usize = 512;
const CHECKSUM: usize = 4;
const BATCH_HEADER: usize = 32;

fn log_config() -> WalConfig {
    let mut config = WalConfig::new(ClusterId(0xc1), MemberId(0xa));
    // Everything is in one segment.
    config.segment_bytes = 8 << 10;
    config
}

/// The bytes of a log's only segment.
fn segment() -> (String, Vec<u8>) {
    let disk = SimDisk::default();
    let hard = HardState { term: 1, vote: 0, commit: 0 };
    let (mut wal, _log) = Wal::create(Arc::new(disk.clone()), log_config(), (0, 0), hard).unwrap();
    let entry = |index: u64, term: u64, data: &str| {
        let kind = if index == 3 { EntryKind::ConfChange } else { EntryKind::Normal };
        Entry { term, index, kind, data: Bytes::from(data.to_owned()) }
    };
    let entries = vec![entry(1, 1, "one"), entry(2, 1, "two"), entry(3, 1, "three")];
    wal.append(WalBatch { entries, ..WalBatch::default() }).unwrap();
    let hard_state = Some(HardState { term: 2, vote: 7, commit: 2 });
    let entries = vec![entry(3, 2, "another")];
    wal.append(WalBatch { truncate_from: Some(3), entries, hard_state, ..WalBatch::default() })
        .unwrap();
    let mark = InstallMark { index: 3, term: 2, generation: 2 };
    wal.append(WalBatch { hard_state, install: Some(mark), ..WalBatch::default() }).unwrap();
    let name = disk.list().unwrap().into_iter().find(|name| name.ends_with("wal")).unwrap();
    let bytes = disk.durable(&name).unwrap();
    (name, bytes)
}

/// The same with the checksums of the header and of each batch as they would be.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if bytes.len() < SEGMENT_HEADER {
        return bytes;
    }
    let end = SEGMENT_HEADER - CHECKSUM;
    let sum = crc32c::crc32c(&bytes[..end]);
    bytes[end..SEGMENT_HEADER].copy_from_slice(&sum.to_le_bytes());
    let mut at = SEGMENT_HEADER;
    while let Some(&[a, b, c, d, e, f, g, h]) = bytes.get(at + 24..at + BATCH_HEADER) {
        let body =
            usize::try_from(u64::from_le_bytes([a, b, c, d, e, f, g, h])).unwrap_or(usize::MAX);
        let Some(end) = body.checked_add(at + BATCH_HEADER).filter(|end| *end <= bytes.len())
        else {
            break;
        };
        let sum = crc32c::crc32c(&bytes[at + 8..end]);
        bytes[at + 4..at + 8].copy_from_slice(&sum.to_le_bytes());
        at = end.next_multiple_of(8);
    }
    bytes
}

fn opened(name: &str, bytes: &[u8]) {
    let disk = SimDisk::default();
    disk.create(name, bytes.len() as u64).unwrap().write_at(bytes, 0).unwrap();
    let applied = (0, 0);
    if let Ok((_wal, log, found)) = Wal::open(Arc::new(disk), log_config(), applied, 1) {
        assert!(found.first_index <= found.last_index + 1);
        // What it says it has, it has, or it says what is wrong with that.
        let _ = log.read(found.first_index, found.last_index + 1, usize::MAX);
        assert!(log.term(found.last_index).is_some());
    }
}

#[test]
fn segments_of_the_log() {
    let (name, whole) = segment();
    // Zeros are what a segment ends with; they are put back, so that the changes meet what was written.
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    judge(
        Inputs::new("segments", vec![whole[..end].to_vec()], &["QWB1", "QUORATEW"], 5_000),
        |bytes| {
            let mut padded = bytes.to_vec();
            padded.resize(padded.len().max(8 << 10).next_multiple_of(512), 0);
            opened(&name, &padded);
            opened(&name, &with_checksums(&padded));
        },
    );
}

#[test]
fn headers_of_snapshots() {
    let stamp = Stamp { applied: 9, term: 2, revision: 7, compacted: 3 };
    let header = SnapshotHeader { stamp, length: 1 << 20, sha256: [7; 32] };
    judge(Inputs::new("snapshots", vec![header.encode().to_vec()], &[], 6_000), |bytes| {
        let mut summed = bytes.to_vec();
        if let Some((head, sum)) = summed
            .get_mut(..SnapshotHeader::BYTES)
            .map(|it| it.split_at_mut(SnapshotHeader::BYTES - CHECKSUM))
        {
            sum.copy_from_slice(&crc32c::crc32c(head).to_be_bytes());
        }
        for bytes in [bytes, &summed] {
            if let Ok(read) = SnapshotHeader::decode(bytes) {
                assert_eq!(SnapshotHeader::decode(&read.encode()).unwrap(), read);
                assert_eq!(&read.encode()[..], &bytes[..SnapshotHeader::BYTES]);
            }
        }
    });
}

fn store_config() -> StoreConfig {
    StoreConfig { map_bytes: 16 << 20, readers: 16, ..StoreConfig::default() }
}

/// A database is looked at page by page before LMDB maps it: that is the parser, and whatever it lets pass is what was written.
#[test]
fn files_of_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let (rows, stamp) = world();
    let all: Vec<_> = rows.into_rows().into_iter().collect();
    let store =
        Store::create(folder.path(), store_config(), all.into_iter().collect(), stamp).unwrap();
    store.merge(
        [((Table::Keys, "more".into()), Some("rows".into()))].into(),
        stamp,
        Moment::default(),
    );
    store.checkpoint(store.seal().unwrap()).unwrap();
    drop(store);
    let data = data_file(folder.path()).expect("the file of the database");
    let whole = std::fs::read(&data).unwrap();
    Store::check(folder.path()).unwrap().finish().unwrap();
    judge(Inputs::new("databases", vec![whole], &[], 600), |bytes| {
        std::fs::File::create(&data).unwrap().write_all(bytes).unwrap();
        if let Ok(check) = Store::check(folder.path()) {
            let _ = check.finish();
        }
    });
}

fn data_file(dir: &Path) -> Option<std::path::PathBuf> {
    std::fs::read_dir(dir).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() { data_file(&path) } else { path.ends_with("data.mdb").then_some(path) }
    })
}

fn envelope(at: u64, command: Command) -> Bytes {
    let request = RequestId { member: MemberId(1), nonce: 7, counter: at };
    encode(&Envelope { proposed_at_ms: 1_000, ..Envelope::new(request, command) })
}

/// What makes a state with something in every table but users and alarms.
fn commands() -> Vec<Command> {
    let put = |key: &str, lease: i64| {
        Command::Put(pb::PutRequest {
            key: Bytes::from(key.to_owned()),
            value: "value".into(),
            lease,
            ..Default::default()
        })
    };
    let long =
        pb::PutRequest { key: "long".into(), value: vec![7; 20_000].into(), ..Default::default() };
    let file = V2Request {
        path: "/d/f".into(),
        value: "v".into(),
        ttl_s: Some(60),
        ..V2Request::default()
    };
    vec![
        Command::LeaseGrant(pb::LeaseGrantRequest { ttl: 60, id: 7 }),
        put("a", 7),
        put("b", 0),
        put("a", 0),
        Command::Put(long),
        Command::DeleteRange(pb::DeleteRangeRequest { key: "b".into(), ..Default::default() }),
        Command::Compact(pb::CompactionRequest { revision: 3, physical: false }),
        Command::V2(file),
    ]
}

fn world() -> (Batch<'static, Nothing>, Stamp) {
    let member = pb::Member {
        id: 1,
        name: "n1".to_owned(),
        peer_ur_ls: vec!["http://10.0.0.1:2380".to_owned()],
        ..Default::default()
    };
    let (rows, stamp) = Machine::genesis(ClusterId(0xc), &[member]);
    let mut world = Batch::new(&Nothing);
    merge(&mut world, rows);
    let mut machine = Machine::load(&world, stamp).unwrap();
    for command in commands() {
        let index = machine.stamp().applied + 1;
        let outcome = machine.apply(&world, index, 1, &envelope(index, command)).unwrap();
        assert!(outcome.result.is_ok(), "{:?}", outcome.result);
        merge(&mut world, outcome.rows);
        machine.publish();
    }
    (world, machine.stamp())
}

fn merge(world: &mut Batch<'static, Nothing>, rows: quorate::storage::Rows) {
    for ((table, key), value) in rows {
        match value {
            Some(value) => world.put(table, key, value),
            None => world.delete(table, key),
        }
    }
}

/// Everything that is read of a state: an answer, a rejection or a fault.
fn read_all<R: quorate::storage::Read + Copy>(rows: R, stamp: Stamp) {
    let whole = KeyRange::new(Bytes::from_static(b"\0"), Bytes::from_static(b"\0"));
    let _ = Counts::load(&rows, stamp.revision).map(|counts| counts.total());
    let reader = Reader::at(&rows, stamp.revision);
    let options = RangeOptions::default();
    let _ = (reader.range(&whole, options), reader.count_walk(&whole));
    let _ = mvcc::history(&rows, 1, stamp.revision, 100, 1 << 20);
    let Ok(machine) = Machine::load(&rows, stamp) else { return };
    let shared = machine.shared();
    let _ = (shared.leases(), shared.v2_next_expiry_ms(), shared.members(), shared.auth());
    let query = Query::new(rows, stamp, shared);
    let request =
        pb::RangeRequest { key: "\0".into(), range_end: "\0".into(), ..Default::default() };
    let _ = (query.range(&request), query.hash_kv(0), query.lease_keys(7));
}

/// An input is a row: the table, the length of its key, its key, its value.
#[test]
fn rows() {
    let (world, stamp) = world();
    let mut made = Vec::new();
    let all: Vec<_> = world.into_rows().into_iter().collect();
    for (at, table) in (0u8..).zip(Table::ALL) {
        let of = all.iter().filter(|((it, _), _)| *it == table).take(3);
        for ((_, key), value) in of {
            let length = u8::try_from(key.len()).unwrap();
            made.push([&[at, length][..], key, value.as_deref().unwrap_or_default()].concat());
        }
    }
    let mut base = Batch::new(&Nothing);
    merge(&mut base, all.into_iter().collect());
    judge(Inputs::new("rows", made, &[], 2_500), |bytes| {
        let Some((&[table, length], rest)) = bytes.split_first_chunk::<2>() else { return };
        let table = Table::ALL[usize::from(table) % Table::ALL.len()];
        let Some((key, value)) = rest.split_at_checked(length.into()) else { return };
        let mut rows = Batch::new(&base);
        rows.put(table, Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        read_all(&rows, stamp);
    });
}

/// What a leader says that the log holds: it is applied, refused, or a fault; and the state is one that can be loaded.
#[test]
fn entries_that_are_applied() {
    let (world, stamp) = world();
    let made = commands().into_iter().map(|it| envelope(stamp.applied + 1, it).to_vec()).collect();
    judge(Inputs::new("applied", made, &["/d/f", "long"], 2_500), |bytes| {
        let mut machine = Machine::load(&world, stamp).unwrap();
        if let Ok(outcome) = machine.apply(&world, stamp.applied + 1, 1, bytes) {
            let mut after = Batch::new(&world);
            for ((table, key), value) in outcome.rows {
                match value {
                    Some(value) => after.put(table, key, value),
                    None => after.delete(table, key),
                }
            }
            machine.publish();
            Machine::load(&after, machine.stamp()).unwrap();
        }
    });
}
